"""MINT on trials drawn from known trajectories, against slow formulas written out here."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import poisson

from nlbflow.errors import NlbflowError
from nlbflow.methods.mint.library import average_conditions, build_library, move, read_behavior
from nlbflow.methods.mint.states import StateFinder, States, Window, read_out
from nlbflow.metrics.formulas import bits_per_spike
from nlbflow.models.catalogue import resolve_params
from nlbflow.models.contract import check_model, load_model, run_model
from nlbflow.recordings.model_input import ModelInput

MODEL = Path(__file__).parents[2] / "scripts/models/mint.py"
DEFAULTS = load_model(MODEL).DEFAULTS
CONDITIONS, BINS, AHEAD, HELDIN, NEURONS = 5, 60, 15, 60, 80


def run(data, **params):
    return run_model(MODEL, "mint", data, {**DEFAULTS, **params}, 0)


def trajectories(seed=0, states=BINS + AHEAD):
    """(conditions, states, neurons) spikes per bin, smooth and different in every state, and their velocities."""
    draw = np.random.default_rng(seed)
    angle = 2 * np.pi * np.arange(CONDITIONS) / CONDITIONS + np.linspace(0, 1.5, states)[:, None]
    latent = np.stack([np.sin(angle), np.cos(angle), np.linspace(-1, 1, states)[:, None] + 0 * angle], axis=2)
    latent = latent.transpose(1, 0, 2)
    return 0.15 * np.exp(latent @ draw.normal(0, 0.8, (3, NEURONS))), latent[..., :2]


def recording(trials=60, evaluated=20, seed=1, latest=0):
    """A ModelInput drawn from `trajectories`, windows cut up to `latest` bins late, the rest that is known of it."""
    draw = np.random.default_rng(seed)
    rates, velocity = trajectories(states=BINS + AHEAD + latest)
    condition = np.arange(trials + evaluated) % CONDITIONS
    late = draw.integers(0, latest + 1, len(condition))
    seen = late[:, None] + np.arange(BINS + AHEAD)
    true = rates[condition[:, None], seen]
    spikes = draw.poisson(true).astype(np.float32)
    train = slice(0, trials)
    data = ModelInput(
        bin_ms=10,
        train_spikes_heldin=spikes[train, :BINS, :HELDIN],
        train_spikes_heldout=spikes[train, :BINS, HELDIN:],
        eval_spikes_heldin=spikes[trials:, :BINS, :HELDIN],
        train_spikes_heldin_forward=spikes[train, BINS:, :HELDIN],
        train_spikes_heldout_forward=spikes[train, BINS:, HELDIN:],
        train_behavior=velocity[condition[train, None], seen[train, :BINS]],
        train_condition=condition[train],
    )
    return data, spikes[trials:], true[trials:], late, velocity[condition[trials:, None], seen[trials:]]


def slow_rates(rates, condition, index):
    """(bins, neurons) along a trajectory, which stays where it ends."""
    return rates[condition, np.clip(index, 0, rates.shape[1] - 1)]


def inside(here, window, bins):
    return np.arange(max(here - window.before, 0), min(here + window.after + 1, bins))


@pytest.mark.parametrize("window", [Window(6, 0, 3), Window(10, 8, 25), Window(100, 100, 0)])
def test_log_likelihood_is_scipys(window):
    rates, _ = trajectories(states=40)
    spikes = np.random.default_rng(2).poisson(0.3, (50, NEURONS)).astype(np.float32)
    found = StateFinder(rates, 50, window).log_likelihoods(spikes)
    assert found.shape == (50, 2 * window.shift + 1, CONDITIONS)
    for here, place, condition in np.random.default_rng(3).integers(0, (50, found.shape[1], CONDITIONS), (60, 3)):
        around = inside(here, window, 50)
        followed = slow_rates(rates, condition, around + place - window.shift)
        counts = spikes[around]
        expected = poisson.logpmf(counts, followed).sum() - poisson.logpmf(counts, 1.0).sum() - counts.size
        assert found[here, place, condition] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("shift", [-6, 0, 5])
def test_the_right_condition_and_time_are_found(shift):
    rates, _ = trajectories()
    draw = np.random.default_rng(4)
    finder = StateFinder(rates, BINS, Window(20, 20, 10))
    for condition in range(CONDITIONS):
        index = np.arange(BINS) + shift
        states = finder.find(draw.poisson(10 * slow_rates(rates, condition, index)) / 10)
        # mixtures of both trajectories count by their weight
        right = (states.weight * (states.condition == condition)).sum(axis=2)[0]
        when = (states.weight * states.index).sum(axis=2)[0]
        assert right.mean() > 0.85 and (right > 0.5).mean() > 0.98
        assert np.abs(when - index)[10:-10].mean() < 1.5


def test_interpolation_finds_the_optimum_and_never_lowers_the_likelihood():
    rates, _ = trajectories()
    window = Window(8, 8, 6)
    finder = StateFinder(rates, BINS, window)
    draw = np.random.default_rng(5)
    between = 0.6 * rates[1, :BINS] + 0.4 * rates[2, :BINS]
    for spikes in (draw.poisson(between), draw.poisson(0.2, (BINS, NEURONS)), np.zeros((BINS, NEURONS))):
        states = finder.find(spikes)
        best = finder.log_likelihoods(spikes).max(axis=(1, 2))
        for here in range(BINS):
            around = inside(here, window, BINS)
            which, at, weight = (a[0, here] for a in (states.condition, states.index, states.weight))
            follow = [slow_rates(rates, c, around - here + i) for c, i in zip(which, at, strict=True)]
            value = lambda mix: (spikes[around] * np.log(mix) - mix).sum()  # noqa: E731, B023
            assert weight.sum() == pytest.approx(1) and (weight >= 0).all()
            assert value(sum(w * r for w, r in zip(weight, follow, strict=True))) >= best[here] - 1e-9
            assert which[0] == which[1] != which[2] == which[3]
            assert abs(at[0] - at[1]) == abs(at[2] - at[3]) == 1
            halves = [
                sum(w * r for w, r in zip(weight[h], follow[h], strict=True)) / max(weight[h].sum(), 1e-300)
                for h in (slice(0, 2), slice(2, 4))
            ]
            share = weight[2:].sum()
            if share > 0:
                mixed = lambda s: -value((1 - s) * halves[0] + s * halves[1])  # noqa: E731, B023
                assert minimize_scalar(mixed, bounds=(0, 1), method="bounded").x == pytest.approx(share, abs=0.01)


def test_states_between_conditions_are_interpolated():
    rates, _ = trajectories()
    between = 0.5 * rates[1, :BINS] + 0.5 * rates[2, :BINS]
    spikes = np.random.default_rng(6).poisson(10 * between) / 10
    states = StateFinder(rates, BINS, Window(20, 20, 0)).find(spikes)
    assert set(states.condition.ravel()) == {1, 2}
    assert (states.weight * (states.condition == 1)).sum(axis=2).mean() == pytest.approx(0.5, abs=0.05)


def test_read_out_goes_on_and_holds_the_last_state():
    values = np.arange(10.0)[None, :, None] + np.array([0, 100])[:, None, None]
    condition = np.array([[[0, 0, 1, 1]]])
    states = States(condition, np.array([[[3, 4, 3, 2]]]), np.array([[[0.5, 0.25, 0.25, 0]]]))
    assert read_out(states, values)[0, 0, 0] == pytest.approx(0.5 * 3 + 0.25 * 4 + 0.25 * 103)
    assert read_out(states, values, 50)[0, 0, 0] == pytest.approx(0.75 * 9 + 0.25 * 109)


def test_averages_weigh_what_is_known():
    values = np.random.default_rng(7).normal(size=(6, 30, 2))
    values[0, 10:20, 1] = values[:3, 25:, 0] = np.nan
    members = [np.array([0, 1, 2]), np.array([3, 4, 5])]
    averages = average_conditions(values, members, 2.0)
    weight = np.exp(-0.5 * ((np.arange(30)[:, None] - np.arange(30)) / 2.0) ** 2)
    weight[np.abs(np.arange(30)[:, None] - np.arange(30)) > 6] = 0
    for condition, channel, here in ((0, 1, 15), (1, 0, 0), (0, 0, 22), (1, 1, 29)):
        trials = values[members[condition], :, channel]
        known = ~np.isnan(trials)
        expected = (weight[here] * np.where(known, trials, 0)).sum() / (weight[here] * known).sum()
        assert averages[condition, here, channel] == pytest.approx(expected)
    unsmoothed = average_conditions(values, members, 0)
    assert unsmoothed[0, 25:, 0] == pytest.approx(values[:3, 24, 0].mean())


def test_few_components_of_few_trials_are_nearer_the_truth():
    draw, time = np.random.default_rng(8), np.linspace(0, 6, 60)[:, None]
    slow, fast = (np.sin(speed * time + draw.uniform(0, 6, NEURONS)) for speed in (1, 2))
    angle = np.linspace(0, 6, 12)[:, None, None]
    rates = 0.3 + 0.13 * (np.cos(angle) * slow + np.sin(angle) * fast)  # four components of neurons, two of conditions
    condition = np.repeat(np.arange(12), 3)
    spikes = draw.poisson(rates[condition]).astype(float)
    whole, neural, reduced = (
        build_library(spikes, condition, sd_bins=3, neural_rank=n, condition_rank=c, floor=0.05).rates
        for n, c in ((NEURONS, 12), (4, 12), (4, 2))
    )
    full = average_conditions(spikes, [np.flatnonzero(condition == c) for c in range(12)], 3)
    np.testing.assert_allclose(whole, np.maximum(full, 0.05 * full.mean(axis=(0, 1))), atol=1e-12)
    error = [np.square(found - rates).mean() for found in (whole, neural, reduced)]
    assert error[1] < 0.5 * error[0] and error[2] < 0.8 * error[1]


def test_alignment_undoes_jitter():
    data, _, _, late, _ = recording(latest=12)
    spikes = np.concatenate([data.train_spikes_heldin, data.train_spikes_heldout], axis=2)
    settings = {"sd_bins": 4, "neural_rank": 20, "condition_rank": 4, "floor": 0.1, "shift": 15}
    moved = build_library(spikes, data.train_condition, align_rounds=3, **settings).moved
    for condition in range(CONDITIONS):
        trials = np.flatnonzero(data.train_condition == condition)
        assert abs(moved[trials].mean()) <= 0.5
        left = late[trials] - moved[trials]
        assert left.std() < 0.7 * late[trials].std()
    assert not build_library(spikes, data.train_condition, **settings).moved.any()
    shifted = move(spikes[:2], np.array([3, -2]))
    np.testing.assert_array_equal(shifted[0, 3:], spikes[0, :-3])
    np.testing.assert_array_equal(shifted[1, :-2], spikes[1, 2:])
    assert np.isnan(shifted[0, :3]).all() and np.isnan(shifted[1, -2:]).all()


def test_rates_forecast_and_behaviour_are_near_the_truth():
    data, spikes, true, _, velocity = recording()
    prediction, facts = run(data)
    assert facts["parameters"] == CONDITIONS * (BINS + AHEAD) * NEURONS
    co_bps = [
        bits_per_spike(r, spikes[:, :BINS, HELDIN:])
        for r in (prediction["eval_rates_heldout"], true[:, :BINS, HELDIN:])
    ]
    assert 0.85 * co_bps[1] < co_bps[0] < 1.02 * co_bps[1]
    forward = np.concatenate([prediction[f"eval_rates_{g}_forward"] for g in ("heldin", "heldout")], axis=2)
    assert bits_per_spike(forward, spikes[:, BINS:]) > 0.8 * bits_per_spike(true[:, BINS:], spikes[:, BINS:]) > 0

    whole = np.concatenate([data.train_spikes_heldin, data.train_spikes_heldout], axis=2)
    library = build_library(whole, data.train_condition, sd_bins=3.5, neural_rank=20, condition_rank=4, floor=0.1)
    states = StateFinder(library.rates[..., :HELDIN], BINS, Window(30, 30, 10)).find_all(data.eval_spikes_heldin, "")
    read = read_behavior(states, data.train_behavior, library)
    error = np.square(read - velocity[:, :BINS]).sum()
    assert 1 - error / np.square(velocity[:, :BINS] - velocity[:, :BINS].mean(axis=(0, 1))).sum() > 0.95


def test_latents_are_the_rates_seen_along_fixed_axes():
    prediction, _ = run(recording(trials=20, evaluated=5)[0], neural_rank=3)
    for part in ("train", "eval"):
        rates = np.concatenate([prediction[f"{part}_rates_heldin"], prediction[f"{part}_rates_heldout"]], axis=2)
        latents = prediction[f"{part}_latents"].reshape(-1, 3)
        coef, *_ = np.linalg.lstsq(np.c_[rates.reshape(-1, NEURONS)], latents, rcond=None)
        np.testing.assert_allclose(rates.reshape(-1, NEURONS) @ coef, latents, atol=1e-4 * np.ptp(latents))


def test_a_training_trial_does_not_inform_its_own_rates():
    data, *_ = recording(trials=20, evaluated=1)
    other = data.train_spikes_heldout.copy()
    other[7] += 3
    changed = replace(data, train_spikes_heldout=other)
    for folds, same in ((10, True), (1, False)):
        before, after = (run(d, folds=folds)[0]["train_rates_heldout"] for d in (data, changed))
        assert np.array_equal(before[7], after[7]) == same
        assert not np.array_equal(before[12], after[12])


def test_thin_recordings_are_predicted():
    data, *_ = recording(trials=20, evaluated=3)
    silent_in, silent_out = data.train_spikes_heldin.copy(), data.train_spikes_heldout.copy()
    silent_in[..., 3] = silent_out[..., 2] = 0
    silent_ahead = data.train_spikes_heldout_forward.copy()
    silent_ahead[..., 2] = 0
    gap = data.train_spikes_heldin_forward.copy(), data.train_spikes_heldout_forward.copy()
    for array in gap:
        array[::5] = array[1, 4:] = np.nan
    first = {f: getattr(data, f)[:1] for f in data.__dataclass_fields__ if f.startswith("train_")}
    one_each = {f: getattr(data, f)[:CONDITIONS] for f in first}
    no_forward = {f"train_spikes_{g}_forward": None for g in ("heldin", "heldout")}
    cases = {
        "silent neurons": {
            "train_spikes_heldin": silent_in,
            "train_spikes_heldout": silent_out,
            "train_spikes_heldout_forward": silent_ahead,
        },
        "a silent evaluation": {"eval_spikes_heldin": np.zeros_like(data.eval_spikes_heldin)},
        "missing forward windows": {"train_spikes_heldin_forward": gap[0], "train_spikes_heldout_forward": gap[1]},
        "no forward windows": no_forward,
        "one trial": first,
        "one trial per condition": one_each,
        "one condition": {"train_condition": np.zeros(20, int)},
        "trials without a condition": {"train_condition": np.where(np.arange(20) < 10, -1, data.train_condition)},
    }
    for name, changes in cases.items():
        for rounds in (0, 1):
            prediction, _ = run(replace(data, **changes), align_rounds=rounds, folds=3)
            assert ("eval_rates_heldin_forward" in prediction) == (name != "no forward windows"), name
    far = run(replace(data, **one_each), align_rounds=2, shift_ms=1e6, condition_rank=1)[0]
    assert far["eval_rates_heldout"].std() > 0
    rates = run(replace(data, **cases["silent neurons"]))[0]
    assert rates["eval_rates_heldout"][..., 2] == pytest.approx(1e-5)


def test_the_contract_is_kept_and_faults_are_refused():
    check_model(MODEL, "mint", DEFAULTS)
    data, *_ = recording(trials=10, evaluated=2)
    with pytest.raises(NlbflowError, match="NaN"):
        replace(data, eval_spikes_heldin=np.full_like(data.eval_spikes_heldin, np.nan))
    for conditions in (None, np.full(10, -1)):
        with pytest.raises(NlbflowError, match=r"datasets\.\*\.conditions"):
            run(replace(data, train_condition=conditions))
    nan = float("nan")
    refused = {"kernel_sd_ms": [0], "neural_rank": [2.5], "folds": [0, nan], "align_rounds": [1.5], "shift_ms": [-1]}
    for bad in ({name: value} for name, values in (refused | {"floor": [nan]}).items() for value in values):
        with pytest.raises(NlbflowError, match=next(iter(bad))):
            run(data, **bad)
    with pytest.raises(NlbflowError, match="neural_rank"):
        resolve_params("mint", {"params": {"neural_rnk": 3}}, DEFAULTS)
