"""Clusters of neurons sampled from where the fit of clusters ends, and what a model returns of it."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from nlbflow.errors import NlbflowError
from nlbflow.methods.slds.clusters import fit_clusters
from nlbflow.methods.slds.gibbs import Assumed, draw_dynamics, log_means
from nlbflow.methods.slds.posterior import _agreed, _aligned, _start, sample
from nlbflow.methods.slds.start import known
from nlbflow.models.contract import check_model, load_model, tiny_input
from nlbflow.recordings.simulator.clusters import STEP_MS, simulate_clusters
from nlbflow.recordings.simulator.truth import rates_hz

MODEL = Path(__file__).parents[2] / "scripts/models/biclust.py"
OPTIONS = {"l2_A": 10.0, "l2_b": 1e-8, "iterations": 4, "start_iterations": 5, "resamples": 3, "seed": 0}


@pytest.fixture(scope="module")
def clustered():
    """Three clusters of 10 neurons: counts, the last of which are of a neuron that never fires; true labels; a fit."""
    session = simulate_clusters(
        {"seed": 5, "clusters": 3, "states": 2, "coupling": 0.0, "train_trials": 30, "val_trials": 1,
         "test_trials": 1, "heldin": 24, "heldout": 6}
    )  # fmt: skip
    latents = session.train.latents[:30, : 40 * STEP_MS : STEP_MS].astype(float)
    rates = rates_hz(latents, session.population.weights, session.population.bias) * STEP_MS / 1000
    counts = np.random.default_rng(0).poisson(2 * rates).astype(float)
    counts = np.concatenate([counts, np.zeros((30, 40, 1))], axis=2)
    return counts, session.structure["labels"], fit_clusters(counts, 20, 2, 3, 3, **OPTIONS)


def sampled(clustered, cut, **options):
    counts, _, found = clustered
    options = {"later": 3, "clusters": 3, "sweeps": 5, "burn_in": 5, "inference_iterations": 5, "seed": 1, **options}
    return sample(found, counts, cut, **options)


def test_the_chain_starts_at_the_rates_of_the_fit(clustered):
    counts, _, found = clustered
    counts, rng = counts[..., :-1], np.random.default_rng(0)
    assumed = Assumed(level=float(np.log(counts.mean())))
    drawn, trials = _start(found, counts, 3, assumed, rng)
    fitted = np.log(found.model.emission.rates(found.posterior.latents)[..., :-1])
    means = log_means(drawn, trials.latents, assumed)
    assert np.corrcoef(means.ravel(), fitted.ravel())[0, 1] > 0.95
    np.testing.assert_allclose(means.mean(axis=(0, 1)), fitted.mean(axis=(0, 1)), atol=1e-6)
    assert drawn.labels.tolist() == found.labels[:-1].tolist() and drawn.places == 4
    # the place that is empty is not silent: a neuron may come
    assert trials.latents[..., 9:].std() > 0.3


def test_what_cut_trials_show_enters_no_parameter(clustered):
    counts, labels, _ = clustered
    seen = counts.copy()
    seen[..., 24:] = np.nan
    one = sampled(clustered, {"train": seen, "eval": seen[:8]})
    two = sampled(clustered, {"train": seen, "eval": seen[8:16]})
    assert np.array_equal(one.cut["train"].rates, two.cut["train"].rates)
    assert np.array_equal(one.together, two.together) and np.array_equal(one.states, two.states)
    assert not np.array_equal(one.cut["eval"].rates, two.cut["eval"].rates)
    assert adjusted_rand_score(labels, one.labels[:-1]) > 0.8


def test_rates_are_expected_counts_and_silent_neurons_stay_so(clustered):
    counts, _, _ = clustered
    seen = counts.copy()
    seen[..., 24:] = np.nan
    found = sampled(clustered, {"train": seen})
    told = found.cut["train"]
    assert told.rates.shape == counts.shape and told.later.shape == (30, 3, 31)
    np.testing.assert_allclose(told.rates.mean(axis=(0, 1))[:-1], counts.mean(axis=(0, 1))[:-1], rtol=0.3)
    assert np.all(told.rates[..., -1] < 1e-8) and found.labels[-1] == -1 and not found.together[-1].any()
    np.testing.assert_allclose(told.states.sum(axis=2), 1)
    assert 0 <= found.moved < 0.5
    # 2 states of 12 latents, their transitions, the first latents' moments, and 30 neurons of 3 loadings
    assert found.parameters == 2 * (144 + 12 + 78) + 2 + 12 + 78 + 30 * 3


def test_where_trials_begin_is_learnt():
    """Short trials show little of their first latents, so a prior that is too wide costs much."""
    rng, assumed = np.random.default_rng(0), Assumed(level=0.0)
    latents = rng.standard_normal((200, 6, 2))
    latents[:, 0] = [2.0, -1.0] + 0.2 * latents[:, 0]
    states = np.zeros((200, 6), int)
    drawn = [draw_dynamics(known(latents), states, 1, assumed, rng) for _ in range(50)]
    mean = np.mean([dynamics.first_mean for dynamics in drawn], axis=0)
    np.testing.assert_allclose(mean, latents[:, 0].mean(axis=0), atol=0.03)
    spread = np.mean([dynamics.first_cov for dynamics in drawn], axis=0)
    # with the prior's shares: its scale, and the mean's distance from zero
    expected = (np.eye(2) + np.outer(mean, mean) + 200 * np.cov(latents[:, 0].T, bias=True)) / 201
    np.testing.assert_allclose(spread, expected, atol=0.01)


def test_labels_that_agree_best_are_taken():
    kept = np.array([[0, 0, 1], [0, 0, 1], [0, 1, 1], [2, 2, 0]])
    labels, together = _agreed(kept)
    assert labels.tolist() in ([0, 0, 1], [2, 2, 0])
    np.testing.assert_allclose(together, [[1, 0.75, 0], [0.75, 1, 0.25], [0, 0.25, 1]])


def test_turned_latents_are_brought_to_the_reference():
    rng = np.random.default_rng(0)
    reference = [rng.standard_normal((n, 6, 4)) for n in (20, 5)]
    turn = rng.standard_normal((4, 4))
    found = _aligned([part @ turn + 3 for part in reference], reference)
    for part, expected in zip(found, reference, strict=True):
        np.testing.assert_allclose(part, expected, atol=1e-9)


def test_contract():
    facts = check_model(MODEL, "biclust", {**load_model(MODEL).DEFAULTS, "posterior": True})["facts"]
    assert sum(map(int, facts["neurons"].split(", "))) == 14 and 0 <= facts["moved"] <= 1


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"posterior": "yes"}, "true or false as posterior.*found 'yes'"),
        ({"sweeps": 0}, "sweeps >= 1"),
        ({"burn_in": -1}, "burn_in >= 0"),
        ({"sweeps": 2.5}, "whole number as sweeps"),
    ],
)
def test_parameters_out_of_range_are_refused(params, words):
    model = load_model(MODEL)
    with pytest.raises(NlbflowError, match=words):
        model.predict(tiny_input(), {**model.DEFAULTS, **model.CHECK, "posterior": True, **params}, 0)
