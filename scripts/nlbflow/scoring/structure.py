"""The structure that a model finds in simulated data, against the truth: which neurons belong together, which neuron
drives which, when the dynamics switch. docs/metrics.md lists these metrics with their sources.
"""

from collections.abc import Mapping

import numpy as np

from nlbflow.errors import NlbflowError

STRUCTURE = ("neuron ARI", "coupling AUC", "state ARI", "state accuracy")


def structure_scores(target: Mapping, prediction: Mapping) -> dict[str, float]:
    """The metrics of this module that apply to one prediction.

    `neuron ARI` scores neuron_labels, `coupling AUC` neuron_similarity, `state ARI` and `state accuracy` eval_states;
    each needs the corresponding truth.

    Args:
        target: arrays of target.h5; true_structure is used.
        prediction: arrays under the names of a prediction.

    Raises:
        NlbflowError: scikit-learn is not installed.
    """
    true, scores = target.get("true_structure", {}), {}
    if {"neuron_labels"} <= true.keys() & prediction.keys():
        scores["neuron ARI"] = rand_index(true["neuron_labels"], prediction["neuron_labels"])
    if "couplings" in true and "neuron_similarity" in prediction:
        scores["coupling AUC"] = coupling_auc(true["couplings"], prediction["neuron_similarity"])
    if {"eval_states"} <= true.keys() & prediction.keys():
        pair = true["eval_states"], prediction["eval_states"]
        scores |= {"state ARI": rand_index(*pair), "state accuracy": matched_accuracy(*pair)}
    return {name: value for name, value in scores.items() if not np.isnan(value)}


def rand_index(true: np.ndarray, labels: np.ndarray) -> float:
    """Adjusted Rand index of two labellings of the same shape (Hubert and Arabie 1985, J. Classification 2:193).

    1 if they are the same up to names, about 0 for labels at random. Computed by scikit-learn.
    """
    return float(_sklearn_metrics().adjusted_rand_score(np.ravel(true), np.ravel(labels)))


def matched_accuracy(true: np.ndarray, states: np.ndarray) -> float:
    """Share of entries whose state is the true one under the best one-to-one match of names (Kuhn's assignment).

    Args:
        true, states: integers of the same shape; they may have different numbers of states.
    """
    # half a second, which most scores need not wait for
    from scipy.optimize import linear_sum_assignment

    (_, row), (_, column) = (np.unique(np.ravel(a), return_inverse=True) for a in (true, states))
    counts = np.zeros((row.max() + 1, column.max() + 1))
    np.add.at(counts, (row, column), 1)
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / counts.sum())


def coupling_auc(couplings: np.ndarray, similarity: np.ndarray) -> float:
    """Area under the ROC curve, as true couplings are told from all other ordered pairs of neurons.

    Args:
        couplings: (neurons, neurons), 1 where the column's neuron drives the row's.
        similarity: (neurons, neurons), larger for stronger couplings; the diagonal is not used.

    Returns:
        1 at best, 0.5 by chance (Fawcett 2006, Pattern Recognition Letters 27:861); NaN if all pairs or none are
        coupled.
    """
    pairs = ~np.eye(len(couplings), dtype=bool)
    truth = np.asarray(couplings)[pairs] > 0
    if truth.all() or not truth.any():
        return float("nan")
    return float(_sklearn_metrics().roc_auc_score(truth, np.asarray(similarity)[pairs]))


def _sklearn_metrics():
    """Imported on demand, because it takes a second and few predictions need it."""
    try:
        import sklearn.metrics
    except ModuleNotFoundError as error:
        raise NlbflowError(
            "scores of neuron_labels, neuron_similarity and states need scikit-learn, which is not installed; "
            "pip install scikit-learn, or leave these arrays out."
        ) from error
    return sklearn.metrics
