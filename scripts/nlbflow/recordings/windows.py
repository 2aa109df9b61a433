"""Trial windows on the session's bin grid, and what lies in them: spike counts and behaviour.

Implements the benchmark's cutting rules (nlb_tools `NWBDataset.make_trial_data` and `resample`; specification,
sections 2.3 and 2.4) without ever building a session-wide frame: only the rows inside the windows are computed.
"""

from dataclasses import dataclass

import numpy as np

from nlbflow.recordings.clock import NOT_A_TIME, NS_PER_MS
from nlbflow.recordings.datasets import count_bins
from nlbflow.recordings.nwb import Units
from nlbflow.recordings.session import Session
from nlbflow.recordings.stretches import inside

# The reference decimates with scipy.signal.decimate(n=500, ftype="fir"): 501 taps, zero phase.
TAPS = 501


@dataclass(frozen=True)
class Windows:
    """One window per trial.

    Attributes:
        starts: (trials,) first bin of each window on the session's grid.
        bins: the longest window's length.
        valid: (trials,) the length of each window.
        lead: (trials,) first bin relative to the event's bin; trials of one range may differ by one where the window's
            start is no multiple of the bin.
        bin_ms: bin width in ms.
        recorded_ms: (trials, 2) first row and end of the file that each trial is in; beyond it nothing is known.
    """

    starts: np.ndarray
    bins: int
    valid: np.ndarray
    lead: np.ndarray
    bin_ms: int
    recorded_ms: np.ndarray


def in_splits(session: Session, splits: list[str]) -> np.ndarray:
    """Table rows of the trials of these splits, in table order."""
    return np.flatnonzero(np.isin(session.split.astype(str), splits))


def with_times(session: Session, trials: np.ndarray, *columns: str) -> np.ndarray:
    """Those table rows for which all of these times are known."""
    known = np.ones(session.trials, bool)
    for column in columns:
        known &= session.times(column) != NOT_A_TIME
    return trials[known[trials]]


def choose_trials(session: Session, splits: list[str], align: str) -> np.ndarray:
    """Table rows of the trials of these splits whose start and event are known, in table order."""
    return with_times(session, in_splits(session, splits), "start_time", align)


def make_windows(
    session: Session,
    trials: np.ndarray,
    align: str,
    range_ms: tuple[int, int],
    bin_ms: int,
    cut: bool = False,
    shift_ms: np.ndarray | int = 0,
) -> Windows:
    """The windows [event + a, event + b) of the given table rows; each starts at the next bin edge.

    Args:
        session: the recordings.
        trials: table rows.
        align: the time column of the event.
        range_ms: a and b.
        bin_ms: bin width.
        cut: end a window where the next given trial's window, or the trial after that, begins, as the reference does
            for behaviour and PSTHs; tensors of spikes are never cut.
        shift_ms: (trials,) added to the event.
    """
    events = session.times(align)[trials] + np.asarray(shift_ms, np.int64) * NS_PER_MS
    first_ns, end_ns = (events + edge * NS_PER_MS for edge in range_ms)
    width = bin_ms * NS_PER_MS
    starts = -(-first_ns // width)
    bins = count_bins(range_ms, bin_ms, "the window")
    valid = np.full(len(trials), bins)
    if cut:
        valid = np.minimum(valid, _before_next(session, trials, starts, first_ns, end_ns, width))
    return Windows(starts, bins, valid, starts - -(-events // width), bin_ms, session.recorded_ms[trials])


def make_spans(session: Session, trials: np.ndarray, align: str, span: tuple[str, str], bin_ms: int) -> Windows:
    """The windows [from, to) between two events of each given table row, led by a third; they end where the next
    given trial's begins."""
    first_ns, end_ns = (session.times(column)[trials] for column in span)
    width = bin_ms * NS_PER_MS
    starts = -(-first_ns // width)
    valid = np.minimum(
        (end_ns - 1000) // width - starts + 1, _before_next(session, trials, starts, first_ns, end_ns, width)
    )
    valid = np.maximum(valid, 0)
    lead = starts - -(-session.times(align)[trials] // width)
    return Windows(starts, int(valid.max(initial=0)), valid, lead, bin_ms, session.recorded_ms[trials])


def _before_next(
    session: Session, trials: np.ndarray, starts: np.ndarray, first_ns: np.ndarray, end_ns: np.ndarray, width: int
) -> np.ndarray:
    """(trials,) bins of each window before the next one begins; a very large number where that does not matter."""
    room = np.full(len(trials), np.iinfo(np.int64).max)
    if len(trials) > 1:
        begins, order = session.times("start_time"), np.arange(len(trials))
        following = np.append(begins[1:], NOT_A_TIME)[trials]
        if session.leaves_out:
            # the reference takes the table to be in the order of time, which a lab's table need not be
            order, in_time = np.argsort(first_ns, kind="stable"), np.sort(begins[begins != NOT_A_TIME])
            following = np.append(in_time, NOT_A_TIME)[np.searchsorted(in_time, begins[trials], "right")]
        following = np.where(following == NOT_A_TIME, np.iinfo(np.int64).max, following)
        bound = np.minimum(following, first_ns)[order][1:]
        over = end_ns[order][:-1] - 1000 > bound
        cut = order[:-1][over]
        room[cut] = np.maximum((bound[over] - 1000) // width - starts[cut] + 1, 0)
    return room


def gather(rows: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of sorted rows, those in each [low, high): (number of the interval, row). Intervals may overlap."""
    first, last = np.searchsorted(rows, low), np.searchsorted(rows, high)
    counts = np.maximum(last - first, 0)
    index = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts - first, counts)
    return np.repeat(np.arange(len(low)), counts), rows[index]


def bin_spikes(units: Units, windows: Windows) -> np.ndarray:
    """Spike counts (trials, bins, units), float16; NaN in bins whose first millisecond was not observed."""
    starts, bin_ms, bins = windows.starts, windows.bin_ms, windows.bins
    begin, end = windows.recorded_ms.T
    counts = np.zeros((len(starts), bins, len(units.ids)), np.float16)
    flat = counts.reshape(-1)
    for unit, rows in enumerate(units.spike_ms):
        low, high = np.maximum(starts * bin_ms, begin), np.minimum((starts + bins) * bin_ms, end)
        trial, found = gather(rows, low, high)
        cell, number = np.unique(trial * bins + found // bin_ms - starts[trial], return_counts=True)
        flat[cell * len(units.ids) + unit] = number
    first_ms = (starts[:, None] + np.arange(bins)) * bin_ms
    elsewhere = (first_ms < begin[:, None]) | (first_ms >= end[:, None])
    counts[elsewhere | (inside(units.stretches, first_ms) < 0)] = np.nan
    return counts


def antialias_filter(factor: int) -> np.ndarray:
    """The Hamming-windowed sinc that scipy.signal.firwin(501, 1 / factor) gives."""
    offset = np.arange(TAPS) - (TAPS - 1) / 2
    taps = np.sinc(offset / factor) / factor * np.hamming(TAPS)
    return taps / taps.sum()


def bin_series(rows: np.ndarray, values: np.ndarray, session: tuple[int, int], windows: Windows) -> np.ndarray:
    """A 1 kHz series decimated to the bins of the windows: (trials, bins, channels), in the series' own unit.

    `session` is the session's first row and its end.


    Gaps are filled by linear interpolation over the whole session, the anti-alias filter is applied (only as far as
    its support reaches into the windows), and bins whose first sample is missing become NaN again (section 2.3).
    """
    bin_ms, bins = windows.bin_ms, windows.bins
    first_ms = (windows.starts[:, None] + np.arange(bins)) * bin_ms
    half = (TAPS - 1) // 2 if bin_ms > 1 else 0
    support = windows.starts[:, None] * bin_ms + np.arange(-half, (bins - 1) * bin_ms + half + 1)
    in_session = (support >= session[0]) & (support < session[1])
    weights = np.zeros((support.shape[1], bins))
    taps = antialias_filter(bin_ms) if bin_ms > 1 else np.ones(1)
    for k in range(bins):
        weights[k * bin_ms : k * bin_ms + len(taps), k] = taps
    out = np.empty((len(first_ms), bins, values.shape[1]))
    for channel in range(values.shape[1]):
        series = np.ascontiguousarray(values[:, channel])
        known = np.isfinite(series)
        known_rows, series = (rows, series) if known.all() else (rows[known], series[known])
        filled = np.interp(support, known_rows, series)
        # outside of the session the reference's filter sees zeros
        filled[~in_session] = 0.0
        out[:, :, channel] = filled @ weights
        place = np.minimum(np.searchsorted(known_rows, first_ms), len(known_rows) - 1)
        out[:, :, channel][known_rows[place] != first_ms] = np.nan
    out[np.arange(bins) >= windows.valid[:, None]] = np.nan
    return out


def window_edges(windows: Windows) -> np.ndarray:
    """(trials, 2) first 1 ms row and end of each window."""
    return np.stack([windows.starts, windows.starts + windows.bins], axis=1) * windows.bin_ms
