"""Neurons clustered by the subspace that their loadings lie in.

Where every cluster of neurons has latents of its own, and a fit that knows of no clusters finds the latents up to an
invertible linear map, each neuron's loadings lie in the subspace of its cluster, whatever that map is.
"""

import warnings

import numpy as np

# Random partitions to start from, those worked on at once, and steps of each at most.
STARTS, AT_ONCE, STEPS = 2000, 250, 50


def subspace_labels(
    loadings: np.ndarray,
    clusters: int,
    dims: int,
    rng: np.random.Generator,
    starts: list[np.ndarray],
    random: int = STARTS,
) -> tuple[np.ndarray, float]:
    """Labels (neurons,) of subspaces through the origin, by K-subspaces from many starts (Bradley & Mangasarian 2000,
    Journal of Global Optimization 16:23, for subspaces).

    Args:
        loadings: (neurons, latents), none of them all zeros, in units in which the latents are white.
        clusters: their number, at most that of the neurons.
        dims: of each cluster's subspace, at most that of the latents.
        rng: draws the random starts and restarts clusters that are empty.
        starts: labels to start from beside the random ones.
        random: the number of random starts.

    Returns:
        labels, and the cost: the share of each loading's square outside its cluster's subspace, summed over neurons.
    """
    rows = loadings / np.linalg.norm(loadings, axis=1, keepdims=True)
    products = (rows[:, :, None] * rows[:, None, :]).reshape(len(rows), -1)
    labels = np.concatenate([rng.integers(clusters, size=(random, len(rows))), *(start[None] for start in starts)])
    best, least = labels[-1], np.inf
    for first in range(0, len(labels), AT_ONCE):
        part = labels[first : first + AT_ONCE]
        cost, moving = np.full(len(part), np.inf), np.arange(len(part))
        for _ in range(STEPS):
            here = part[moving]
            _fill(here, clusters, rng)
            members = (here[:, None] == np.arange(clusters)[:, None]).astype(float)
            gram = (members @ products).reshape(len(here), clusters, rows.shape[1], rows.shape[1])
            inside = ((rows @ np.linalg.eigh(gram)[1][..., -dims:]) ** 2).sum(axis=-1)
            part[moving], cost[moving] = inside.argmax(axis=1), np.maximum(1 - inside.max(axis=1), 0).sum(axis=1)
            moving = moving[(part[moving] != here).any(axis=1)]
            if not len(moving):
                break
        if cost.min() < least:
            best, least = part[cost.argmin()], float(cost.min())
    return best, least


def sparse_labels(loadings: np.ndarray, clusters: int, dims: int, seed: int) -> np.ndarray:
    """Labels (neurons,) to start from: each loading as a combination of `dims` others, of which most are of its own
    cluster, and a spectral clustering of who is combined with whom (Elhamifar & Vidal 2013, IEEE TPAMI 35:2765; by
    orthogonal matching pursuit, Dyer, Sankaranarayanan & Baraniuk 2013, JMLR 14:2487)."""
    from sklearn.cluster import SpectralClustering
    from sklearn.linear_model import orthogonal_mp

    rows = loadings / np.linalg.norm(loadings, axis=1, keepdims=True)
    affinity = np.zeros((len(rows), len(rows)))
    with warnings.catch_warnings():
        # loadings that others span exactly, and neurons that no other uses, are no faults here
        warnings.simplefilter("ignore")
        for i, row in enumerate(rows):
            others = np.delete(np.arange(len(rows)), i)
            affinity[i, others] = np.abs(orthogonal_mp(rows[others].T, row, n_nonzero_coefs=min(dims, len(others))))
        model = SpectralClustering(clusters, affinity="precomputed", random_state=seed)
        return model.fit_predict(affinity + affinity.T).astype(int)


def _fill(labels: np.ndarray, clusters: int, rng: np.random.Generator) -> None:
    """Give each empty cluster of each start (starts, neurons) a random neuron, in place."""
    for k in range(clusters):
        empty = np.flatnonzero((labels != k).all(axis=1))
        labels[empty, rng.integers(labels.shape[1], size=len(empty))] = k
