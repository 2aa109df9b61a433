"""Peristimulus time histograms of the answers (nlb_tools `_make_psth`; specification, section 4.3).

The reference smooths the whole session at 1 ms for every unit. Averaging, smoothing and binning are linear, so here
the spikes of a condition are first added up relative to the window and then smoothed and binned by one small matrix;
only windows that reach over the edge of an observed stretch are smoothed on their own.
"""

import numpy as np

from nlbflow.nwb import NOT_A_TIME, Session, Units
from nlbflow.windows import Windows, gather, inside, make_windows


def find_conditions(session: Session, fields: list[str], trials: np.ndarray) -> list[tuple[tuple, np.ndarray]]:
    """The conditions among the given table rows, sorted: (values of the fields, table rows).

    A trial for which a field is unknown belongs to no condition.
    """
    columns = [session.column(name)[trials].tolist() for name in fields]
    groups: dict[tuple, list[int]] = {}
    for trial, values in zip(trials.tolist(), zip(*columns, strict=True), strict=True):
        if all(v == v for v in values):
            groups.setdefault(values, []).append(trial)
    return [(values, np.array(groups[values])) for values in sorted(groups)]


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
    session: Session,
    groups: list[Units],
    conditions: list[np.ndarray],
    align: str,
    range_ms: tuple[int, int],
    bin_ms: int,
    sd_ms: float,
    cut: bool = True,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Average smoothed counts of each condition.

    Args:
        session: the recordings.
        groups: held-in and held-out units.
        conditions: table rows of each condition's trials.
        align, range_ms, bin_ms: the windows; sd_ms: the kernel's standard deviation.
        cut: end a window where the condition's next one begins.

    Returns:
        (conditions, bins, units) expected spikes per bin, shorter conditions padded with NaN, and the table rows of
        the trials that each average holds (those much shorter than the rest are left out).
    """
    windows, used = [], []
    for trials in conditions:
        trials = trials[session.times(align)[trials] != NOT_A_TIME]
        window = make_windows(session, trials, align, range_ms, bin_ms, cut)
        keep = window.valid >= 0.8 * window.valid.mean()
        windows.append(Windows(window.starts[keep], window.bins, window.valid[keep], window.lead[keep], window.bin_ms))
        used.append(trials[keep])
    parts = [_average(units, windows, sd_ms) for units in groups]
    return np.concatenate(parts, axis=2), used


def _average(units: Units, windows: list[Windows], sd_ms: float) -> np.ndarray:
    """(conditions, bins, units): NaN-skipping mean over trials that are placed by their lead."""
    bins, bin_ms = windows[0].bins, windows[0].bin_ms
    kernel = gaussian_kernel(sd_ms)
    before, after = len(kernel) // 2, (len(kernel) - 1) // 2
    matrix = smoothing_matrix(kernel, bins, bin_ms)
    starts = np.concatenate([w.starts for w in windows])
    valid = np.concatenate([w.valid for w in windows])
    condition = np.repeat(np.arange(len(windows)), [len(w.starts) for w in windows])
    # rows by lead: at most one bin apart, so the average is taken over one row more than the window has
    lead = np.concatenate([w.lead - w.lead.min() for w in windows])
    slots = int(lead.max()) + 1
    first_ms, last_ms = starts * bin_ms, (starts + bins) * bin_ms
    stretch = inside(units.stretches, first_ms)
    whole = (stretch >= 0) & (last_ms <= units.stretches[stretch, 1]) & (valid == bins)
    total = np.zeros((len(windows), bins + slots - 1, len(units.ids)))
    number = np.zeros((len(windows), bins + slots - 1))

    bounds = units.stretches[stretch[whole]]
    low = np.maximum(first_ms[whole] - before, bounds[:, 0])
    high = np.minimum(last_ms[whole] + after, bounds[:, 1])
    origin, cell = first_ms[whole] - before, (condition * slots + lead)[whole]
    for unit, rows in enumerate(units.spike_ms):
        trial, found = gather(rows, low, high)
        flat = cell[trial] * matrix.shape[1] + found - origin[trial]
        counts = np.bincount(flat, minlength=len(windows) * slots * matrix.shape[1])
        smooth = (counts.reshape(-1, matrix.shape[1]) @ matrix.T).reshape(len(windows), slots, bins)
        for slot in range(slots):
            total[:, slot : slot + bins, unit] += smooth[:, slot]
    for c, s in zip(condition[whole], lead[whole], strict=True):
        number[c, s : s + bins] += 1

    for i in np.flatnonzero(~whole):
        smooth, known = _smooth_piecewise(units, first_ms[i], bins, bin_ms, kernel)
        known &= np.arange(bins) < valid[i]
        place = slice(lead[i], lead[i] + bins)
        total[condition[i], place] += np.where(known[:, None], smooth, 0.0)
        number[condition[i], place] += known
    with np.errstate(invalid="ignore"):
        mean = total / number[:, :, None]
    return _trim(mean, windows)


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


def _trim(mean: np.ndarray, windows: list[Windows]) -> np.ndarray:
    """Keep each condition's first rows, as many as its shortest trial has; pad to the longest with NaN."""
    lengths = [int(w.valid.min()) for w in windows]
    out = np.full((len(windows), max(lengths), mean.shape[2]), np.nan)
    for i, length in enumerate(lengths):
        out[i, :length] = mean[i, :length]
    return out
