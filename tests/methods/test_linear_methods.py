"""Steps, lagged counts, reduced rank, ridge and the readout against their definitions and scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from nlbflow.methods.lagged import lagged, reduced_rank, ridge
from nlbflow.methods.readout import choose_alpha, fitted_log_rates
from nlbflow.methods.steps import Steps

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("bins", "length", "count"), [(12, 4, 3), (13, 4, 3), (15, 4, 4), (5, 1, 5), (3, 10, 1)])
def test_steps(bins, length, count):
    steps = Steps(bins, length)
    counts = RNG.poisson(1.0, (2, bins, 3)).astype(float)
    assert steps.count == count and steps.sums(counts).shape == (2, count, 3)
    # what is constant stays so, whatever the widths of steps
    np.testing.assert_allclose(steps.sums(np.full((1, bins, 1), 0.3)), 0.3 * steps.length)
    np.testing.assert_allclose(steps.rates(np.log(np.full((1, count, 1), 0.3 * steps.length))), 0.3)
    if bins % length == 0:
        np.testing.assert_allclose(steps.sums(counts), counts.reshape(2, count, length, 3).sum(axis=2))
    assert np.isnan(steps.sums(np.full((1, bins, 1), np.nan))).all()


def test_interpolation_is_linear_between_middles():
    steps = Steps(12, 4)
    values = steps.values(np.array([0.0, 4.0, 8.0])[None, :, None])[0, :, 0]
    np.testing.assert_allclose(values[2:10], np.arange(0.5, 8, 1.0))
    assert values[:2].tolist() == [0, 0] and values[-2:].tolist() == [8, 8]


def test_lagged_copies_are_shifted_and_padded():
    counts = RNG.poisson(1.0, (2, 6, 3)).astype(float)
    found = lagged(counts, range(-1, 3)).reshape(2, 6, 4, 3)
    np.testing.assert_array_equal(found[:, :-1, 0], counts[:, 1:])
    np.testing.assert_array_equal(found[:, :, 1], counts)
    np.testing.assert_array_equal(found[:, 2:, 3], counts[:, :-2])
    assert not found[:, -1, 0].any() and not found[:, :2, 3].any()
    assert not lagged(counts, range(8, 9)).any()


def test_ridge_is_scikit_learns_on_standardised_features():
    x, y = RNG.normal(size=(50, 4)) * [1, 5, 0.1, 1], RNG.normal(size=(50, 3))
    x[:, 3] = 2.0
    weights, constant = ridge(x, y, 0.3)
    scale = np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
    theirs = Ridge(alpha=0.3 * 50).fit((x - x.mean(axis=0)) / scale, y)
    np.testing.assert_allclose(x @ weights + constant, theirs.predict((x - x.mean(axis=0)) / scale), atol=1e-10)
    assert not weights[3].any()


def test_reduced_rank_finds_the_directions_that_predict():
    x = RNG.normal(size=(4000, 6))
    true = RNG.normal(size=(6, 2))
    y = x @ true @ RNG.normal(size=(2, 8)) + 0.1 * RNG.normal(size=(4000, 8))
    found = reduced_rank(x, y, 1e-6, 2)
    angles = np.linalg.svd(np.linalg.qr(found)[0].T @ np.linalg.qr(true)[0])[1]
    assert angles.min() > 0.999
    assert reduced_rank(x, y[:, :1], 1e-6, 5).shape == (6, 1)
    # at full rank it is the ridge regression itself, up to a change of basis
    whole, (weights, _) = reduced_rank(x, y, 1.0, 8), ridge(x, y, 1.0)
    np.testing.assert_allclose(whole @ np.linalg.lstsq(whole, weights)[0], weights, atol=1e-8)


def test_penalty_is_chosen_by_what_was_left_out():
    rates = np.exp(RNG.normal(0, 0.5, (40, 10, 1)))
    counts = RNG.poisson(rates * np.ones(5))
    noise = RNG.normal(size=(40, 10, 60))
    features = np.concatenate([np.log(rates), noise], axis=2)
    assert choose_alpha(np.log(rates), counts, [1e-6, 10.0]) == 1e-6
    assert choose_alpha(noise, counts, [1e-6, 10.0]) == 10.0
    found = fitted_log_rates({"train": features, "eval": 100 * features}, counts, 0.1)
    # nothing beyond what training has seen
    assert (found["eval"].max((0, 1)) <= found["train"].max((0, 1))).all()
