"""Poisson regression of many neurons at once: the optimum of scikit-learn's PoissonRegressor.

All neurons share the features, so their gradients and curvatures are matrix products over one block of rows
at a time. Newton's step is solved by conjugate gradients (Nocedal and Wright 2006, Numerical Optimization,
section 7.1), preconditioned with the Hessian that each neuron would have at its constant mean rate. One
eigendecomposition serves all neurons, whereas exact Hessians need rows * p**2 operations per neuron and step.
"""

import warnings
from collections.abc import Callable, Iterator

import numpy as np

from nlbflow.errors import NlbflowError

# Rows per block: features and products of one block stay in a core's cache.
BLOCK_ROWS = 2048
# The rate of a neuron that never fires; the benchmark puts it in place of a rate of zero.
SILENT_RATE = 1e-9


def fit_poisson(
    features: np.ndarray, counts: np.ndarray, alpha: float, tol: float = 1e-9, max_steps: int = 50
) -> tuple[np.ndarray, np.ndarray]:
    """Fit log rates that are linear in the features, one regression per neuron.

    Minimises mean(exp(eta) - counts * eta) + alpha / 2 * |coef|**2 with eta = features @ coef + intercept. A
    neuron without a spike gets coefficients 0 and the intercept log(1e-9), because its optimum is minus infinity.
    With alpha = 0 and collinear features the coefficients stay in the span of the features.

    Args:
        features: (rows, p), any float type; converted to float64 block by block.
        counts: (rows, neurons), spikes per row.
        alpha: penalty, >= 0.
        tol: the remaining root mean square error of eta at which to stop.
        max_steps: most Newton steps; a warning says how many neurons need more.

    Returns:
        coef (p, neurons) and intercept (neurons,), float64.

    Raises:
        NlbflowError: shapes do not fit, a value is not finite, or a count or alpha is negative.
    """
    _check(features, counts, alpha)
    p, neurons = features.shape[1], counts.shape[1]
    mean = counts.mean(axis=0, dtype=np.float64)
    centre = features.mean(axis=0, dtype=np.float64)
    theta = np.zeros((p + 1, neurons))
    theta[-1] = np.log(np.where(mean > 0, mean, SILENT_RATE))

    basis, spread = _principal_axes(features, centre)
    penalty = np.append(np.full(p, alpha), 0.0)[:, None]

    active = np.flatnonzero(mean > 0)
    value, gradient, rates = _evaluate(features, centre, counts[:, active], theta[:, active], penalty)
    for _ in range(max_steps):
        inverse = _inverse(spread, mean[active], penalty)
        # Newton's decrement, relative to the mean rate, is about the root mean square error of eta.
        error = np.sqrt(np.sum((basis.T @ gradient) ** 2 * inverse, axis=0) / mean[active])
        left = error > tol
        if not left.any():
            break
        active, value, gradient, error = active[left], value[left], gradient[:, left], error[left]
        inverse = inverse[:, left]
        if not left.all():
            rates = rates[:, left]
        step = _solve(
            lambda v, r=rates: _curvature(features, centre, r, v, penalty),
            lambda v, d=inverse: basis @ (d * (basis.T @ v)),
            -gradient,
            # Tight enough for quadratic convergence, but no tighter than the tolerance needs.
            np.maximum(np.minimum(0.1, error), 0.3 * tol / error),
        )
        old, start = value, theta[:, active]
        length = np.ones(len(active))
        while True:
            value, gradient, rates = _evaluate(features, centre, counts[:, active], start + length * step, penalty)
            # In this form NaN and infinity count as a rise; a rise below 1e-12 is rounding.
            risen = ~(value <= old + 1e-12 * np.abs(old))
            if not risen.any():
                break
            length[risen] /= 2
        theta[:, active] = start + length * step
    else:
        warnings.warn(
            f"Poisson regression: {len(active)} of {neurons} neurons had not converged after {max_steps} "
            "Newton steps; a larger alpha or fewer collinear features would help.",
            stacklevel=2,
        )
    coef = theta[:-1]
    return coef, theta[-1] - centre @ coef


def _check(features: np.ndarray, counts: np.ndarray, alpha: float) -> None:
    if features.ndim != 2 or counts.ndim != 2 or len(features) != len(counts) or len(features) == 0:
        raise NlbflowError(
            "fit_poisson expects features (rows, p) and counts (rows, neurons) with the same number of rows, "
            f"but found {features.shape} and {counts.shape}; flatten trials and bins of both in the same way."
        )
    if not (np.isfinite(features).all() and np.isfinite(counts).all() and (counts >= 0).all()):
        raise NlbflowError(
            "fit_poisson expects finite features and finite counts >= 0, but found other values; drop the "
            "rows that contain them."
        )
    if not 0 <= alpha < np.inf:
        raise NlbflowError(f"fit_poisson expects an alpha >= 0, but found {alpha}; choose one such as 0.1.")


def _blocks(features: np.ndarray, centre: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Slices of rows with their centred features (rows, p + 1), whose last column is ones for the intercept."""
    rows, p = features.shape
    buffer = np.ones((min(rows, BLOCK_ROWS), p + 1))
    for start in range(0, rows, BLOCK_ROWS):
        part = slice(start, min(start + BLOCK_ROWS, rows))
        block = buffer[: part.stop - start]
        np.subtract(features[part], centre, out=block[:, :p])
        yield part, block


def _principal_axes(features: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Axes (p + 1, p + 1) and variances (p + 1, 1) of the features; the intercept comes last."""
    rows, p = features.shape
    gram = np.zeros((p + 1, p + 1))
    for _, block in _blocks(features, centre):
        gram += block.T @ block
    basis, spread = np.eye(p + 1), np.ones(p + 1)
    spread[:p], basis[:p, :p] = np.linalg.eigh(gram[:p, :p] / rows)
    spread[spread < p * np.finfo(float).eps * spread[:p].max(initial=0.0)] = 0.0
    return basis, spread[:, None]


def _inverse(spread: np.ndarray, mean: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """Inverse Hessian at the constant mean rate along the axes, (p + 1, neurons); 0 where nothing varies."""
    hessian = spread * mean + penalty
    return np.divide(1.0, hessian, out=np.zeros_like(hessian), where=hessian > 0)


def _evaluate(
    features: np.ndarray, centre: np.ndarray, counts: np.ndarray, theta: np.ndarray, penalty: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Objective (neurons,), its gradient (p + 1, neurons) and the rates (rows, neurons)."""
    rows = len(features)
    value, gradient, rates = np.zeros(theta.shape[1]), np.zeros_like(theta), np.empty(counts.shape)
    # A step that is too long may overflow; the objective is then infinite or NaN and the step is halved.
    with np.errstate(over="ignore", invalid="ignore"):
        for part, block in _blocks(features, centre):
            eta = block @ theta
            np.exp(eta, out=rates[part])
            value += (rates[part] - counts[part] * eta).sum(axis=0)
            gradient += block.T @ (rates[part] - counts[part])
        value = value / rows + 0.5 * (penalty * theta**2).sum(axis=0)
        return value, gradient / rows + penalty * theta, rates


def _curvature(
    features: np.ndarray, centre: np.ndarray, rates: np.ndarray, direction: np.ndarray, penalty: np.ndarray
) -> np.ndarray:
    """The Hessian of each neuron times its direction, (p + 1, neurons)."""
    product = np.zeros_like(direction)
    for part, block in _blocks(features, centre):
        product += block.T @ (rates[part] * (block @ direction))
    return product / len(features) + penalty * direction


def _solve(
    matrix: Callable[[np.ndarray], np.ndarray],
    precondition: Callable[[np.ndarray], np.ndarray],
    target: np.ndarray,
    accuracy: np.ndarray,
) -> np.ndarray:
    """Preconditioned conjugate gradients for each column of target (p + 1, neurons), each to its own accuracy."""
    solution, residual = np.zeros_like(target), target.copy()
    direction = precondition(residual)
    size = np.sum(residual * direction, axis=0)
    goal = accuracy**2 * size
    for _ in range(len(target)):
        curved = matrix(direction)
        curvature = np.sum(direction * curved, axis=0)
        going = (size > goal) & (curvature > 0)
        if not going.any():
            break
        length = np.divide(size, curvature, out=np.zeros_like(size), where=going)
        solution += length * direction
        residual -= length * curved
        conditioned = precondition(residual)
        new_size = np.sum(residual * conditioned, axis=0)
        turn = np.divide(new_size, size, out=np.zeros_like(size), where=going)
        direction = conditioned + turn * direction
        size = new_size
    return solution
