"""Time in steps of several bins: counts summed over each, and log rates between their middles."""

import numpy as np


def bins_per_step(step_ms: float, bin_ms: int) -> int:
    """The number of bins in a step of about this length, at least one."""
    return max(1, round(step_ms / bin_ms))


class Steps:
    """Steps of about `length` bins over a window, as even as whole bins allow; `first` (steps,) is where each begins,
    `width` (steps,) how many bins it has.

    Args:
        bins: bins of the window.
        length: bins per step.
    """

    def __init__(self, bins: int, length: int) -> None:
        self.bins, self.length = bins, min(max(length, 1), bins)
        self.count = round(bins / self.length)
        self.first = np.round(np.linspace(0, bins, self.count, endpoint=False)).astype(int)
        self.width = np.diff(np.append(self.first, bins))
        middle = self.first + self.width / 2 - 0.5
        # linear between the middles of steps, constant before the first and after the last
        place = np.interp(np.arange(bins), middle, np.arange(self.count))
        self._weights = np.maximum(0, 1 - abs(place[:, None] - np.arange(self.count)))

    def sums(self, counts: np.ndarray) -> np.ndarray:
        """Counts (trials, bins, n) per step of `length` bins, (trials, steps, n) float64; NaN if one in the step is."""
        total = np.add.reduceat(counts, self.first, axis=1, dtype=np.float64)
        return total * (self.length / self.width)[:, None]

    def rates(self, log_rates: np.ndarray) -> np.ndarray:
        """Expected spikes per bin (trials, bins, n) from log rates per step (trials, steps, n), log-linear between."""
        return np.exp(self._weights @ log_rates) / self.length

    def values(self, values: np.ndarray) -> np.ndarray:
        """Values (trials, steps, n) at each bin, linear between the middles of steps: (trials, bins, n)."""
        return self._weights @ values

    def held(self, values: np.ndarray) -> np.ndarray:
        """At each bin the value (trials, steps) of its step: (trials, bins)."""
        return np.repeat(values, self.width, axis=1)
