"""Gibbs sampling of clusters of neurons: each conditional against an independent formula, and all of them jointly."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.special import gammaln, logsumexp
from scipy.stats import invwishart, norm

from nlbflow.methods.slds import gibbs
from nlbflow.methods.slds.gaussian_chain import chain_draw
from nlbflow.methods.slds.gibbs import Assumed, Drawn, Trials, log_means, neuron_terms, sweep
from nlbflow.methods.slds.hmm import draw_index, draw_states
from nlbflow.methods.slds.mixture import draw_labels, log_prior, log_weights
from nlbflow.methods.slds.polyagamma import polya_gamma
from nlbflow.methods.slds.start import known
from nlbflow.methods.slds.switching import Dynamics


@pytest.mark.parametrize("tilt", [0.0, 1e-5, 0.7, -2.5, 3.3, 9.0, 200.0])
def test_polya_gamma_numbers_have_their_moments(tilt):
    draws, c = 40_000, abs(tilt)
    for shape in (1, 4, 13):
        found = polya_gamma(np.full(draws, shape), np.full(draws, tilt), np.random.default_rng(shape))
        mean, variance = shape / 4, shape / 24
        if c > 1e-3:
            mean = shape / (2 * c) * np.tanh(c / 2)
            variance = shape / (4 * c**3) * (2 * np.tanh(c / 2) - c / np.cosh(c / 2) ** 2)
        assert abs(found.mean() - mean) < 4.5 * np.sqrt(variance / draws)
        # at shape 1 the fourth moment about the mean is at most 11 variances squared
        assert abs(found.var() / variance - 1) < 4.5 * np.sqrt(10 / draws)


def test_polya_gamma_numbers_have_their_laplace_transform():
    shape, tilt = np.array([[1, 2, 11]]).repeat(60_000, axis=0), np.array([0.4, 3.0, -4.5])
    found = polya_gamma(shape, np.broadcast_to(tilt, shape.shape), np.random.default_rng(0))
    for t in (0.3, 2.0, 20.0):
        expected = (np.cosh(tilt / 2) / np.cosh(np.sqrt(tilt**2 / 4 + t / 2))) ** shape[0]
        terms = np.exp(-t * found)
        assert np.all(abs(terms.mean(axis=0) - expected) < 4.5 * terms.std(axis=0) / np.sqrt(len(shape)))


def test_the_order_of_shapes_and_sizes_of_blocks_mean_nothing():
    rng = np.random.default_rng(3)
    shape, tilt = rng.integers(1, 40, (50, 7, 9)), rng.standard_normal((50, 7, 9))
    shape[3, 2, 1] = 30_000
    found = polya_gamma(shape, tilt, rng)
    assert found.shape == shape.shape and np.all(found > 0)
    assert found[3, 2, 1] == pytest.approx(30_000 * np.tanh(tilt[3, 2, 1] / 2) / (2 * tilt[3, 2, 1]), rel=0.03)
    assert polya_gamma(shape[:0], tilt[:0], rng).shape == (0, 7, 9)


def v_n(n, t, gamma, end):
    """V_n(t) term by term."""
    k = np.arange(max(t, 1), 3000)
    terms = gammaln(k + 1) - gammaln(k - t + 1) + gammaln(gamma * k) - gammaln(gamma * k + n)
    return np.exp(logsumexp(terms + np.log(end) + (k - 1) * np.log(1 - end)))


def partitions(neurons):
    """All labellings in which a new label is the smallest that is free."""
    return [
        z
        for z in product(range(neurons), repeat=neurons)
        if all(a <= max(z[:i], default=-1) + 1 for i, a in enumerate(z))
    ]


@pytest.mark.parametrize(("gamma", "end"), [(1.0, 0.2), (0.6, 0.415)])
def test_weights_of_partitions(gamma, end):
    for n in (1, 4, 9):
        here, after = (np.exp(log_weights(m, gamma, end, n + 1)) for m in (n, n + 1))
        t = np.arange(n + 1)
        np.testing.assert_allclose(here[:-1], (n + gamma * t) * after[:-1] + gamma * after[1:], rtol=1e-9)
        np.testing.assert_allclose(here[1:], [v_n(n, t, gamma, end) for t in range(1, n + 2)], rtol=1e-9)
    weights = log_weights(5, gamma, end, 5)
    total = 0.0
    for z in partitions(5):
        sizes = np.bincount(z)
        total += np.exp(weights[len(sizes)] + np.sum(gammaln(gamma + sizes) - gammaln(gamma)))
    assert total == pytest.approx(1, abs=1e-9)


def labellings(neurons, places, gamma, end):
    """All labellings and their chances: a partition into t clusters takes any t of the places."""
    found = np.array(list(product(range(places), repeat=neurons)))
    chances = []
    for z in found:
        sizes = np.bincount(z)[np.bincount(z) > 0]
        t = len(sizes)
        given = gammaln(places - t + 1) - gammaln(places + 1) + np.sum(gammaln(gamma + sizes) - gammaln(gamma))
        chances.append(v_n(neurons, t, gamma, end) * np.exp(given))
    return found, np.array(chances) / np.sum(chances)


def test_one_neuron_given_the_others_follows_from_the_chances_of_all_labellings():
    found, chances = labellings(4, 3, 0.7, 0.3)
    lookup = {tuple(z): chance for z, chance in zip(found.tolist(), chances, strict=True)}
    weights = log_weights(4, 0.7, 0.3, 3)
    for z in ([0, 0, 0, 0], [0, 1, 1, 0], [2, 1, 0, 0], [2, 2, 1, 1]):
        expected = np.array([lookup[*z[:2], k, *z[3:]] for k in range(3)])
        prior = np.exp(log_prior(np.bincount(np.delete(z, 2), minlength=3), weights, 0.7))
        np.testing.assert_allclose(prior / prior.sum(), expected / expected.sum(), rtol=1e-9)


def test_labels_without_evidence_are_the_priors():
    found, chances = labellings(4, 3, 1.0, 0.3)
    rng, weights, z = np.random.default_rng(0), log_weights(4, 1.0, 0.3, 3), np.zeros(4, int)
    clusters = np.zeros((60, 100))
    for k in range(clusters.size):
        z = draw_labels(z, np.zeros((4, 3)), weights, 1.0, rng)
        clusters.flat[k] = len(set(z))
    for t in (1, 2, 3):
        share = (clusters == t).mean(axis=1)
        expected = chances[[len(set(row)) == t for row in found.tolist()]].sum()
        assert abs(share.mean() - expected) < 4.5 * share.std() / np.sqrt(len(share))


def small(rng, neurons=4, bins=6, places=2, factors=1, states=2):
    """Parameters and trials whose values are any."""
    dims = places * (factors + 1)
    transitions = rng.dirichlet(np.ones(states), states)
    A, b = 0.5 * rng.standard_normal((states, dims, dims)), rng.standard_normal((states, dims))
    Q = np.stack([invwishart.rvs(dims + 3, np.eye(dims), random_state=rng) for _ in range(states)])
    dynamics = Dynamics(np.full(states, 1 / states), transitions, np.zeros(dims), np.eye(dims), A, b, Q)
    labels = rng.integers(places, size=neurons)
    drawn = Drawn(dynamics, labels, rng.standard_normal((neurons, factors + 1)), places)
    counts = rng.poisson(1.0, (1, bins, neurons)).astype(float)
    return drawn, Trials(counts, rng.standard_normal((1, bins, dims)), rng.integers(states, size=(1, bins)))


def test_loadings_are_integrated_out():
    rng, assumed = np.random.default_rng(4), Assumed(level=-0.3, dispersion=3, loading=0.8)
    drawn, trials = small(rng, neurons=3)
    trials.counts[0, 2, 1] = np.nan
    means = log_means(drawn, trials.latents, assumed)
    precision, pull = seen = gibbs.draw_precisions(trials.counts, means, assumed, rng)
    _, _, evidence = neuron_terms(drawn, trials.latents, seen, assumed)
    grid = np.linspace(-9, 9, 601)
    d, c = np.meshgrid(grid, grid, indexing="ij")
    prior = norm.logpdf(d, scale=np.sqrt(0.8)) + norm.logpdf(c, scale=np.sqrt(0.8))
    for i in range(3):
        values = []
        for k in range(2):
            psi = [d + level + c * x - 0.3 - np.log(3) for level, x in trials.latents[0, :, 2 * k : 2 * k + 2]]
            logs = prior + sum(pull[0, t, i] * p - 0.5 * precision[0, t, i] * p**2 for t, p in enumerate(psi))
            values.append(logsumexp(logs))
        assert evidence[i, 1] - evidence[i, 0] == pytest.approx(values[1] - values[0], abs=1e-9)
    assert precision[0, 2, 1] == pull[0, 2, 1] == 0


def test_given_precisions_counts_are_gaussian_observations():
    """The mean of the Gaussian factor over PG(y + r, 0) is the negative binomial's."""
    rng, r = np.random.default_rng(1), 10
    for y, psi in ((0, -2.0), (3, 0.4)):
        omega = polya_gamma(np.full(100_000, y + r), np.zeros(100_000), rng)
        terms = 2.0 ** -(y + r) * np.exp(0.5 * (y - r) * psi - 0.5 * omega * psi**2)
        expected = np.exp(psi * y) / (1 + np.exp(psi)) ** (y + r)
        assert abs(terms.mean() - expected) < 4.5 * terms.std() / np.sqrt(len(omega))


def test_latents_are_drawn_from_the_dense_gaussian():
    rng, draws = np.random.default_rng(1), 200_000
    root = rng.standard_normal((8, 8))
    dense = root @ root.T + 4 * np.eye(8)
    for t, s in product(range(4), repeat=2):
        if abs(t - s) > 1:
            dense[2 * t : 2 * t + 2, 2 * s : 2 * s + 2] = 0
    dense += np.diag(np.abs(dense).sum(axis=1))
    blocks = dense.reshape(4, 2, 4, 2)
    diagonal, below = np.stack([blocks[t, :, t] for t in range(4)]), np.stack([blocks[t + 1, :, t] for t in range(3)])
    linear = 9 * rng.standard_normal((4, 2))
    many = (np.broadcast_to(part, (draws, *part.shape)) for part in (diagonal, below, linear))
    x = chain_draw(*many, rng).reshape(draws, 8)
    cov = np.linalg.inv(dense)
    mean, sd = cov @ linear.ravel(), np.sqrt(np.diag(cov))
    assert np.all(abs(x.mean(axis=0) - mean) < 4.5 * sd / np.sqrt(draws))
    spread = np.sqrt((np.outer(sd**2, sd**2) + cov**2) / draws)
    assert np.all(abs(np.cov(x.T) - cov) < 4.5 * spread)


def test_states_are_drawn_from_all_paths():
    rng, draws = np.random.default_rng(2), 60_000
    initial, transitions = rng.dirichlet(np.ones(2)), rng.dirichlet(np.ones(2), 2)
    log_likelihood = rng.standard_normal((6, 2)) - 700
    paths = np.array(list(product(range(2), repeat=6)))
    joint = np.log(initial[paths[:, 0]]) + log_likelihood[range(6), paths].sum(axis=1)
    joint += np.log(transitions[paths[:, :-1], paths[:, 1:]]).sum(axis=1)
    expected = np.exp(joint - logsumexp(joint))
    many = np.broadcast_to(log_likelihood, (draws, 6, 2))
    drawn = draw_states(initial, transitions, many, rng)
    share = np.bincount(drawn @ 2 ** np.arange(5, -1, -1), minlength=64) / draws
    assert np.all(abs(share - expected) < 4.5 * np.sqrt(expected / draws) + 1e-5)


# Geweke's joint test: small, and tight enough that no count is huge
PLACES, STATES, NEURONS, BINS = 3, 2, 4, 8
JOINT = Assumed(
    level=0.0,
    dispersion=2,
    loading=0.3,
    noise=0.06,
    noise_count=4.0,
    tightness=10.0,
    change=2.0,
    stay=1.0,
    end=0.3,
    first=3.0,
)


def draw_prior(rng, labels, chances):
    """Parameters and trials without counts, by SciPy's distributions."""
    dims = 2 * PLACES
    Q = invwishart.rvs(dims + JOINT.noise_count, JOINT.noise * np.eye(dims), size=STATES, random_state=rng)
    noise = rng.standard_normal((STATES, dims, dims + 1)) / np.sqrt(JOINT.tightness)
    found = np.eye(dims, dims + 1) + np.linalg.cholesky(Q) @ noise
    A, b = found[..., :dims], found[..., dims]
    transitions = np.stack([rng.dirichlet(row) for row in JOINT.change / STATES + JOINT.stay * np.eye(STATES)])
    cov = invwishart.rvs(dims + JOINT.noise_count, JOINT.first * np.eye(dims), random_state=rng)
    mean = np.linalg.cholesky(cov) @ rng.standard_normal(dims) / np.sqrt(JOINT.tightness)
    dynamics = Dynamics(np.full(STATES, 1 / STATES), transitions, mean, cov, A, b, Q)
    loadings = np.sqrt(JOINT.loading) * rng.standard_normal((NEURONS, 2))
    drawn = Drawn(dynamics, labels[rng.choice(len(labels), p=chances)], loadings, PLACES)
    states, latents = np.zeros((1, BINS), int), np.zeros((1, BINS, dims))
    states[0, 0], latents[0, 0] = rng.integers(STATES), mean + np.linalg.cholesky(cov) @ rng.standard_normal(dims)
    for t in range(1, BINS):
        k = states[0, t] = rng.choice(STATES, p=transitions[states[0, t - 1]])
        latents[0, t] = A[k] @ latents[0, t - 1] + b[k] + np.linalg.cholesky(Q[k]) @ rng.standard_normal(dims)
    return drawn, Trials(np.full((1, BINS, NEURONS), np.nan), latents, states)


def draw_counts(drawn, trials, rng):
    means = np.exp(np.minimum(log_means(drawn, trials.latents, JOINT), 12))
    trials.counts = rng.negative_binomial(JOINT.dispersion, JOINT.dispersion / (JOINT.dispersion + means)).astype(float)


def functions(drawn, trials):
    """What is compared: bounded where the prior's own moments may not exist."""
    x, dynamics = np.tanh(trials.latents[0]), drawn.dynamics
    gain, loading = drawn.loadings.T
    determinant = np.linalg.slogdet(dynamics.Q)[1]
    density = dynamics.log_density(known(trials.latents))[0, 1:]
    own = np.take_along_axis(density, trials.states[0, 1:, None], axis=1)[:, 0]
    x_means = x.mean(axis=0)
    return np.array([
        gain.mean(), (gain**2).mean(), loading.mean(), (loading**2).mean(), x.mean(), (x**2).mean(),
        (x_means**2).mean(), (x[1:] * x[:-1]).mean(), determinant.mean(), (determinant**2).mean(),
        np.ptp(determinant), dynamics.transitions.diagonal().mean(), (dynamics.transitions**2).mean(),
        len(set(drawn.labels.tolist())), (trials.states[0, 1:] == trials.states[0, :-1]).mean(),
        np.tanh(dynamics.A.diagonal(axis1=1, axis2=2)).mean(), np.tanh(dynamics.b**2).mean(),
        np.tanh((2 * own - density.sum(axis=1)) / 5).mean(), (x[:, ::2] ** 2).mean(),
        np.tanh(log_means(drawn, trials.latents, JOINT)).mean(), np.linalg.slogdet(dynamics.first_cov)[1],
        np.tanh(dynamics.first_mean).mean(), np.tanh(dynamics.first_mean**2).mean(),
        np.tanh((trials.latents[0, 0] - dynamics.first_mean) ** 2).mean(),
    ])  # fmt: skip


def compare(sweeps, after=lambda drawn, trials: drawn, counts=draw_counts, seed=0, chains=50):
    """Differences between draws from the prior and those of alternating sweeps and new counts, in standard errors.

    Each chain starts from a draw of its own, so it has the prior's distribution from the start, and the chains' means
    are independent, however slowly a chain moves.
    """
    rng = np.random.default_rng(seed)
    places = labellings(NEURONS, PLACES, JOINT.gamma, JOINT.end)
    prior = np.array([functions(*draw_prior(rng, *places)) for _ in range(sweeps)])
    means = []
    for _ in range(chains):
        drawn, trials = draw_prior(rng, *places)
        found = []
        for _ in range(sweeps // chains):
            counts(drawn, trials, rng)
            drawn = after(sweep(drawn, trials, JOINT, True, rng), trials)
            found.append(functions(drawn, trials))
        means.append(np.mean(found, axis=0))
    error = np.sqrt(prior.var(axis=0) / len(prior) + np.var(means, axis=0, ddof=1) / chains)
    return (np.mean(means, axis=0) - prior.mean(axis=0)) / error


def shifted(initial, transitions, log_likelihood, rng):
    """States one bin early: that which leads to a bin stands at the bin before. The last is any that may follow, so
    that the states alone are as they should be."""
    states = draw_states(initial, transitions, log_likelihood, rng)
    return np.concatenate([states[:, 1:], draw_index(transitions[states[:, -1]], rng)[:, None]], axis=1)


def centred(drawn, trials):
    """Levels without a mean, which each neuron's gain takes: no rate changes."""
    loadings = drawn.loadings.copy()
    for k in range(PLACES):
        mean = trials.latents[..., 2 * k].mean()
        trials.latents[..., 2 * k] -= mean
        loadings[drawn.labels == k, 0] += mean
    return replace(drawn, loadings=loadings)


def test_sweeps_and_new_counts_keep_the_prior():
    assert np.abs(compare(1500)).max() < 4


@pytest.mark.slow
def test_many_sweeps_and_new_counts_keep_the_prior():
    assert np.abs(compare(20_000, seed=1)).max() < 4


def test_states_one_bin_early_are_noticed(monkeypatch):
    monkeypatch.setattr(gibbs, "draw_states", shifted)
    assert np.abs(compare(800)).max() > 4


def test_centring_within_the_chain_is_noticed():
    assert np.abs(compare(300, centred)).max() > 4


def test_without_counts_the_marginals_are_the_priors():
    assert np.abs(compare(1000, counts=lambda *_: None)).max() < 4
