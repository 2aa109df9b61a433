"""The bootstrap's fast path against the metrics themselves on resampled arrays, and what intervals must satisfy."""

from dataclasses import replace

import numpy as np
import pytest

from nlbflow.metrics.formulas import bits_per_spike, psth_r2, score, tp_correlation
from nlbflow.scoring.bootstrap import ROUNDING, bootstrap, difference_interval, rank_intervals, resample
from nlbflow.scoring.trial_statistics import bits_per_neuron, bootstrap_scores, score_intervals, trial_statistics
from scored_arrays import BINS, EVAL, LAYOUTS, make


@pytest.mark.parametrize("layout", LAYOUTS)
def test_estimates_are_the_scores(layout):
    target, prediction = make(layout)
    prediction["eval_rates_heldout"][0, 0, 0] = 0.0
    expected, scores = score(target, prediction), bootstrap_scores(target, prediction, 20, 0)
    assert list(scores) == sorted(expected, key=list(scores).index) and set(scores) == set(expected)
    for name, value in expected.items():
        assert scores[name].estimate == pytest.approx(value, abs=1e-10), name


def resampled(target, prediction, chosen):
    """The arrays of the chosen evaluation trials, with a condition's trials found by their place."""
    part = {name: value[chosen] for name, value in target.items() if name.startswith("eval") and "cond" not in name}
    part |= {name: target[name] for name in ("train_behavior", "train_decode_mask", "psth") if name in target}
    if "psth" in target:
        part["eval_cond_idx"] = [np.flatnonzero(np.isin(chosen, trials)) for trials in target["eval_cond_idx"]]
    return part, {name: r[chosen] if name.startswith("eval") else r for name, r in prediction.items()}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_draw_is_the_score_of_the_resampled_trials(layout, seed):
    target, prediction = make(layout)
    compared = 0
    for name, statistic in trial_statistics(target, prediction).items():
        weights = resample(statistic.strata, EVAL, 1, seed)
        chosen = np.repeat(np.arange(EVAL), weights[0].astype(int))
        expected = score(*resampled(target, prediction, chosen)).get(name)
        if expected is not None:
            assert statistic.score(weights)[0] == pytest.approx(expected, abs=1e-9), name
            compared += 1
    assert compared >= 3


@pytest.mark.parametrize("layout", LAYOUTS)
def test_intervals_hold_their_estimate_and_are_reproducible(layout):
    target, prediction = make(layout)
    if "eval_cond_idx" in target:
        target["eval_cond_idx"] = [np.arange(0, 8), np.arange(8, EVAL), *[np.array([], int)] * 2]
    intervals = score_intervals(target, prediction, 200, 3)
    assert intervals == score_intervals(target, prediction, 200, 3)
    assert intervals != score_intervals(target, prediction, 200, 4)
    narrow = score_intervals(target, prediction, 200, 3, level=0.5)
    for name, value in score(target, prediction).items():
        low, high = intervals[name]
        assert low < high and low - 1e-12 <= value <= high + 1e-12, name
        assert low <= narrow[name][0] and narrow[name][1] <= high


def test_order_of_trials_and_neurons_does_not_matter_to_the_statistics():
    target, prediction = make("mc_rtt")
    order = np.random.default_rng(0).permutation(EVAL)
    moved = [{k: v[order] if k.startswith("eval") else v for k, v in part.items()} for part in (target, prediction)]
    weights = np.random.default_rng(1).integers(0, 3, (5, EVAL)).astype(float)
    shuffled = trial_statistics(*moved)
    for name, statistic in trial_statistics(target, prediction).items():
        assert statistic.score(weights) == pytest.approx(shuffled[name].score(weights[:, order]), abs=1e-9), name


@pytest.mark.parametrize("layout", LAYOUTS)
def test_slopes_are_the_derivatives_of_the_score(layout):
    weights = np.random.default_rng(2).integers(1, 4, (3, EVAL)).astype(float)
    for name, statistic in trial_statistics(*make(layout)).items():
        slopes, step = statistic.slopes(weights), 1e-4
        for trial in range(EVAL):
            up, down = weights.copy(), weights.copy()
            up[:, trial] += step
            down[:, trial] -= step
            change = (statistic.score(up) - statistic.score(down)) / (2 * step)
            assert slopes[:, trial] == pytest.approx(change, abs=1e-6), (name, trial)


@pytest.mark.parametrize("block", [1, 3])
def test_standard_errors_are_the_jackknifes(block):
    """Of a large sample the linear standard error and that of leaving out one unit at a time are the same."""
    rng = np.random.default_rng(0)
    rates = rng.gamma(2.0, 0.2, (300, 8, 3))
    target = {"eval_spikes_heldout": rng.poisson(rates * rng.gamma(4.0, 0.25, (300, 1, 1))).astype(float)}
    prediction = {"eval_rates_heldout": rates}
    units = 300 // block
    left_out = [np.delete(np.arange(300), np.arange(block * i, block * (i + 1))) for i in range(units)]
    without = [bits_per_spike(rates[kept], target["eval_spikes_heldout"][kept]) for kept in left_out]
    jackknife = np.sqrt((units - 1) / units * np.sum((without - np.mean(without)) ** 2))
    result = bootstrap_scores(target, prediction, 10, 0, block)["co-bps"]
    assert np.linalg.norm(result.contributions) == pytest.approx(jackknife, rel=0.02)


def test_too_few_trials_have_no_interval():
    target, prediction = make("mc_rtt")
    one, rates = resampled(target, prediction, np.array([0]))
    assert set(score_intervals(one, rates, 50, 0).values()) == {None}
    assert set(score_intervals(target, prediction, 50, 0, block=EVAL).values()) == {None}
    target, prediction = make("mc_maze")
    target["eval_cond_idx"] = [np.array([i]) for i in range(4)]
    intervals = score_intervals(target, prediction, 50, 0)
    assert intervals["psth R2"] is None and intervals["co-bps"] is not None


def test_metrics_that_do_not_apply_are_absent():
    target, prediction = make("dmfc_rsg")
    still = prediction | {name: np.full_like(rates, 0.1) for name, rates in prediction.items()}
    assert set(score(target, still)) == set(bootstrap_scores(target, still, 20, 0))
    silent = {"eval_spikes_heldout": np.zeros((5, 4, 2))}
    assert score_intervals(silent, {"eval_rates_heldout": np.full((5, 4, 2), 0.1)}, 20, 0) == {}


def averaged(rng: np.random.Generator, psth: np.ndarray, noise: float, each: int, models: int = 1) -> list:
    """The bootstrapped psth R2 of predictions that err by so much in each trial, all on the same trials."""
    trials = len(psth) * each
    index = np.split(np.arange(trials), len(psth))
    target = {"eval_spikes_heldout": np.ones((trials, BINS, 2)), "psth": psth, "eval_cond_idx": index}
    found = []
    for _ in range(models):
        # of a trial as a whole, as models err
        rates = np.repeat(psth, each, axis=0) + 0.2 + noise * rng.standard_normal((trials, 1, 4))
        prediction = {"eval_rates_heldin": rates[..., :2], "eval_rates_heldout": rates[..., 2:]}
        found.append(bootstrap_scores(target, prediction, 20, 0)["psth R2"])
        assert found[-1].estimate == pytest.approx(psth_r2(psth, index, rates), abs=1e-10)
    return found


@pytest.mark.parametrize("each", [2, 5])
@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_intervals_of_averages_hold_what_equally_many_trials_give(each, noise):
    """The noise that is left in averages of few trials is part of the score, and of what its interval is about."""
    rng = np.random.default_rng(0)
    psth = 3 + np.random.default_rng(1).random((4, BINS, 4))
    drawn = [averaged(rng, psth, noise, each, models=2) for _ in range(200)]
    # in closed form: means are off by 0.2, and by noise of that variance / n
    spread = ((psth - psth.mean(axis=(0, 1))) ** 2).sum(axis=(0, 1))
    expected = 1 - np.mean(4 * BINS * (0.2**2 + noise**2 / each) / spread)
    assert np.mean([first.estimate for first, _ in drawn]) == pytest.approx(expected, abs=0.1 * abs(1 - expected))
    intervals = [first.interval() for first, _ in drawn]
    held = np.mean([low <= expected <= high for low, high in intervals])
    equal = np.mean([low <= 0 <= high for low, high in (difference_interval(*pair) for pair in drawn)])
    assert 0.9 <= held and 0.92 <= equal, (held, equal)


def test_differences_and_ranks():
    target, good = make("mc_maze")
    rng = np.random.default_rng(0)
    poor = good | {"eval_rates_heldout": good["eval_rates_heldout"] * rng.gamma(3.0, 0.4, (EVAL, BINS, 1))}
    same = good | {"eval_rates_heldout": good["eval_rates_heldout"] * rng.gamma(1e4, 1e-4, (EVAL, BINS, 1))}
    predictions = {"good": good, "poor": poor, "same": same}
    models = {name: bootstrap_scores(target, p, 500, 0)["co-bps"] for name, p in predictions.items()}
    low, high = difference_interval(models["good"], models["poor"])
    assert 0 < low <= models["good"].estimate - models["poor"].estimate <= high
    reverse = difference_interval(models["poor"], models["good"])
    assert reverse == pytest.approx((-high, -low), abs=0.1 * (high - low))
    assert difference_interval(models["good"], models["good"]) == (-ROUNDING, ROUNDING)
    low, high = models["good"].interval()
    paired = difference_interval(models["good"], models["same"])
    assert paired[1] - paired[0] < (high - low) / 5
    ranks = rank_intervals(models)
    assert ranks["poor"] == (3, 3) and ranks["good"][0] == 1
    assert ranks == {name: rank_intervals(dict(reversed(models.items())))[name] for name in models}
    assert rank_intervals(models, higher_is_better=False)["poor"] == (1, 1)
    assert rank_intervals({"good": models["good"]}) == {"good": (1, 1)}


def test_bits_per_neuron_sum_to_the_score():
    target, prediction = make("mc_maze")
    rates, spikes = prediction["eval_rates_heldout"], target["eval_spikes_heldout"].copy()
    spikes[..., 1], spikes[2, 3] = 0.0, np.nan
    bits, counts = bits_per_neuron(rates, spikes), np.nansum(spikes, axis=(0, 1))
    assert np.flatnonzero(np.isnan(bits)).tolist() == [1]
    spiking = counts > 0
    assert np.average(bits[spiking], weights=counts[spiking]) == pytest.approx(
        bits_per_spike(rates[..., spiking], spikes[..., spiking]), abs=1e-10
    )
    assert bits[0] == pytest.approx(bits_per_spike(rates[..., :1], spikes[..., :1]), abs=1e-10)


def test_undefined_draws_of_tp_corr_are_left_out():
    target, prediction = make("dmfc_rsg")
    rates = np.concatenate([prediction["eval_rates_heldin"], prediction["eval_rates_heldout"]], axis=2)
    assert np.isfinite(tp_correlation(rates, target["eval_spikes_heldout"], target["eval_behavior"]))
    statistic = trial_statistics(target, prediction)["tp corr"]
    weights = np.zeros((1, EVAL))
    for trials in statistic.strata:
        weights[0, trials[0]] = len(trials) - 1
    assert np.isnan(statistic.score(weights)[0])


def test_no_interval_reaches_beyond_what_a_score_can_be():
    rng = np.random.default_rng(0)
    near = averaged(rng, 3 + rng.random((2, BINS, 4)), 0.3, 3)[0]
    near = replace(near, estimate=0.99)
    assert near.interval()[1] == 1.0 < replace(near, limits=(-np.inf, np.inf)).interval()[1]


def test_predictions_alike_in_all_trials_of_a_condition_have_no_spread():
    (alike,) = averaged(np.random.default_rng(0), 3 + np.random.default_rng(1).random((3, BINS, 4)), 0.0, 3)
    assert alike.interval() == pytest.approx((alike.estimate, alike.estimate), abs=1e-9)


@pytest.mark.parametrize(("trials", "freedom"), [(2, 0), (3, 8), (4, 16)])
def test_two_trials_of_a_condition_tell_nothing_of_a_correlation(trials, freedom):
    rng, conditions = np.random.default_rng(0), 8
    of = np.repeat(np.arange(conditions), trials)
    behavior = np.stack([of, np.zeros_like(of), np.zeros_like(of), np.full(len(of), 700), rng.normal(800, 90, len(of))])
    spikes = rng.poisson(0.3, (len(of), BINS, 4)).astype(float)
    target = {"eval_spikes_heldout": spikes, "eval_behavior": behavior.T, "eval_jitter": np.zeros(len(of))}
    prediction = {"eval_rates_heldin": rng.random((len(of), BINS, 3)), "eval_rates_heldout": rng.random(spikes.shape)}
    found = bootstrap(trial_statistics(target, prediction)["tp corr"], 50, 0)
    assert found.freedom == freedom and (freedom or found.interval() is None)
