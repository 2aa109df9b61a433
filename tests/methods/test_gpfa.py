"""GPFA against a dense textbook implementation, log-likelihoods of elephant, and simulations with known truth."""

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import multivariate_normal
from sklearn.linear_model import PoissonRegressor, Ridge

from nlbflow.errors import NlbflowError
from nlbflow.methods.glm import fit_poisson
from nlbflow.methods.gpfa.fit import cut_segments, em_step, fit_gpfa, initial_model
from nlbflow.methods.gpfa.inference import Gpfa, forward_latents, log_likelihood, orthonormal_axes, posterior_latents
from nlbflow.models.contract import check_model, load_model, run_model, tiny_input
from nlbflow.recordings.model_input import ModelInput

MODEL = Path(__file__).parents[2] / "scripts/models/gpfa.py"
PARAMS = {**load_model(MODEL).DEFAULTS, "x_dim": 3, "steps": 30}

# Log-likelihoods of elephant 1.2.1 (elephant.gpfa.gpfa_core.em, bin_width 20, freq_ll=1, otherwise its defaults; numpy
# 2.4.6, scipy 1.17.1) before EM steps 1, 2, 3, 5, 10 and 25, for the data and from the start of `golden`.
GOLDEN = {
    1: -2431.5605297016505,
    2: -2282.5283401156007,
    3: -2234.441075101996,
    5: -2215.183755027696,
    10: -2209.147490338909,
    25: -2207.0193903398103,
}
# and bin width / sqrt(gamma) in bins after step 25
GOLDEN_TIMESCALES = [3.7954358095978793, 4.20776317090648]


def golden():
    draw = np.random.default_rng(2009)
    phase = draw.uniform(0, 6, (15, 1, 2)) + np.linspace(0, 4, 20)[:, None] * [1, 2]
    rates = 0.4 * np.exp(np.sin(phase) @ draw.normal(0, 0.7, (2, 9)))
    y = np.sqrt(draw.poisson(rates))
    return y, Gpfa(draw.normal(0, 0.2, (9, 2)), y.mean(axis=(0, 1)), y.var(axis=(0, 1)), np.full(2, 5.0))


def kernel(timescale, bins):
    apart = np.subtract.outer(np.arange(bins), np.arange(bins))
    return 0.999 * np.exp(-(apart**2) / (2 * timescale**2)) + 0.001 * np.eye(bins)


def dense(model, bins, ahead=0):
    """Prior covariance of all latents (bins + ahead, latent by latent), loadings and mean of one trial's y."""
    latents, neurons = model.loadings.shape[1], len(model.noise)
    prior = np.zeros((latents, bins + ahead, latents, bins + ahead))
    for i in range(latents):
        prior[i, :, i] = kernel(model.timescale[i], bins + ahead)
    size = latents * (bins + ahead)
    observe = np.zeros((bins, neurons, latents, bins + ahead))
    for t in range(bins):
        observe[t, :, :, t] = model.loadings
    return prior.reshape(size, size), observe.reshape(bins * neurons, size), np.tile(model.offset, bins)


def dense_posterior(y, model, ahead=0):
    """Mean (trials, latents, bins + ahead), covariance of one trial's latents, and log-likelihood, by conditioning."""
    trials, bins, _ = y.shape
    prior, observe, mean = dense(model, bins, ahead)
    joint = observe @ prior @ observe.T + np.diag(np.tile(model.noise, bins))
    gain = np.linalg.solve(joint, observe @ prior).T
    flat = y.reshape(trials, -1)
    value = multivariate_normal(mean, joint).logpdf(flat).sum()
    posterior = ((flat - mean) @ gain.T).reshape(trials, -1, bins + ahead)
    return posterior, prior - gain @ observe @ prior, value


def dense_em_step(y, model):
    trials, bins, neurons = y.shape
    latents = model.loadings.shape[1]
    mean, covariance, _ = dense_posterior(y, model)
    covariance = covariance.reshape(latents, bins, latents, bins)
    second = np.einsum("nit,njs->itjs", mean, mean) + trials * covariance
    xx = np.einsum("itjt->ij", second)
    x, flat = mean.transpose(0, 2, 1).reshape(-1, latents), y.reshape(-1, neurons)
    ones = np.ones(len(x))
    moments = np.block([[xx, x.sum(axis=0)[:, None]], [x.sum(axis=0), np.array([len(x)])]])
    weights = np.linalg.solve(moments, np.column_stack([x, ones]).T @ flat).T
    loadings, offset = weights[:, :-1], weights[:, -1]
    residual = ((flat - offset - x @ loadings.T) ** 2).sum(axis=0)
    residual += np.diag(loadings @ (xx - x.T @ x) @ loadings.T)
    noise = np.maximum(residual / len(x), 0.01 * np.var(flat, axis=0, ddof=1))
    timescale = []
    for i in range(latents):

        def loss(log_scale, over_time=second[i, :, i]):
            k = kernel(np.exp(log_scale), bins)
            return trials * np.linalg.slogdet(k)[1] + np.trace(np.linalg.solve(k, over_time))

        near = np.log(model.timescale[i]) + np.array([-1, 1])
        timescale.append(np.exp(minimize_scalar(loss, bounds=near, method="bounded", options={"xatol": 1e-9}).x))
    return Gpfa(loadings, offset, noise, np.array(timescale))


@pytest.fixture(scope="module")
def data():
    """(y, model): drawn from a model with a slow, a middling and a nearly white latent."""
    draw = np.random.default_rng(1)
    model = Gpfa(draw.normal(0, 1, (6, 3)), draw.normal(0, 1, 6), draw.uniform(0.3, 1, 6), np.array([40.0, 3.0, 0.5]))
    prior, observe, mean = dense(model, 13)
    x = draw.multivariate_normal(np.zeros(len(prior)), prior, 7)
    y = (x @ observe.T + mean).reshape(7, 13, 6)
    return y + draw.normal(0, np.sqrt(model.noise), y.shape), model


def test_log_likelihood_and_posterior_are_those_of_the_joint_gaussian(data):
    y, model = data
    mean, _, value = dense_posterior(y, model)
    assert log_likelihood(y, model) == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(posterior_latents(y, model), mean.transpose(0, 2, 1), atol=1e-6)


def test_one_em_step_is_the_textbooks(data):
    y, model = data
    new, value = em_step(y, model)
    expected = dense_em_step(y, model)
    assert value == pytest.approx(log_likelihood(y, model), rel=1e-12)
    for name in ("loadings", "offset", "noise", "timescale"):
        np.testing.assert_allclose(getattr(new, name), getattr(expected, name), rtol=1e-5, atol=1e-7, err_msg=name)


def test_plain_em_gives_elephants_log_likelihoods():
    y, model = golden()
    for step in range(1, 26):
        model, value = em_step(y, model)
        if step in GOLDEN:
            assert value == pytest.approx(GOLDEN[step], rel=1e-6)
    np.testing.assert_allclose(model.timescale, GOLDEN_TIMESCALES, rtol=1e-4)


def test_forward_latents_are_the_conditional_expectation(data):
    y, model = data
    mean, _, _ = dense_posterior(y, model, ahead=5)
    ahead = forward_latents(posterior_latents(y, model), model, 5)
    np.testing.assert_allclose(ahead, mean[..., 13:].transpose(0, 2, 1), atol=1e-5)
    assert np.abs(ahead[:, 1:, 2]).max() < 1e-3 < 0.2 < np.abs(ahead[:, 1:, 0]).max()  # the nearly white is forgotten


def test_acceleration_never_falls_and_gets_further_than_plain_em():
    y, _ = golden()
    start = initial_model(y, 2, 5.0)
    model, accelerated = fit_gpfa(y, start, 60)
    plain, values = start, []
    for _ in range(60):
        plain, value = em_step(y, plain)
        values.append(value)
    assert (np.diff(values) > -1e-9).all() and (np.diff(accelerated) >= 0).all()
    assert accelerated[-1] >= values[-1]
    assert log_likelihood(y, model) >= accelerated[-1] - 1e-6
    assert accelerated[0] == values[0] == pytest.approx(log_likelihood(y, start))


def test_a_long_fit_says_how_far_it_is(monkeypatch, caplog):
    y, _ = golden()
    monkeypatch.setattr("nlbflow.methods.gpfa.fit.LOG_EVERY", 0.0)
    with caplog.at_level("INFO", "nlbflow"):
        _, values = fit_gpfa(y, initial_model(y, 2, 5.0), 6)
    assert len(caplog.messages) == 6
    assert caplog.messages[3].startswith(f"GPFA: step 4 of 6, log-likelihood {values[3]:.1f}, ")
    assert caplog.messages[5].endswith(" 0 s to go")


def test_the_fit_finds_the_truth():
    draw = np.random.default_rng(5)
    truth = Gpfa(draw.normal(0, 1, (12, 2)), np.zeros(12), draw.uniform(0.5, 1, 12), np.array([12.0, 3.0]))
    x = np.stack([draw.multivariate_normal(np.zeros(30), kernel(s, 30), 60) for s in truth.timescale], axis=2)
    y = x @ truth.loadings.T + draw.normal(0, np.sqrt(truth.noise), (60, 30, 12))
    fitted, values = fit_gpfa(y, initial_model(y, 2, 6.0), 60)
    assert values[-1] > log_likelihood(y, truth)
    np.testing.assert_allclose(np.sort(fitted.timescale), [3, 12], rtol=0.1)
    np.testing.assert_allclose(fitted.noise, truth.noise, rtol=0.15)
    axes = orthonormal_axes(fitted)
    turned = posterior_latents(y, fitted) @ axes
    np.testing.assert_allclose(turned @ np.linalg.solve(axes, fitted.loadings.T), x @ truth.loadings.T, atol=1.6)
    residual = np.linalg.lstsq(turned.reshape(-1, 2), x.reshape(-1, 2))[1]
    assert (residual / (x**2).sum(axis=(0, 1)) < 0.05).all()


def test_start_is_the_maximum_of_the_factor_analysis_likelihood():
    y, _ = golden()
    flat = y.reshape(-1, 9)
    covariance = np.cov(flat.T, bias=True)

    def value(loadings, noise):
        return (
            multivariate_normal(np.zeros(9), loadings @ loadings.T + np.diag(noise)).logpdf(flat - flat.mean(0)).sum()
        )

    start = initial_model(y, 2, 5.0)
    best = value(start.loadings, start.noise)
    assert best > value(np.zeros((9, 2)), np.diag(covariance))
    draw = np.random.default_rng(0)
    for _ in range(50):
        loadings = start.loadings + draw.normal(0, 0.02, (9, 2))
        assert value(loadings, start.noise * np.exp(draw.normal(0, 0.05, 9))) < best + 1e-3


@pytest.mark.parametrize(("length", "first"), [(60, [0, 20, 40]), (35, [0, 15]), (20, [0]), (7, [0])])
def test_segments_cover_each_trial(length, first):
    y = np.arange(2 * length, dtype=float).reshape(2, length, 1)
    segments = cut_segments(y, 20)
    expected = np.concatenate([y[:, start : start + 20] for start in first])
    np.testing.assert_array_equal(segments, expected)


def test_impossible_fits_are_refused_with_a_sentence():
    y, model = golden()
    missing = y.copy()
    missing[3, 4, 5] = np.nan
    silent = y.copy()
    silent[..., 2] = 0
    for arguments, words in (
        ((missing, 2, 5.0), r"NaN or infinity in 1 trials \(first \[3\]\)"),
        ((silent, 2, 5.0), r"1 never do \(first \[2\]\)"),
        ((y, 9, 5.0), "9 latents for 9 neurons"),
        ((y, 0, 5.0), "at least one latent"),
        ((y, 2, 0.0), "timescale > 0"),
        ((y[:1, :1], 2, 5.0), "at least two bins"),
    ):
        with pytest.raises(NlbflowError, match=words):
            initial_model(*arguments)
    with pytest.raises(NlbflowError, match="at least one step"):
        fit_gpfa(y, model, 0)


def test_model_keeps_the_contract():
    found = check_model(MODEL, "gpfa", PARAMS)
    assert found["arrays"]["eval_latents"] == [5, 20, 3]
    # loadings, offset, noise, timescales; ridge; Poisson
    assert found["facts"]["parameters"] == 10 * 3 + 10 + 10 + 3 + (3 + 1) * 10 + (10 + 1) * 4


def test_model_reads_rates_out_as_the_baseline_does():
    data = tiny_input()
    data.bin_ms = 10
    prediction, _ = run_model(MODEL, "gpfa", data, {**PARAMS, "poisson_alpha": 1.25e-4}, 0)
    latents = np.concatenate([prediction["train_latents"], prediction["eval_latents"]]).reshape(-1, 3)
    counts = np.concatenate([data.train_spikes_heldin, data.eval_spikes_heldin]).reshape(-1, 10)
    ridge = Ridge(alpha=PARAMS["ridge_alpha"]).fit(latents.astype(float), counts)
    for part in ("train", "eval"):
        rates = np.maximum(ridge.predict(prediction[f"{part}_latents"].reshape(-1, 3)), 1e-10)
        np.testing.assert_allclose(prediction[f"{part}_rates_heldin"].reshape(-1, 10), rates, atol=1e-5)
    heldin = prediction["train_rates_heldin"].reshape(-1, 10).astype(float)
    for neuron, y in enumerate(data.train_spikes_heldout.reshape(-1, 4).T):
        fit = PoissonRegressor(alpha=1e-3, solver="newton-cholesky", tol=1e-10).fit(heldin, y.astype(float))
        expected = fit.predict(prediction["eval_rates_heldin"].reshape(-1, 10))
        np.testing.assert_allclose(prediction["eval_rates_heldout"][..., neuron].ravel(), expected, rtol=1e-3)


def test_model_takes_silent_neurons_one_trial_and_one_latent():
    data = tiny_input()
    silent = data.train_spikes_heldin.copy()
    silent[..., 4] = 0
    arrays = {**vars(data), "train_spikes_heldin": silent}
    prediction, facts = run_model(MODEL, "gpfa", ModelInput(**arrays), {**PARAMS, "x_dim": 1}, 0)
    assert prediction["eval_latents"].shape == (5, 20, 1)
    assert facts["parameters"] == 9 + 9 + 9 + 1 + 2 * 10 + 11 * 4
    one = {name: array[:1] if name.startswith("train_spikes") else array for name, array in vars(data).items()}
    prediction, _ = run_model(MODEL, "gpfa", ModelInput(**one), PARAMS, 0)
    assert prediction["train_rates_heldout"].shape == (1, 20, 4)


def test_penalty_for_wider_bins_has_the_effect_it_has_at_5_ms():
    """Counts doubled in bins taken as 10 ms: with k^3 the penalty the regression gives doubled rates, not others."""
    features = np.random.default_rng(3).uniform(0, 0.5, (300, 2))
    counts = np.random.default_rng(4).poisson(np.exp(features @ [[1.0], [-2.0]]))
    narrow, constant = fit_poisson(features, counts, 1e-2)
    wide, other = fit_poisson(2 * features, 2 * counts, 8e-2)
    np.testing.assert_allclose(2 * wide, narrow, rtol=1e-6)
    assert other == pytest.approx(constant + np.log(2))


def test_model_takes_recordings_without_a_forward_window():
    without = {name: None if name.endswith("_forward") else array for name, array in vars(tiny_input()).items()}
    prediction, _ = run_model(MODEL, "gpfa", ModelInput(**without), PARAMS, 0)
    assert not any("forward" in name for name in prediction)


def test_model_forecast_does_not_depend_on_forward_counts():
    data = tiny_input()
    names = ("train_spikes_heldin_forward", "train_spikes_heldout_forward")
    other = ModelInput(**{**vars(data), **{name: np.full_like(getattr(data, name), np.nan) for name in names}})
    first, second = (run_model(MODEL, "gpfa", d, PARAMS, 0)[0] for d in (data, other))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"poisson_alpha": 0}, "poisson_alpha > 0"),
        ({"ridge_alpha": -1.0}, "ridge_alpha >= 0"),
        ({"segment_bins": 1}, "segment_bins >= 2"),
        ({"x_dim": 10}, "10 latents for 10 neurons"),
        ({"steps": 0}, "at least one step"),
    ],
)
def test_model_refuses_parameters_out_of_range(params, words):
    with pytest.raises(NlbflowError, match=words):
        run_model(MODEL, "gpfa", tiny_input(), {**PARAMS, **params}, 0)
