"""Intervals of the simplest score, a mean, against textbook formulas and simulations; differences, means and ranks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, ttest_rel

from nlbflow.running.files import read_arrays, write_arrays
from nlbflow.scoring.bootstrap import (
    ROUNDING,
    Bootstrap,
    TrialStatistic,
    bootstrap,
    difference_interval,
    mean_of,
    rank_intervals,
    resample,
)


def of_mean(values, draws=500, seed=0, block=1, strata=None):
    """The bootstrap of the trials' mean."""
    values = np.asarray(values, dtype=float)

    def score(weights):
        return weights @ values / weights.sum(axis=1)

    def slopes(weights):
        return (values - score(weights)[:, None]) / weights.sum(axis=1, keepdims=True)

    strata = [np.arange(len(values))] if strata is None else strata
    return bootstrap(TrialStatistic(score, slopes, strata, len(values)), draws, seed, block)


def test_resamples_are_of_n_minus_one_within_strata_and_blocks():
    strata = [np.arange(0, 7), np.array([8]), np.array([9, 11, 13])]
    weights = resample(strata, 14, 50, 0)
    assert (weights[:, :7].sum(axis=1) == 6).all() and (weights[:, 8] == 1).all()
    assert (weights[:, [9, 11, 13]].sum(axis=1) == 2).all() and not weights[:, [7, 10, 12]].any()
    blocks = resample([np.arange(10)], 10, 50, 0, block=4)
    assert (blocks[:, 0:4] == blocks[:, :1]).all() and (blocks[:, 4:8] == blocks[:, 4:5]).all()
    assert (blocks[:, 8] == blocks[:, 9]).all() and (blocks[:, [0, 4, 8]].sum(axis=1) == 2).all()


def test_every_trial_counts_alike_and_means_vary_as_they_should():
    weights = resample([np.arange(5), np.arange(5, 15)], 15, 20_000, 0)
    assert weights.mean(axis=0) == pytest.approx(1 - 1 / np.repeat([5, 10], [5, 10]), abs=0.04)
    values = np.random.default_rng(0).standard_normal(6)
    assert np.var(of_mean(values, draws=20_000).draws) == pytest.approx(values.var(ddof=1) / 6, rel=0.04)


def test_the_standard_error_is_that_of_a_mean():
    values = np.random.default_rng(0).standard_normal(12)
    result = of_mean(values)
    assert np.linalg.norm(result.contributions) == pytest.approx(values.std(ddof=1) / np.sqrt(12), rel=1e-12)
    chosen = np.repeat(values, resample([np.arange(12)], 12, 500, 0)[7].astype(int))
    assert result.errors[7] == pytest.approx(chosen.std(ddof=1) / np.sqrt(11), rel=1e-12)
    halves = of_mean(values, strata=[np.arange(5), np.arange(5, 12)])
    expected = np.sqrt(5 * values[:5].var(ddof=1) + 7 * values[5:].var(ddof=1)) / 12
    assert np.linalg.norm(halves.contributions) == pytest.approx(expected, rel=1e-12)
    # Of a pair one is drawn, whose error is known from the pair alone.
    pair = of_mean(values[:2])
    assert pair.errors == pytest.approx(values[:2].std(ddof=1), rel=1e-12)


def test_the_interval_is_the_textbooks():
    values = np.random.default_rng(0).standard_exponential(10)
    pivots = []
    for counts in resample([np.arange(10)], 10, 400, 5).astype(int):
        chosen = np.repeat(values, counts)
        pivots.append((chosen.mean() - values.mean()) / (chosen.std(ddof=1) / np.sqrt(len(chosen))))
    error, result = values.std(ddof=1) / np.sqrt(10), of_mean(values, draws=400, seed=5)
    low, high = np.quantile(pivots, [0.05, 0.95])
    assert result.interval(0.9) == pytest.approx((values.mean() - high * error, values.mean() - low * error), rel=1e-9)


@pytest.mark.parametrize(("shape", "true"), [("normal", 0.0), ("exponential", 1.0)])
def test_intervals_of_a_mean_of_15_hold_it_where_plain_ones_do_not(shape, true):
    rng = np.random.default_rng(0)
    held, plain = [], []
    for seed in range(600):
        values = rng.standard_normal(15) if shape == "normal" else rng.standard_exponential(15)
        result = of_mean(values, seed=seed)
        low, high = result.interval()
        held.append(low <= true <= high)
        low, high = np.quantile(result.draws, [0.025, 0.975])
        plain.append(low <= true <= high)
    assert 0.93 <= np.mean(held) <= 0.97 and np.mean(plain) < np.mean(held) - 0.015


def test_equally_good_models_differ_as_often_as_the_level_says():
    rng, called = np.random.default_rng(1), 0
    for seed in range(600):
        shared, first, second = rng.standard_exponential((3, 30))
        low, high = difference_interval(of_mean(3 * shared + first, seed=seed), of_mean(3 * shared + second, seed=seed))
        called += low > 0 or high < 0
    assert 0.03 <= called / 600 <= 0.07


def test_blocks_are_needed_where_neighbours_are_alike():
    rng, held = np.random.default_rng(2), {1: 0, 10: 0}
    for seed in range(300):
        noise = rng.standard_normal(208)
        # Neighbours share most of their noise.
        values = np.convolve(noise, np.ones(9) / 9, "valid")
        for block in held:
            low, high = of_mean(values, draws=200, seed=seed, block=block).interval()
            held[block] += low <= 0 <= high
    assert held[1] / 300 < 0.7 and held[10] / 300 > 0.85


@pytest.mark.parametrize("level", [0.8, 0.95, 0.9987])
def test_the_difference_of_two_means_is_judged_by_a_paired_t_test(level):
    a, b = np.random.default_rng(0).standard_normal((2, 20))
    expected = ttest_rel(a, b).confidence_interval(level)
    found = difference_interval(of_mean(a), of_mean(b), level)
    assert found == pytest.approx((expected.low, expected.high), rel=1e-9)
    low, high = difference_interval(of_mean(b), of_mean(a), level)
    assert (-high, -low) == pytest.approx(found, abs=1e-9)


def test_the_mean_of_seeds_is_nearly_the_bootstrap_of_their_mean():
    shared, *own = np.random.default_rng(0).standard_normal((4, 40))
    values = np.array([3 * shared + noise for noise in own])
    expected, found = of_mean(values.mean(axis=0)), mean_of([of_mean(v) for v in values])
    assert found.estimate == pytest.approx(values.mean()) and found.freedom == expected.freedom
    assert found.draws == pytest.approx(expected.draws, abs=1e-12)
    assert found.contributions == pytest.approx(expected.contributions, abs=1e-12)
    # Errors of the single resamples are kept of each seed alone, not of the mean.
    low, high = expected.interval()
    assert found.interval() == pytest.approx((low, high), abs=0.05 * (high - low))
    one = of_mean(values[0])
    assert mean_of([one, one]).interval() == pytest.approx(one.interval(), abs=1e-12)
    assert mean_of([one]).interval() == one.interval()


@given(
    values=st.lists(st.integers(-50, 50), min_size=8, max_size=30),
    factor=st.sampled_from([-3.0, 0.5, 10.0]),
    offset=st.integers(-5, 5),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=50)
def test_intervals_hold_the_estimate_are_nested_and_follow_the_scale(values, factor, offset, seed):
    result = of_mean(values, 200, seed)
    moved = of_mean(factor * np.array(values) + offset, 200, seed)
    if (wide := result.interval(0.95)) is None:
        assert moved.interval(0.95) is None
        return
    narrow = result.interval(0.8)
    assert wide[0] <= narrow[0] <= result.estimate <= narrow[1] <= wide[1]
    expected = sorted(factor * end + offset for end in wide)
    assert moved.interval(0.95) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_no_interval_where_too_little_varies():
    assert of_mean([1, 2, 3, 4]).interval() is None
    assert of_mean(np.arange(5)).interval() is not None
    assert of_mean(np.arange(10), strata=list(np.arange(10).reshape(10, 1))).interval() is None
    assert of_mean(np.arange(20), block=5).interval() is None
    # A third of the resamples lacks the one trial that differs: how much others would differ is unknown.
    assert of_mean(np.arange(20) == 3).interval() is None
    with_undefined = of_mean(np.arange(10))
    with_undefined.draws[:30] = np.nan
    assert with_undefined.interval() is None


def test_predictions_of_the_same_scores_do_not_differ():
    score = of_mean(np.random.default_rng(0).standard_normal(20))
    assert difference_interval(score, score) == (-ROUNDING, ROUNDING)
    assert rank_intervals({"a": score, "b": score}) == {"a": (1, 2), "b": (1, 2)}


def test_ranks_are_those_that_the_differences_allow():
    noise = np.random.default_rng(0).standard_normal((4, 50))
    scores = {"best": 3 + noise[0], "good": 1 + noise[1], "alike": 1.01 + noise[2], "poor": -2 + noise[3]}
    models = {name: of_mean(values) for name, values in scores.items()}
    expected = {"best": (1, 1), "good": (2, 3), "alike": (2, 3), "poor": (4, 4)}
    assert rank_intervals(models) == expected == rank_intervals(dict(reversed(models.items())))
    downwards = {name: (5 - worst, 5 - best) for name, (best, worst) in expected.items()}
    assert rank_intervals(models, higher_is_better=False) == downwards
    assert rank_intervals({"best": models["best"]}) == {"best": (1, 1)}


def test_rank_intervals_hold_the_true_ranks_of_equal_models():
    rng, held = np.random.default_rng(3), 0
    for seed in range(150):
        models = {i: of_mean(values, 400, seed) for i, values in enumerate(rng.standard_normal((4, 30)))}
        held += rank_intervals(models)[0] == (1, 4)
    # Each of equally good models may be the best or the worst; Bonferroni keeps errors below 5 %.
    assert held / 150 >= 0.92


def test_a_file_gives_back_the_same(tmp_path):
    score = of_mean(np.random.default_rng(0).standard_normal(40))
    write_arrays(tmp_path / "b.h5", {"co-bps": score.arrays()}, {})
    back = Bootstrap.from_arrays(read_arrays(tmp_path / "b.h5")[0]["co-bps"])
    for name, array in score.arrays().items():
        found = back.arrays()[name]
        assert found.dtype == array.dtype and found.tobytes() == array.tobytes(), name
    assert type(back.estimate) is float and type(back.freedom) is int
    assert back.interval() == score.interval() and difference_interval(back, score) == (-ROUNDING, ROUNDING)


def test_a_large_sample_has_the_normal_interval():
    values = np.random.default_rng(0).standard_normal(800)
    error = values.std(ddof=1) / np.sqrt(800)
    for level in (0.5, 0.95):
        expected = values.mean() + norm.ppf((1 + level) / 2) * error * np.array([-1, 1])
        assert of_mean(values, draws=2000).interval(level) == pytest.approx(expected, abs=0.1 * error)
