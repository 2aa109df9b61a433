"""Switching linear dynamics: x[t] = A x[t-1] + b + noise of covariance Q, where A, b and Q are those of a state.

The states are a Markov chain, without a preference to stay. The functions are what expectation-maximisation needs,
given the moments of the uncertain latents x and the probabilities of the states (Linderman et al. 2017, AISTATS).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nlbflow.methods.slds.gaussian_chain import Chain

# Observations of the prior's noise added to each state's, and transitions added to each pair of states: no state that
# the data do not use becomes silent, or impossible.
NOISE_COUNT, TRANSITION_COUNT = 10.0, 0.1


@dataclass(frozen=True)
class Prior:
    """What holds parameters where the data say little.

    `l2` (dims + 1,) are the penalties on the distance of A from the identity and of b from zero, relative to the noise
    as in a regression; `noise` (dims,) is the variance of the noise to expect.
    """

    l2: np.ndarray
    noise: np.ndarray

    def log_density(self, dynamics: "Dynamics") -> float:
        """Of the dynamics' parameters, up to a constant."""
        away = np.concatenate([dynamics.A - np.eye(len(self.noise)), dynamics.b[..., None]], axis=2)
        quadratic = np.sum(np.linalg.inv(dynamics.Q) * ((away * self.l2) @ away.transpose(0, 2, 1)))
        noise = np.concatenate([dynamics.Q, dynamics.first_cov[None]])
        spread = np.sum(np.linalg.inv(noise).diagonal(axis1=1, axis2=2) * self.noise) + _log_det(noise).sum()
        chances = np.log(dynamics.initial).sum() + np.log(dynamics.transitions).sum()
        return float(TRANSITION_COUNT * chances - 0.5 * (quadratic + NOISE_COUNT * spread))


@dataclass(frozen=True)
class Dynamics:
    """Parameters of the dynamics, in units of the latents and per bin.

    `initial` (states,), `transitions` (states, states), `first_mean` (dims,) and `first_cov` (dims, dims) of a trial's
    first latents whatever the state, `A` and `Q` (states, dims, dims), `b` (states, dims).
    """

    initial: np.ndarray
    transitions: np.ndarray
    first_mean: np.ndarray
    first_cov: np.ndarray
    A: np.ndarray
    b: np.ndarray
    Q: np.ndarray

    @property
    def parameters(self) -> int:
        """Number of free parameters."""
        states, dims = self.b.shape
        symmetric = dims * (dims + 1) // 2
        per_state = dims * dims + dims + symmetric
        return states - 1 + states * (states - 1) + dims + symmetric + states * per_state

    @cached_property
    def _terms(self) -> tuple[np.ndarray, ...]:
        """R, R A, A'R A, R b and A'R b, where R is the inverse of Q: (states, dims * dims) or (states, dims)."""
        states, dims = self.b.shape
        precision = np.linalg.inv(self.Q)
        cross, pull = precision @ self.A, np.einsum("kij,kj->ki", precision, self.b)
        before = self.A.transpose(0, 2, 1) @ cross
        blocks = (block.reshape(states, dims * dims) for block in (precision, cross, before))
        return *blocks, pull, np.einsum("kij,ki->kj", self.A, pull)

    def log_density(self, latents: Chain) -> np.ndarray:
        """Expected log density of the latents of each bin given the bin before, (trials, bins, states)."""
        precision, cross, before, _, _ = self._terms
        (trials, bins, dims), mean = latents.mean.shape, latents.mean
        cov, products = latents.cov.reshape(trials, bins, dims**2), latents.cross.reshape(trials, bins - 1, dims**2)
        density = np.empty((trials, bins, len(self.b)))
        for k, (A, b, Q) in enumerate(zip(self.A, self.b, self.Q, strict=True)):
            density[:, 1:, k] = _log_normal(mean[:, 1:] - mean[:, :-1] @ A.T - b, Q)
        density[:, 1:] -= 0.5 * (cov[:, 1:] @ precision.T + cov[:, :-1] @ before.T) - products @ cross.T
        first = _log_normal(mean[:, 0] - self.first_mean, self.first_cov)
        density[:, 0] = (first - 0.5 * cov[:, 0] @ np.linalg.inv(self.first_cov).ravel())[:, None]
        return density

    def precision(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The latents' prior averaged over the states' probabilities (trials, bins, states).

        Returns:
            diagonal and lower blocks of the precision, and the linear term, as `chain_moments` takes them.
        """
        (trials, bins, _), dims = states.shape, len(self.first_mean)
        precision, cross, before, pull, pull_before = self._terms
        later = states[:, 1:]
        diagonal = np.zeros((trials, bins, dims * dims))
        diagonal[:, 1:] += later @ precision
        diagonal[:, :-1] += later @ before
        diagonal[:, 0] += np.linalg.inv(self.first_cov).ravel()
        linear = np.zeros((trials, bins, dims))
        linear[:, 1:] += later @ pull
        linear[:, :-1] -= later @ pull_before
        linear[:, 0] += np.linalg.solve(self.first_cov, self.first_mean)
        below = -(later @ cross)
        return (
            diagonal.reshape(trials, bins, dims, dims),
            below.reshape(trials, bins - 1, dims, dims),
            linear,
        )

    def chances(self, bins: int) -> np.ndarray:
        """Probabilities of the states (bins, states) before anything is observed."""
        chances = [self.initial]
        for _ in range(bins - 1):
            chances.append(chances[-1] @ self.transitions)
        return np.stack(chances)


@dataclass
class Statistics:
    """Sums over trials and bins: `pairs` (states, 2 dims + 1, 2 dims + 1) of ww', w = (x[t], x[t-1], 1), by state;
    `first` (dims + 1, dims + 1) of the same with (x[0], 1)."""

    pairs: np.ndarray
    first: np.ndarray


def statistics(latents: Chain, states: np.ndarray) -> Statistics:
    """Expected sums, given the latents and the states' probabilities (trials, bins, states)."""
    (trials, bins, dims), mean = latents.mean.shape, latents.mean
    now, before = slice(0, dims), slice(dims, 2 * dims)
    weights = states[:, 1:].reshape(trials * (bins - 1), -1).T
    pair = np.concatenate([mean[:, 1:], mean[:, :-1], np.ones((trials, bins - 1, 1))], axis=2)
    pair = pair.reshape(trials * (bins - 1), -1)
    pairs = np.stack([(pair * weight[:, None]).T @ pair for weight in weights])
    # weights of zero instead of slices of the covariances, which would be copied
    none = np.zeros_like(states[:, :1])
    for rows, columns, weight, blocks in (
        (now, now, np.concatenate([none, states[:, 1:]], axis=1), latents.cov),
        (before, before, np.concatenate([states[:, 1:], none], axis=1), latents.cov),
        (now, before, states[:, 1:], latents.cross),
    ):
        total = weight.reshape(-1, states.shape[2]).T @ blocks.reshape(-1, dims**2)
        pairs[:, rows, columns] += total.reshape(-1, dims, dims)
    pairs[:, before, now] = pairs[:, now, before].transpose(0, 2, 1)
    first = np.concatenate([mean[:, 0], np.ones((trials, 1))], axis=1)
    first = first.T @ first
    first[:dims, :dims] += latents.cov[:, 0].sum(axis=0)
    return Statistics(pairs, first)


def estimate(sums: Statistics, starts: np.ndarray, changes: np.ndarray, prior: Prior) -> Dynamics:
    """The parameters that maximise expected log density plus log prior.

    Args:
        sums: of all trials.
        starts: (states,), expected number of trials that start in each state.
        changes: (states, states), expected numbers of transitions.
        prior: of the parameters.
    """
    dims, l2 = len(prior.noise), prior.l2
    centre = np.concatenate([np.eye(dims), np.zeros((dims, 1))], axis=1)
    scatter, cross, gram = (
        sums.pairs[:, rows, columns]
        for rows, columns in (
            (slice(0, dims), slice(0, dims)),
            (slice(0, dims), slice(dims, None)),
            (slice(dims, None), slice(dims, None)),
        )
    )
    cross, gram = cross + centre * l2, gram + np.diag(l2)
    # penalties may be zero and a state may be empty: then its A is the identity and its b zero
    coefficients = centre + (cross - centre @ gram) @ np.linalg.pinv(gram, hermitian=True)
    transposed = coefficients.transpose(0, 2, 1)
    scatter = scatter + (centre * l2) @ centre.T - coefficients @ cross.transpose(0, 2, 1) - cross @ transposed
    Q = _noise(scatter + coefficients @ gram @ transposed, sums.pairs[:, -1, -1], prior)
    first_mean = sums.first[:dims, -1] / sums.first[-1, -1]
    away = sums.first[:dims, :dims] - sums.first[-1, -1] * np.outer(first_mean, first_mean)
    first_cov = _noise(away[None], sums.first[None, -1, -1], prior)[0]
    return Dynamics(
        _shares(starts), _shares(changes), first_mean, first_cov, coefficients[..., :dims], coefficients[..., dims], Q
    )


def _noise(scatter: np.ndarray, count: np.ndarray, prior: Prior) -> np.ndarray:
    """Covariances (..., dims, dims) from summed squares of residuals and their number, with the prior's added."""
    total = (scatter + scatter.transpose(0, 2, 1)) / 2 + NOISE_COUNT * np.diag(prior.noise)
    return total / (count + NOISE_COUNT)[:, None, None]


def _shares(counts: np.ndarray) -> np.ndarray:
    return (counts + TRANSITION_COUNT) / (counts + TRANSITION_COUNT).sum(axis=-1, keepdims=True)


def _log_normal(away: np.ndarray, cov: np.ndarray) -> np.ndarray:
    """Log density of a normal distribution at a distance (..., dims) from its mean."""
    white = away @ np.linalg.inv(np.linalg.cholesky(cov)).T
    return -0.5 * ((white**2).sum(axis=-1) + _log_det(cov) + len(cov) * np.log(2 * np.pi))


def _log_det(matrices: np.ndarray) -> np.ndarray:
    return np.linalg.slogdet(matrices)[1]
