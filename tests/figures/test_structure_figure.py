"""What models show beyond rates, drawn: states, labels and similarities of neurons."""

import numpy as np
from test_prediction_figures import BINS, HELDIN, HELDOUT, TRIALS, make_place, words

from nlbflow.figures.structure import by_occupancy, draw_structure, neuron_matrix
from nlbflow.running.files import write_arrays


def test_structure_of_the_truth_and_of_models_that_show_it(tmp_path):
    place = make_place(tmp_path, "rtt")
    assert "No competing model" in words(draw_structure(place))
    neurons, rng = HELDIN + HELDOUT, np.random.default_rng(0)
    states, labels = rng.integers(0, 3, (TRIALS, BINS)), np.arange(neurons) % 3
    place.target["true_structure"] = {"neuron_labels": labels, "eval_states": states}
    place.predictions["fair"] = tmp_path / "shows.h5"
    write_arrays(tmp_path / "shows.h5", {"neuron_similarity": rng.random((neurons, neurons))}, {})
    figure = draw_structure(place)
    # above the first that each shows: the truth's states, the model's similarities
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["truth", "", "", "fair"]
    images = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert [image.shape for image in images] == [(16, BINS), (neurons, neurons), (neurons, neurons)]
    first, order = images[1], np.argsort(labels, kind="stable")
    assert np.array_equal(first, (labels[order][:, None] == labels[order]).astype(float))
    assert figure.axes[1].get_xlabel() == "neuron, by the first labels\n0 (dark) to 1 (bright)"


def test_states_are_named_by_occupancy():
    assert by_occupancy(np.array([[7, 7, 3], [9, 3, 7]])).tolist() == [[0, 0, 1], [2, 1, 0]]
    assert neuron_matrix({}) is None and neuron_matrix({"neuron_labels": np.array([4, 4])}).tolist() == [[1, 1], [1, 1]]
