"""Linear models of lagged counts: windows around a moment, reduced-rank regression, ridge."""

import numpy as np


def lagged(counts: np.ndarray, lags: range) -> np.ndarray:
    """Counts of other steps side by side: (trials, steps, lags * neurons), zeros beyond the window.

    Args:
        counts: (trials, steps, neurons).
        lags: how many steps earlier each copy is from; negative ones are later.
    """
    found = np.zeros((*counts.shape[:2], len(lags), counts.shape[2]))
    steps = counts.shape[1]
    for place, lag in enumerate(lags):
        to, of = slice(max(lag, 0), steps + min(lag, 0)), slice(max(-lag, 0), steps + min(-lag, 0))
        if abs(lag) < steps:
            found[:, to, place] = counts[:, of]
    return found.reshape(*counts.shape[:2], -1)


def ridge(features: np.ndarray, targets: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights (p, n) and intercept (n,), which is not penalised, of targets (rows, n) on features (rows, p).

    Minimises the mean squared error plus alpha * |weights|**2 / 2 with features in units of their standard deviation,
    so that the penalty means the same for all data; a feature that does not vary gets no weight.
    """
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 0, scale, np.inf)
    x, mean = (features - centre) / scale, targets.mean(axis=0)
    gram = x.T @ x / len(x) + alpha * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x.T @ (targets - mean) / len(x)) / scale[:, None]
    return weights, mean - centre @ weights


def reduced_rank(features: np.ndarray, targets: np.ndarray, alpha: float, rank: int) -> np.ndarray:
    """The `rank` directions (p, rank) in the features from which the targets are best predicted, the best first.

    Reduced-rank regression (Izenman 1975, J. Multivariate Analysis 5:248) with a ridge penalty: the principal axes of
    what a ridge regression predicts. Targets count in units of their standard deviation. Fewer directions come back
    where fewer predict anything; where none does, one without any weight.
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
    # the sign of an axis is nobody's: the largest weight is positive
    return directions * np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])])
