"""Clusters of neurons with latents of their own: finding them, and the fit in which each neuron sees its own only."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from nlbflow.errors import NlbflowError
from nlbflow.methods.slds.clusters import _moved, _settled, _white, fit_clusters
from nlbflow.methods.slds.fit import fit, fit_one_state, fit_states
from nlbflow.methods.slds.gaussian_chain import Chain
from nlbflow.methods.slds.softplus_poisson import Emission, climb, evaluate, softplus
from nlbflow.methods.slds.start import regress, start_blocks
from nlbflow.methods.slds.subspaces import sparse_labels, subspace_labels
from nlbflow.models.contract import check_model, load_model, tiny_input
from nlbflow.recordings.simulator.clusters import STEP_MS, simulate_clusters
from nlbflow.recordings.simulator.truth import rates_hz

MODEL = Path(__file__).parents[2] / "scripts/models/biclust.py"
OPTIONS = {"l2_A": 10.0, "l2_b": 1e-8, "iterations": 8, "start_iterations": 10, "resamples": 10, "seed": 0}


def subspaces(rng, noise=0.0):
    """Rows of three random two-dimensional subspaces of six dimensions, and which is whose."""
    labels = rng.permutation(np.repeat([0, 1, 2], 12))
    axes = rng.standard_normal((3, 2, 6))
    rows = np.einsum("ni,nij->nj", rng.standard_normal((36, 2)), axes[labels])
    return rows + noise * rng.standard_normal(rows.shape), labels


def test_exact_subspaces_are_found_and_cost_nothing():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        rows, true = subspaces(rng)
        labels, cost = subspace_labels(rows, 3, 2, rng, [])
        assert adjusted_rand_score(true, labels) == 1 and cost < 1e-9
        assert adjusted_rand_score(true, sparse_labels(rows, 3, 2, seed)) == 1


def test_the_lowest_cost_of_all_starts_is_kept():
    rng = np.random.default_rng(5)
    rows, true = subspaces(rng, noise=0.2)
    _, of_truth = subspace_labels(rows, 3, 2, rng, [true], random=0)
    labels, cost = subspace_labels(rows, 3, 2, rng, [true])
    assert cost <= of_truth + 1e-12 and adjusted_rand_score(true, labels) > 0.8
    axes = [
        np.linalg.svd(r / np.linalg.norm(r, axis=1, keepdims=True))[2][:2]
        for r in (rows[labels == k] for k in range(3))
    ]
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    outside = [1 - np.sum((axes[k] @ row) ** 2) for row, k in zip(unit, labels, strict=True)]
    assert cost == pytest.approx(sum(outside), rel=1e-9)


def test_weights_that_are_held_at_zero_stay_there_and_the_others_climb_alone():
    rng = np.random.default_rng(1)
    x, free = rng.standard_normal((20, 15, 4)), np.zeros((5, 4), bool)
    free[:3, :2] = free[3:, 2:] = True
    counts = rng.poisson(softplus(x @ (rng.standard_normal((5, 4)) * free).T - 1)).astype(float)
    latents = Chain(x, 0.1 * np.broadcast_to(np.eye(4), (20, 15, 4, 4)).copy(), np.zeros((20, 14, 4, 4)), np.zeros(20))
    together, values = regress(counts, latents, free)
    assert np.all(together.weights[~free] == 0) and np.all(together.weights[free] != 0)
    alone, value = regress(counts[..., :3], latents.project(slice(0, 2)))
    np.testing.assert_allclose(together.weights[:3, :2], alone.weights, rtol=1e-9)
    np.testing.assert_allclose(values[:3], value, rtol=1e-12)


def test_a_mask_that_frees_all_changes_no_bit():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((6, 10, 3))
    counts = rng.poisson(0.5, (6, 10, 4)).astype(float)
    latents = Chain(x, np.broadcast_to(np.eye(3), (6, 10, 3, 3)).copy(), np.zeros((6, 9, 3, 3)), np.zeros(6))
    weights, bias, active = rng.standard_normal((4, 3)), np.zeros(4), np.arange(4)
    found = []
    for free in (None, np.ones((4, 3), bool)):
        emission = Emission(weights, bias, free)
        found.append(climb(emission, latents, counts, evaluate(emission, latents, counts), active))
    assert np.array_equal(found[0].weights, found[1].weights) and np.array_equal(found[0].bias, found[1].bias)
    assert found[0].parameters == found[1].parameters == 16


def test_one_cluster_is_the_slds_bit_for_bit():
    counts = np.random.default_rng(3).poisson(0.4, (12, 15, 8)).astype(float)
    options = {name: OPTIONS[name] for name in ("l2_A", "l2_b", "iterations", "start_iterations", "seed")}
    model, posterior, _ = fit(counts, 20, 2, 3, **options)
    found = fit_clusters(counts, 20, 2, 1, 3, **OPTIONS)
    assert np.array_equal(found.model.emission.weights, model.emission.weights)
    assert np.array_equal(found.model.dynamics.A, model.dynamics.A)
    assert np.array_equal(found.posterior.states, posterior.states)
    assert found.labels.tolist() == [0] * 8 and np.all(found.together == 1)


@pytest.fixture(scope="module")
def clustered():
    """Three clusters of 12 neurons, with a copy of the first neuron as the last, fitted."""
    session = simulate_clusters(
        {"seed": 5, "clusters": 3, "states": 2, "coupling": 0.0, "train_trials": 60, "val_trials": 1,
         "test_trials": 1, "heldin": 27, "heldout": 9}
    )  # fmt: skip
    population = session.population
    latents = session.train.latents[:60, :900:STEP_MS].astype(float)
    rates = rates_hz(latents, population.weights, population.bias) * STEP_MS / 1000
    rates = np.concatenate([rates, rates[..., :1]], axis=2)
    counts = np.random.default_rng(0).poisson(rates).astype(float)
    labels = session.structure["labels"]
    return counts, np.append(labels, labels[0]), fit_clusters(counts, 20, 2, 3, 3, **OPTIONS)


def test_clusters_are_recovered_and_a_copy_has_its_neurons_label(clustered):
    _, labels, found = clustered
    assert adjusted_rand_score(labels, found.labels) >= 0.95
    assert found.labels[-1] == found.labels[0] and found.together[-1, 0] > 0.5
    same = labels[:, None] == labels
    assert found.together[same].mean() > 0.9 and found.together[~same].mean() < 0.1
    assert np.allclose(found.together, found.together.T) and np.all(found.together.diagonal() == 1)


def test_neurons_load_on_their_own_cluster_only(clustered):
    _, _, found = clustered
    own = np.repeat(np.arange(3), 3) == found.labels[:, None]
    assert np.array_equal(found.model.emission.weights != 0, own)
    # 3 of the first bin's mean and so on as slds; 37 neurons with 3 loadings and a bias each
    assert found.model.parameters == found.model.dynamics.parameters + 37 * 4


def test_the_bound_never_falls_under_the_mask(clustered):
    counts, labels, _ = clustered
    latents = np.random.default_rng(7).standard_normal((*counts.shape[:2], 9))
    start = fit_one_state(*start_blocks(counts, latents, labels, 3), counts, 10.0, 1e-8)
    bounds = np.array(fit_states(start, counts, 2, 8, 5, 0)[2])
    assert (np.diff(bounds) >= -1e-10 * np.abs(bounds[0])).all() and bounds[-1] > bounds[0] + 10


def test_the_order_of_neurons_and_the_names_of_clusters_mean_nothing(clustered):
    counts, labels, _ = clustered
    latents = np.random.default_rng(8).standard_normal((*counts.shape[:2], 9))
    order, names = np.random.default_rng(9).permutation(37), np.array([2, 0, 1])
    moved = np.concatenate(np.split(latents, 3, axis=2)[1:] + np.split(latents, 3, axis=2)[:1], axis=2)

    def rates(counts, latents, labels):
        start = fit_one_state(*start_blocks(counts, latents, labels, 3), counts, 10.0, 1e-8)
        model, posterior, _ = fit_states(start, counts, 1, 3, 3, 0)
        return model.emission.rates(posterior.latents)

    expected = rates(counts, latents, labels)
    np.testing.assert_allclose(rates(counts[..., order], moved, names[labels][order]), expected[..., order], rtol=1e-8)


def test_neurons_in_the_wrong_cluster_move_to_their_own(clustered):
    counts, labels, found = clustered
    latents = found.posterior.latents.mean
    true = found.labels
    wrong = true.copy()
    wrong[[2, 9, 20, 30]] = (true[[2, 9, 20, 30]] + 1) % 3
    _, settled = _settled(counts, latents, wrong, 3, 10.0, 1e-8)
    assert np.sum(settled != true) <= 1 and adjusted_rand_score(labels, settled) > 0.9


def test_white_latents_have_unit_covariance_and_rates_stay():
    rng = np.random.default_rng(0)
    mean = rng.standard_normal((20, 30, 4)) @ rng.standard_normal((4, 4)) + 3
    whitening, white = _white(mean)
    np.testing.assert_allclose(np.cov(white.reshape(-1, 4).T, bias=True), np.eye(4), atol=1e-9)
    weights = rng.standard_normal((5, 4))
    np.testing.assert_allclose(white @ (weights @ whitening).T, (mean - mean.mean(axis=(0, 1))) @ weights.T, atol=1e-9)


def test_clusters_of_noise_are_unsure_and_the_labels_agree_best_with_the_resamples():
    counts = np.random.default_rng(11).poisson(0.4, (15, 20, 12)).astype(float)
    together = fit_clusters(counts, 20, 1, 3, 2, **OPTIONS).together
    assert np.any((together > 0.1) & (together < 0.9)) and np.all(together.diagonal() == 1)


def test_counts_without_variance_and_copies_of_neurons_are_fitted():
    assert np.isfinite(fit_clusters(np.ones((6, 10, 8)), 20, 2, 2, 2, **OPTIONS).model.emission.weights).all()
    one = np.random.default_rng(0).poisson(0.5, (10, 12, 1)).astype(float)
    assert set(fit_clusters(np.repeat(one, 6, axis=2), 20, 1, 2, 1, **OPTIONS).labels) <= {0, 1}


def test_the_last_neuron_of_a_cluster_stays():
    likelihood = np.array([[0.0, 0.0, 9.0, 5.0, 0.0], [0.0, 1.0, 0.0, 0.0, 9.0]])
    labels = np.array([0, 0, 1, 1, -1])
    assert _moved(likelihood, labels).tolist() == [0, 0, 0, 1, -1]


def predict(data, **params):
    model = load_model(MODEL)
    return model.predict(data, {**model.DEFAULTS, **model.CHECK, **params}, 0)


def test_contract():
    facts = check_model(MODEL, "biclust", load_model(MODEL).DEFAULTS)["facts"]
    assert sum(map(int, facts["neurons"].split(", "))) == 14


def test_a_silent_neuron_is_of_no_cluster():
    data = tiny_input()
    data.train_spikes_heldout[..., 1] = data.train_spikes_heldout_forward[..., 1] = 0
    found = predict(data)
    assert found["neuron_labels"][11] == -1 and np.sum(found["neuron_labels"] == -1) == 1
    assert np.all(found["neuron_similarity"][11] == 0) and np.all(found["eval_rates_heldout"][..., 1] < 1e-8)


def test_latents_of_a_cluster_are_uncorrelated_and_the_largest_first():
    found = predict(tiny_input())
    for own in (slice(0, 2), slice(2, 4)):
        cov = np.cov(found["train_latents"][..., own].reshape(-1, 2).T)
        assert np.abs(found["train_latents"].mean(axis=(0, 1))).max() < 1e-5
        assert abs(cov[0, 1]) < 1e-3 * cov[0, 0] and cov[0, 0] >= cov[1, 1]


def test_a_cluster_without_held_in_neurons_is_told(caplog, monkeypatch):
    model, found = load_model(MODEL), {}

    def fitted(*args, **options):
        found["fit"] = fit_clusters(*args, **options)
        # as if all held-in neurons were of the first cluster
        found["fit"].labels[:] = np.repeat([0, 1], [10, 4])
        return found["fit"]

    monkeypatch.setattr(model, "fit_clusters", fitted)
    facts = model.predict(tiny_input(), {**model.DEFAULTS, **model.CHECK}, 0)["facts"]
    assert facts["unseen"] == "1" and "no held-in neuron is of cluster 1" in caplog.text


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"clusters": 8}, "clusters \\* \\(factors \\+ 1\\) is 1 to 14"),
        ({"clusters": 0}, "found 0 clusters"),
        ({"factors": -1}, "factors and resamples >= 0"),
        ({"clusters": 2.0}, "whole number as clusters"),
        ({"resamples": -1}, "factors and resamples >= 0"),
    ],
)
def test_parameters_out_of_range_are_refused(params, words):
    with pytest.raises(NlbflowError, match=words):
        predict(tiny_input(), **params)
