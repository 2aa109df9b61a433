"""How often the intervals of nlbflow.scoring.bootstrap hold the true score, on simulated datasets.

    .venv/bin/python benchmarks/coverage.py --datasets 2000 --draws 1000

One population of 20,000 trials has the true score; of psth R2, which the noise of averages of few trials lowers, it is
what equally many trials give on average. Each dataset is drawn from it at random for co-bps and vel R2, and with
equally many trials of each condition for psth R2 and tp corr. Rates, velocity and the model's errors vary from trial to
trial, as in recordings: bins within a trial are not independent. A second model errs as often and as far, but in other
trials: it is as good, and in 5 of 100 datasets the interval of their difference should not hold the true one, which is
all but 0. For the rows with blocks, pseudo-trials are cut from one stretch, where errors last for some trials,
and a dataset is a part of it.

The last line is one JSON object: the share of the datasets whose 95 % interval held the true value, for nlbflow's
intervals and the plainer ones they are chosen over.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import numpy as np
from scipy.signal import lfilter
from scipy.special import ndtr, ndtri

from nlbflow.metrics import formulas as metrics
from nlbflow.scoring.bootstrap import Bootstrap, bootstrap, difference_interval, resample
from nlbflow.scoring.trial_statistics import trial_statistics

POPULATION, TRAIN, CONDITIONS, BINS, HELDIN, HELDOUT = 20_000, 100, 5, 20, 8, 6
# In the stretch, the correlation of the errors of neighbouring pseudo-trials, and the pseudo-trials of a block.
LASTING, BLOCK = 0.5, 5
# Datasets that the true psth R2 is the mean over.
AVERAGED = 2000
Interval = tuple[float, float] | None
Row = Iterator[tuple[str, str, float, Interval]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=int, default=2000, help="datasets of each size")
    parser.add_argument("--draws", type=int, default=1000, help="bootstrap draws for each")
    parser.add_argument("--trials", type=int, nargs="+", default=[25, 100], help=f"multiples of {CONDITIONS}")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    populations = {"trials": simulate(rng), "rsg": simulate(rng, timing=True), "stretch": simulate(rng, LASTING)}
    truth = {kind: true_values(target, models) for kind, (target, models) in populations.items()}
    print("true scores:", {kind: {name: round(v, 4) for name, v in s.items()} for kind, s in truth.items()})
    coverage = {}
    for trials in options.trials:
        start, outcomes = time.perf_counter(), {}
        truth["averages"] = average_scores(rng, populations["trials"], trials)
        for dataset in range(options.datasets):
            for row, kind, true, interval in one_dataset(rng, populations, truth, trials, options.draws, dataset):
                held = np.nan if interval is None else float(interval[0] <= true <= interval[1])
                outcomes.setdefault(f"{trials} {row}", {}).setdefault(kind, []).append(held)
        for row, kinds in outcomes.items():
            coverage[row] = {k: None if np.isnan(h).all() else round(float(np.nanmean(h)), 4) for k, h in kinds.items()}
            if without := float(np.mean(np.isnan(kinds["nlbflow"]))):
                coverage[row]["datasets without interval"] = round(without, 4)
            print(f"{row:24}", "  ".join(f"{kind} {share}" for kind, share in coverage[row].items()))
        print(f"{time.perf_counter() - start:.0f} s", flush=True)
    settings = {"datasets": options.datasets, "draws": options.draws, "seed": options.seed}
    print(json.dumps(settings | {"coverage": coverage}))


def simulate(rng: np.random.Generator, lasting: float = 0.0, timing: bool = False) -> tuple[dict, list[dict]]:
    """A population's target and two equally good predictions.

    A trial follows its condition's course and one of its own; the models see both with errors.

    Args:
        lasting: correlation of neighbouring trials' own courses and errors; if there is any, there are no conditions.
        timing: whether the behaviour is a produced interval, as in DMFC_RSG, that is shorter after faster activity.
    """
    total, clock = TRAIN + POPULATION, np.linspace(0, np.pi, BINS)
    basis = np.stack([np.sin(clock), np.sin(2 * clock), np.cos(clock)])
    condition = np.arange(total) % CONDITIONS
    course = 0.0 if lasting else rng.standard_normal((CONDITIONS, 3, 3))[condition]
    wrong = 0.4 * rng.standard_normal((CONDITIONS, 3, 3))[condition] if not lasting else 0.0
    own, *missed = 0.4 * rng.standard_normal((3, total, 3, 3))
    if lasting:
        own, *missed = (lfilter([np.sqrt(1 - lasting**2)], [1, -lasting], a, axis=0) for a in (2 * own, *missed))
    else:
        # Trials differ in how far they are out, which makes the sums of their errors skew.
        own *= rng.lognormal(0, 0.3, (total, 1, 1))
    loading = 0.3 * rng.standard_normal((3, HELDIN + HELDOUT))

    def rates_of(courses: np.ndarray) -> np.ndarray:
        # A resting rate of 6 spikes per second and a highest of 100, in bins of 50 ms.
        return 5 / (1 + 16 * np.exp(-(courses.transpose(0, 2, 1) @ basis).transpose(0, 2, 1) @ loading))

    rates = rates_of(course + own)
    target = {"eval_spikes_heldout": rng.poisson(rates[TRAIN:, :, HELDIN:]).astype(np.float64)}
    if not lasting:
        index = [np.flatnonzero(condition[TRAIN:] == c) for c in range(CONDITIONS)]
        target |= {"psth": np.stack([rates[TRAIN:][trials].mean(axis=0) for trials in index]), "eval_cond_idx": index}
    if timing:
        speed = np.linalg.norm(np.diff(rates, axis=1), axis=2).mean(axis=1)
        produced = 800 - 60 * (speed / speed.std() + rng.standard_normal(total))
        zeros = np.zeros(total)
        behavior = np.stack([zeros, condition, zeros, zeros, produced], axis=1)
    else:
        latents = (course + own).transpose(0, 2, 1) @ basis
        behavior = 100 * (latents.transpose(0, 2, 1) @ rng.standard_normal((3, 2)))
        behavior += 30 * rng.standard_normal((total, 1, 2)) + 30 * rng.standard_normal(behavior.shape)
    target |= {"train_behavior": behavior[:TRAIN], "eval_behavior": behavior[TRAIN:]}
    models = []
    for errors in missed:
        seen = rates_of(course + wrong + 0.8 * own + 0.4 * errors)
        parts = {"train": seen[:TRAIN], "eval": seen[TRAIN:]}
        model = {f"{part}_rates_heldin": r[..., :HELDIN] for part, r in parts.items()}
        models.append(model | {f"{part}_rates_heldout": r[..., HELDIN:] for part, r in parts.items()})
    return target, models


def true_values(target: dict, models: list[dict]) -> dict[str, float]:
    """The first model's scores on the whole population and its lead over the second."""
    first, second = (metrics.score(target, model) for model in models)
    return first | {f"{name} difference": first[name] - second[name] for name in first}


def average_scores(rng: np.random.Generator, population: tuple, trials: int) -> dict[str, float]:
    """psth R2 of the first model and its lead over the second, on average over datasets of so many trials."""
    target, models = population
    scores = []
    for _ in range(AVERAGED):
        part, predictions = cut(target, models, balanced(rng, target, trials), grouped=True)
        scores.append([metrics.score(part, prediction)["psth R2"] for prediction in predictions])
    first, second = np.mean(scores, axis=0)
    return {"psth R2": first, "psth R2 difference": first - second}


def balanced(rng: np.random.Generator, target: dict, trials: int) -> np.ndarray:
    """Equally many trials of each condition."""
    each = trials // CONDITIONS
    return np.concatenate([rng.choice(members, each, replace=False) for members in target["eval_cond_idx"]])


def one_dataset(rng: np.random.Generator, populations: dict, truth: dict, trials: int, draws: int, seed: int) -> Row:
    """(row, kind of interval, true value, interval) of everything that is measured on one dataset of each kind."""
    target, models = populations["trials"]
    chosen = rng.choice(POPULATION, trials, replace=False)
    yield from rows(cut(target, models, chosen), ("co-bps", "vel R2"), truth["trials"], draws, seed)
    by_condition = balanced(rng, target, trials)
    yield from rows(cut(target, models, by_condition, grouped=True), ("psth R2",), truth["averages"], draws, seed)
    target, models = populations["rsg"]
    yield from rows(cut(target, models[:1], by_condition), ("tp corr",), truth["rsg"], draws, seed)
    target, models = populations["stretch"]
    part = cut(target, models[:1], rng.integers(POPULATION - trials) + np.arange(trials))
    for block in (1, BLOCK):
        label = f" in blocks of {block}"
        yield from rows(part, ("co-bps", "vel R2"), truth["stretch"], draws, seed, block, label)


def cut(target: dict, models: list[dict], chosen: np.ndarray, grouped: bool = False) -> tuple[dict, list[dict]]:
    """The chosen evaluation trials; with the PSTHs instead of the behaviour if they are grouped by condition."""
    part = {"eval_spikes_heldout": target["eval_spikes_heldout"][chosen]}
    if grouped:
        part |= {"psth": target["psth"], "eval_cond_idx": np.split(np.arange(len(chosen)), CONDITIONS)}
    else:
        part |= {"train_behavior": target["train_behavior"], "eval_behavior": target["eval_behavior"][chosen]}
    return part, [{name: r[chosen] if name.startswith("eval") else r for name, r in m.items()} for m in models]


def rows(
    dataset: tuple[dict, list[dict]],
    names: tuple[str, ...],
    truth: dict[str, float],
    draws: int,
    seed: int,
    block: int = 1,
    label: str = "",
) -> Row:
    """The intervals of the first model's scores and, if there is a second, of their difference."""
    target, models = dataset
    statistics = [trial_statistics(target, model) for model in models]
    for name in names:
        scores = [bootstrap(of_model[name], draws, seed, block) for of_model in statistics]
        yield name + label, "nlbflow", truth[name], scores[0].interval()
        if len(scores) > 1:
            row = name + " difference"
            yield row, "nlbflow", truth[row], difference_interval(*scores)
            low, high = np.nanquantile(scores[0].draws - scores[1].draws, [0.025, 0.975])
            yield row, "paired percentile", truth[row], (low, high)
        statistic = statistics[0][name]
        plain = statistic.score(resample(statistic.strata, statistic.trials, draws, seed, block))
        plain = plain[np.isfinite(plain)]
        for kind, interval in (plainer(scores[0], plain) if plain.size else {}).items():
            yield name + label, kind, truth[name], interval


def plainer(score: Bootstrap, draws: np.ndarray) -> dict[str, Interval]:
    """95 % intervals by other textbook means."""
    low, high = np.quantile(draws, [0.025, 0.975])
    shift = ndtri(np.clip(np.mean(draws < score.estimate), 1e-3, 1 - 1e-3))
    moved = shift + ndtri([0.025, 0.975])
    skew = np.sum(score.contributions**3) / (6 * np.sum(score.contributions**2) ** 1.5)
    return {
        "percentile": (low, high),
        "basic": (2 * score.estimate - high, 2 * score.estimate - low),
        "BCa": tuple(np.quantile(draws, ndtr(shift + moved / (1 - skew * moved)))),
    }


if __name__ == "__main__":
    main()
