"""Clusters, couplings and states against the truth of simulated data."""

import numpy as np
import pytest

from nlbflow.scoring.structure import coupling_auc, matched_accuracy, structure_scores

RNG = np.random.default_rng(0)
TRUE = {
    "neuron_labels": RNG.integers(0, 3, 60),
    "couplings": RNG.random((60, 60)) < 0.05,
    "eval_states": RNG.integers(0, 2, (20, 30)),
}


def scores(**shown):
    return structure_scores({"true_structure": TRUE}, shown)


def test_the_truth_under_other_names_scores_one():
    found = scores(
        neuron_labels=7 - TRUE["neuron_labels"],
        neuron_similarity=5.0 * TRUE["couplings"],
        eval_states=1 - TRUE["eval_states"],
    )
    assert found == {"neuron ARI": 1, "coupling AUC": 1, "state ARI": 1, "state accuracy": 1}


def test_chance():
    found = scores(
        neuron_labels=np.zeros(60, int),
        neuron_similarity=RNG.random((60, 60)),
        eval_states=RNG.integers(0, 2, (20, 30)),
    )
    assert found["neuron ARI"] == 0 and abs(found["coupling AUC"] - 0.5) < 0.1
    assert abs(found["state ARI"]) < 0.05 and 0.5 <= found["state accuracy"] < 0.6


@pytest.mark.parametrize(
    ("states", "accuracy"),
    [
        ([2, 2, 2, 0, 0, 1], 5 / 6),  # the sixth is a state of its own
        ([0, 0, 0, 0, 0, 0], 1 / 2),
        ([0, 1, 2, 3, 4, 5], 2 / 6),  # one-to-one: each true state has one of them
    ],
)
def test_accuracy_under_the_best_match(states, accuracy):
    assert matched_accuracy(np.array([0, 0, 0, 1, 1, 1]), np.array(states)) == pytest.approx(accuracy)


def test_direction_counts_and_the_diagonal_does_not():
    couplings = np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]])
    assert coupling_auc(couplings, couplings + 9 * np.eye(3)) == 1
    assert coupling_auc(couplings, couplings.T) == pytest.approx(0.4)  # 4 ties and one above
    assert np.isnan(coupling_auc(np.zeros((3, 3)), couplings))


def test_without_a_truth_or_a_claim_there_is_no_score():
    assert structure_scores({}, TRUE) == {} and scores() == {} and scores(train_states=TRUE["eval_states"]) == {}
