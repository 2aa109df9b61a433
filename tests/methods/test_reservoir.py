"""The reservoir: it forgets how it began, smooths exponentially without recurrence, treats time both ways alike."""

from dataclasses import replace

import numpy as np
import pytest

from nlbflow.methods.reservoir import both_ways, draw_reservoir, principal_axes, states


def network(radius=0.9, seed=0):
    return draw_reservoir(np.random.default_rng(seed), 7, 50, radius, 0.1, 0.5, (20.0, 300.0), 20.0)


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(1).normal(size=(4, 400, 7))


@pytest.mark.parametrize("radius", [0.0, 0.5, 0.9])
def test_two_starts_converge(inputs, radius):
    reservoir = network(radius)
    first, second = (states(reservoir, inputs, start) for start in (0.0, np.full((4, 50), 0.8)))
    apart = np.linalg.norm(first - second, axis=2)
    assert (apart[:, -1] < 1e-4 * apart[:, 0]).all()


def test_spectral_radius_and_leaks():
    reservoir = network(0.7)
    assert np.abs(np.linalg.eigvals(reservoir.recurrent)).max() == pytest.approx(0.7)
    assert (20 / 300 <= reservoir.leak).all() and (reservoir.leak <= 1).all()
    assert 0.05 < (reservoir.recurrent != 0).mean() < 0.15


def test_identity_without_recurrence_is_exponential_smoothing(inputs):
    reservoir = replace(network(0.0), bias=np.zeros(50))
    found = states(reservoir, inputs, activation=lambda drive: drive)
    driven, wanted = inputs @ reservoir.inputs.T, np.zeros((4, 50))
    for t in range(inputs.shape[1]):
        wanted = (1 - reservoir.leak) * wanted + reservoir.leak * driven[:, t]
        np.testing.assert_allclose(found[:, t], wanted, atol=1e-12)


def test_reversing_time_swaps_the_halves(inputs):
    for forth, back in zip(both_ways(network(), inputs), both_ways(network(), inputs[:, ::-1]), strict=True):
        np.testing.assert_array_equal(np.roll(forth, 50, axis=2), back[:, ::-1])


def test_states_around_a_step_do_not_know_its_input(inputs):
    changed = inputs.copy()
    changed[:, 100] += 3.0
    (with_now, around), (with_now_after, around_after) = (both_ways(network(), x) for x in (inputs, changed))
    np.testing.assert_array_equal(around[:, 100], around_after[:, 100])
    assert (with_now[:, 100] != with_now_after[:, 100]).any() and (around[:, 101] != around_after[:, 101]).any()


def test_same_seed_same_bytes():
    assert all(
        a.tobytes() == b.tobytes() for a, b in zip(vars(network()).values(), vars(network()).values(), strict=True)
    )
    assert network(seed=1).inputs.tobytes() != network().inputs.tobytes()


def test_principal_axes_whiten():
    rows = np.random.default_rng(0).normal(size=(500, 3)) @ np.array([[3.0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0.1, 0]])
    mean, axes = principal_axes(rows, 4)
    white = (rows - mean) @ axes
    assert axes.shape == (4, 3)  # the fourth never varies
    np.testing.assert_allclose(white.T @ white / 500, np.eye(3), atol=1e-8)
