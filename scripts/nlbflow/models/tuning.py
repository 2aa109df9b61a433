"""Tuning: candidates from a grid, each scored by cross-validation inside the training trials.

No evaluation trial is touched. Folds are cut from the training trials of input.h5 as nlb_tools' baselines cut them:
fold i takes every n-th trial, beginning with trial i. A candidate's score is its mean co-bps over the folds.
"""

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace

import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.metrics.formulas import bits_per_spike
from nlbflow.models.catalogue import override, read_as_text
from nlbflow.recordings.model_input import ModelInput
from nlbflow.running.code import digest_of

RANGES = ("uniform", "log_uniform", "integers")


def grid_of(name: str, stanza: Mapping, defaults: Mapping, dataset: str) -> dict:
    """The grid that is searched on a dataset: the model's own, overridden by `per_dataset`.

    Raises:
        NlbflowError: a key is not one of the model's parameters, its values are neither a list nor a range, or one is
            not of its default's type.
    """
    tune = stanza["tune"]
    for key, layer in [
        ("grid", tune["grid"]),
        *((f"per_dataset.{d}", g) for d, g in tune.get("per_dataset", {}).items()),
    ]:
        for parameter, values in layer.items():
            where = f"models.{name}.tune.{key}.{parameter}"
            if parameter not in defaults:
                raise NlbflowError(f"{where}: the model has no such parameter; it has {', '.join(defaults) or 'none'}.")
            for value in _values(where, values):
                override({}, {parameter: value}, defaults, where.removesuffix(f".{parameter}"))
    return {**tune["grid"], **tune.get("per_dataset", {}).get(dataset, {})}


def _values(where: str, values: object) -> list:
    """The values of a list, or the ends of a range."""
    if isinstance(values, list) and values:
        return values
    kind, ends = next(iter(values.items())) if isinstance(values, dict) and len(values) == 1 else (None, None)
    types = (int,) if kind == "integers" else (int, float)
    numbers = isinstance(ends, list) and len(ends) == 2 and all(type(e) in types and math.isfinite(e) for e in ends)
    if kind not in RANGES or not numbers or ends[0] > ends[1] or (kind == "log_uniform" and ends[0] <= 0):
        raise NlbflowError(
            f"{where} is {values!r}; expected a list of values, or one of {', '.join(RANGES)} with [low, high], such "
            f"as {{log_uniform: [0.001, 1]}}; integers has whole ends.{read_as_text(ends)}"
        )
    return ends


def draw_candidates(grid: Mapping, budget: int, seed: int) -> dict[str, dict]:
    """Candidates, by a short name that stays the same when others are added.

    They are the whole grid if that is within the budget, and otherwise `budget` random points of it. A grid with a
    range is always drawn from.

    Args:
        grid: by parameter a list of values or a range.
        budget: the most candidates, the same for every model.
        seed: seed of the draws.
    """
    rng = random.Random(seed)
    if all(isinstance(values, list) for values in grid.values()):
        points = [dict(zip(grid, point, strict=True)) for point in itertools.product(*grid.values())]
        chosen = points if len(points) <= budget else rng.sample(points, budget)
    else:
        chosen = [{name: _draw(rng, values) for name, values in grid.items()} for _ in range(budget)]
    return {digest_of(candidate): candidate for candidate in chosen}


def _draw(rng: random.Random, values: list | Mapping) -> object:
    if isinstance(values, list):
        return rng.choice(values)
    ((kind, (low, high)),) = values.items()
    if kind == "integers":
        return rng.randint(low, high)
    if kind == "uniform":
        return rng.uniform(low, high)
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def fold_inputs(data: ModelInput, folds: int) -> list[tuple[ModelInput, np.ndarray]]:
    """For each fold, what a model sees (with the fold's trials as its evaluation trials) and the held-out spikes
    (trials, time, neurons) that it is scored by.

    Where trials are cut from one recording without a gap (MC_RTT), a trial's forward window is the beginning of the
    next trial. If that is a trial of the fold, the forward window is NaN.

    Raises:
        NlbflowError: there are fewer training trials than folds.
    """
    trials = np.arange(len(data.train_spikes_heldin))
    if len(trials) < max(folds, 2):
        raise NlbflowError(
            f"{folds} folds (config key tuning.folds) need as many training trials, but there are {len(trials)}."
        )
    cut = []
    for fold in range(folds):
        held = trials % folds == fold
        train = {
            field.name: getattr(data, field.name)[~held]
            for field in fields(data)
            if field.name.startswith("train_") and getattr(data, field.name) is not None
        }
        telling = (_runs_into_next(data) & np.roll(held, -1))[~held]
        for name in (name for name in train if name.endswith("_forward")):
            train[name] = np.where(telling[:, None, None], np.float32(np.nan), train[name])
        seen = replace(data, **train, eval_spikes_heldin=data.train_spikes_heldin[held])
        cut.append((seen, data.train_spikes_heldout[held]))
    return cut


def _runs_into_next(data: ModelInput) -> np.ndarray:
    """(trials,) whether a training trial's forward window is the beginning of the next trial."""
    runs = np.zeros(len(data.train_spikes_heldin), bool)
    if data.train_spikes_heldin_forward is not None:
        bins = min(data.train_spikes_heldin_forward.shape[1], data.train_spikes_heldin.shape[1])
        ahead, begin = data.train_spikes_heldin_forward[:-1, :bins], data.train_spikes_heldin[1:, :bins]
        runs[:-1] = (ahead == begin).all(axis=(1, 2))
    return runs


def score_candidate(
    data: ModelInput, folds: int, predict: Callable[[ModelInput], Mapping], log: Callable[[str], None]
) -> list[float]:
    """co-bps of a model on each fold of the training trials, fitted to the others; NaN if it refuses the parameters."""
    scores = []
    for fold, (seen, spikes) in enumerate(fold_inputs(data, folds)):
        try:
            rates = predict(seen)["eval_rates_heldout"]
        except NlbflowError as error:
            # such as more latents than neurons; the other candidates are still worth comparing
            log(f"fold {fold + 1} of {folds}: refused: {error}")
            return [float("nan")] * folds
        scores.append(bits_per_spike(rates, spikes))
        log(f"fold {fold + 1} of {folds}: co-bps = {scores[-1]:.4f}")
    return scores


def rank_candidates(results: Sequence[Mapping]) -> list[dict]:
    """Candidates by their mean co-bps over folds, the best first and those without a number last.

    Args:
        results: {"candidate": name, "params": what was tried, "scores": co-bps of each fold}.

    Raises:
        NlbflowError: no candidate gave a number.
    """
    rows = [{**result, "co-bps": float(np.mean(result["scores"]))} for result in results]
    if all(math.isnan(row["co-bps"]) for row in rows):
        raise NlbflowError(
            f"none of {len(rows)} candidates has a co-bps in every fold: the model refused them all (see the logs of "
            "rule tune), or a fold has no held-out spike; change its grid, lower the config key tuning.folds, or use "
            "the model untuned."
        )
    return sorted(rows, key=lambda row: (math.isnan(row["co-bps"]), -row["co-bps"], row["candidate"]))
