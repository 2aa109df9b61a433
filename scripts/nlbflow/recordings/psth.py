"""Peristimulus time histograms of the answers (nlb_tools `_make_psth`; specification, section 4.3).

The reference smooths the whole session at 1 ms for every unit. Averaging, smoothing and binning are linear, so here
the spikes of a condition are first added up relative to the window and then smoothed and binned by one small matrix;
only windows that reach over the edge of an observed stretch are smoothed on their own.
"""

from dataclasses import replace

import numpy as np

from nlbflow.recordings.nwb import Units
from nlbflow.recordings.stretches import inside
from nlbflow.recordings.windows import Windows, gather


def gaussian_kernel(sd_ms: float) -> np.ndarray:
    """The reference's kernel at 1 ms: int(6 sd) samples (an even number), sum 1."""
    length = int(6 * sd_ms)
    offset = np.arange(length) - (length - 1) / 2
    kernel = np.exp(-0.5 * (offset / sd_ms) ** 2)
    return kernel / kernel.sum()


def smoothing_matrix(kernel: np.ndarray, bins: int, bin_ms: int) -> np.ndarray:
    """(bins, support) smooths 1 ms counts and sums them to bins; the support begins len(kernel) // 2 ms before."""
    cumulative = np.concatenate([[0.0], np.cumsum(kernel)])
    support = bins * bin_ms + len(kernel) - 1
    newest = np.arange(bins)[:, None] * bin_ms - np.arange(support) + len(kernel) - 1
    size = len(kernel)
    return cumulative[np.clip(newest + bin_ms, 0, size)] - cumulative[np.clip(newest, 0, size)]


def make_psths(
    groups: list[Units], conditions: list[Windows], sd_ms: float, anchor: str, bins: int | None = None
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Average smoothed counts of each condition.

    Args:
        groups: held-in and held-out units.
        conditions: the windows of each condition's trials.
        sd_ms: the kernel's standard deviation.
        anchor: "start" keeps the first bins that all trials of a condition have and pads the end, "end" keeps the last
            ones and pads the start.
        bins: the length to pad to; by default that of the longest condition.

    Returns:
        (conditions, bins, units) expected spikes per bin, NaN where padded, and for each condition which of its trials
        the average holds (those much shorter than the rest are left out).
    """
    used = [window.valid >= 0.8 * window.valid.mean() for window in conditions]
    kept = [
        replace(window, starts=window.starts[kept], valid=window.valid[kept], lead=window.lead[kept])
        for window, kept in zip(conditions, used, strict=True)
    ]
    lengths = np.array([int(window.valid.min()) for window in kept])
    bins = bins or int(lengths.max())
    psth = np.full((len(kept), bins, sum(len(units.ids) for units in groups)), np.nan)
    for length in np.unique(lengths):
        chosen = np.flatnonzero(lengths == length)
        frames = [_frame(kept[c], int(length), anchor) for c in chosen]
        mean = np.concatenate([_average(units, frames, int(length), kept[0].bin_ms, sd_ms) for units in groups], axis=2)
        mean = mean[:, :bins] if anchor == "start" else mean[:, -bins:]
        place = slice(0, mean.shape[1]) if anchor == "start" else slice(bins - mean.shape[1], bins)
        psth[chosen, place] = mean
    return psth, used


def _frame(windows: Windows, length: int, anchor: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A condition's trials on rows counted from the event: (first bin of the frame on the session's grid, first and
    last row of the frame that the trial's own window has), each (trials,)."""
    ends = windows.lead + windows.valid
    origin = windows.lead.min() if anchor == "start" else ends.max() - length
    first = np.clip(windows.lead - origin, 0, length)
    last = np.clip(ends - origin, 0, length)
    return windows.starts - windows.lead + origin, first, last


def _average(units: Units, frames: list[tuple], bins: int, bin_ms: int, sd_ms: float) -> np.ndarray:
    """(conditions, bins, units): mean over the trials that have a row, of counts smoothed and binned."""
    kernel = gaussian_kernel(sd_ms)
    before, after = len(kernel) // 2, (len(kernel) - 1) // 2
    matrix = smoothing_matrix(kernel, bins, bin_ms)
    starts, first, last = (np.concatenate(part) for part in zip(*frames, strict=True))
    condition = np.repeat(np.arange(len(frames)), [len(frame[0]) for frame in frames])
    first_ms, last_ms = starts * bin_ms, (starts + bins) * bin_ms
    stretch = inside(units.stretches, first_ms)
    whole = (stretch >= 0) & (last_ms <= units.stretches[stretch, 1])
    total = np.zeros((len(frames), bins, len(units.ids)))
    number = np.zeros((len(frames), bins))

    # trials of one condition that have the same rows are added up before they are smoothed
    cells, cell = np.unique(np.stack([condition, first, last], axis=1)[whole], axis=0, return_inverse=True)
    rows_of_cell = (np.arange(bins) >= cells[:, 1:2]) & (np.arange(bins) < cells[:, 2:3])
    np.add.at(number, cells[:, 0], rows_of_cell * np.bincount(cell.ravel(), minlength=len(cells))[:, None])
    bounds = units.stretches[stretch[whole]]
    low = np.maximum(first_ms[whole] - before, bounds[:, 0])
    high = np.minimum(last_ms[whole] + after, bounds[:, 1])
    origin, offset = first_ms[whole] - before, cell.ravel() * matrix.shape[1]
    for unit, rows in enumerate(units.spike_ms):
        trial, found = gather(rows, low, high)
        counts = np.bincount(offset[trial] + found - origin[trial], minlength=len(cells) * matrix.shape[1])
        smooth = (counts.reshape(-1, matrix.shape[1]) @ matrix.T) * rows_of_cell
        np.add.at(total[:, :, unit], cells[:, 0], smooth)

    for i in np.flatnonzero(~whole):
        smooth, known = _smooth_piecewise(units, first_ms[i], bins, bin_ms, kernel)
        known &= (np.arange(bins) >= first[i]) & (np.arange(bins) < last[i])
        total[condition[i]] += np.where(known[:, None], smooth, 0.0)
        number[condition[i]] += known
    with np.errstate(invalid="ignore"):
        return total / number[:, :, None]


def _smooth_piecewise(units: Units, first_ms: int, bins: int, bin_ms: int, kernel: np.ndarray):
    """One window that is not inside one stretch: (bins, units) smoothed within each stretch, (bins,) observed."""
    before, after = len(kernel) // 2, (len(kernel) - 1) // 2
    matrix = smoothing_matrix(kernel, bins * bin_ms, 1)
    smooth = np.zeros((bins * bin_ms, len(units.ids)))
    window = np.arange(first_ms, first_ms + bins * bin_ms)
    last_ms = first_ms + bins * bin_ms
    for start, end in units.stretches[(units.stretches[:, 1] > first_ms) & (units.stretches[:, 0] < last_ms)]:
        low, high = max(first_ms - before, start), min(last_ms + after, end)
        counts = np.zeros((matrix.shape[1], len(units.ids)))
        for unit, rows in enumerate(units.spike_ms):
            found = rows[np.searchsorted(rows, low) : np.searchsorted(rows, high)] - (first_ms - before)
            counts[:, unit] = np.bincount(found, minlength=len(counts))
        smooth += (matrix @ counts) * ((window >= start) & (window < end))[:, None]
    observed = inside(units.stretches, window[::bin_ms]) >= 0
    return smooth.reshape(bins, bin_ms, -1).sum(axis=1), observed
