"""Gaussian-process factor analysis: a few smooth latents, each a Gaussian process over time, drive all neurons.

Yu et al. 2009, J. Neurophysiol. 102:614-635, eqs. 1 to 4. In trial n and bin t

    y[n, t] = loadings @ x[n, t] + offset + noise,         noise ~ N(0, diag(noise))
    x[n, :, i] ~ N(0, K_i),  K_i[t, s] = (1 - 1e-3) exp(-(t - s)^2 / (2 timescale_i^2)) + 1e-3 [t = s]

All trials have one length, so one posterior covariance serves them all. K_i is a smooth part of low rank (about 25 for
a timescale of 20 bins over 140) plus white noise. White noise of the latents is just more noise of the neurons, the
same in all bins. So the one matrix to be inverted has as many rows as the sum of the smooth parts' ranks, not latents
times bins; nothing is inverted per trial or per bin. The data enter by two matrix products over all bins.

`fit` learns the parameters.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg import lapack

# Share of a latent's variance that is independent between bins (Yu et al. 2009, below eq. 4); it is not learned.
WHITE = 1e-3
# Largest error allowed in a kernel's diagonal when its smooth part is cut to low rank.
RANK_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Gpfa:
    """Parameters: loadings (neurons, latents), offset and noise variance (neurons,), timescale (latents,) in bins."""

    loadings: np.ndarray
    offset: np.ndarray
    noise: np.ndarray
    timescale: np.ndarray

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.loadings.size + self.offset.size + self.noise.size + self.timescale.size


class Expectations(NamedTuple):
    """Moments of the latents x under their posterior, and of the data y.

    mean (trials, bins, latents); xx (latents, latents), yx (neurons, latents), y_sum and y_squares (neurons,), sums
    over trials and bins; over_time (latents, bins, bins), each latent's second moments between bins, sums over trials.
    """

    log_likelihood: float
    mean: np.ndarray
    xx: np.ndarray
    yx: np.ndarray
    y_sum: np.ndarray
    y_squares: np.ndarray
    over_time: np.ndarray


class _Posterior(NamedTuple):
    """The latents' posterior: x[:, i] = (smooth - WHITE * smooth @ information)[:, i] + white rest, bin by bin.

    The smooth part of latent i is factors[:, owner == i] @ z; z has `covariance`, and columns of factors are (bins,).
    """

    log_likelihood: float
    mean: np.ndarray
    factors: np.ndarray
    owner: np.ndarray
    covariance: np.ndarray
    information: np.ndarray
    y_sum: np.ndarray
    y_squares: np.ndarray


def log_likelihood(y: np.ndarray, model: Gpfa) -> float:
    """The log-likelihood of y (trials, bins, neurons) in nats, with the latents integrated out."""
    return _infer(y, model).log_likelihood


def posterior_latents(y: np.ndarray, model: Gpfa) -> np.ndarray:
    """Posterior mean of the latents, (trials, bins, latents), given y (trials, bins, neurons)."""
    return _infer(y, model).mean


def forward_latents(mean: np.ndarray, model: Gpfa, ahead: int) -> np.ndarray:
    """Predictive mean of the latents in the bins after the window.

    Given the latents in the window, later ones do not depend on the neurons, so each process continues by itself from
    its posterior mean: K[later, window] K[window, window]^-1 mean (Rasmussen & Williams 2006, eq. 2.23).

    Args:
        mean: (trials, bins, latents), from `posterior_latents`.
        model: the parameters.
        ahead: number of bins after the window.

    Returns:
        (trials, ahead, latents).
    """
    bins = mean.shape[1]
    kernel = smooth_kernels(model.timescale, bins + ahead) + WHITE * np.eye(bins + ahead)
    weights = np.linalg.solve(kernel[:, :bins, :bins], kernel[:, :bins, bins:])
    return (mean.transpose(2, 0, 1) @ weights).transpose(1, 2, 0)


def orthonormal_axes(model: Gpfa) -> np.ndarray:
    """(latents, latents): `x @ axes` are coordinates along orthonormal directions among the neurons (eq. 5)."""
    _, size, axes = np.linalg.svd(model.loadings, full_matrices=False)
    return axes.T * size


def expectations(y: np.ndarray, model: Gpfa) -> Expectations:
    """The E-step on y (trials, bins, neurons)."""
    value, mean, factors, owner, covariance, information, y_sum, y_squares = _infer(y, model)
    trials, bins, latents = mean.shape
    mix = np.eye(latents) - WHITE * information
    rest = WHITE * mix  # the white part's covariance in every bin, given y and the smooth part
    loaded = factors * mix[:, None, owner]
    half = (loaded.reshape(latents * bins, -1) @ covariance).reshape(loaded.shape)
    over_time = half @ loaded.transpose(0, 2, 1)
    over_time[:, range(bins), range(bins)] += np.diag(rest)[:, None]
    within_bins = half.reshape(latents, -1) @ loaded.reshape(latents, -1).T + bins * rest
    x = mean.reshape(-1, latents)
    by_latent = np.ascontiguousarray(mean.transpose(2, 1, 0))
    return Expectations(
        value,
        mean,
        xx=x.T @ x + trials * within_bins,
        yx=y.reshape(-1, y.shape[2]).T @ x,
        y_sum=y_sum,
        y_squares=y_squares,
        over_time=by_latent @ by_latent.transpose(0, 2, 1) + trials * over_time,
    )


def smooth_kernels(timescale: np.ndarray, bins: int) -> np.ndarray:
    """(latents, bins, bins): the kernels without their white part."""
    apart = np.arange(bins)[:, None] - np.arange(bins)
    return (1 - WHITE) * np.exp(-0.5 * (apart / timescale[:, None, None]) ** 2)


def _infer(y: np.ndarray, model: Gpfa) -> _Posterior:
    """The core of the E-step. The neurons' noise includes the latents' white part: noise + WHITE loadings loadings'."""
    trials, bins, neurons = y.shape
    latents = len(model.timescale)
    scaled = model.loadings / model.noise[:, None]
    woodbury = np.eye(latents) + WHITE * model.loadings.T @ scaled
    weights = np.linalg.solve(woodbury, scaled.T).T
    information = model.loadings.T @ weights
    information = (information + information.T) / 2

    factors, owner = _low_rank(model.timescale, bins)
    precision = factors.T @ factors * information[np.ix_(owner, owner)]
    precision[np.diag_indices_from(precision)] += 1.0
    root, _ = lapack.dpotrf(precision, lower=1, clean=1)
    lower, _ = lapack.dpotri(root, lower=1)
    covariance = np.tril(lower) + np.tril(lower, -1).T

    flat = y.reshape(-1, neurons)
    seen = flat @ weights - model.offset @ weights  # what the neurons of a bin alone tell about its latents
    by_latent = seen.reshape(trials, bins, latents)
    groups = [owner == latent for latent in range(latents)]
    evidence = np.concatenate([by_latent[..., i] @ factors[:, own] for i, own in enumerate(groups)], axis=1)
    z = evidence @ covariance
    smooth = np.stack([z[:, own] @ factors[:, own].T for own in groups], axis=2)
    mean = smooth - WHITE * (smooth @ information - by_latent)

    y_sum, y_squares = flat.sum(axis=0), np.einsum("rn,rn->n", flat, flat)
    residual = y_squares + model.offset * (len(flat) * model.offset - 2 * y_sum)
    misfit = residual @ (1 / model.noise) - WHITE * np.vdot(seen @ woodbury, seen) - np.vdot(evidence, z)
    per_bin = np.log(model.noise).sum() + np.linalg.slogdet(woodbury)[1] + neurons * np.log(2 * np.pi)
    value = -0.5 * (trials * (bins * per_bin + 2 * np.log(np.diag(root)).sum()) + misfit)
    return _Posterior(float(value), mean, factors, owner, covariance, information, y_sum, y_squares)


def _low_rank(timescale: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Factors of the smooth kernels by pivoted Cholesky decomposition (Harbrecht et al. 2012), all latents at once.

    Returns:
        factors (bins, sum of ranks) and owner (sum of ranks,), the latent that each column belongs to.
    """
    latents, time = np.arange(len(timescale)), np.arange(bins)
    columns, left = np.zeros((len(timescale), bins, bins)), np.full((len(timescale), bins), 1 - WHITE)
    ranks = np.zeros(len(timescale), int)
    for rank in range(bins):
        pivot = left.argmax(axis=1)
        largest = left[latents, pivot]
        going = largest > RANK_TOLERANCE
        if not going.any():
            break
        kernel = (1 - WHITE) * np.exp(-0.5 * ((time - pivot[:, None]) / timescale[:, None]) ** 2)
        known = columns[..., :rank] @ columns[latents, pivot, :rank, None]
        column = (kernel - known[..., 0]) / np.sqrt(np.where(going, largest, np.inf))[:, None]
        columns[..., rank] = column
        left = left - column**2
        ranks += going
    owner = np.repeat(latents, ranks)
    return np.concatenate([columns[i, :, :r] for i, r in enumerate(ranks)], axis=1), owner
