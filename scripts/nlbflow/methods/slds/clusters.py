"""Switching linear dynamical systems in which each cluster of neurons sees latents of its own.

A simpler way to the model of Wei 2023 (arXiv:2309.02213), whose sampler does not mix over clusterings: a fit that knows
of no clusters, clusters of its loadings (`subspaces`), and a fit in which each neuron loads on its cluster's latents
only. The dynamics stay whole: clusters may drive each other, and share their states.
"""

import logging
from dataclasses import dataclass

import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.methods.slds.fit import Posterior, Slds, Start, check, fit_one_state, fit_states
from nlbflow.methods.slds.gaussian_chain import Chain
from nlbflow.methods.slds.softplus_poisson import Emission, climb, evaluate
from nlbflow.methods.slds.start import regress, start_blocks, start_latents
from nlbflow.methods.slds.subspaces import sparse_labels, subspace_labels

log = logging.getLogger("nlbflow")

# Rounds in which neurons may move to another cluster, and the gain in nats for which one does.
ROUNDS, WORTH = 5, 2.0
# Random starts for each resample, whose labels start from those of all trials too, and Newton steps of its loadings.
RESAMPLE_STARTS, RESAMPLE_STEPS = 200, 2


@dataclass
class Clustered:
    """A fit, the cluster of each neuron (neurons,), -1 for one that never fires, and the share of resamples of the
    trials in which two neurons are of one cluster (neurons, neurons)."""

    model: Slds
    posterior: Posterior
    labels: np.ndarray
    together: np.ndarray


def fit_clusters(
    counts: np.ndarray,
    bin_ms: float,
    states: int,
    clusters: int,
    dims: int,
    l2_A: float,
    l2_b: float,
    iterations: int,
    start_iterations: int,
    resamples: int,
    seed: int,
) -> Clustered:
    """Fit clusters of neurons, each with `dims` latents, whose dynamics switch.

    Args:
        counts: (trials, bins, neurons), spikes per bin; NaN where not observed.
        bin_ms: width of a bin.
        states, clusters, dims: the numbers of states, of clusters and of latents of each.
        l2_A, l2_b, iterations, start_iterations: as for `slds.fit.fit`, which one cluster is the same as.
        resamples: of the trials, for how sure the clusters are; of the labels found, those that agree best with all
            others are taken.
        seed: of the clusterings' starts, the resamples and the states' start.

    Raises:
        NlbflowError: as `slds.fit.fit`; also fewer firing neurons than clusters times latents.
    """
    firing = np.nansum(counts, axis=(0, 1)) > 0
    if min(clusters, dims) < 1 or clusters * dims > firing.sum():
        raise NlbflowError(
            f"biclust needs clusters and factors for which clusters * (factors + 1) is 1 to {firing.sum()}, as many "
            f"neurons fire; found {clusters} clusters of {dims} latents each: change them."
        )
    check(counts, states, clusters * dims, (l2_A, l2_b), (iterations, start_iterations), "biclust")
    start = fit_one_state(*start_latents(counts, bin_ms, clusters * dims), counts, l2_A, l2_b)
    labels, together = np.where(firing, 0, -1), np.outer(firing, firing).astype(float)
    if clusters > 1:
        rng = np.random.default_rng(seed)
        whitening, latents = _white(start.chain.mean)
        labels, together = _labels(start, counts, whitening, clusters, dims, resamples, rng, seed % 2**32)
        axes = [_leading(start.emission.weights[labels == k] @ whitening, dims) for k in range(clusters)]
        start, labels = _settled(counts, latents @ np.concatenate(axes, axis=1), labels, clusters, l2_A, l2_b)
    model, posterior, _ = fit_states(start, counts, states, iterations, start_iterations, seed)
    return Clustered(model, posterior, labels, together)


def _white(mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What takes loadings to units in which the latents (trials, bins, dims) are white, and these latents."""
    rows = mean.reshape(-1, mean.shape[2])
    centred = rows - rows.mean(axis=0)
    values, axes = np.linalg.eigh(centred.T @ centred / len(rows))
    # latents that do not vary stay small instead of being blown up
    deviations = np.sqrt(np.maximum(values, 1e-9 * max(values[-1], np.finfo(float).tiny)))
    return axes * deviations, (centred @ axes / deviations).reshape(mean.shape)


def _labels(
    start: Start, counts: np.ndarray, whitening: np.ndarray, clusters: int, dims: int, resamples: int,
    rng: np.random.Generator, seed: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Labels (neurons,) and the share of resamples with two neurons together: of all trials' labels and those of the
    resamples the ones that agree best with that share."""
    fires = start.emission.weights.any(axis=1)
    loadings = start.emission.weights[fires] @ whitening
    whole, cost = subspace_labels(loadings, clusters, dims, rng, [sparse_labels(loadings, clusters, dims, seed)])
    share = cost / fires.sum()
    log.info(f"biclust: {100 * share:.1f} % of the loadings' squares lie outside their clusters' subspaces")
    found, active = [whole], np.flatnonzero(fires)
    for _ in range(resamples):
        drawn = rng.integers(len(counts), size=len(counts))
        emission = _climbed(start.emission, start.chain.select(drawn), counts[drawn], active)
        loadings = emission.weights[fires] @ whitening
        # a neuron that is silent in these trials keeps its loadings
        found.append(subspace_labels(loadings, clusters, dims, rng, [whole], RESAMPLE_STARTS)[0])
    pairs = np.stack([labels[:, None] == labels for labels in found])
    share = pairs.mean(axis=0)
    closest = ((pairs - share) ** 2).sum(axis=(1, 2)).argmin()
    labels, together = np.full(len(fires), -1), np.zeros((len(fires), len(fires)))
    labels[fires], together[np.ix_(fires, fires)] = found[closest], share
    return labels, together


def _climbed(emission: Emission, chain: Chain, counts: np.ndarray, active: np.ndarray) -> Emission:
    active = active[np.nansum(counts, axis=(0, 1))[active] > 0]
    here = evaluate(emission, chain, counts)
    for _ in range(RESAMPLE_STEPS):
        emission = climb(emission, chain, counts, here, active)
    return emission


def _leading(loadings: np.ndarray, dims: int) -> np.ndarray:
    """Orthonormal axes (latents, dims) of the subspace that loadings (neurons, latents) lie in."""
    return np.linalg.eigh(loadings.T @ loadings)[1][:, -dims:]


def _settled(
    counts: np.ndarray, latents: np.ndarray, labels: np.ndarray, clusters: int, l2_A: float, l2_b: float
) -> tuple[Start, np.ndarray]:
    """The one-state fit under the labels, after neurons moved to clusters whose latents explain them better."""
    dims = latents.shape[2] // clusters
    for _ in range(ROUNDS):
        start = fit_one_state(*start_blocks(counts, latents, labels, clusters), counts, l2_A, l2_b)
        blocks = [start.chain.project(slice(k * dims, (k + 1) * dims)) for k in range(clusters)]
        moved = _moved(np.stack([regress(counts, block)[1] for block in blocks]), labels)
        if np.array_equal(moved, labels):
            return start, labels
        log.info(f"biclust: {(moved != labels).sum()} neurons move to another cluster")
        latents, labels = start.chain.mean, moved
    return fit_one_state(*start_blocks(counts, latents, labels, clusters), counts, l2_A, l2_b), labels


def _moved(likelihood: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """New labels by the likelihood (clusters, neurons) of each neuron's counts; the last neuron of a cluster stays."""
    gain = likelihood.max(axis=0) - likelihood[labels, np.arange(len(labels))]
    moves = (gain > WORTH) & (labels >= 0)
    for k in range(len(likelihood)):
        members = np.flatnonzero(labels == k)
        if len(members) and moves[members].all():
            moves[members[gain[members].argmin()]] = False
    return np.where(moves, likelihood.argmax(axis=0), labels)
