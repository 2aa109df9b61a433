"""Metrics of latents and of the truth: independent formulas, simulated facts, and the edges."""

import numpy as np
import pytest
from scipy.stats import poisson
from sklearn.linear_model import PoissonRegressor, Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

from nlbflow.errors import NlbflowError
from nlbflow.metrics.formulas import bits_per_spike, null_rates
from nlbflow.scoring.latents import (
    cross_decoding_r2,
    effective_dimension,
    few_shot_bits,
    latent_scores,
    rate_r2,
    state_r2,
)

TRIALS, BINS, DIMS, NEURONS = 80, 20, 3, 12


def flat(array):
    return array.reshape(-1, array.shape[-1])


def smooth_latents(rng, trials=TRIALS, dims=DIMS):
    """(trials, time, dims) of about unit variance: a few cosines of random size per trial and dimension."""
    waves = np.cos(np.outer(np.arange(4), np.linspace(0, np.pi, BINS)))
    return (rng.standard_normal((trials, dims, 4)) @ waves).transpose(0, 2, 1) / np.sqrt(2.5)


@pytest.fixture(scope="module")
def simulated():
    """Latents and held-out spikes of training and evaluation trials, and the rates."""
    rng = np.random.default_rng(0)
    latents = [smooth_latents(rng), smooth_latents(rng)]
    weights = rng.normal(0, 0.4, (DIMS, NEURONS))
    rates = [0.2 * np.exp(z @ weights) for z in latents]
    return {"latents": latents, "spikes": [rng.poisson(r).astype(float) for r in rates], "rates": rates}


def few(simulated, latents=None, trials=8, draws=5, seed=0, **more):
    train, evaluated = latents or simulated["latents"]
    spikes = simulated["spikes"]
    return few_shot_bits(train, spikes[0], evaluated, spikes[1], trials, draws, seed, **more)


def with_extra(latents, dims, seed=1):
    """The same latents and as smooth ones of their own that have nothing to do with the neurons."""
    rng = np.random.default_rng(seed)
    return [np.concatenate([z, smooth_latents(rng, len(z), dims)], axis=2) for z in latents]


def test_few_shot_of_all_trials_is_sklearns_regression(simulated):
    train, evaluated = simulated["latents"]
    counts, spikes = simulated["spikes"]
    scaler = StandardScaler().fit(flat(train))
    x, y = np.vstack([scaler.transform(flat(train)), np.zeros(DIMS)]), np.vstack([flat(counts), np.full(NEURONS, 0.5)])
    nats = 0.0
    for k in range(NEURONS):
        model = PoissonRegressor(alpha=2.0 / len(x), solver="newton-cholesky", tol=1e-10).fit(x, y[:, k])
        seen = model.predict(x)
        rates = np.clip(model.predict(scaler.transform(flat(evaluated))), seen.min(), seen.max())
        n = flat(spikes)[:, k]
        nats += (poisson.logpmf(n, rates) - poisson.logpmf(n, n.mean())).sum()
    bits = few(simulated, trials=TRIALS, draws=3, alpha=2.0)
    np.testing.assert_allclose(bits, nats / spikes.sum() / np.log(2), rtol=0, atol=1e-5)


def test_more_trials_approach_the_true_rates(simulated):
    mean = [few(simulated, trials=k, draws=10).mean() for k in (2, 8, TRIALS)]
    best = bits_per_spike(simulated["rates"][1], simulated["spikes"][1])
    assert mean[0] < mean[1] < mean[2] < best
    assert mean[2] > 0.95 * best


def test_extra_latents_cost_few_shots_and_little_else(simulated):
    """The claim of Dabholkar and Barak 2025."""
    latents, extra = simulated["latents"], with_extra(simulated["latents"], 7)
    all_trials = [few(simulated, z, TRIALS, 1)[0] for z in (latents, extra)]
    few_trials = [few(simulated, z, 6, 20).mean() for z in (latents, extra)]
    assert 0 < all_trials[0] - all_trials[1] < 0.05 * all_trials[0]
    assert few_trials[0] - few_trials[1] > 0.3 * few_trials[0] > 0


def test_draws_depend_on_the_seed_alone_and_not_on_the_latents_scale(simulated):
    bits = few(simulated, seed=3)
    assert bits.tobytes() == few(simulated, seed=3).tobytes()
    assert not np.allclose(bits, few(simulated, seed=4)) and len(np.unique(bits)) == 5
    scaled = [1e3 * z * [1.0, -2.0, 0.01] + 7 for z in simulated["latents"]]
    np.testing.assert_allclose(few(simulated, scaled, seed=3), bits, rtol=0, atol=1e-4)


def test_constant_latents_leave_each_neuron_its_mean_and_half_a_spike(simulated):
    counts, spikes = simulated["spikes"]
    constant = [np.full((TRIALS, BINS, 2), 0.1, np.float32) for _ in range(2)]
    mean = (counts.sum(axis=(0, 1)) + 0.5) / (TRIALS * BINS + 1)
    bits = few(simulated, constant, TRIALS, 1)
    np.testing.assert_allclose(bits, bits_per_spike(np.broadcast_to(mean, spikes.shape), spikes), atol=1e-9)
    assert -0.05 < bits[0] < 0
    padded = [np.concatenate([z, np.full((TRIALS, BINS, 1), 1e6)], axis=2) for z in simulated["latents"]]
    np.testing.assert_allclose(few(simulated, padded), few(simulated), rtol=0, atol=1e-5)


def test_one_trial_one_neuron_silent_or_not(simulated):
    train, evaluated = simulated["latents"]
    for counts in (np.zeros((TRIALS, BINS, 1)), simulated["spikes"][0][:, :, :1]):
        spikes = simulated["spikes"][1][:, :, :1]
        bits = few_shot_bits(train, counts, evaluated, spikes, 1, 10, 0)
        assert bits.shape == (10,) and np.isfinite(bits).all()
    # half a spike in all bins seen: the loss against the mean is that of a rate too low, and no more
    bits = few_shot_bits(train, np.zeros((TRIALS, BINS, 1)), evaluated, spikes, TRIALS, 1, 0)
    low = np.full(spikes.shape, 0.5 / (TRIALS * BINS + 1))
    np.testing.assert_allclose(bits, bits_per_spike(low, spikes), rtol=1e-4)


def test_wild_latents_in_evaluation_stay_finite(simulated):
    train, evaluated = simulated["latents"]
    wild = few(simulated, [train, 1e30 * evaluated], trials=2, draws=10)
    assert np.isfinite(wild).all() and (wild > -20).all()


def test_unknown_spikes_are_left_out(simulated):
    (train, evaluated), (counts, spikes) = simulated["latents"], simulated["spikes"]
    holes = spikes.copy()
    holes[::2] = np.nan
    known = few_shot_bits(train, counts, evaluated[1::2], spikes[1::2], 8, 4, 0)
    np.testing.assert_allclose(few_shot_bits(train, counts, evaluated, holes, 8, 4, 0), known, rtol=1e-12)
    assert np.isnan(few_shot_bits(train, counts, evaluated, np.full_like(spikes, np.nan), 8, 2, 0)).all()

    # bins of NaN cannot be learnt from: whatever the latents do there, only their mean and sd are felt
    holes, part, moved = counts.copy(), np.s_[:, BINS // 2 :], train.copy()
    holes[part] = np.nan
    moved[part] = moved[part][::-1]
    known = few_shot_bits(train, holes, evaluated, spikes, 8, 4, 0)
    np.testing.assert_allclose(few_shot_bits(moved, holes, evaluated, spikes, 8, 4, 0), known, rtol=1e-9)
    # trials without a known bin are never drawn
    holes = counts.copy()
    holes[8:] = np.nan
    bits = few_shot_bits(train, holes, evaluated, spikes, 8, 2, 0)
    np.testing.assert_array_equal(bits[0], bits[1])
    with pytest.raises(NlbflowError, match="1 to 8 trials"):
        few_shot_bits(train, holes, evaluated, spikes, 9, 2, 0)


def test_participation_ratio():
    rng = np.random.default_rng(1)
    for dims in (1, 4, 20):
        isotropic = rng.standard_normal((400, 50, dims))
        assert effective_dimension(isotropic) == pytest.approx(dims, rel=5e-3)
    # two dims of variance 3 and 1: (3 + 1)**2 / (9 + 1)
    x = np.array([[[np.sqrt(3), 0], [-np.sqrt(3), 0], [0, 1], [0, -1]]])
    assert effective_dimension(x) == pytest.approx(1.6, rel=1e-12)
    line = rng.standard_normal((5, 7, 1)) @ rng.standard_normal((1, 6))
    assert effective_dimension(line) == pytest.approx(1, abs=1e-12)
    z = rng.standard_normal((30, 10, 5)) * [5, 3, 1, 1, 0.1]
    turn = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    values = np.linalg.eigvalsh(np.cov(flat(z).T))
    expected = values.sum() ** 2 / (values**2).sum()
    for same in (z, 1e-12 * z @ turn + 3e-12, (1e30 * z).astype(np.float32)):
        assert effective_dimension(same) == pytest.approx(expected, rel=1e-5)
    # the mean of 91 equal numbers is not always that number
    assert np.isnan(effective_dimension(np.tile(np.linspace(0.1, 1, 20), (13, 7, 1))))
    assert np.isnan(effective_dimension(np.ones((1, 1, 2))))


def test_cross_decoding_is_sklearns_ridge(simulated):
    rng = np.random.default_rng(2)
    latents, weights = simulated["latents"], rng.normal(0, [3, 1, 0.1, 1], (DIMS, 4))
    source = [np.concatenate([z, np.full((*z.shape[:2], 1), 5.0)], axis=2) for z in latents]
    target = [z @ weights + rng.standard_normal((*z.shape[:2], 4)) for z in latents]
    scaler = StandardScaler().fit(flat(source[0]))
    ridge = Ridge(alpha=0.3 * TRIALS * BINS).fit(scaler.transform(flat(source[0])), flat(target[0]))
    predicted = ridge.predict(scaler.transform(flat(source[1])))
    expected = r2_score(flat(target[1]), predicted, multioutput="variance_weighted")
    found = cross_decoding_r2(source[0], target[0], source[1], target[1], alpha=0.3)
    assert found == pytest.approx(expected, rel=1e-10)


def test_cross_decoding_has_a_direction(simulated):
    simple = simulated["latents"]
    rich = [5 * z @ np.linalg.qr(np.random.default_rng(3).standard_normal((9, 9)))[0] for z in with_extra(simple, 6)]
    assert cross_decoding_r2(rich[0], simple[0], rich[1], simple[1]) > 0.999
    # of nine dimensions of equal variance three are known
    assert cross_decoding_r2(simple[0], rich[0], simple[1], rich[1]) == pytest.approx(1 / 3, abs=0.05)


def test_cross_decoding_of_other_scales_rotations_and_constants(simulated):
    rng = np.random.default_rng(4)
    states = simulated["latents"]
    turn = rng.standard_normal((DIMS, DIMS))
    turned = [(40 * z @ turn - 9).astype(np.float32) for z in states]
    assert state_r2(turned[0], states[0], turned[1], states[1]) == pytest.approx(1, abs=1e-5)
    unrelated = [smooth_latents(np.random.default_rng(s)) for s in (5, 6)]
    assert -0.1 < state_r2(unrelated[0], states[0], unrelated[1], states[1]) < 0.05
    constant = [np.full((TRIALS, BINS, 2), 0.1, np.float32)] * 2
    assert state_r2(constant[0], states[0], constant[1], states[1]) == pytest.approx(0, abs=0.02)
    assert np.isnan(state_r2(states[0], constant[0], states[1], constant[1]))
    # a target's dims count by their variance: an unrelated one of small variance hardly matters
    small = [np.concatenate([z, 0.01 * u[..., :1]], axis=2) for z, u in zip(states, unrelated, strict=True)]
    assert state_r2(states[0], small[0], states[1], small[1]) > 0.999


def test_rate_r2(simulated):
    true = simulated["rates"][1]
    off = true * np.random.default_rng(7).lognormal(0, 0.3, true.shape)
    assert rate_r2(true, off) == pytest.approx(
        r2_score(flat(true), flat(off), multioutput="variance_weighted"), rel=1e-12
    )
    assert rate_r2(true, true) == 1 and rate_r2(true, true - 5) < -10
    assert rate_r2(true, null_rates(true)) == pytest.approx(0, abs=1e-12)
    assert np.isnan(rate_r2(np.full((2, 3, 1), 0.1, np.float32), np.ones((2, 3, 1))))


def scored(simulated, trials=8, latents=True, truth=True):
    spikes = simulated["spikes"]
    split = {
        f"{part}_rates_{group}": rates[..., neurons]
        for part, rates in zip(("train", "eval"), simulated["rates"], strict=True)
        for group, neurons in (("heldin", slice(0, 5)), ("heldout", slice(5, None)))
    }
    states = dict(zip(("train_latents", "eval_latents"), simulated["latents"], strict=True))
    target = {"eval_spikes_heldout": spikes[1][..., 5:]}
    if truth:
        target |= {"true_rates": split, "true_states": states}
    prediction = split | (states if latents else {})
    settings = {"few_shot": {"trials": trials, "draws": 4}, "seed": 2}
    return latent_scores({"train_spikes_heldout": spikes[0][..., 5:]}, target, prediction, settings)


def test_scores_that_apply(simulated):
    scores = scored(simulated)
    assert set(scores) == {"8-shot co-bps", "latent dimension", "rate R2", "state R2"}
    assert scores["rate R2"] == 1 and scores["state R2"] == pytest.approx(1, abs=1e-6)
    spikes, (train, evaluated) = [s[..., 5:] for s in simulated["spikes"]], simulated["latents"]
    assert scores["8-shot co-bps"] == few_shot_bits(train, spikes[0], evaluated, spikes[1], 8, 4, 2).mean()
    assert scores["latent dimension"] == effective_dimension(evaluated)
    assert set(scored(simulated, latents=False)) == {"rate R2"}
    assert set(scored(simulated, truth=False)) == {"8-shot co-bps", "latent dimension"}
    assert set(scored(simulated, trials=TRIALS + 1, truth=False)) == {"latent dimension"}
    assert scored(simulated, latents=False, truth=False) == {}


Z, N = np.ones((4, 3, 2)), np.ones((4, 3, 5))
BAD = np.where(np.arange(2) == 1, np.nan, Z)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: few_shot_bits(Z, N, Z, N, 5, 1, 0), "1 to 4 trials"),
        (lambda: few_shot_bits(Z, N, Z, N, 2, 0, 0), "draws >= 1"),
        (lambda: few_shot_bits(Z, N, Z, N, 2, 1, 0, alpha=0), "alpha > 0"),
        (lambda: few_shot_bits(BAD, N, Z, N, 2, 1, 0), "train_latents must be .* 12 values"),
        (lambda: few_shot_bits(Z, N[:3], Z, N, 2, 1, 0), "train_spikes_heldout must have the trials and bins"),
        (lambda: few_shot_bits(Z, N, Z, N[:, :2], 2, 1, 0), "eval_spikes_heldout must have the trials and bins"),
        (lambda: few_shot_bits(Z, N, Z[..., :1], N, 2, 1, 0), "2 dims, those of evaluation trials 1"),
        (lambda: few_shot_bits(Z, N, Z, N[..., :4], 2, 1, 0), "same held-out neurons"),
        (lambda: effective_dimension(Z[0]), "found shape"),
        (lambda: effective_dimension(BAD), "12 values that are NaN"),
        (lambda: cross_decoding_r2(Z, Z[:3], Z, Z), "train_to must have"),
        (lambda: cross_decoding_r2(Z, Z, Z, Z[..., :1]), "as many dims"),
        (lambda: cross_decoding_r2(Z, Z, Z, BAD), "eval_to must be"),
        (lambda: cross_decoding_r2(Z, Z, Z, Z, alpha=0), "alpha > 0"),
        (lambda: rate_r2(N, N[:3]), "shape of the true rates"),
        (lambda: rate_r2(Z, BAD), "rates must be"),
    ],
)
def test_faults_are_sentences(call, words):
    with pytest.raises(NlbflowError, match=words):
        call()
