"""How often the intervals of nlbflow.bootstrap hold the true score, on simulated datasets.

    .venv/bin/python benchmarks/coverage.py --datasets 2000 --draws 1000

One population of 20,000 trials has the true score. Each dataset is drawn from it at random for co-bps and vel R2, and
with equally many trials of each condition for psth R2. Rates, velocity and the model's errors vary from trial to
trial, as in recordings: bins within a trial are not independent. The last line is one JSON object: the share of the
datasets whose 95 % interval held the true score, for nlbflow's intervals and the plainer ones they are chosen over.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import numpy as np

from nlbflow import metrics
from nlbflow.bootstrap import Bootstrap
from nlbflow.trial_statistics import bootstrap_scores, score_intervals, trial_statistics

POPULATION, TRAIN, CONDITIONS, BINS, HELDIN, HELDOUT = 20_000, 100, 5, 20, 8, 6
METRICS = ("co-bps", "vel R2", "psth R2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=int, default=2000, help="datasets of each size")
    parser.add_argument("--draws", type=int, default=1000, help="bootstrap draws for each")
    parser.add_argument("--trials", type=int, nargs="+", default=[25, 100], help=f"multiples of {CONDITIONS}")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    target, prediction = simulate(rng)
    truth = metrics.score(target, prediction)
    print("true scores:", {name: round(value, 4) for name, value in truth.items()})
    coverage = {}
    for trials in options.trials:
        start, hits = time.perf_counter(), {}
        for dataset in range(options.datasets):
            for name, intervals in one_dataset(rng, target, prediction, trials, options.draws, dataset).items():
                for kind, interval in intervals.items():
                    held = np.nan if interval is None else float(interval[0] <= truth[name] <= interval[1])
                    hits.setdefault(f"{trials} {name}", {}).setdefault(kind, []).append(held)
        for row, kinds in hits.items():
            coverage[row] = {kind: None if np.isnan(h).all() else float(np.nanmean(h)) for kind, h in kinds.items()}
            print(f"{row:12}", "  ".join(f"{kind} {share}" for kind, share in coverage[row].items()))
        print(f"{time.perf_counter() - start:.0f} s")
    print(json.dumps({"datasets": options.datasets, "draws": options.draws, "coverage": coverage}))


def simulate(rng: np.random.Generator) -> tuple[dict, dict]:
    """A population: a condition's course plus one of each trial's own, both seen by the model with errors."""
    total, clock = TRAIN + POPULATION, np.linspace(0, np.pi, BINS)
    basis = np.stack([np.sin(clock), np.sin(2 * clock), np.cos(clock)])
    condition = np.arange(total) % CONDITIONS
    shared = rng.standard_normal((CONDITIONS, 3, 3))[condition]
    wrong = 0.4 * rng.standard_normal((CONDITIONS, 3, 3))[condition]
    own, missed = 0.4 * rng.standard_normal((2, total, 3, 3))
    # Trials differ in how far they are out, which makes the sums of their errors skew.
    own *= rng.lognormal(0, 0.3, (total, 1, 1))
    latents = (shared + own).transpose(0, 2, 1) @ basis
    seen = (shared + wrong + 0.8 * own + 0.4 * missed).transpose(0, 2, 1) @ basis
    loading = 0.3 * rng.standard_normal((3, HELDIN + HELDOUT))
    # A resting rate of 6 spikes per second and a highest of 100, in bins of 50 ms.
    rates, predicted = (5 / (1 + 16 * np.exp(-z.transpose(0, 2, 1) @ loading)) for z in (latents, seen))
    velocity = 100 * (latents.transpose(0, 2, 1) @ rng.standard_normal((3, 2)))
    velocity += 30 * rng.standard_normal((total, 1, 2)) + 30 * rng.standard_normal(velocity.shape)
    index = [np.flatnonzero(condition[TRAIN:] == c) for c in range(CONDITIONS)]
    target = {
        "eval_spikes_heldout": rng.poisson(rates[TRAIN:, :, HELDIN:]).astype(np.float64),
        "train_behavior": velocity[:TRAIN],
        "eval_behavior": velocity[TRAIN:],
        "psth": np.stack([rates[TRAIN:][trials].mean(axis=0) for trials in index]),
        "eval_cond_idx": index,
    }
    parts = {"train": predicted[:TRAIN], "eval": predicted[TRAIN:]}
    heldin = {f"{part}_rates_heldin": r[..., :HELDIN] for part, r in parts.items()}
    return target, heldin | {f"{part}_rates_heldout": r[..., HELDIN:] for part, r in parts.items()}


def one_dataset(
    rng: np.random.Generator, target: dict, prediction: dict, trials: int, draws: int, seed: int
) -> dict[str, dict[str, tuple[float, float] | None]]:
    """Every kind of interval of every metric for one dataset."""
    each = trials // CONDITIONS
    balanced = np.concatenate([rng.choice(members, each, replace=False) for members in target["eval_cond_idx"]])
    result = {}
    for chosen, names in ((rng.choice(POPULATION, trials, replace=False), METRICS[:2]), (balanced, METRICS[2:])):
        part = {name: value[chosen] for name, value in target.items() if name.startswith(("eval_s", "eval_b"))}
        part |= {"train_behavior": target["train_behavior"]}
        if names == METRICS[2:]:
            part |= {"psth": target["psth"], "eval_cond_idx": np.split(np.arange(trials), CONDITIONS)}
            del part["eval_behavior"]
        rates = {name: r[chosen] if name.startswith("eval") else r for name, r in prediction.items()}
        statistics, shipped = trial_statistics(part, rates), score_intervals(part, rates, draws, seed)
        scores = bootstrap_scores(part, rates, draws, seed)
        for name in names:
            statistic, weights = statistics[name], np.zeros((draws, trials))
            for members in statistic.strata:
                n = len(members)
                weights[:, members] = rng.multinomial(n, np.full(n, 1 / n), size=draws)
            plain = statistic.score(weights)
            result[name] = {"nlbflow": shipped[name]} | others(scores[name], plain)
    return result


def others(score: Bootstrap, plain: np.ndarray) -> dict[str, tuple[float, float]]:
    """95 % intervals by textbook means, from n of n draws and from nlbflow's own draws."""
    low, high = np.quantile(plain, [0.025, 0.975])
    return {
        "percentile": (low, high),
        "basic": (2 * score.estimate - high, 2 * score.estimate - low),
        "percentile, n - 1": tuple(np.quantile(score.draws, [0.025, 0.975])),
        "BCa, n - 1": replace(score, freedom=10**6).interval(),
        "BC with t": replace(score, influence=np.zeros(1)).interval(),
    }


if __name__ == "__main__":
    main()
