"""Scores of arrays that are drawn at random, as each version of the metrics has them: tests/scoring/golden_scores.json.

python tests/helpers/golden_scores.py    writes the file anew, for a new `nlbflow.METRICS_VERSION`
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATH = ROOT / "tests/scoring/golden_scores.json"
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests/helpers")]

import numpy as np

from nlbflow import METRICS_VERSION
from nlbflow.metrics.formulas import score_null
from nlbflow.scoring.consistency import consistency
from nlbflow.scoring.latents import latent_scores
from nlbflow.scoring.scores import benchmark_scores, further_scores
from nlbflow.scoring.structure import structure_scores
from scored_arrays import BINS, EVAL, HELDIN, HELDOUT, LAYOUTS, TRAIN, make

SETTINGS = {"few_shot": {"trials": 8, "draws": 3}, "seed": 0}


def golden_scores() -> dict:
    """The version, and by layout and metric [score, low, high], without an interval where there is none."""
    found = {}
    for number, layout in enumerate(LAYOUTS):
        target, prediction = make(layout, number)
        scores, resamples = benchmark_scores(target, prediction, 200, 0)
        scores |= further_scores(target, prediction)
        rng = np.random.default_rng(number)
        seeds = [_latents(rng) for _ in range(2)]
        spikes = {"train_spikes_heldout": rng.poisson(prediction["train_rates_heldout"]).astype(float)}
        truth = {"true_rates": prediction, "true_states": _latents(rng), "true_structure": _structure(rng)}
        shown = {name: array for name, array in _structure(rng).items() if name != "couplings"}
        shown |= {"neuron_similarity": rng.random((HELDIN + HELDOUT,) * 2)}
        rates = {name: array * rng.gamma(9.0, 1 / 9, array.shape) for name, array in prediction.items()}
        scores |= latent_scores(spikes, target | truth, rates | seeds[0], SETTINGS)
        scores |= structure_scores(target | truth, shown)
        scores |= consistency(seeds)
        intervals = {metric: resampled.interval() or () for metric, resampled in resamples.items()}
        found[layout] = {metric: [value, *intervals.get(metric, ())] for metric, value in sorted(scores.items())}
        found[f"{layout}, null"] = {metric: [value] for metric, value in score_null(target).items()}
    return {"metrics_version": METRICS_VERSION, "scores": found}


def _latents(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {f"{part}_latents": rng.standard_normal((n, BINS, 3)) for part, n in (("train", TRAIN), ("eval", EVAL))}


def _structure(rng: np.random.Generator) -> dict[str, np.ndarray]:
    neurons = HELDIN + HELDOUT
    return {
        "neuron_labels": rng.integers(0, 3, neurons),
        "couplings": rng.random((neurons, neurons)) < 0.2,
        "eval_states": rng.integers(0, 2, (EVAL, BINS)),
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(golden_scores(), indent=1) + "\n")
