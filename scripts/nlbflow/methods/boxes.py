"""Firing rates in boxes of time around each step, as an encoder without a memory of its own sees them."""

import numpy as np

from nlbflow.methods.steps import Steps


def box_weights(steps: Steps, boxes: int, width: int, without_now: bool = False) -> np.ndarray:
    """What takes counts per bin to mean counts per bin in each box: (steps, boxes, bins), rows sum to 1.

    The boxes of a step lie side by side, the middle one on it. One that reaches over an end of the window is moved
    inside.

    Args:
        steps: of the window.
        boxes: their number.
        width: bins of each, at most those of the window.
        without_now: leave out the bins of the step itself; boxes must be wider than any step.
    """
    weights, bins = np.zeros((steps.count, boxes, steps.bins)), np.arange(steps.bins)
    for step, (first, length) in enumerate(zip(steps.first, steps.width, strict=True)):
        now = (bins >= first) & (bins < first + length)
        start = first + length / 2 - boxes * width / 2
        for box in range(boxes):
            begin = int(np.clip(np.floor(start + box * width), 0, steps.bins - width))
            weights[step, box, begin : begin + width] = 1
            if without_now:
                weights[step, box, now] = 0
    return weights / weights.sum(axis=2, keepdims=True)


def boxed_rates(counts: np.ndarray, weights: np.ndarray, bin_ms: int) -> np.ndarray:
    """Spikes/s in the boxes of each step, (trials, steps, boxes, neurons).

    Args:
        counts: (trials, bins, neurons), spikes per bin.
        weights: as from `box_weights`.
    """
    return np.einsum("sbt,ntk->nsbk", weights, counts, optimize=True) * (1000 / bin_ms)
