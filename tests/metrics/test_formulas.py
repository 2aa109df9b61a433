"""The benchmark's metrics against nlb_tools, scikit-learn and the specification (section 7, items 11 to 16)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson
from sklearn.linear_model import Ridge
from sklearn.metrics import d2_tweedie_score, r2_score
from sklearn.model_selection import GridSearchCV

from nlbflow.errors import NlbflowError
from nlbflow.metrics.formulas import (
    bits_per_spike,
    null_prediction,
    poisson_d2,
    poisson_nll,
    psth_r2,
    score,
    score_null,
    tp_correlation,
    velocity_r2,
)
from scored_arrays import LAYOUTS, make, reference


@pytest.mark.parametrize(("seed", "dtype"), [(0, np.float64), (1, np.float64), (2, np.float32)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_scores_equal_nlb_tools(nlb_tools, layout, seed, dtype):
    target, prediction = make(layout, seed)
    prediction = {name: rates.astype(dtype) for name, rates in prediction.items()}
    prediction["eval_rates_heldout"][0, 0, 0] = 0.0
    expected = reference(nlb_tools, layout, target, prediction)
    scores = score(target, prediction)
    assert set(scores) == set(expected)
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value, abs=1e-9), name
    assert prediction["eval_rates_heldout"][0, 0, 0] == 0.0


def specified_counts():
    counts = np.random.default_rng(0).poisson(0.2, (4, 10, 3)).astype(float)
    counts[:, :, 2] = 0
    return counts


def test_bits_per_spike_has_the_specified_values():
    counts = specified_counts()
    rates = np.full(counts.shape, 0.2)
    assert bits_per_spike(rates, counts) == pytest.approx(-0.8065583590188513, abs=1e-12)
    rates[0, 0, 0] = 0
    assert bits_per_spike(rates, counts) == pytest.approx(-0.79281840631718, abs=1e-12)
    assert bits_per_spike(counts, counts) == pytest.approx(2.1976594964697775, abs=1e-12)
    counts[0, :3] = np.nan
    assert bits_per_spike(np.full(counts.shape, 0.2), counts) == pytest.approx(-0.7953735135500254, abs=1e-12)


def test_poisson_d2_is_scikit_learns():
    rng = np.random.default_rng(2)
    counts = rng.poisson(rng.gamma(2, 0.2, (4, 10, 5))).astype(float)
    rates = rng.gamma(2, 0.2, counts.shape)
    counts[:, :, 1] = 0  # silent: it has no share
    counts[0, :4] = np.nan
    wanted = []
    for neuron in (0, 2, 3, 4):
        known = ~np.isnan(counts[..., neuron])
        wanted.append(d2_tweedie_score(counts[..., neuron][known], rates[..., neuron][known], power=1))
    assert poisson_d2(rates, counts) == pytest.approx(np.mean(wanted), abs=1e-12)
    assert poisson_d2(null_prediction({"eval_spikes_heldout": counts})["eval_rates_heldout"], counts) == 0
    assert poisson_d2(np.nan_to_num(counts), counts) == pytest.approx(1, abs=1e-6)
    assert np.isnan(poisson_d2(rates, np.zeros(counts.shape))) and np.isnan(poisson_d2(rates, counts * np.nan))


def test_poisson_nll_is_scipys():
    counts = specified_counts()
    rates = np.random.default_rng(1).gamma(1, 0.2, counts.shape)
    assert poisson_nll(rates, counts) == pytest.approx(-poisson.logpmf(counts, rates).sum(), abs=1e-10)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 5), st.floats(0.01, 3))
def test_properties_of_bits_per_spike(seed, trials, neurons, mean):
    rng = np.random.default_rng(seed)
    truth = rng.gamma(2, mean / 2, (trials, 7, neurons))
    counts = rng.poisson(truth).astype(float)
    counts[rng.random(counts.shape) < 0.1] = np.nan
    if not np.nansum(counts) > 0:
        assert np.isnan(bits_per_spike(truth, counts))
        return
    value = bits_per_spike(truth, counts)
    units, order = rng.permutation(neurons), rng.permutation(trials)
    assert bits_per_spike(truth[order][..., units], counts[order][..., units]) == pytest.approx(value, abs=1e-9)
    other = truth * rng.gamma(5, 0.2, truth.shape)
    better_likelihood = poisson_nll(other, counts) < poisson_nll(truth, counts)
    assert (bits_per_spike(other, counts) > value) == better_likelihood
    assert score_null({"eval_spikes_heldout": counts}) == {"co-bps": 0.0}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_null_model_scores_exactly_zero(layout):
    target, _ = make(layout)
    assert score_null(target) == {"co-bps": 0.0, "fp-bps": 0.0}
    names = {"eval_rates_heldout", "eval_rates_heldin_forward", "eval_rates_heldout_forward"}
    assert set(null_prediction(target)) == names


def test_edge_sizes():
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.5, (1, 30, 1)).astype(float)
    assert bits_per_spike(np.full(counts.shape, counts.mean()), counts) == 0.0
    silent = np.zeros((3, 5, 2))
    assert np.isnan(bits_per_spike(silent + 0.1, silent)) and score_null({"eval_spikes_heldout": silent}) == {}
    rates = rng.random((1, 30, 1))
    assert velocity_r2(rates, rates * [2, 3], rates, rates * [2, 3]) > 0.9


def test_missing_forward_windows_are_left_out():
    target, prediction = make("mc_rtt")
    whole = score(target, prediction)
    for group in ("heldin", "heldout"):
        target[f"eval_spikes_{group}_forward"][4:] = np.nan
    short_target = target | {name: target[name][:4] for name in target if "forward" in name}
    short = prediction | {name: prediction[name][:4] for name in prediction if "forward" in name}
    assert score(target, prediction)["fp-bps"] == pytest.approx(score(short_target, short)["fp-bps"], abs=1e-12)
    for group in ("heldin", "heldout"):
        target[f"eval_spikes_{group}_forward"][:] = np.nan
    assert set(whole) - set(score(target, prediction)) == {"fp-bps"}


def test_score_has_the_metrics_that_apply():
    target, prediction = make("mc_maze")
    assert set(score(target, prediction)) == {"co-bps", "vel R2", "psth R2", "fp-bps"}
    without = {name: rates for name, rates in prediction.items() if "forward" not in name}
    assert set(score(target, without)) == {"co-bps", "vel R2", "psth R2"}
    bare = {"eval_spikes_heldout": target["eval_spikes_heldout"]}
    assert set(score(bare, {"eval_rates_heldout": prediction["eval_rates_heldout"]})) == {"co-bps"}
    target, prediction = make("dmfc_rsg")
    still = prediction | {name: np.full_like(rates, 0.1) for name, rates in prediction.items()}
    assert set(score(target, prediction)) - set(score(target, still)) == {"tp corr"}


@pytest.mark.parametrize(
    "dropped", ["eval_rates_heldout_forward", "eval_rates_heldin", "train_rates_heldout", "eval_rates_heldout"]
)
def test_missing_arrays_are_named(dropped):
    target, prediction = make("mc_maze")
    del prediction[dropped]
    with pytest.raises(NlbflowError, match=f"lacks {dropped};"):
        score(target, prediction)


def test_bad_rates_are_named():
    counts = specified_counts()
    rates = np.full(counts.shape, 0.2)
    with pytest.raises(NlbflowError, match="shape"):
        bits_per_spike(rates[:-1], counts)
    for value, word in ((np.nan, "NaN"), (-0.1, "negative"), (np.inf, "infinite")):
        bad = rates.copy()
        bad[2, 5, 1] = bad[3, 0, 0] = value
        with pytest.raises(NlbflowError, match=f"2 {word} rates, the first at trial 2, bin 5, neuron 1 "):
            bits_per_spike(bad, counts)
    counts[2, 5, 1] = np.nan
    unknown = rates.copy()
    unknown[2, 5, 1] = np.nan
    assert bits_per_spike(unknown, counts) == bits_per_spike(rates, counts)


def conditioned_rates(kind, rng, rows, neurons):
    rates = rng.gamma(2, 0.1, (rows, neurons))
    if kind == "collinear":
        rates[:, 1] = rates[:, 0] + 1e-7 * rng.standard_normal(rows)
        rates[:, 2] = rates[:, 3] + rates[:, 4]
    elif kind == "tiny":
        rates = 0.05 + 1e-6 * rates
    elif kind == "constant":
        rates[:, :3] = [0.0, 0.3, 1e-9]
        rates[: rows // 5, 3] = 0.0
        rates[rows // 5 :, 4] = 0.1
    elif kind == "flat":
        rates[:] = 0.1
    elif kind == "large":
        rates = 1e3 + 30 * rates
    return rates


@pytest.mark.parametrize("kind", ["plain", "collinear", "tiny", "constant", "flat", "large"])
@pytest.mark.parametrize(("rows", "neurons"), [(83, 12), (1207, 12), (23, 40)])
def test_velocity_r2_equals_scikit_learn(kind, rows, neurons):
    rng = np.random.default_rng(rows)
    x, x_eval = (conditioned_rates(kind, rng, n, neurons) for n in (rows, 400))
    weights = rng.standard_normal((neurons, 2)) * 50
    y, y_eval = (a @ weights + (a.std() + 1e-9) * 60 * rng.standard_normal((len(a), 2)) + 5 for a in (x, x_eval))
    expected = GridSearchCV(Ridge(), {"alpha": np.logspace(-4, 0, 9)}).fit(x, y).score(x_eval, y_eval)
    assert velocity_r2(x[:, None], y[:, None], x_eval[:, None], y_eval[:, None]) == pytest.approx(expected, abs=1e-9)


def test_velocity_r2_faults_are_sentences():
    rng = np.random.default_rng(0)
    rates, velocity = rng.random((6, 5, 3)), rng.random((6, 5, 2))
    gap = rates.copy()
    gap[0, 0, 0] = np.nan
    with pytest.raises(NlbflowError, match="finite train rates"):
        velocity_r2(gap, velocity, rates, velocity)
    with pytest.raises(NlbflowError, match=r"eval_behavior \(6, 5, 2\)"):
        velocity_r2(rates, velocity, rates[:5], velocity)
    with pytest.raises(NlbflowError, match="at least 5 bins"):
        velocity_r2(rates, np.full_like(velocity, np.nan), rates, velocity)


def test_psth_r2_counts_constant_neurons_as_scikit_learn():
    psth = np.random.default_rng(0).random((2, 6, 3))
    psth[..., 1:] = 0.25
    rates = np.repeat(psth, 2, axis=0)
    rates[..., 2] += 0.1
    rates[..., 0] *= 1.1
    expected = r2_score(psth.reshape(12, 3), rates[::2].reshape(12, 3))
    assert psth_r2(psth, [np.array([0, 1]), np.array([2, 3])], rates) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("jitter", [[0, 0, 0, 0], [2, 0, 1, 3], [-1, 0, -2, 1]])
def test_psth_r2_undoes_jitter_as_nlb_tools(nlb_tools, jitter):
    rng = np.random.default_rng(0)
    psth, rates, index = rng.random((2, 12, 3)), rng.random((4, 12, 3)), [np.array([0, 3]), np.array([1, 2])]
    psth[:, :3] = psth[:, -2:] = np.nan
    expected = nlb_tools.evaluation.eval_psth(psth, rates, index, np.array(jitter))
    assert psth_r2(psth, index, rates, np.array(jitter)) == pytest.approx(expected, abs=1e-12)


def test_psth_r2_faults_are_sentences():
    psth, rates = np.random.default_rng(0).random((1, 6, 3)), np.ones((2, 6, 3))
    with pytest.raises(NlbflowError, match="psth"):
        psth_r2(psth, [np.array([0])], rates[..., :2])
    with pytest.raises(NlbflowError, match="finite rates"):
        psth_r2(psth, [np.array([0])], rates, np.array([1, 0]))
    assert np.isnan(psth_r2(psth, [np.array([], int)], rates))


def test_tp_correlation_leaves_out_conditions_of_one_trial():
    target, prediction = make("dmfc_rsg")
    rates = np.concatenate([prediction["eval_rates_heldin"], prediction["eval_rates_heldout"]], axis=2)
    spikes, behavior = target["eval_spikes_heldout"], target["eval_behavior"].copy()
    behavior[0, 1] = 180
    value = tp_correlation(rates, spikes, behavior)
    assert value == pytest.approx(tp_correlation(rates[1:], spikes[1:], behavior[1:]), abs=1e-12)
    assert np.isnan(tp_correlation(rates[:1], spikes[:1], behavior[:1]))
    with pytest.raises(NlbflowError, match="eval_behavior"):
        tp_correlation(rates[1:], spikes, behavior)
