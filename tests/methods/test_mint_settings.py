"""What MINT can be told beside its defaults, against formulas written out; what it predicts when told nothing."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import poisson

from nlbflow.errors import NlbflowError
from nlbflow.methods.mint.library import average_conditions, build_library
from nlbflow.methods.mint.states import StateFinder, States, Window, between_bins, read_out
from nlbflow.models.contract import load_model, run_model
from nlbflow.recordings.model_input import ModelInput

MODEL = Path(__file__).parents[2] / "scripts/models/mint.py"
MODULE = load_model(MODEL)
BINS, AHEAD, HELDIN, NEURONS, BIN_MS = 22, 6, 9, 12, 10


def counted() -> ModelInput:
    """Counts by arithmetic alone, the same in every version of numpy: 12 + 6 trials of three conditions."""
    trial, time, neuron = np.ogrid[:18, : BINS + AHEAD, :NEURONS]
    rate = 1.3 + np.sin(0.37 * time + 0.8 * neuron + 2.1 * (trial % 3) + 0.05 * trial)
    counts = np.floor(rate + (trial * 7919 + time * 6007 + neuron * 104729) % 97 / 97)
    seen, ahead, train, evaluated = slice(0, BINS), slice(BINS, None), slice(0, 12), slice(12, None)
    return ModelInput(
        bin_ms=BIN_MS,
        train_spikes_heldin=counts[train, seen, :HELDIN],
        train_spikes_heldout=counts[train, seen, HELDIN:],
        eval_spikes_heldin=counts[evaluated, seen, :HELDIN],
        train_spikes_heldin_forward=counts[train, ahead, :HELDIN],
        train_spikes_heldout_forward=counts[train, ahead, HELDIN:],
        train_condition=np.arange(12) % 3,
    )


def rates_of(**params) -> dict:
    predicted, _ = run_model(MODEL, "mint", counted(), {**MODULE.DEFAULTS, **params}, 0)
    return {name: array for name, array in predicted.items() if "rates" in name}


def same(ours: dict, theirs: dict) -> bool:
    return all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)


def trajectories(conditions=4, states=40, seed=0):
    """(conditions, states, neurons) spikes per bin that wander, and a trial between the first three."""
    draw = np.random.default_rng(seed)
    level = draw.normal(0, 0.7, (conditions, states, 30)).cumsum(axis=1) / 8 + draw.normal(0, 0.5, (conditions, 1, 30))
    rates = 0.2 * np.exp(level)
    between = np.tensordot([0.5, 0.3, 0.2], rates[:3], 1)
    return rates, draw.poisson(between).astype(np.float32)


@pytest.mark.parametrize(
    ("params", "digest"),
    [
        ({}, "2146017a0d4f4a45"),
        ({"align_rounds": 1, "neural_rank": 5, "condition_rank": 1, "folds": 3}, "6f3717150447548c"),
        ({"window_ms": 40, "ahead_ms": 0, "shift_ms": 0}, "b4532a799777bf7c"),
    ],
)
def test_defaults_predict_what_they_did(params, digest):
    """The digests are of the rates that mint gave before it could be told of bins, candidates and trajectories."""
    rates = rates_of(**params)
    assert hashlib.sha256(b"".join(rates[name].tobytes() for name in sorted(rates))).hexdigest()[:16] == digest


def test_what_changes_nothing_gives_the_same_bytes():
    usual, full = rates_of(), rates_of(neural_rank=1000, condition_rank=1000)
    for params in ({"likelihood_bin_ms": BIN_MS}, {"likelihood_bin_ms": 14}, {"trajectory_ms": [-9000, 9000]},
                   {"lowest_hz": 1e-4}, {"candidates": 2}):  # fmt: skip
        assert same(usual, rates_of(**params)), params
    assert same(full, rates_of(neural_rank=0, condition_rank=0)) and not same(full, rates_of(condition_rank=1))
    for params in ({"likelihood_bin_ms": 20}, {"trajectory_ms": [0, 280], "window_ms": 30, "ahead_ms": 20},
                   {"lowest_hz": 90}, {"candidates": 1}):  # fmt: skip
        assert not same(usual, rates_of(**params)), params
    # few spikes do not tell the conditions apart
    two, three = (rates_of(window_ms=10, ahead_ms=0, candidates=candidates) for candidates in (2, 3))
    assert not same(two, three)


def test_full_ranks_leave_the_averages():
    spikes = np.random.default_rng(1).poisson(0.4, (30, 25, 8)).astype(float)
    condition = np.arange(30) % 6
    library = build_library(spikes, condition, sd_bins=2, neural_rank=0, condition_rank=0, floor=0)
    averages = average_conditions(spikes, library.members, 2)
    np.testing.assert_allclose(library.rates, np.maximum(averages, 1e-5), atol=1e-12)
    assert library.axes.shape == (8, 8)


def test_no_rate_is_below_the_lowest():
    data = counted()
    data.train_spikes_heldout[..., 1] = data.train_spikes_heldout_forward[..., 1] = 0
    for lowest_hz, expected in ((0, 1e-5), (0.1, 0.001), (50, 0.5)):
        params = {**MODULE.DEFAULTS, "floor": 0, "lowest_hz": lowest_hz}
        rates, _ = run_model(MODEL, "mint", data, params, 0)
        assert rates["eval_rates_heldout"][..., 1] == pytest.approx(expected)
        assert min(array.min() for name, array in rates.items() if "rates" in name) >= np.float32(expected) * 0.999


@pytest.mark.parametrize(
    ("window", "bins"), [(Window(2, 1, 3, 4), 40), (Window(1, 3, 9, 3), 32), (Window(9, 9, 0, 5), 23)]
)
def test_likelihood_in_bins_of_its_own_is_scipys(window, bins):
    rates, _ = trajectories(states=37)
    spikes = np.random.default_rng(2).poisson(0.3, (bins, 30)).astype(float)
    step, own = window.step, bins // window.step
    counts = np.array([spikes[b * step : (b + 1) * step].sum(axis=0) for b in range(own)])
    found = StateFinder(rates, bins, window).log_likelihoods(counts)
    assert found.shape == (own, 2 * window.shift + 1, 4)
    for here, place, condition in np.random.default_rng(3).integers(0, found.shape, (60, 3)):
        expected = 0
        for other in range(max(here - window.before, 0), min(here + window.after + 1, own)):
            state = other + place - window.shift
            along = [min(max(state * step + part, 0), 36) for part in range(step)]
            mean = sum(rates[condition, fine] for fine in along)
            expected += (poisson.logpmf(counts[other], mean) - poisson.logpmf(counts[other], 1.0) - 1).sum()
        assert found[here, place, condition] == pytest.approx(expected, rel=1e-10)


def test_between_the_middles_of_bins_rates_are_interpolated():
    rates, spikes = trajectories()
    # what is found in sums over four bins, made before; trajectories stay where they end
    counts = spikes[:36].reshape(9, 4, 30).sum(axis=1)
    summed = np.concatenate([rates, np.repeat(rates[:, -1:], 32, axis=1)], axis=1).reshape(4, 18, 4, 30).sum(axis=2)
    own = StateFinder(summed, 9, Window(0, 3, 2, 1, 0)).find(counts)
    found = StateFinder(rates, 39, Window(0, 3, 2, 4, 0)).find(spikes[:39])
    assert found.index.shape == (1, 39, 8) and (own.index[0] != np.arange(9)[:, None]).any()
    np.testing.assert_allclose(found.weight.sum(axis=2), 1)
    read = read_out(found, rates)[0]
    for fine in range(39):
        # middles of bins of four are 1.5, 5.5, ...
        low = min(max((fine + 2) // 4 - 1, 0), 8)
        share = min(max((fine - 1.5) / 4 - low, 0), 1)
        expected = 0
        for at, part in ((low, 1 - share), (min(low + 1, 8), share)):
            for one in range(4):
                index = fine + 4 * (own.index[0, at, one] - at)
                state = rates[own.condition[0, at, one], min(max(index, 0), 39)]
                expected = expected + part * own.weight[0, at, one] * state
        np.testing.assert_allclose(read[fine], expected, rtol=1e-9)


def test_states_lie_where_their_window_is_on_the_trajectories():
    rates, spikes = trajectories()
    free = StateFinder(rates, 40, Window(5, 5, 40)).log_likelihoods(spikes)
    finder = StateFinder(rates, 40, Window(5, 5, 40, 1, 8, 20))
    bound, states = finder.log_likelihoods(spikes), finder.find(spikes)
    for here in range(40):
        allowed = [place for place in range(81) if 8 <= here + place - 40 < 20]
        np.testing.assert_array_equal(bound[here, allowed], free[here, allowed])
        assert np.isneginf(np.delete(bound[here], allowed, axis=0)).all()
        best = np.unravel_index(free[here, allowed].argmax(), (len(allowed), 4))
        assert (states.index[0, here, 0], states.condition[0, here, 0]) == (here + allowed[best[0]] - 40, best[1])
    assert states.index.min() >= 8 and states.index.max() < 20
    # a single place has no neighbour
    alone = StateFinder(rates, 40, Window(5, 5, 40, 1, 8, 9)).find(spikes)
    assert (alone.index == 8).all()


def test_many_candidates_are_mixed_so_that_spikes_are_likeliest():
    rates, spikes = trajectories(conditions=7)
    window = Window(8, 8, 0)
    for candidates in (1, 2, 3, 6):
        states = StateFinder(rates, 40, window, candidates).find(spikes)
        assert states.index.shape == (1, 40, 2 * candidates)
        every = StateFinder(rates, 40, window).log_likelihoods(spikes)[:, 0]
        for here in range(0, 40, 3):
            around = slice(max(here - 8, 0), here + 9)
            chosen = states.condition[0, here, ::2]
            assert sorted(chosen) == sorted(np.argsort(-every[here])[:candidates])
            followed, counts = rates[chosen][:, around], spikes[around]

            def cost(weight, followed=followed, counts=counts):
                mean = np.tensordot(weight, followed, 1)
                return (mean - counts * np.log(mean)).sum()

            weight = states.weight[0, here].reshape(candidates, 2).sum(axis=1)
            assert weight.sum() == pytest.approx(1) and (weight >= 0).all()
            best = minimize(
                cost, np.full(candidates, 1 / candidates), bounds=[(1e-9, 1)] * candidates, method="SLSQP",
                constraints={"type": "eq", "fun": lambda weight: weight.sum() - 1}, options={"ftol": 1e-10},
            )  # fmt: skip
            assert cost(weight) <= best.fun + 0.01, (candidates, here)
            assert cost(weight) <= -every[here, chosen].max() + 1e-9
    few = StateFinder(rates[:2], 40, window, 6).find(spikes)
    assert set(few.condition.ravel()) == {0, 1} and few.weight.sum(axis=2) == pytest.approx(1)


def test_published_windows_are_the_bins_of_the_trial():
    """500 ms around a state on move -500 to +700 ms leave the states of the trial itself, -250 to +450 ms."""
    data = counted()
    data.bin_ms, data.train_spikes_heldin = 5, np.zeros((1, 140, 2))
    told = {"window_ms": 250, "ahead_ms": 250, "likelihood_bin_ms": 20, "shift_ms": 10000, "trajectory_ms": [-250, 950]}
    assert MODULE._window(data, {**MODULE.DEFAULTS, **told}, 180) == Window(12, 12, 45, 4, 0, 35)
    told |= {"likelihood_bin_ms": 0}
    assert MODULE._window(data, {**MODULE.DEFAULTS, **told}, 180) == Window(50, 50, 180, 1, 0, 140)


def test_bad_settings_are_refused():
    nan = float("nan")
    for name, values in {
        "candidates": [0, 2.5],
        "neural_rank": [-1],
        "condition_rank": [-1, 0.5],
        "lowest_hz": [-0.1, nan],
        "likelihood_bin_ms": [-20, float("inf")],
        # no pair, backwards, not numbers; shorter than the window; not reached by the trial's ends
        "trajectory_ms": [[100], [0, 1, 2], [200, 100], [nan, 1], ["a", "b"], [0, 500], [900, 2000], [-2000, -300]],
    }.items():
        for value in values:
            with pytest.raises(NlbflowError, match=name):
                rates_of(**{name: value})


def test_a_likelihood_bin_longer_than_the_trial_is_the_trial():
    rates = rates_of(likelihood_bin_ms=5000)
    assert all(np.isfinite(array).all() for array in rates.values())
    assert rates["eval_rates_heldin"].std(axis=1).min() > 0


def test_moved_states_go_on_along_their_trajectory():
    state = States(np.array([[[1]]]), np.array([[[2]]]), np.array([[[1.0]]]))
    found = between_bins(state, 5, 4)
    # two bins of four later than the trial, whose fifth bin is in none of the likelihood's
    assert found.index[0, :, 0].tolist() == [8, 9, 10, 11, 12]
