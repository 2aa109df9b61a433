"""The benchmark's decoder of behaviour: ridge regression from the same bin's rates (Pei et al. 2021).

The benchmark decodes the two channels of a hand's velocity; a user's own dataset may have any number of channels.

The reference fits scikit-learn's Ridge 46 times, for nine penalties on five folds and once more. Here the rates are
read once: a fit and its error need only the mean and the products of each fold, and these add up over folds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nlbflow.errors import NlbflowError

# The reference's search for the decoder's penalty: GridSearchCV(Ridge(), ...), with the default folds.
DECODER_ALPHAS = np.logspace(-4, 0, 9)
DECODER_FOLDS = 5
# As a share of a channel's largest value: the filter that decimates a constant series leaves a thousandth of it.
LEAST_VARIATION = 1e-12


@dataclass(frozen=True)
class Decoding:
    """What one decoder predicts on its evaluation trials, in the channels that count.

    Attributes:
        known: (trials, bins) whether the decoder is judged by a bin.
        true, predicted: (rows, channels) behaviour in these bins, in its own unit.
    """

    known: np.ndarray
    true: np.ndarray
    predicted: np.ndarray


def decodings(
    train_rates: np.ndarray,
    train_behavior: np.ndarray,
    eval_rates: np.ndarray,
    eval_behavior: np.ndarray,
    train_mask: np.ndarray | None = None,
    eval_mask: np.ndarray | None = None,
) -> list[Decoding]:
    """One decoding for each decoder for which any channel counts; arguments and errors as of `formulas.velocity_r2`."""
    found = []
    for train_trials, eval_trials in decoder_trials(train_behavior, eval_behavior, train_mask, eval_mask):
        x, y = decoder_rows("train", train_rates, train_behavior, train_trials)
        x_eval, y_eval = decoder_rows("eval", eval_rates, eval_behavior, eval_trials)
        channels = varies(y) & varies(y_eval)
        if channels.any():
            # an index would turn rows and columns round in memory, and with them the order of sums
            y, y_eval = (rows.compress(channels, axis=1) for rows in (y, y_eval))
            known = known_bins(eval_behavior) & eval_trials[:, None]
            found.append(Decoding(known, y_eval, decoded(x, y, x_eval)))
    return found


def counted_channels(
    train_behavior: np.ndarray,
    eval_behavior: np.ndarray,
    train_mask: np.ndarray | None = None,
    eval_mask: np.ndarray | None = None,
) -> np.ndarray:
    """(decoders, channels) whether a channel counts: it varies in the decoder's training and in its evaluation bins.

    If a channel stands still in the evaluation bins, its R2 is 0/0, which scikit-learn takes for 1. If it stands still
    in the training bins, no rates can teach it. Neither says anything about a model. The
    benchmark's velocities all vary, so its numbers are the reference's.
    """
    return np.array(
        [
            np.all([varies(b[known_bins(b) & t[:, None]]) for b, t in zip(behavior, trials, strict=True)], axis=0)
            for behavior in [(train_behavior, eval_behavior)]
            for trials in decoder_trials(*behavior, train_mask, eval_mask)
        ]
    )


def decoder_trials(
    train_behavior: np.ndarray, eval_behavior: np.ndarray, train_mask: np.ndarray | None, eval_mask: np.ndarray | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(trials,) bool of training and of evaluation trials for each decoder; one decoder for all without masks."""
    if train_mask is None or eval_mask is None:
        train_mask, eval_mask = np.ones((len(train_behavior), 1)), np.ones((len(eval_behavior), 1))
    return zip(train_mask.T.astype(bool), eval_mask.T.astype(bool), strict=True)


def known_bins(behavior: np.ndarray) -> np.ndarray:
    """(trials, bins) where every channel of behaviour (trials, bins, channels) is known."""
    return ~np.isnan(behavior).any(axis=2)


def varies(rows: np.ndarray) -> np.ndarray:
    """(channels,) whether a channel of behaviour (rows, channels) varies by more than rounding."""
    if len(rows) == 0:
        return np.zeros(rows.shape[1], bool)
    rows = np.asarray(rows, np.float64)
    return rows.std(axis=0) > LEAST_VARIATION * np.abs(rows).max(axis=0)


def decoder_rows(part: str, rates: np.ndarray, behavior: np.ndarray, trials: np.ndarray) -> list[np.ndarray]:
    """Rates (rows, neurons) and behaviour (rows, channels) of the trials' bins whose channels are all known."""
    if rates.shape[:2] != behavior.shape[:2] or len(trials) != len(rates):
        raise NlbflowError(
            f"decoding expects {part} rates with the trials and bins of {part}_behavior {behavior.shape} and "
            f"{part}_decode_mask ({len(trials)} trials), but found {rates.shape}; predict every trial."
        )
    known = trials[:, None] & known_bins(behavior)
    # Published answers are float32, whose means would lose digits.
    x, y = rates[known], behavior[known].astype(np.float64)
    if len(y) < DECODER_FOLDS:
        raise NlbflowError(
            f"decoding expects at least {DECODER_FOLDS} bins for each decoder in which every channel of "
            f"{part}_behavior is known, but found {len(y)}; use more trials, or a series with fewer gaps."
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise NlbflowError(
            f"decoding expects finite {part} rates and behaviour wherever {part}_behavior is known, but found NaN or "
            "infinity; predict every bin of every trial."
        )
    return [x, y]


def decoded(x: np.ndarray, y: np.ndarray, x_eval: np.ndarray) -> np.ndarray:
    """Behaviour (rows, channels) at `x_eval` by the benchmark's decoder, fitted to `x` (rows, neurons) and `y`."""
    neurons, offset = x.shape[1], y.mean(axis=0)
    parts = zip(np.array_split(x, DECODER_FOLDS), np.array_split(y - offset, DECODER_FOLDS), strict=True)
    folds = [_moments(*part) for part in parts]
    scores = []
    for held, (count, mean, products) in enumerate(folds):
        _, centre, others = _joined(folds[:held] + folds[held + 1 :])
        about_centre = products + count * np.outer(mean - centre, mean - centre)
        scores.append([])
        for weights in _ridge(others, neurons, DECODER_ALPHAS):
            # A bin's error is its rates and behaviour times this matrix; the sum of squares needs only the products.
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
    """The moments of all parts' rows together, by sums alone: a difference of products would lose digits."""
    counts, means = np.array([part[0] for part in parts]), np.stack([part[1] for part in parts])
    mean = counts @ means / counts.sum()
    apart = means - mean
    return counts.sum(), mean, sum(part[2] for part in parts) + (apart.T * counts) @ apart


def _ridge(products: np.ndarray, neurons: int, alphas: Sequence[float]) -> list[np.ndarray]:
    """Weights (neurons, channels) for each penalty, by one eigendecomposition of the neurons' products."""
    values, axes = np.linalg.eigh(products[:neurons, :neurons])
    values, projected = np.maximum(values, 0.0)[:, None], axes.T @ products[:neurons, neurons:]
    return [axes @ (projected / (values + alpha)) for alpha in alphas]


def r2(true: np.ndarray, predicted: np.ndarray) -> float:
    """scikit-learn's r2_score: mean over columns; a constant column counts 1 if predicted exactly, else 0."""
    return _r2(((true - predicted) ** 2).sum(axis=0), ((true - true.mean(axis=0)) ** 2).sum(axis=0))


def _r2(error: np.ndarray, spread: np.ndarray) -> float:
    missed = np.divide(error, spread, out=np.where(error == 0, 0.0, 1.0), where=spread != 0)
    return float(np.mean(1.0 - missed))
