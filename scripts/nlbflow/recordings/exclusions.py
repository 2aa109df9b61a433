"""Which trials and units of a recording are left out, and why.

With `reference: nlb_tools` in the stanza nothing is left out here, because the benchmark's reference keeps trials with
unobserved bins, as NaN. In all other recordings no unobserved bin reaches a tensor, neither as NaN nor as zero.
"""

import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.recordings.datasets import window_ranges
from nlbflow.recordings.nwb import Recording
from nlbflow.recordings.session import Session
from nlbflow.recordings.windows import make_windows, window_edges

UNOBSERVED = "window not observed throughout"
PARTLY = "not every unit observed"
OUTSIDE = "window beyond the recording"


def leave_out(session: Session, definition: dict, with_forward: list[bool], bin_ms: int) -> None:
    """Mark trials that cannot be used (`session.left_out`) and drop units that were observed in some trials only.

    Args:
        session: the recordings; changed.
        definition: the dataset's definition. `partly_observed: drop_trial` keeps all units and leaves trials out.
        with_forward: for each recording, whether its trials need the forward window too; evaluation files lack it.
        bin_ms: bin width.

    Raises:
        NlbflowError: no unit or no trial is left.
    """
    reasons, dropped = [], set()
    counts = [len(recording.columns["start_time"]) for recording in session.recordings]
    in_files = np.split(_windows_ms(session, definition, with_forward, bin_ms), np.cumsum(counts)[:-1])
    for number, recording in enumerate(session.recordings):
        reasons.append(_unknown_times(recording, definition["align"]))
        if recording.as_reference:
            continue
        _refuse_events_elsewhere(recording, definition["align"])
        windows = in_files[number]
        wanted = (recording.columns["split"].astype(str) != "none") & (reasons[-1] == "")
        beyond = (windows[:, 0] < recording.first) | (windows[:, 1] > recording.rows)
        reasons[-1][wanted & beyond] = OUTSIDE
        wanted &= ~beyond
        observed = _observed(recording, windows)
        # a trial that few units observed is no reason to drop those that did not
        some = (observed.mean(axis=0) >= 0.5) & wanted
        partly = ~observed[:, some].all(axis=1)
        if partly.any() and definition.get("partly_observed", "drop_unit") == "drop_unit":
            if partly.mean() > 0.5:
                raise NlbflowError(
                    f"{recording.path}: {partly.sum()} of {len(partly)} units were observed in some of the trials only "
                    "(units/obs_intervals); say `partly_observed: drop_trial` in the stanza to keep the trials in "
                    "which all were, or select units by `units`."
                )
            dropped |= set(recording.ids[partly].tolist())
            observed = observed[~partly]
        reasons[-1][wanted & ~some] = UNOBSERVED
        reasons[-1][some & ~observed.all(axis=0)] = PARTLY
    for recording in session.recordings:
        recording.keep_units(~np.isin(recording.ids, list(dropped)))
    session.dropped_units = sorted(dropped)
    every = np.concatenate(reasons)
    _refuse_none_left(session, every, definition)
    session.reasons = every
    # the reference draws its jitter for trials without an event too
    session.leaves_out = not session.recordings[0].as_reference


def _unknown_times(recording: Recording, align: str) -> np.ndarray:
    """(trials,) the reason where the start or the event of a trial is unknown; empty where both are known."""
    reasons = np.full(len(recording.columns["start_time"]), "", object)
    for column in (align, "start_time"):
        values = recording.columns.get(column)
        if values is not None and values.dtype.kind == "f":
            reasons[~np.isfinite(values)] = f"no {column}"
    return reasons


def _refuse_events_elsewhere(recording: Recording, align: str) -> None:
    """Refuse events if most lie outside of their own trials: they count from the trial's start, or are in ms."""
    event, start, stop = (recording.columns.get(name) for name in (align, "start_time", "end_time"))
    if event is None or event.dtype.kind != "f":
        return
    known = np.isfinite(event) & np.isfinite(start) & np.isfinite(stop)
    outside = (event[known] < start[known]) | (event[known] > stop[known])
    if known.any() and outside.mean() > 0.5:
        raise NlbflowError(
            f"{recording.path}: {outside.mean():.0%} of the times in the trial column {align!r} lie outside of their "
            "own trial; expected s on the session's clock, not since the trial's start and not ms: mend the column."
        )


def _windows_ms(session: Session, definition: dict, with_forward: list[bool], bin_ms: int) -> np.ndarray:
    """(trials, 2) rows [first, end) of each trial's bins on its recording's own clock; meaningless without an event."""
    observed, forward = window_ranges(definition, bin_ms)
    every = np.arange(session.trials)
    edges = [
        window_edges(make_windows(session, every, definition["align"], window, bin_ms))
        for window in (observed, forward)
    ]
    counts = [len(recording.columns["start_time"]) for recording in session.recordings]
    needs, offsets = (np.repeat(of, counts) for of in (with_forward, session.offsets))
    end = np.where(needs, edges[1][:, 1], edges[0][:, 1])
    if "jitter" in definition:
        end = end + int(definition["jitter"]["max_ms"] // bin_ms * bin_ms)
    return np.stack([edges[0][:, 0], end], axis=1) - offsets[:, None]


def _observed(recording: Recording, windows: np.ndarray) -> np.ndarray:
    """(units, trials) whether a unit was observed throughout a window."""
    observed = np.empty((len(recording.ids), len(windows)), bool)
    known: dict[bytes, np.ndarray] = {}
    for unit, intervals in enumerate(recording.intervals):
        key = intervals.tobytes()
        if key not in known:
            stretches = recording.observed(unit)
            which = np.searchsorted(stretches[:, 0], windows[:, 0], "right") - 1
            known[key] = (which >= 0) & (windows[:, 1] <= stretches[which, 1]) if len(stretches) else np.zeros(
                len(windows), bool
            )  # fmt: skip
        observed[unit] = known[key]
    return observed


def _refuse_none_left(session: Session, reasons: np.ndarray, definition: dict) -> None:
    split = session.column("split").astype(str)
    wanted = split != "none"
    if wanted.any() and (reasons[wanted] != "").all():
        counts = ", ".join(f"{n} with {reason}" for reason, n in count_reasons(reasons[wanted]))
        raise NlbflowError(
            f"{session.recordings[-1].path}: none of the {wanted.sum()} trials can be used ({counts}); check `align` "
            f"({definition['align']}, in s), `window_ms` {definition['window_ms']} and `forward_ms` "
            f"{definition['forward_ms']} of the dataset's stanza."
        )


def count_reasons(reasons: np.ndarray) -> list[tuple[str, int]]:
    """(reason, trials) of those left out, the most frequent first."""
    names, counts = np.unique(reasons[reasons != ""].astype(str), return_counts=True)
    return sorted(zip(names.tolist(), counts.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))
