"""Comparisons of models at one place (dataset, bin width, phase): ranks, differences, decoding between latents."""

from collections.abc import Mapping

import numpy as np

from nlbflow.metrics.formulas import LOWER_IS_BETTER
from nlbflow.metrics.kinds import COMPETITOR, RANKED
from nlbflow.scoring.bootstrap import Bootstrap, Models, mean_of, rank_intervals
from nlbflow.scoring.latents import cross_decoding_r2

# Pairs of a thousand models are half a million: they are told of this many that are best by the metric, and of these
# few with each other model, which the marks of the first and the second need.
MOST_PAIRED, FIRST_PAIRED = 200, 20
# by model and seed, then by metric
Scores = Mapping[tuple[str, int], Mapping[str, Bootstrap]]


def rank_table(scores: Scores, kinds: Mapping[str, str] | None = None) -> list[dict]:
    """A row per metric and model: the mean over its seeds, its interval, and the ranks that its differences allow.

    Args:
        scores: bootstrapped scores of every run, from the same resamples.
        kinds: the kind of each model that is not a plain competitor: control, or oracle and implausible, which are not
            ranked.
    """
    kinds, rows = kinds or {}, []
    for metric, models in _by_metric(scores).items():
        ranked = {name: b for name, (b, _) in models.items() if kinds.get(name, COMPETITOR) in RANKED}
        ranks = rank_intervals(ranked, higher_is_better=metric not in LOWER_IS_BETTER)
        for name, (bootstrap, seeds) in models.items():
            low, high = bootstrap.interval() or (None, None)
            best, worst = ranks.get(name, (None, None))
            rows.append(
                {
                    "metric": metric,
                    "model": name,
                    "kind": kinds.get(name, COMPETITOR),
                    "seeds": seeds,
                    "value": bootstrap.estimate,
                    "low": low,
                    "high": high,
                    "best_rank": best,
                    "worst_rank": worst,
                }
            )
    return rows


def difference_table(scores: Scores) -> list[dict]:
    """A row per metric and pair of models: the paired difference of their scores, its interval, whether it is real.

    A difference is real if 0 lies outside its 95 % interval; each pair is judged by itself. Of many models, pairs of
    which both are far behind have no row (`MOST_PAIRED`, `FIRST_PAIRED`).
    """
    rows = []
    for metric, models in _by_metric(scores).items():
        names, found = [*models], Models.of([bootstrap for bootstrap, _ in models.values()])
        order = np.argsort(found.estimates if metric in LOWER_IS_BETTER else -found.estimates, kind="stable")
        places = np.argsort(order)
        for i, name in enumerate(names[:-1]):
            better, worse = np.minimum(places[i], places[i + 1 :]), np.maximum(places[i], places[i + 1 :])
            others = i + 1 + np.flatnonzero((worse < MOST_PAIRED) | (better < FIRST_PAIRED))
            if not len(others):
                continue
            low, high = found.differences(i, others)
            for j, *ends in zip(others, low.tolist(), high.tolist(), strict=True):
                known = not np.isnan(ends[0])
                rows.append(
                    {
                        "metric": metric,
                        "model": name,
                        "other": names[j],
                        "difference": float(found.estimates[i] - found.estimates[j]),
                        "low": ends[0] if known else None,
                        "high": ends[1] if known else None,
                        "real": known and (ends[0] > 0 or ends[1] < 0),
                    }
                )
    return rows


def cross_decoding_table(latents: Mapping[str, Mapping]) -> list[dict]:
    """A row per ordered pair of models with latents: how well the second's latents are decoded from the first's.

    Args:
        latents: train_latents and eval_latents (trials, time, dimensions) by model.
    """
    return [
        {
            "model": name,
            "other": other,
            "R2": cross_decoding_r2(
                source["train_latents"], wanted["train_latents"], source["eval_latents"], wanted["eval_latents"]
            ),
        }
        for name, source in latents.items()
        for other, wanted in latents.items()
        if name != other
    ]


def _by_metric(scores: Scores) -> dict[str, dict[str, tuple[Bootstrap, int]]]:
    """By metric and model, the mean over the model's seeds and their number."""
    runs: dict[str, dict[str, list[Bootstrap]]] = {}
    for (model, _), metrics in scores.items():
        for metric, bootstrap in metrics.items():
            runs.setdefault(metric, {}).setdefault(model, []).append(bootstrap)
    return {m: {name: (mean_of(b), len(b)) for name, b in models.items()} for m, models in runs.items()}
