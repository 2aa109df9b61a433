"""Poisson regression against scikit-learn's, neuron by neuron."""

import numpy as np
import pytest
from sklearn.linear_model import PoissonRegressor

from nlbflow.errors import NlbflowError
from nlbflow.methods import glm
from nlbflow.methods.glm import fit_poisson


def draw(rows=3000, p=12, neurons=6, seed=0, rate=0.1):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((rows, p)) @ rng.standard_normal((p, p)) + rng.normal(-4, 2, p)
    eta = (features - features.mean(axis=0)) @ rng.normal(0, 0.08, (p, neurons)) + np.log(rate)
    return features, rng.poisson(np.exp(eta)).astype(np.float32)


def objective(features, y, coef, intercept, alpha):
    eta = features @ coef + intercept
    return np.mean(np.exp(eta) - y * eta) + alpha / 2 * coef @ coef


@pytest.mark.parametrize("alpha", [1e-3, 0.1, 10.0])
def test_coefficients_equal_a_tight_newton_solution(alpha):
    features, counts = draw()
    coef, intercept = fit_poisson(features, counts, alpha)
    for k, y in enumerate(counts.T.astype(float)):
        exact = PoissonRegressor(alpha=alpha, solver="newton-cholesky", tol=1e-12, max_iter=500).fit(features, y)
        np.testing.assert_allclose(coef[:, k], exact.coef_, rtol=0, atol=1e-6)
        np.testing.assert_allclose(intercept[k], exact.intercept_, rtol=0, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 1e-3, 0.1])
def test_objective_is_no_worse_than_lbfgs_for_any_neuron(alpha):
    features, counts = draw(seed=1)
    coef, intercept = fit_poisson(features, counts, alpha)
    for k, y in enumerate(counts.T.astype(float)):
        loose = PoissonRegressor(alpha=alpha, max_iter=500).fit(features, y)
        ours = objective(features, y, coef[:, k], intercept[k], alpha)
        assert ours <= objective(features, y, loose.coef_, loose.intercept_, alpha) + 1e-15


@pytest.mark.parametrize("alpha", [0.0, 0.01])
def test_gradient_vanishes(alpha):
    features, counts = draw(seed=2)
    coef, intercept = fit_poisson(features, counts, alpha)
    residual = np.exp(features @ coef + intercept) - counts
    assert np.abs(features.T @ residual / len(features) + alpha * coef).max() < 1e-9
    assert np.abs(residual.mean(axis=0)).max() < 1e-10


def test_a_start_far_from_the_optimum_is_reached_by_halving_steps():
    rng = np.random.default_rng(3)
    features = rng.standard_normal((500, 1)) * 3
    counts = rng.poisson(np.exp(np.clip(3 * features, None, 8)))
    coef, intercept = fit_poisson(features, counts, 1e-4)
    exact = PoissonRegressor(alpha=1e-4, solver="newton-cholesky", tol=1e-12, max_iter=500)
    exact.fit(features, counts[:, 0])
    np.testing.assert_allclose([coef[0, 0], intercept[0]], [exact.coef_[0], exact.intercept_], atol=1e-6)


def test_silent_neurons_get_a_tiny_rate_and_leave_the_others_alone():
    features, counts = draw(seed=4)
    with_silent = np.insert(counts, 2, 0, axis=1)
    coef, intercept = fit_poisson(features, with_silent, 0.1)
    assert np.all(coef[:, 2] == 0) and np.exp(intercept[2]) == pytest.approx(1e-9)
    np.testing.assert_allclose(np.delete(coef, 2, axis=1), fit_poisson(features, counts, 0.1)[0], atol=1e-9)
    coef, intercept = fit_poisson(features, np.zeros((len(features), 3)), 0.0)
    assert np.all(coef == 0) and np.all(np.isfinite(intercept))


@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_collinear_and_constant_features_change_nothing_but_the_coefficients(alpha):
    features, counts = draw(seed=5)
    copies = np.column_stack([features, features[:, :3] + features[:, 3:6], np.full(len(features), 7.0)])
    coef, _ = fit_poisson(copies, counts, alpha)
    assert np.isfinite(coef).all() and np.abs(coef[-1]).max() < 1e-12
    if alpha == 0:
        plain = features @ fit_poisson(features, counts, 0.0)[0]
        np.testing.assert_allclose(
            copies @ coef - (copies @ coef).mean(axis=0), plain - plain.mean(axis=0), rtol=0, atol=1e-6
        )


def test_separable_counts_without_a_penalty_end():
    features = np.repeat(np.eye(2), 50, axis=0)
    counts = np.repeat([[0.0], [1.0]], 50, axis=0)
    coef, intercept = fit_poisson(features, counts, 0.0)
    rates = np.exp(features @ coef + intercept)
    assert rates[0] < 1e-6 and rates[-1] == pytest.approx(1)


def test_more_features_than_rows():
    rng = np.random.default_rng(6)
    features, counts = rng.standard_normal((30, 50)), rng.poisson(0.5, (30, 4))
    coef, intercept = fit_poisson(features, counts, 0.1)
    residual = np.exp(features @ coef + intercept) - counts
    assert np.abs(features.T @ residual / len(features) + 0.1 * coef).max() < 1e-8


def test_blocks_of_rows_do_not_matter(monkeypatch):
    features, counts = draw(seed=7)
    whole = fit_poisson(features, counts, 0.1)
    monkeypatch.setattr(glm, "BLOCK_ROWS", 977)
    for one, other in zip(whole, fit_poisson(features.astype(np.float64), counts, 0.1), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-8)


def test_too_few_steps_warn_and_name_the_number_of_neurons():
    features, counts = draw(seed=8)
    with pytest.warns(UserWarning, match="6 of 6 neurons had not converged after 1 Newton steps"):
        fit_poisson(features, counts, 0.1, max_steps=1)


@pytest.mark.parametrize(
    ("features", "counts", "alpha", "words"),
    [
        (np.ones((3, 2)), np.ones((4, 1)), 0.1, "same number of rows"),
        (np.ones((0, 2)), np.ones((0, 1)), 0.1, "same number of rows"),
        (np.full((3, 2), np.nan), np.ones((3, 1)), 0.1, "finite"),
        (np.ones((3, 2)), -np.ones((3, 1)), 0.1, ">= 0"),
        (np.ones((3, 2)), np.ones((3, 1)), -1, "alpha >= 0"),
    ],
)
def test_faults_are_sentences(features, counts, alpha, words):
    with pytest.raises(NlbflowError, match=words):
        fit_poisson(features, counts, alpha)
