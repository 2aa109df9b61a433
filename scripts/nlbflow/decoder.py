"""The benchmark's decoder of the hand's velocity: ridge regression from the same bin's rates (Pei et al. 2021).

The reference fits scikit-learn's Ridge 46 times, for nine penalties on five folds and once more. Here the rates are
read once: what a fit and its error need of a fold are its mean and its products, and those of folds add up.
"""

from collections.abc import Sequence

import numpy as np

from nlbflow.errors import NlbflowError

# The reference's search for the decoder's penalty: GridSearchCV(Ridge(), ...), with the default folds.
DECODER_ALPHAS = np.logspace(-4, 0, 9)
DECODER_FOLDS = 5


def decoder_rows(part: str, rates: np.ndarray, behavior: np.ndarray, trials: np.ndarray) -> list[np.ndarray]:
    """Rates (rows, neurons) and velocities (rows, 2) of the trials' bins whose first velocity is known."""
    if rates.shape[:2] != behavior.shape[:2] or len(trials) != len(rates):
        raise NlbflowError(
            f"vel R2 expects {part} rates with the trials and bins of {part}_behavior {behavior.shape} and "
            f"{part}_decode_mask ({len(trials)} trials), but found {rates.shape}; predict every trial."
        )
    known = trials[:, None] & ~np.isnan(behavior[..., 0])
    # Published answers are float32, whose means would lose digits.
    x, y = rates[known], behavior[known].astype(np.float64)
    if len(y) < DECODER_FOLDS:
        raise NlbflowError(
            f"vel R2 expects at least {DECODER_FOLDS} bins of known {part}_behavior for each decoder, but "
            f"found {len(y)}; use more trials."
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise NlbflowError(
            f"vel R2 expects finite {part} rates and velocities where the first of {part}_behavior is known, "
            "but found NaN or infinity; predict every bin of every trial."
        )
    return [x, y]


def decoded(x: np.ndarray, y: np.ndarray, x_eval: np.ndarray) -> np.ndarray:
    """Velocities (rows, 2) at `x_eval` by the benchmark's decoder, fitted to `x` (rows, neurons) and `y`."""
    neurons, offset = x.shape[1], y.mean(axis=0)
    parts = zip(np.array_split(x, DECODER_FOLDS), np.array_split(y - offset, DECODER_FOLDS), strict=True)
    folds = [_moments(*part) for part in parts]
    scores = []
    for held, (count, mean, products) in enumerate(folds):
        _, centre, others = _joined(folds[:held] + folds[held + 1 :])
        about_centre = products + count * np.outer(mean - centre, mean - centre)
        scores.append([])
        for weights in _ridge(others, neurons, DECODER_ALPHAS):
            # A bin's error is its rates and velocity times this; its sum of squares needs only the products.
            misses = np.concatenate([-weights, np.eye(y.shape[1])])
            error = np.sum(misses * (about_centre @ misses), axis=0)
            scores[-1].append(_r2(error, products.diagonal()[neurons:]))
    best = DECODER_ALPHAS[np.argmax(np.mean(scores, axis=0))]
    _, centre, products = _joined(folds)
    (weights,) = _ridge(products, neurons, [best])
    return (x_eval - centre[:neurons]) @ weights + offset


def _moments(x: np.ndarray, y: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Number of rows, mean, and products of the deviations from it, of the columns of x and y together."""
    rows = np.concatenate([x, y], axis=1, dtype=np.float64)
    mean = rows.mean(axis=0)
    rows -= mean
    return len(rows), mean, rows.T @ rows


def _joined(parts: Sequence[tuple[int, np.ndarray, np.ndarray]]) -> tuple[int, np.ndarray, np.ndarray]:
    """The moments of all parts' rows together. Only sums: a difference of products would lose digits."""
    counts, means = np.array([part[0] for part in parts]), np.stack([part[1] for part in parts])
    mean = counts @ means / counts.sum()
    apart = means - mean
    return counts.sum(), mean, sum(part[2] for part in parts) + (apart.T * counts) @ apart


def _ridge(products: np.ndarray, neurons: int, alphas: Sequence[float]) -> list[np.ndarray]:
    """Weights (neurons, 2) for each penalty, by one eigendecomposition of the neurons' products."""
    values, axes = np.linalg.eigh(products[:neurons, :neurons])
    values, projected = np.maximum(values, 0.0)[:, None], axes.T @ products[:neurons, neurons:]
    return [axes @ (projected / (values + alpha)) for alpha in alphas]


def r2(true: np.ndarray, predicted: np.ndarray) -> float:
    """scikit-learn's r2_score: mean over columns; a constant column counts 1 if it is met and 0 if not."""
    return _r2(((true - predicted) ** 2).sum(axis=0), ((true - true.mean(axis=0)) ** 2).sum(axis=0))


def _r2(error: np.ndarray, spread: np.ndarray) -> float:
    missed = np.divide(error, spread, out=np.where(error == 0, 0.0, 1.0), where=spread != 0)
    return float(np.mean(1.0 - missed))
