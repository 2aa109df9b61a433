"""Gaussian Markov chains: from the block-tridiagonal precision of a trial's latents to their moments, or a draw."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Chain:
    """Moments of Gaussian latents x (trials, bins, dims) that depend on their neighbours in time only.

    `mean` (trials, bins, dims), `cov` (trials, bins, dims, dims), `cross` (trials, bins - 1, dims, dims) the covariance
    of x[t + 1] (rows) with x[t], `entropy` (trials,).
    """

    mean: np.ndarray
    cov: np.ndarray
    cross: np.ndarray
    entropy: np.ndarray

    def replace(self, trials: np.ndarray, other: "Chain") -> None:
        """Take the moments of some trials (an index or a mask) from another chain, which has those trials only."""
        self.mean[trials], self.cov[trials] = other.mean, other.cov
        self.cross[trials], self.entropy[trials] = other.cross, other.entropy

    def select(self, trials: np.ndarray | slice) -> "Chain":
        """The chain of some trials."""
        return Chain(self.mean[trials], self.cov[trials], self.cross[trials], self.entropy[trials])

    def project(self, dims: slice) -> "Chain":
        """Some of the latents; the entropy stays that of all."""
        return Chain(self.mean[..., dims], self.cov[..., dims, dims], self.cross[..., dims, dims], self.entropy)


def chain_moments(diagonal: np.ndarray, below: np.ndarray, linear: np.ndarray) -> Chain:
    """The Gaussian with log density -x'Jx / 2 + h'x + constant, J block-tridiagonal and positive definite.

    Block elimination forward in time, then the means and the covariances of neighbours backward: a Kalman smoother in
    information form, batched over trials.

    Args:
        diagonal: (trials, bins, dims, dims), J's blocks [t, t].
        below: (trials, bins - 1, dims, dims), J's blocks [t + 1, t].
        linear: (trials, bins, dims), h.
    """
    trials, bins, dims = linear.shape
    pivot, inverse, gain, reduced = _eliminated(diagonal, below, linear)
    mean, cov = np.empty((trials, bins, dims)), np.empty((trials, bins, dims, dims))
    cross = np.empty((trials, bins - 1, dims, dims))
    mean[:, -1], cov[:, -1] = (inverse[-1] @ reduced[-1])[..., 0], inverse[-1]
    for t in range(bins - 2, -1, -1):
        mean[:, t] = (inverse[t] @ reduced[t] - gain[t] @ mean[:, t + 1, :, None])[..., 0]
        cross[:, t] = -cov[:, t + 1] @ gain[t].transpose(0, 2, 1)
        cov[:, t] = inverse[t] - gain[t] @ cross[:, t]
    # Rounding must not make covariances lopsided: quadratic forms with them are compared to 1e-9.
    cov = (cov + cov.transpose(0, 1, 3, 2)) / 2
    half_log_det = np.log(np.linalg.cholesky(pivot).diagonal(axis1=2, axis2=3)).sum(axis=(0, 2))
    return Chain(mean, cov, cross, bins * dims / 2 * (1 + np.log(2 * np.pi)) - half_log_det)


def chain_draw(diagonal: np.ndarray, below: np.ndarray, linear: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Latents (trials, bins, dims) drawn from the Gaussian that `chain_moments` takes, backward in time."""
    trials, bins, dims = linear.shape
    pivot, inverse, gain, reduced = _eliminated(diagonal, below, linear)
    # the transpose of a pivot's root turns white noise into noise of the pivot's inverse as covariance
    roots = np.linalg.cholesky(pivot).transpose(0, 1, 3, 2)
    noise = np.linalg.solve(roots, rng.standard_normal((bins, trials, dims, 1)))
    drawn = np.empty((bins, trials, dims, 1))
    for t in range(bins - 1, -1, -1):
        drawn[t] = inverse[t] @ reduced[t] + noise[t]
        if t < bins - 1:
            drawn[t] -= gain[t] @ drawn[t + 1]
    return drawn[..., 0].transpose(1, 0, 2)


def _eliminated(diagonal: np.ndarray, below: np.ndarray, linear: np.ndarray) -> tuple[np.ndarray, ...]:
    """Block elimination forward in time, each result (bins, trials, ...): the pivots, which are the precisions of a
    bin's latents given those of the next; their inverses; what of the next is taken from the mean given it; and the
    linear terms."""
    trials, bins, dims = linear.shape
    pivot, inverse = np.empty((bins, trials, dims, dims)), np.empty((bins, trials, dims, dims))
    gain = np.empty((bins - 1, trials, dims, dims))
    reduced = np.empty((bins, trials, dims, 1))
    for t in range(bins):
        pivot[t], reduced[t] = diagonal[:, t], linear[:, t, :, None]
        if t > 0:
            pivot[t] -= below[:, t - 1] @ gain[t - 1]
            reduced[t] -= gain[t - 1].transpose(0, 2, 1) @ reduced[t - 1]
        inverse[t] = np.linalg.inv(pivot[t])
        if t < bins - 1:
            gain[t] = inverse[t] @ below[:, t].transpose(0, 2, 1)
    return pivot, inverse, gain, reduced
