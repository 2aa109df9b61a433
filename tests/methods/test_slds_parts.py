"""The parts of the switching linear dynamical system, each against an independent formula."""

from itertools import product

import numpy as np
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, poisson

from nlbflow.methods.slds.gaussian_chain import Chain, chain_moments
from nlbflow.methods.slds.hmm import forward_backward
from nlbflow.methods.slds.softplus_poisson import Emission, climb, evaluate, inverse_softplus, softplus
from nlbflow.methods.slds.switching import Dynamics, Prior, estimate, statistics


def covariance(rng, *shape):
    root = rng.standard_normal((*shape, shape[-1])) / shape[-1]
    return root @ root.swapaxes(-1, -2) + 0.3 * np.eye(shape[-1])


def draw_dynamics(rng, states=2, dims=2):
    return Dynamics(
        initial=rng.dirichlet(np.ones(states)),
        transitions=rng.dirichlet(np.ones(states), states),
        first_mean=rng.standard_normal(dims),
        first_cov=covariance(rng, dims),
        A=0.5 * rng.standard_normal((states, dims, dims)),
        b=rng.standard_normal((states, dims)),
        Q=covariance(rng, states, dims),
    )


def draw_chain(rng, trials=3, bins=4, dims=2):
    """A chain, and its dense mean and covariance for each trial."""
    diagonal = 4 * np.eye(dims) + covariance(rng, trials, bins, dims)
    below, linear = rng.standard_normal((trials, bins - 1, dims, dims)) / 2, rng.standard_normal((trials, bins, dims))
    precision = np.zeros((trials, bins, dims, bins, dims))
    for t in range(bins):
        precision[:, t, :, t] = diagonal[:, t]
        if t > 0:
            precision[:, t, :, t - 1] = below[:, t - 1]
            precision[:, t - 1, :, t] = below[:, t - 1].transpose(0, 2, 1)
    size = bins * dims
    cov = np.linalg.inv(precision.reshape(trials, size, size))
    mean = (cov @ linear.reshape(trials, size, 1))[..., 0]
    return chain_moments(diagonal, below, linear), mean, cov


def known(latents):
    trials, bins, dims = latents.shape
    blocks = np.zeros((trials, bins, dims, dims))
    return Chain(latents, blocks, blocks[:, 1:], np.zeros(trials))


def test_forward_backward_sums_over_all_paths():
    rng = np.random.default_rng(0)
    initial, transitions = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(3), 3)
    log_likelihood = 5 * rng.standard_normal((2, 4, 3)) - 900
    chances, changes, evidence = forward_backward(initial, transitions, log_likelihood)
    expected = np.zeros((3, 3))
    for trial in range(2):
        paths = np.array(list(product(range(3), repeat=4)))
        log_joint = np.log(initial[paths[:, 0]]) + log_likelihood[trial, range(4), paths].sum(axis=1)
        log_joint += np.log(transitions[paths[:, :-1], paths[:, 1:]]).sum(axis=1)
        weight = np.exp(log_joint - log_joint.max())
        np.testing.assert_allclose(evidence[trial], np.log(weight.sum()) + log_joint.max(), rtol=1e-12)
        weight /= weight.sum()
        np.testing.assert_allclose(chances[trial], [[weight @ (paths[:, t] == k) for k in range(3)] for t in range(4)])
        for t in range(3):
            np.add.at(expected, (paths[:, t], paths[:, t + 1]), weight)
    np.testing.assert_allclose(changes, expected)


def test_chain_moments_are_those_of_the_dense_gaussian():
    chain, mean, cov = draw_chain(np.random.default_rng(1))
    np.testing.assert_allclose(chain.mean.reshape(3, -1), mean, atol=1e-12)
    for trial, t in np.ndindex(3, 4):
        now = slice(2 * t, 2 * t + 2)
        np.testing.assert_allclose(chain.cov[trial, t], cov[trial, now, now], atol=1e-12)
        if t > 0:
            np.testing.assert_allclose(chain.cross[trial, t - 1], cov[trial, now, 2 * t - 2 : 2 * t], atol=1e-12)
    entropy = [multivariate_normal(mean[n], cov[n]).entropy() for n in range(3)]
    np.testing.assert_allclose(chain.entropy, entropy, rtol=1e-12)


def test_counts_are_averaged_over_the_latents():
    rng = np.random.default_rng(2)
    chain, _, _ = draw_chain(rng)
    emission = Emission(rng.standard_normal((5, 2)), rng.standard_normal(5) - 1)
    counts = rng.poisson(0.7, (3, 4, 5)).astype(float)
    counts[0, 1] = counts[:, :, 4] = np.nan
    found = evaluate(emission, chain, counts)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    eta = chain.mean @ emission.weights.T + emission.bias
    sd = np.sqrt(np.einsum("ntij,ki,kj->ntk", chain.cov, emission.weights, emission.weights))
    rates = np.log1p(np.exp(eta[..., None] + sd[..., None] * nodes))
    weights = weights / weights.sum()
    np.testing.assert_allclose(emission.rates(chain), rates @ weights, rtol=5e-3)
    expected = poisson.logpmf(np.nan_to_num(counts)[..., None], rates) @ weights
    expected[np.isnan(counts)] = 0
    np.testing.assert_allclose(found.value, expected.sum(axis=1), rtol=5e-3)
    assert not found.slope[np.isnan(counts)].any() and not found.curvature[np.isnan(counts)].any()
    assert (found.curvature >= 0).all()


def test_slope_and_curvature_are_derivatives():
    rng = np.random.default_rng(3)
    counts, emission = rng.poisson(0.7, (1, 1, 6)).astype(float), Emission(np.ones((6, 1)), np.linspace(-40, 3, 6))
    at = lambda mean, variance: Chain(  # noqa: E731
        np.full((1, 1, 1), mean), np.full((1, 1, 1, 1), variance), np.zeros((1, 0, 1, 1)), np.zeros(1)
    )
    value = lambda mean, variance: evaluate(emission, at(mean, variance), counts).value  # noqa: E731
    found = evaluate(emission, at(0.2, 0.5), counts)
    slope = (value(0.2 + 1e-5, 0.5) - value(0.2 - 1e-5, 0.5)) / 2e-5
    curvature = -(value(0.2, 0.5 + 1e-5) - value(0.2, 0.5 - 1e-5)) / 1e-5
    np.testing.assert_allclose(found.slope[:, 0], slope, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.curvature[:, 0], curvature, rtol=1e-5, atol=1e-8)


def test_softplus_keeps_its_accuracy():
    eta = np.array([-700.0, -40.0, -1.0, 0.0, 1.0, 800.0])
    np.testing.assert_allclose(softplus(eta), np.logaddexp(0, eta), rtol=1e-14)
    rates = np.array([1e-9, 0.01, 1.0, 50.0])
    np.testing.assert_allclose(softplus(inverse_softplus(rates)), rates, rtol=1e-12)


def test_climbing_reaches_the_optimum():
    rng = np.random.default_rng(4)
    chain, _, _ = draw_chain(rng, trials=8, bins=30)
    counts = rng.poisson(softplus(chain.mean @ rng.standard_normal((2, 3)) - 0.5)).astype(float)
    emission = Emission(np.zeros((3, 2)), np.array([-3.0, 0.0, 4.0]))
    here = evaluate(emission, chain, counts)
    for _ in range(40):
        before = here.value.sum(axis=0) - 0.5 * (emission.weights**2).sum(axis=1)
        emission = climb(emission, chain, counts, here, np.arange(3))
        assert (here.value.sum(axis=0) - 0.5 * (emission.weights**2).sum(axis=1) >= before - 1e-9).all()
    np.testing.assert_allclose(here.value, evaluate(emission, chain, counts).value)
    for k in range(3):

        def loss(p, k=k):
            value = evaluate(Emission(p[None, :2], p[2:]), chain, counts[:, :, k : k + 1]).value
            return 0.5 * p[:2] @ p[:2] - value.sum()

        best = minimize(loss, np.zeros(3), tol=1e-10).x
        np.testing.assert_allclose([*emission.weights[k], emission.bias[k]], best, atol=2e-4)


def test_dynamics_density_is_the_normal_one_and_its_average():
    rng = np.random.default_rng(5)
    dynamics, (chain, mean, cov) = draw_dynamics(rng), draw_chain(rng)
    path = mean.reshape(3, 4, 2)
    density = dynamics.log_density(known(path))
    for trial, t, k in np.ndindex(3, 4, 2):
        centre = dynamics.A[k] @ path[trial, t - 1] + dynamics.b[k] if t else dynamics.first_mean
        spread = dynamics.Q[k] if t else dynamics.first_cov
        expected = multivariate_normal(centre, spread).logpdf(path[trial, t])
        np.testing.assert_allclose(density[trial, t, k], expected, rtol=1e-10)
    # a quadratic function's mean is its mean over the points sqrt(n) standard deviations away on each axis
    axes = np.sqrt(8) * np.linalg.cholesky(cov).transpose(0, 2, 1)
    points = [dynamics.log_density(known((mean + s * axes[:, i]).reshape(3, 4, 2))) for s in (-1, 1) for i in range(8)]
    np.testing.assert_allclose(dynamics.log_density(chain), np.mean(points, axis=0), rtol=1e-10)


def test_precision_is_the_averaged_densitys():
    rng = np.random.default_rng(6)
    dynamics, chances = draw_dynamics(rng), rng.dirichlet(np.ones(2), (3, 4))
    diagonal, below, linear = dynamics.precision(chances)
    paths = rng.standard_normal((2, 3, 4, 2))
    averaged = [(chances * dynamics.log_density(known(path))).sum(axis=(1, 2)) for path in paths]
    values = [
        (linear * x).sum(axis=(1, 2))
        - np.einsum("ntij,nti,ntj->n", diagonal, x, x) / 2
        - np.einsum("ntij,nti,ntj->n", below, x[:, 1:], x[:, :-1])
        for x in paths
    ]
    np.testing.assert_allclose(values[1] - values[0], averaged[1] - averaged[0], rtol=1e-9)


def test_estimated_dynamics_are_the_best():
    rng = np.random.default_rng(7)
    chain, _, _ = draw_chain(rng, trials=5, bins=8)
    chances = rng.dirichlet(np.ones(2), (5, 8))
    changes = np.einsum("tij,tik->jk", chances[:, :-1], chances[:, 1:])
    prior = Prior(np.array([3.0, 3.0, 0.5]), np.array([0.2, 0.4]))

    def objective(dynamics):
        chain_value = np.sum(chances[:, 0] * np.log(dynamics.initial)) + np.sum(changes * np.log(dynamics.transitions))
        return chain_value + np.sum(chances * dynamics.log_density(chain)) + prior.log_density(dynamics)

    best = estimate(statistics(chain, chances), chances[:, 0].sum(axis=0), changes, prior)
    for scale in (1e-3, 0.1):
        for name in ("initial", "transitions", "first_mean", "first_cov", "A", "b", "Q"):
            value = getattr(best, name)
            for _ in range(5):
                other = value + scale * rng.standard_normal(value.shape)
                if name in ("Q", "first_cov"):
                    root = np.eye(2) + scale * rng.standard_normal(value.shape)
                    other = root @ value @ root.swapaxes(-1, -2)
                if name in ("initial", "transitions"):
                    other = value * np.exp(scale * rng.standard_normal(value.shape))
                    other /= other.sum(axis=-1, keepdims=True)
                assert objective(Dynamics(**{**vars_of(best), name: other})) < objective(best)


def vars_of(dynamics):
    names = ("initial", "transitions", "first_mean", "first_cov", "A", "b", "Q")
    return {name: getattr(dynamics, name) for name in names}
