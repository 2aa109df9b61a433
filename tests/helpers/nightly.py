"""The real recordings against published scores: run `configs/nightly.yaml`, compare, exit 1 where a score is off.

    python tests/helpers/nightly.py [--configfile ANOTHER.yaml ...]

Further config files extend the first; results/ and data/ appear where it is run.
"""

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "scripts"))

import numpy as np
import pandas as pd

from nlbflow.methods.smoothing import gaussian_kernel, smoothing_matrix
from nlbflow.metrics.formulas import score
from nlbflow.running.files import read_arrays

PLACE = "results/mc_maze_large/5ms/val"
# nlb_tools' own test, mc_maze_large, phase val, 5 ms: made from the recording alone, so these must be met exactly.
REFERENCE = {"co-bps": 0.1528, "vel R2": 0.5224, "psth R2": 0.3871}
REFERENCE_TOLERANCE = 1e-4
# nlb_tools' baselines at the same place, from an older release of the recording and fits of its own: only near.
# Smoothing with 40 ms and alpha 0.1; GPFA with 20 latents.
BASELINES = {"smoothing": 0.2251, "gpfa_20": 0.2286}
BASELINE_TOLERANCE = 0.02


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configfile", nargs="+", default=[], metavar="FILE", help="config files that extend it")
    configs = [ROOT / "configs/nightly.yaml", *parser.parse_args(arguments).configfile]
    workflow = [sys.executable, "-m", "snakemake", "-s", ROOT / "Snakefile", "--cores", "all"]
    workflow += ["results/scores.csv", "results/leaderboard.md", "--configfile", *configs]
    subprocess.run(list(map(str, workflow)), check=True)
    rows = compare(Path(PLACE), Path("results/scores.csv"))
    print(pd.DataFrame(rows).to_string(index=False))
    return 0 if all(row["met"] for row in rows) else 1


def compare(place: Path, scores: Path) -> list[dict]:
    """One row for each published score: what, found, published, tolerance, and whether it is met.

    Args:
        place: the folder with input.h5 and target.h5 of mc_maze_large.
        scores: the table of all scores.
    """
    found = reference_scores(read_arrays(place / "input.h5")[0], read_arrays(place / "target.h5")[0])
    rows = [("nlb_tools' test", m, found[m], value, REFERENCE_TOLERANCE) for m, value in REFERENCE.items()]
    table = pd.read_csv(scores)
    table = table[(table["dataset"] == "mc_maze_large") & (table["metric"] == "co-bps")].set_index("model")["value"]
    rows += [(model, "co-bps", table[model], value, BASELINE_TOLERANCE) for model, value in BASELINES.items()]
    names = ("what", "metric", "found", "published", "tolerance")
    return [{**dict(zip(names, row, strict=True)), "met": abs(row[2] - row[3]) <= row[4]} for row in rows]


def reference_scores(seen: dict, target: dict) -> dict[str, float]:
    """The scores of nlb_tools' test: smoothed spikes, and ridge regression from their logarithm to held-out neurons.

    Args:
        seen: arrays of input.h5, spikes (trials, bins, neurons).
        target: arrays of target.h5.
    """
    smooth = smoothing_matrix(gaussian_kernel(60, 10), seen["train_spikes_heldin"].shape[1])
    train, heldout, evaluated = (
        smooth @ seen[name].astype(float)
        for name in ("train_spikes_heldin", "train_spikes_heldout", "eval_spikes_heldin")
    )
    # the constant is penalised like every weight
    features = design(train)
    answers = heldout.reshape(-1, heldout.shape[2])
    weights = np.linalg.pinv(features.T @ features + 1e6 * np.eye(features.shape[1])) @ features.T @ answers
    rates = {
        "train_rates_heldin": train,
        "train_rates_heldout": (features @ weights).reshape(heldout.shape),
        "eval_rates_heldin": evaluated,
        "eval_rates_heldout": (design(evaluated) @ weights).reshape(*evaluated.shape[:2], -1),
    }
    return score(target, {name: np.clip(value, 1e-9, 1e20) for name, value in rates.items()})


def design(smoothed: np.ndarray) -> np.ndarray:
    """(trials x bins, neurons + 1): logarithms of smoothed counts, and ones."""
    logarithms = np.log(smoothed.reshape(-1, smoothed.shape[2]) + 1e-4)
    return np.hstack([logarithms, np.ones((len(logarithms), 1))])


if __name__ == "__main__":
    sys.exit(main())
