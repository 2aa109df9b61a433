"""Where expectation-maximisation of a switching linear dynamical system starts.

Latents are the principal components of smoothed counts, the emission is regressed on them, and the dynamics are those
of an autoregressive hidden Markov model of the latents.
"""

import warnings

import numpy as np
from scipy.cluster.vq import kmeans2

from nlbflow.methods.slds.gaussian_chain import Chain
from nlbflow.methods.slds.hmm import forward_backward
from nlbflow.methods.slds.softplus_poisson import SILENT_RATE, Emission, climb, evaluate, inverse_softplus
from nlbflow.methods.slds.switching import Dynamics, Prior, estimate, statistics
from nlbflow.methods.smoothing import gaussian_kernel, smoothing_matrix

KERNEL_MS = 50.0
REGRESSION_STEPS = 5
# Runs of the autoregressive model, from different clusters, and the iterations after which the likeliest is chosen.
RUNS, FIRST_ITERATIONS = 2, 10


def start_latents(counts: np.ndarray, bin_ms: float, dims: int) -> tuple[Emission, np.ndarray]:
    """Emission and latents (trials, bins, dims) to start from.

    The weights have orthonormal columns, so that the penalties of the dynamics mean the same whatever the latents.

    Args:
        counts: (trials, bins, neurons), NaN where not observed.
        bin_ms: width of a bin.
        dims: number of latents.
    """
    latents = _components(counts, bin_ms, dims)
    emission, _ = regress(counts, known(latents))
    fires = emission.weights.any(axis=1)
    left, size, right = np.linalg.svd(emission.weights, full_matrices=False)
    return Emission(left * fires[:, None], emission.bias), latents @ (size[:, None] * right).T


def start_blocks(
    counts: np.ndarray, latents: np.ndarray, labels: np.ndarray, clusters: int
) -> tuple[Emission, np.ndarray]:
    """Emission and latents to start from where each neuron sees its cluster's latents only; as `start_latents` does,
    with orthonormal columns for each cluster.

    Args:
        counts: (trials, bins, neurons), NaN where not observed.
        latents: (trials, bins, clusters * dims), cluster by cluster.
        labels: (neurons,), the cluster of each; -1 for a neuron that never fires, which sees none.
        clusters: their number.
    """
    dims = latents.shape[2] // clusters
    free = np.repeat(np.arange(clusters), dims) == labels[:, None]
    emission, _ = regress(counts, known(latents), free)
    weights, latents = emission.weights.copy(), latents.copy()
    for k in range(clusters):
        own, members = slice(k * dims, (k + 1) * dims), labels == k
        # fewer neurons than latents keep the latents that they were given
        if members.sum() >= dims:
            weights[members, own], size, right = np.linalg.svd(weights[members, own], full_matrices=False)
            latents[..., own] = latents[..., own] @ (size[:, None] * right).T
    return Emission(weights, emission.bias, free), latents


def start_dynamics(latents: Chain, states: int, prior: Prior, iterations: int, rng: np.random.Generator) -> Dynamics:
    """Switching dynamics of given latents, by exact expectation-maximisation (an autoregressive hidden Markov model).

    Several runs start from k-means clusters of the mean latents and their steps, each in units of its standard
    deviation; the likeliest goes on.

    Args:
        latents: of all trials.
        states: their number.
        prior: of the dynamics.
        iterations: of expectation-maximisation.
        rng: draws the clusters.
    """
    first = min(iterations, FIRST_ITERATIONS)
    runs = [
        _arhmm(latents, _clusters(latents.mean, states, rng), prior, first) for _ in range(RUNS if states > 1 else 1)
    ]
    chances = max(runs, key=lambda run: run[2])[1]
    return _arhmm(latents, chances, prior, iterations - first + 1)[0]


def _arhmm(latents: Chain, chances: np.ndarray, prior: Prior, iterations: int) -> tuple[Dynamics, np.ndarray, float]:
    """Dynamics, probabilities of the states, and expected log likelihood plus log prior."""
    changes = np.einsum("tij,tik->jk", chances[:, :-1], chances[:, 1:])
    for _ in range(iterations):
        dynamics = estimate(statistics(latents, chances), chances[:, 0].sum(axis=0), changes, prior)
        chances, changes, evidence = forward_backward(
            dynamics.initial, dynamics.transitions, dynamics.log_density(latents)
        )
    return dynamics, chances, float(evidence.sum()) + prior.log_density(dynamics)


def _clusters(mean: np.ndarray, states: int, rng: np.random.Generator) -> np.ndarray:
    """Ones and zeros (trials, bins, states): each bin's cluster."""
    trials, bins, dims = mean.shape
    steps = np.diff(mean, axis=1, prepend=mean[:, :1])
    features = np.concatenate([mean, steps], axis=2).reshape(-1, 2 * dims)
    features = features / np.maximum(features.std(axis=0), np.finfo(float).tiny)
    with warnings.catch_warnings():
        # an empty cluster is a state that its prior keeps alive
        warnings.filterwarnings("ignore", "One of the clusters is empty", UserWarning)
        clusters = kmeans2(features, states, minit="points", rng=rng)[1]
    return np.eye(states)[clusters].reshape(trials, bins, states)


def _components(counts: np.ndarray, bin_ms: float, dims: int) -> np.ndarray:
    """Principal components (trials, bins, dims) of the square roots of smoothed counts, scaled to variance 1."""
    trials, bins, neurons = counts.shape
    seen = np.isfinite(counts)
    means = np.where(seen, counts, 0).sum(axis=(0, 1)) / np.maximum(seen.sum(axis=(0, 1)), 1)
    sd = KERNEL_MS / bin_ms
    matrix = smoothing_matrix(gaussian_kernel(2 * int(3 * sd) + 1, sd), bins)
    smooth = (matrix / matrix.sum(axis=1, keepdims=True)) @ np.where(seen, counts, means)
    roots = np.sqrt(smooth).reshape(-1, neurons)
    roots -= roots.mean(axis=0)
    _, axes = np.linalg.eigh(roots.T @ roots)
    scores = roots @ axes[:, ::-1][:, :dims]
    return (scores / np.maximum(scores.std(axis=0), 1e-6)).reshape(trials, bins, dims)


def regress(counts: np.ndarray, latents: Chain, free: np.ndarray | None = None) -> tuple[Emission, np.ndarray]:
    """The emission of given latents, close to its optimum, and each neuron's expected log likelihood (neurons,).

    Neurons that never fire have no weights.

    Args:
        counts: (trials, bins, neurons), NaN where not observed.
        latents: of all trials.
        free: which weights are not held at zero, as of an `Emission`.
    """
    seen, total = np.isfinite(counts).sum(axis=(0, 1)), np.nansum(counts, axis=(0, 1))
    rates = np.maximum(total / np.maximum(seen, 1), SILENT_RATE)
    emission = Emission(np.zeros((counts.shape[2], latents.mean.shape[2])), inverse_softplus(rates), free)
    here = evaluate(emission, latents, counts)
    for _ in range(REGRESSION_STEPS):
        emission = climb(emission, latents, counts, here, np.flatnonzero(total))
    return emission, here.value.sum(axis=0)


def known(latents: np.ndarray) -> Chain:
    """A chain of latents (trials, bins, dims) without uncertainty."""
    trials, bins, dims = latents.shape
    cov = np.zeros((trials, bins, dims, dims))
    return Chain(latents, cov, cov[:, 1:], np.zeros(trials))
