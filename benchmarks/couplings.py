"""Couplings that models find in a simulated network whose couplings are known, beside plain correlations.

    snakemake --configfile configs/literature.yaml
    python benchmarks/couplings.py results/simulated_coupled/20ms/val

For each prediction that shows `neuron_similarity`, and for correlations and partial correlations of the training counts
(from the inverse of their covariance), prints the area under the ROC curve as true couplings are told from other
ordered pairs of neurons. Correlations know no direction, so they cannot reach 1.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import numpy as np

from nlbflow.running.files import read_arrays
from nlbflow.scoring.structure import coupling_auc


def correlations(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Correlations and partial correlations (neurons, neurons) of counts (trials, bins, neurons)."""
    rows = counts.reshape(-1, counts.shape[2]).astype(np.float64)
    rows = rows - rows.mean(axis=0)
    covariance = rows.T @ rows / len(rows)
    # a neuron without spikes is correlated with none
    covariance[np.diag_indices_from(covariance)] += 1e-9 + (np.diag(covariance) == 0)
    precision = np.linalg.inv(covariance)
    return {
        "correlation": covariance / np.sqrt(np.outer(np.diag(covariance), np.diag(covariance))),
        "partial correlation": -precision / np.sqrt(np.outer(np.diag(precision), np.diag(precision))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("place", type=Path, help="folder of a dataset, bin width and phase in results/")
    place = parser.parse_args().place
    seen, true = read_arrays(place / "input.h5")[0], read_arrays(place / "target.h5")[0]
    couplings = true["true_structure"]["couplings"]
    counts = np.concatenate([seen["train_spikes_heldin"], seen["train_spikes_heldout"]], axis=2)
    for name, similarity in correlations(counts).items():
        print(f"{name:32s} {coupling_auc(couplings, similarity):.3f}")
    for path in sorted(place.glob("*/*/prediction.h5")):
        prediction = read_arrays(path)[0]
        if "neuron_similarity" in prediction:
            name = f"{path.parts[-3]}, seed {path.parts[-2]}"
            print(f"{name:32s} {coupling_auc(couplings, prediction['neuron_similarity']):.3f}")


if __name__ == "__main__":
    main()
