"""Poisson counts with rates softplus(weights . x + bias), averaged over Gaussian latents x.

The averages are one-dimensional, over eta = weights . x + bias: three-point Gauss-Hermite quadrature, exact for
polynomials of degree 5, takes them without sampling. Slope and curvature are the derivatives of the quadrature itself,
so a step that climbs by them climbs exactly. Softplus is convex and log-concave, so the log likelihood is concave in
eta (Paninski 2004, Network 15:243).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from nlbflow.methods.slds.gaussian_chain import Chain

# Nodes of the quadrature in standard deviations of eta, and their weights.
NODES = ((-np.sqrt(3), 1 / 6), (0.0, 2 / 3), (np.sqrt(3), 1 / 6))
# Lowest standard deviation of eta: differences of slopes over it keep ten digits.
LEAST_SD = 1e-5
# Rows (trials x bins) per block: the arrays of one block stay in a core's cache.
BLOCK_ROWS = 512
# The rate of a neuron that never fires, which is what the benchmark takes a rate of zero for.
SILENT_RATE = 1e-9
# Precision of the normal prior on the weights: keeps those of a neuron with a handful of spikes finite and is weak
# beside the hundreds of spikes of the others.
WEIGHT_PRECISION = 1.0
# Halvings of a step before a neuron or a trial stays where it is, and the relative fall that is mere rounding.
HALVINGS, ROUNDING = 8, 1e-12


@dataclass
class Emission:
    """`weights` (neurons, dims) and `bias` (neurons,); `free` (neurons, dims) says which weights are not held at zero,
    None that all are free."""

    weights: np.ndarray
    bias: np.ndarray
    free: np.ndarray | None = None

    @property
    def parameters(self) -> int:
        """Number of free parameters."""
        return self.bias.size + (self.weights.size if self.free is None else int(self.free.sum()))

    @property
    def squares(self) -> np.ndarray:
        """Products of each neuron's weights with each other, (neurons, dims * dims)."""
        return (self.weights[:, :, None] * self.weights[:, None, :]).reshape(len(self.bias), -1)

    def log_prior(self) -> float:
        """Log density of the weights up to a constant."""
        return -0.5 * WEIGHT_PRECISION * float(np.sum(self.weights**2))

    def rates(self, latents: Chain) -> np.ndarray:
        """Expected spikes per bin under the latents, (trials, bins, neurons)."""
        rates = np.empty((*latents.mean.shape[:2], len(self.bias)))
        for part in _blocks(latents.mean):
            eta, sd = self.eta(latents, part)
            rates[part] = sum(weight * softplus(eta + node * sd) for node, weight in NODES)
        return rates

    def eta(self, latents: Chain, part: slice) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of eta, (trials, bins, neurons), of some trials."""
        mean, cov = latents.mean[part], latents.cov[part]
        variance = cov.reshape(*mean.shape[:2], -1) @ self.squares.T
        return mean @ self.weights.T + self.bias, np.sqrt(np.maximum(variance, LEAST_SD**2))


@dataclass
class Evaluation:
    """Expected log likelihood of counts and its derivatives.

    `value` (trials, neurons) is summed over bins, `slope` (trials, bins, neurons) the derivative by the mean of eta,
    `curvature` minus twice that by its variance, which is the mean of minus the second derivative and never negative.
    """

    value: np.ndarray
    slope: np.ndarray
    curvature: np.ndarray

    def select(self, trials: np.ndarray | slice) -> "Evaluation":
        """Of some trials, an index or a mask."""
        return Evaluation(self.value[trials], self.slope[trials], self.curvature[trials])

    def replace(self, at: tuple | np.ndarray, other: "Evaluation") -> None:
        """Take the numbers of some trials, or of (all trials, some neurons), from another evaluation."""
        self.value[at] = other.value
        where = (at[0], slice(None), at[1]) if isinstance(at, tuple) else at
        self.slope[where], self.curvature[where] = other.slope, other.curvature


def softplus(eta: np.ndarray) -> np.ndarray:
    """log(1 + exp(eta)), accurate for very negative and very large eta."""
    return np.maximum(eta, 0) + np.log1p(np.exp(-np.abs(eta)))


def inverse_softplus(rate: np.ndarray) -> np.ndarray:
    """The eta whose softplus is the rate, which is positive."""
    return rate + np.log(-np.expm1(-rate))


def evaluate(emission: Emission, latents: Chain, counts: np.ndarray) -> Evaluation:
    """Expected log likelihood of counts (trials, bins, neurons), NaN where not seen, and its derivatives."""
    found = Evaluation(np.empty((len(counts), counts.shape[2])), np.empty(counts.shape), np.empty(counts.shape))
    # a step that is too long overflows: its value is then infinite or NaN, and the step is halved
    with np.errstate(over="ignore", invalid="ignore"):
        for part in _blocks(counts):
            value, found.slope[part], found.curvature[part] = _average(*emission.eta(latents, part), counts[part])
            found.value[part] = value.sum(axis=1)
    return found


def climb(emission: Emission, latents: Chain, counts: np.ndarray, here: Evaluation, active: np.ndarray) -> Emission:
    """One Newton step of the weights and bias of each `active` neuron (an index), halved until it climbs.

    That the variance of eta changes with the weights is in the gradient, not in the curvature (Gauss-Newton).

    Args:
        emission: where to climb from.
        latents, counts: of all trials.
        here: the evaluation at `emission`; afterwards that at the emission returned.
        active: the others stay as they are.
    """
    dims = emission.weights.shape[1]
    gradient, hessian = _derivatives(emission, latents, here, active)
    if emission.free is not None:
        free = np.append(emission.free[active], np.ones((len(active), 1), bool), axis=1)
        gradient *= free
        hessian = np.where(free[:, :, None] & free[:, None, :], hessian, np.eye(dims + 1))
    step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
    emission = Emission(emission.weights.copy(), emission.bias.copy(), emission.free)
    left, length = np.arange(len(active)), 1.0
    for _ in range(HALVINGS):
        at = active[left]
        old = Emission(emission.weights[at], emission.bias[at])
        new = Emission(old.weights + length * step[left, :dims], old.bias + length * step[left, dims])
        there = evaluate(new, latents, counts[:, :, at])
        before, after = here.value[:, at].sum(axis=0) - _penalty(old), there.value.sum(axis=0) - _penalty(new)
        climbed = after >= before - ROUNDING * np.abs(before)
        taken = at[climbed]
        emission.weights[taken], emission.bias[taken] = new.weights[climbed], new.bias[climbed]
        here.replace(
            (slice(None), taken),
            Evaluation(there.value[:, climbed], there.slope[:, :, climbed], there.curvature[:, :, climbed]),
        )
        left, length = left[~climbed], length / 2
        if not len(left):
            break
    return emission


def _derivatives(
    emission: Emission, latents: Chain, here: Evaluation, active: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient (neurons, dims + 1) by weights and bias, and minus the Hessian, each with the prior's."""
    neurons, dims = len(active), emission.weights.shape[1]
    gradient, hessian = np.zeros((neurons, dims + 1)), np.zeros((neurons, dims + 1, dims + 1))
    squares, spread = np.zeros((2, neurons, dims * dims))
    for part in _blocks(latents.mean):
        mean = latents.mean[part].reshape(-1, dims)
        slope, curvature = (a[part][..., active].reshape(len(mean), neurons).T for a in (here.slope, here.curvature))
        squares += curvature @ (mean[:, :, None] * mean[:, None, :]).reshape(len(mean), -1)
        spread += curvature @ latents.cov[part].reshape(len(mean), -1)
        hessian[:, dims, :dims] += curvature @ mean
        hessian[:, dims, dims] += curvature.sum(axis=1)
        gradient[:, :dims] += slope @ mean
        gradient[:, dims] += slope.sum(axis=1)
    spread = spread.reshape(neurons, dims, dims) + WEIGHT_PRECISION * np.eye(dims)
    gradient[:, :dims] -= (spread @ emission.weights[active][..., None])[..., 0]
    hessian[:, :dims, :dims] = squares.reshape(neurons, dims, dims) + spread
    hessian[:, :dims, dims] = hessian[:, dims, :dims]
    return gradient, hessian


def _penalty(emission: Emission) -> np.ndarray:
    return 0.5 * WEIGHT_PRECISION * (emission.weights**2).sum(axis=1)


def _average(eta: np.ndarray, sd: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expected log likelihood, slope and curvature of each count; zeros where it is NaN."""
    value, slope, tilt = np.zeros((3, *eta.shape))
    # most bins hold no spike, and only where one is the logarithm of the rate is needed
    fired = np.nonzero(counts > 0)
    spikes = counts[fired].astype(float)
    for node, weight in NODES:
        at = eta + node * sd
        small = np.exp(-np.abs(at))
        rate = np.maximum(at, 0) + np.log1p(small)
        rise = np.where(at >= 0, 1.0, small) / (1 + small)
        value -= weight * rate
        slope -= weight * rise
        tilt -= weight * node * rise
        # far below zero softplus is the exponential
        at, low = at[fired], at[fired] < -30
        rate = np.where(low, 1.0, rate[fired])
        relative = spikes * np.where(low, 1.0, rise[fired] / rate)
        value[fired] += weight * spikes * np.where(low, at, np.log(rate))
        slope[fired] += weight * relative
        tilt[fired] += weight * node * relative
    value[fired] -= gammaln(spikes + 1)
    unseen = np.isnan(counts)
    if unseen.any():
        value[unseen] = slope[unseen] = tilt[unseen] = 0.0
    return value, slope, np.maximum(-tilt / sd, 0.0)


def _blocks(array: np.ndarray) -> Iterator[slice]:
    """Slices of trials with about BLOCK_ROWS bins."""
    trials, bins = array.shape[:2]
    size = max(BLOCK_ROWS // bins, 1)
    return (slice(first, min(first + size, trials)) for first in range(0, trials, size))
