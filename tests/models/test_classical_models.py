"""mean_rate, smoothing and the two oracles on small synthetic recordings."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.signal.windows import gaussian
from sklearn.linear_model import PoissonRegressor

from nlbflow.errors import NlbflowError
from nlbflow.methods.smoothing import gaussian_kernel, smoothing_matrix
from nlbflow.metrics.formulas import bits_per_spike
from nlbflow.models.contract import load_model

MODELS = Path(__file__).parents[2] / "scripts/models"
TRAIN, EVAL, BINS, AHEAD, HELDIN, HELDOUT = 60, 40, 50, 10, 8, 5


def run(name, data, **params):
    model = load_model(MODELS / f"{name}.py")
    return model.predict(data, {**model.DEFAULTS, **params}, 0)


@pytest.fixture(scope="module")
def data():
    """Conditions 0 to 3 with different rates; the last trial of each part has none."""
    rng = np.random.default_rng(0)
    condition = np.append(rng.integers(0, 4, TRAIN + EVAL - 1), -1)
    condition[TRAIN - 1] = -1
    neurons, bins = HELDIN + HELDOUT, BINS + AHEAD
    phase = np.linspace(0, 5, bins)[:, None] + rng.uniform(0, 6, (5, 1, neurons))
    rates = 0.3 * np.exp(1.2 * np.sin(phase))[condition]
    spikes = rng.poisson(rates).astype(np.float32)
    spikes[..., 3] = 0
    parts = {"train": slice(0, TRAIN), "eval": slice(TRAIN, None)}
    groups = {"heldin": slice(0, HELDIN), "heldout": slice(HELDIN, None)}
    windows = {"": slice(0, BINS), "_forward": slice(BINS, None)}
    cut = {
        f"{part}_{{}}_{group}{suffix}": (parts[part], windows[suffix], groups[group])
        for part in parts
        for group in groups
        for suffix in windows
    }
    arrays = {name.format("spikes"): spikes[at] for name, at in cut.items()}
    true = {name.format("rates"): rates[at] for name, at in cut.items()}
    members = {p: [np.flatnonzero(condition[at] == c) for c in range(5)] for p, at in parts.items()}
    members["train"][3] = np.array([], int)
    answers = {f"{part}_cond_idx": indices for part, indices in members.items()} | {"true_rates": true}
    return SimpleNamespace(**arrays, bin_ms=5, psth_kernel_ms=40.0, answers=answers)


def test_kernel_is_scipys():
    for length, sd in ((60, 10), (9, 1), (36, 6)):
        expected = gaussian(length, sd, sym=True)
        np.testing.assert_allclose(gaussian_kernel(length, sd), expected / expected.sum(), rtol=0, atol=1e-15)
    assert gaussian_kernel(4, 0).tolist() == [1.0]


@pytest.mark.parametrize("length", [1, 9, 60, 49, 50, 51, 300])
def test_smoothing_matrix_convolves(length):
    rng = np.random.default_rng(length)
    x, kernel = rng.poisson(0.3, (3, BINS, 2)), rng.random(length)
    smoothed = smoothing_matrix(kernel, BINS) @ x
    for trial, neuron in np.ndindex(3, 2):
        full = np.convolve(x[trial, :, neuron], kernel)
        start = (length - 1) // 2
        np.testing.assert_allclose(smoothed[trial, :, neuron], full[start : start + BINS], rtol=0, atol=1e-12)
        if length <= BINS:
            same = np.convolve(x[trial, :, neuron], kernel, "same")
            np.testing.assert_allclose(smoothed[trial, :, neuron], same, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("bin_ms", "kernel_sd_ms"), [(5, 40), (20, 50)])
def test_smoothing_is_the_benchmarks_baseline(data, bin_ms, kernel_sd_ms):
    data = SimpleNamespace(**{**vars(data), "bin_ms": bin_ms})
    kernel = gaussian(int(6 * kernel_sd_ms / bin_ms), int(kernel_sd_ms / bin_ms), sym=True)
    smooth = lambda x: np.apply_along_axis(np.convolve, 1, x.astype(float), kernel / kernel.sum(), "same")  # noqa: E731
    train, evaluated = smooth(data.train_spikes_heldin), smooth(data.eval_spikes_heldin)
    prediction = run("smoothing", data, kernel_sd_ms=kernel_sd_ms, alpha=0.01)
    np.testing.assert_allclose(prediction["train_rates_heldin"], train, atol=1e-6)
    np.testing.assert_allclose(prediction["eval_rates_heldin"], evaluated, atol=1e-6)
    x, x_eval = (np.log(a + 1e-4).reshape(-1, HELDIN) for a in (train, evaluated))
    for neuron, y in enumerate(data.train_spikes_heldout.reshape(-1, HELDOUT).T):
        fit = PoissonRegressor(alpha=0.01, solver="newton-cholesky", tol=1e-12).fit(x, y.astype(float))
        for part, features in (("train", x), ("eval", x_eval)):
            rates = prediction[f"{part}_rates_heldout"][..., neuron].ravel()
            np.testing.assert_allclose(rates, fit.predict(features), rtol=2e-6)
    assert not any("forward" in name for name in prediction)
    assert prediction["facts"]["parameters"] == (HELDIN + 1) * HELDOUT


def test_smoothing_clips_and_takes_kernels_longer_than_the_trial(data):
    silent = data.train_spikes_heldout.copy()
    silent[..., 0] = 0
    quiet = SimpleNamespace(**{**vars(data), "train_spikes_heldout": silent})
    rates = run("smoothing", quiet, kernel_sd_ms=100)["eval_rates_heldout"]
    assert rates.shape == (EVAL, BINS, HELDOUT)
    np.testing.assert_allclose(rates[..., 0], 1e-9, rtol=1e-6)
    fast = SimpleNamespace(**{**vars(data), "eval_spikes_heldin": data.eval_spikes_heldin * 1e30})
    assert np.isfinite(run("smoothing", fast, alpha=0.0)["eval_rates_heldout"]).all()


def test_mean_rate(data):
    prediction = run("mean_rate", data)
    observed = data.train_spikes_heldin.mean(axis=(0, 1))
    np.testing.assert_allclose(prediction["eval_rates_heldin"][7, 3], np.maximum(observed, 1e-5), rtol=1e-6)
    ahead = data.train_spikes_heldout_forward.mean(axis=(0, 1))
    np.testing.assert_allclose(prediction["eval_rates_heldout_forward"][-1, -1], ahead, rtol=1e-6)
    score = bits_per_spike(prediction["eval_rates_heldout"], data.eval_spikes_heldout)
    assert -0.02 < score <= 0
    assert prediction["facts"]["parameters"] == 2 * (HELDIN + HELDOUT)


def test_mean_rate_without_or_with_missing_forward_windows(data):
    without = SimpleNamespace(**{**vars(data), **{f"train_spikes_{g}_forward": None for g in ("heldin", "heldout")}})
    assert not any("forward" in name for name in run("mean_rate", without))
    gaps = data.train_spikes_heldin_forward.copy()
    gaps[10:] = np.nan
    prediction = run("mean_rate", SimpleNamespace(**{**vars(data), "train_spikes_heldin_forward": gaps}))
    expected = np.maximum(gaps[:10].mean(axis=(0, 1)), 1e-5)
    np.testing.assert_allclose(prediction["eval_rates_heldin_forward"][0, 0], expected, rtol=1e-6)


def test_condition_psth_averages_smooths_and_mixes(data):
    prediction = run("condition_psth", data)
    trials, neuron = data.answers["train_cond_idx"][1], 2
    spikes = np.concatenate([data.train_spikes_heldin, data.train_spikes_heldin_forward], axis=1)[..., neuron]
    average, offsets = spikes[trials].mean(axis=0), np.arange(BINS + AHEAD)
    weights = np.exp(-0.5 * ((offsets[:, None] - offsets) / 8) ** 2)
    weights[np.abs(offsets[:, None] - offsets) > 24] = 0
    smooth = weights @ average / weights.sum(axis=1)
    expected = 0.85 * smooth[:BINS] + 0.15 * spikes[:, :BINS].mean()
    for trial in data.answers["eval_cond_idx"][1]:
        np.testing.assert_allclose(prediction["eval_rates_heldin"][trial, :, neuron], expected, rtol=1e-5)
    expected = 0.85 * smooth[BINS:] + 0.15 * spikes[:, BINS:].mean()
    trial = data.answers["eval_cond_idx"][1][0]
    np.testing.assert_allclose(prediction["eval_rates_heldin_forward"][trial, :, neuron], expected, rtol=1e-5)


def test_condition_psth_falls_back_to_the_mean(data):
    prediction = run("condition_psth", data)
    means = data.train_spikes_heldout.mean(axis=(0, 1))
    for trial in (*data.answers["eval_cond_idx"][3], EVAL - 1):
        rates = prediction["eval_rates_heldout"][trial]
        np.testing.assert_allclose(rates, np.broadcast_to(means, rates.shape), rtol=1e-5)
    assert prediction["eval_rates_heldin"][..., 3] == pytest.approx(1e-5)


def test_condition_psth_lies_between_the_mean_and_the_true_rates(data):
    scores = [
        bits_per_spike(run(name, data)["eval_rates_heldout"], data.eval_spikes_heldout)
        for name in ("mean_rate", "condition_psth", "true_rates")
    ]
    assert scores == sorted(scores) and scores[1] > 0.05


def test_oracles_refuse_datasets_without_their_answers(data):
    for name, lacking, words in (
        ("condition_psth", {"answers": {}}, "no conditions"),
        ("condition_psth", {"psth_kernel_ms": None}, "no kernel"),
        ("true_rates", {"answers": {}}, "simulated"),
    ):
        with pytest.raises(NlbflowError, match=words):
            run(name, SimpleNamespace(**{**vars(data), **lacking}))


def test_true_rates_has_the_benchmarks_names_only(data):
    prediction = run("true_rates", data)
    assert set(prediction) == {
        "train_rates_heldin",
        "train_rates_heldout",
        "eval_rates_heldin",
        "eval_rates_heldout",
        "eval_rates_heldin_forward",
        "eval_rates_heldout_forward",
        "facts",
    }
    np.testing.assert_array_equal(prediction["eval_rates_heldout"], data.answers["true_rates"]["eval_rates_heldout"])


def test_condition_psth_undoes_the_jitter():
    """Counts that depend on the time from the event alone are predicted exactly, wherever a trial's window begins."""
    draw = np.random.default_rng(3)
    profile = draw.integers(1, 9, (2, 40, HELDIN + HELDOUT)).astype(np.float32)
    condition = {"train": np.repeat([0, 1], 6), "eval": np.repeat([0, 1], 3)}
    jitter = {"train": np.tile(np.arange(6), 2), "eval": np.array([0, 3, 5, 1, 2, 4])}
    seen = {p: profile[c[:, None], jitter[p][:, None] + np.arange(35)] for p, c in condition.items()}
    arrays = {
        f"{part}_spikes_{group}{suffix}": spikes[:, at][:, :, units]
        for part, spikes in seen.items()
        for group, units in (("heldin", slice(0, HELDIN)), ("heldout", slice(HELDIN, None)))
        for suffix, at in (("", slice(0, 30)), ("_forward", slice(30, None)))
    }
    answers = {f"{p}_cond_idx": [np.flatnonzero(c == k) for k in (0, 1)] for p, c in condition.items()}
    answers |= {f"{p}_jitter": jitter[p] for p in jitter}
    data = SimpleNamespace(**arrays, bin_ms=5, psth_kernel_ms=1e-3, answers=answers)
    for name, rates in run("condition_psth", data, share=1.0).items():
        if "rates" in name:
            np.testing.assert_allclose(rates, arrays[name.replace("rates", "spikes")], atol=1e-6, err_msg=name)
