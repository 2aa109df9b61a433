"""Linear models of lagged counts: counts of other steps as features, reduced-rank regression, ridge."""

import numpy as np


def lagged(counts: np.ndarray, lags: range) -> np.ndarray:
    """Counts of other steps side by side: (trials, steps, lags * neurons), zeros beyond the window.

    Args:
        counts: (trials, steps, neurons).
        lags: how many steps earlier the counts of each copy are; negative means later.
    """
    found = np.zeros((*counts.shape[:2], len(lags), counts.shape[2]))
    steps = counts.shape[1]
    for place, lag in enumerate(lags):
        to, of = slice(max(lag, 0), steps + min(lag, 0)), slice(max(-lag, 0), steps + min(-lag, 0))
        if abs(lag) < steps:
            found[:, to, place] = counts[:, of]
    return found.reshape(*counts.shape[:2], -1)


def ridge(features: np.ndarray, targets: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights (p, n) and an unpenalised intercept (n,) of targets (rows, n) on features (rows, p).

    Minimises the mean squared error plus alpha * |weights|**2 / 2. Features are in units of their standard deviation,
    so the penalty means the same for all data; a feature that does not vary gets no weight.
    """
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 0, scale, np.inf)
    x, mean = (features - centre) / scale, targets.mean(axis=0)
    gram = x.T @ x / len(x) + alpha * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x.T @ (targets - mean) / len(x)) / scale[:, None]
    return weights, mean - centre @ weights


def reduced_rank(features: np.ndarray, targets: np.ndarray, alpha: float, rank: int) -> np.ndarray:
    """The `rank` directions (p, rank) in the features that best predict the targets, the best first.

    Reduced-rank regression (Izenman 1975, J. Multivariate Analysis 5:248) with a ridge penalty: the principal axes of
    the predictions of a ridge regression. Targets are in units of their standard deviation. If fewer directions predict
    anything, only these are returned; if none does, one with zero weights.
    """
    spread = targets.std(axis=0)
    if not spread.any():
        return np.zeros((features.shape[1], 1))
    weights, _ = ridge(features, targets[:, spread > 0] / spread[spread > 0], alpha)
    predicted = (features - features.mean(axis=0)) @ weights
    values, axes = np.linalg.eigh(predicted.T @ predicted)
    directions = (weights @ axes)[:, ::-1][:, :rank]
    kept = values[::-1][:rank] > 1e-9 * values[-1]
    directions = directions[:, kept] if kept.any() else np.zeros((len(directions), 1))
    # the sign of an axis is arbitrary, so the largest weight is made positive
    return directions * np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])])
