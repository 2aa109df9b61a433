"""The metrics against second formulas, and what must hold for any arrays (specification, section 4)."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, poisson
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV

from nlbflow.metrics.formulas import (
    bits_per_spike,
    null_rates,
    poisson_nll,
    psth_r2,
    score,
    tp_correlation,
    velocity_r2,
)
from nlbflow.scoring.trial_statistics import trial_statistics
from scored_arrays import EVAL, LAYOUTS, make

KINDS = ("random", "constant", "some zero", "the counts")
any_arrays = given(
    seed=st.integers(0, 10**6),
    trials=st.integers(1, 4),
    neurons=st.integers(1, 5),
    kind=st.sampled_from(KINDS),
    unknown=st.sampled_from([0, 0.2, 0.9]),
)
often = settings(max_examples=60, deadline=None)


def arrays(seed: int, trials: int, neurons: int, kind: str, unknown: float) -> tuple[np.ndarray, np.ndarray]:
    """Rates and counts (trials, 6, neurons): NaN in a share of the counts, every third neuron silent."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.8, (trials, 6, neurons)).astype(float)
    counts[..., ::3] *= seed % 2
    rates = {
        "random": rng.gamma(1, 1, counts.shape),
        "constant": np.full(counts.shape, 0.3),
        "some zero": rng.gamma(1, 1, counts.shape) * (rng.random(counts.shape) < 0.7),
        "the counts": counts.copy(),
    }[kind]
    counts[rng.random(counts.shape) < unknown] = np.nan
    return rates, counts


def bits_by_hand(rates: np.ndarray, counts: np.ndarray) -> float:
    """Neuron by neuron with scipy's Poisson distribution."""
    gain = spikes = 0.0
    for r, n in zip(rates.reshape(-1, rates.shape[-1]).T, counts.reshape(-1, counts.shape[-1]).T, strict=True):
        r, n = r[np.isfinite(n)], n[np.isfinite(n)]
        if len(n):
            r, mean = np.where(r == 0, 1e-9, r), n.mean() or 1e-9
            gain += poisson.logpmf(n, r).sum() - poisson.logpmf(n, mean).sum()
            spikes += n.sum()
    return gain / math.log(2) / spikes if spikes else math.nan


@often
@any_arrays
def test_bits_per_spike(seed, trials, neurons, kind, unknown):
    rates, counts = arrays(seed, trials, neurons, kind, unknown)
    assert bits_per_spike(rates, counts) == pytest.approx(bits_by_hand(rates, counts), abs=1e-9, nan_ok=True)
    known = np.isfinite(counts)
    expected = -poisson.logpmf(counts[known], np.where(rates == 0, 1e-9, rates)[known]).sum()
    assert poisson_nll(rates, counts) == pytest.approx(expected, abs=1e-9)


@often
@any_arrays
def test_bits_per_spike_of_null_order_and_likelihood(seed, trials, neurons, kind, unknown):
    rates, counts = arrays(seed, trials, neurons, kind, unknown)
    if not np.nansum(counts):
        return
    value, rng = bits_per_spike(rates, counts), np.random.default_rng(seed)
    assert bits_per_spike(null_rates(counts), counts) == bits_per_spike(null_rates(counts).copy(), counts) == 0
    for axis, size in ((0, trials), (2, neurons)):
        order = rng.permutation(size)
        assert bits_per_spike(rates.take(order, axis), counts.take(order, axis)) == pytest.approx(value, abs=1e-9)
    # The likelihood is concave with its maximum at the counts: the way there only goes up.
    steps = [rates + share * (np.nan_to_num(counts) - rates) for share in (0, 0.2, 0.5, 0.9, 1)]
    climb = [bits_per_spike(step, counts) for step in steps]
    assert (np.diff(climb) >= -1e-9).all()
    nats = np.nansum(counts) * np.log(2) * np.diff(climb)
    assert nats == pytest.approx(-np.diff([poisson_nll(step, counts) for step in steps]), abs=1e-9)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_order_of_trials_and_neurons_does_not_matter(layout):
    target, prediction = make(layout)
    expected, rng = score(target, prediction), np.random.default_rng(1)
    order = rng.permutation(EVAL)
    # train trials stay: the decoder's folds follow their order
    target, prediction = (
        {k: v[order] if k.startswith("eval") and "cond" not in k else v for k, v in part.items()}
        for part in (target, prediction)
    )
    if "eval_cond_idx" in target:
        target["eval_cond_idx"] = [np.flatnonzero(np.isin(order, trials)) for trials in target["eval_cond_idx"]]
    assert score(target, prediction) == pytest.approx(expected, abs=1e-9)

    groups = {g: rng.permutation(prediction[f"eval_rates_{g}"].shape[2]) for g in ("heldin", "heldout")}
    for part in (target, prediction):
        for name in part:
            for group, units in groups.items():
                if f"_{group}" in name:
                    part[name] = part[name][..., units]
    if "psth" in target:
        both = np.concatenate([groups["heldin"], len(groups["heldin"]) + groups["heldout"]])
        target["psth"] = target["psth"][..., both]
    assert score(target, prediction) == pytest.approx(expected, abs=1e-9)


def kinds_of_rates(rng: np.random.Generator, shape: tuple) -> dict[str, np.ndarray]:
    return {"random": rng.gamma(2, 0.1, shape), "constant": np.full(shape, 0.25), "zero": np.zeros(shape)}


@pytest.mark.parametrize("neurons", [1, 5])
@pytest.mark.parametrize("each", [1, 3])
@pytest.mark.parametrize("kind", ["random", "constant", "zero"])
def test_psth_r2(kind, each, neurons):
    rng = np.random.default_rng(each)
    psth = rng.gamma(2, 0.1, (3, 8, neurons))
    psth[0, :2] = psth[2, 6:] = np.nan
    members = np.split(rng.permutation(3 * each), 3)
    rates = kinds_of_rates(rng, (3 * each, 8, neurons))[kind]
    true, predicted = [], []
    for c, trials in enumerate(members):
        for b in range(8):
            if not np.isnan(psth[c, b, 0]):
                true.append(psth[c, b])
                predicted.append([sum(rates[t, b, n] for t in trials) / each for n in range(neurons)])
    assert psth_r2(psth, members, rates) == pytest.approx(r2_score(true, predicted), abs=1e-9)


@pytest.mark.parametrize("neurons", [1, 5])
@pytest.mark.parametrize("kind", ["random", "constant", "zero"])
@pytest.mark.parametrize("trials", [1, 6])
def test_velocity_r2(trials, kind, neurons):
    rng = np.random.default_rng(neurons)
    rates = [kinds_of_rates(rng, (trials, 30, neurons))[kind] for _ in range(2)]
    velocity = [100 * r[..., :1] * [1, -2] + 10 * rng.standard_normal((trials, 30, 2)) for r in rates]
    for v in velocity:
        v[0, 3:7] = np.nan
    known = [~np.isnan(v).any(axis=2) for v in velocity]
    decoder = GridSearchCV(Ridge(), {"alpha": np.logspace(-4, 0, 9)}).fit(rates[0][known[0]], velocity[0][known[0]])
    expected = decoder.score(rates[1][known[1]], velocity[1][known[1]])
    assert velocity_r2(rates[0], velocity[0], rates[1], velocity[1]) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("neurons", [1, 5])
@pytest.mark.parametrize("kind", ["random", "constant", "zero"])
def test_tp_correlation(kind, neurons):
    rng = np.random.default_rng(neurons)
    rates = kinds_of_rates(rng, (12, 20, neurons))[kind]
    spikes, behavior = np.full((12, 20, 2), np.nan), np.zeros((12, 5))
    behavior[:, 0], behavior[:, 4] = np.arange(12) % 2, rng.normal(800, 90, 12)
    behavior[5] = np.nan
    speeds = {0: [], 1: []}
    for trial in range(12):
        first, last = rng.integers(0, 5), rng.integers(12, 20)
        spikes[trial, first:last] = 0
        path = [math.dist(rates[trial, b + 1], rates[trial, b]) for b in range(first, last - 1)]
        if trial != 5:
            speeds[trial % 2].append((sum(path) / len(path), behavior[trial, 4]))
    found = tp_correlation(rates, spikes, behavior)
    if kind == "random":
        assert found == pytest.approx(
            np.mean([pearsonr(*np.transpose(s)).statistic for s in speeds.values()]), abs=1e-9
        )
    else:
        assert np.isnan(found)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_float32_is_scored_in_float64(layout):
    """Predictions and the published answers are float32; the reference casts them before any arithmetic."""
    target, prediction = make(layout)

    def cast(arrays, dtype):
        return {n: a.astype(dtype) if getattr(a, "dtype", np.dtype(int)).kind == "f" else a for n, a in arrays.items()}

    single = cast(target, np.float32), cast(prediction, np.float32)
    expected = score(*(cast(arrays, np.float64) for arrays in single))
    assert score(*single) == pytest.approx(expected, abs=1e-13)
    for name, statistic in trial_statistics(*single).items():
        assert statistic.score(np.ones((1, statistic.trials)))[0] == pytest.approx(expected[name], abs=1e-10)
