"""Whether evaluation windows lie in training windows, where a model would have seen their answers."""

import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.recordings.datasets import window_ranges
from nlbflow.recordings.session import Session
from nlbflow.recordings.stretches import common, merge_stretches
from nlbflow.recordings.windows import Windows, gather, make_windows, window_edges


def check_apart(session: Session, definition: dict, trained: tuple, evaluated: tuple, bin_ms: int) -> tuple:
    """The share of the evaluation windows that lies in training windows, as `shared` measures it; `trained` and
    `evaluated` are each (table rows, shifts in ms).

    Raises:
        NlbflowError: there is some overlap, and the definition has no `overlap: allow`.
    """
    ranges = window_ranges(definition, bin_ms)
    cut = [
        [make_windows(session, trials, definition["align"], window, bin_ms, shift_ms=shift) for window in ranges]
        for trials, shift in (trained, evaluated)
    ]
    share, trials = shared(session, *cut)
    if share and definition.get("overlap") != "allow":
        raise NlbflowError(
            f"{share:.1%} of the evaluation bins (window_ms and forward_ms, in {trials:.0%} of the evaluation trials) "
            "also lie in windows of training trials, so that a model would have seen their answers; shorten window_ms "
            "or forward_ms, or say `overlap: allow` in the dataset's stanza, and every table will tell the share. "
            "With `split: {blocks: N}` only the edges of blocks overlap."
        )
    return share, trials


def shared(session: Session, trained: list[Windows], evaluated: list[Windows]) -> tuple[float, float]:
    """How much of the evaluation windows also lies in training windows: (share of their ms, share of their trials).

    Windows of one file are compared on its clock. So are windows of two files, since both may be cut from one session.
    These count as shared only if the held-in spikes in them are the same, because many files have clocks of their own.

    Args:
        session: the recordings.
        trained, evaluated: windows of the training and evaluation trials, observed and forward.
    """
    train, test = (
        (np.concatenate([window_edges(w) for w in windows]), np.concatenate([w.recorded_ms[:, 0] for w in windows]))
        for windows in (trained, evaluated)
    )
    length = np.diff(test[0], axis=1)[:, 0]
    covered = np.zeros(len(length), np.int64)
    units = session.units(heldout=False)
    for begin in np.unique(train[1]):
        stretches = merge_stretches(train[0][train[1] == begin])
        for other in np.unique(test[1]):
            # both on the clock of the training trials' file
            shift = 0 if other == begin else _offset(session, begin) - _offset(session, other)
            for i in np.flatnonzero(test[1] == other):
                both = common(test[0][i : i + 1] + shift, stretches)
                if len(both) and (shift == 0 or _same_spikes(units.spike_ms, both, shift)):
                    covered[i] += np.diff(both, axis=1).sum()
    trials = covered.reshape(len(evaluated), -1).any(axis=0)
    return float(covered.sum() / max(length.sum(), 1)), float(trials.mean()) if len(trials) else 0.0


def _offset(session: Session, first_row: int) -> int:
    """Of the recording that begins at a row of the session."""
    starts = [o + r.first for o, r in zip(session.offsets, session.recordings, strict=True)]
    return session.offsets[starts.index(first_row)]


def _same_spikes(spike_ms: list[np.ndarray], stretches: np.ndarray, shift: int) -> bool:
    """Whether there are spikes in the stretches, and the same ones `shift` ms earlier."""
    found = 0
    for rows in spike_ms:
        here, there = (gather(rows, *(stretches - by).T)[1] + by for by in (0, shift))
        if not np.array_equal(here, there):
            return False
        found += len(here)
    return found > 0
