"""Sessions: the files of a dataset laid one after the other on a 1 ms clock, which is how the benchmark's reference
defines bins and interpolation (nlb_tools `NWBDataset`; specification, section 2.2)."""

from functools import cached_property

import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.nwb import NOT_A_TIME, NS_PER_MS, Recording, Units, seconds_to_ns


class Session:
    """Recordings laid one after the other on one 1 ms clock, in the order given.

    The next file starts at the first multiple of 100 ms at least 50 ms after the last row of the one before it
    (specification, section 2.2). The benchmark loads the test file before the train file.
    """

    def __init__(self, recordings: list[Recording]):
        self.recordings = recordings
        self._series: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.offsets = []
        offset = 0
        for recording in recordings:
            self.offsets.append(offset)
            past_end = (offset + recording.rows - 1) / 1000.0 + 0.05
            self.rows, offset = offset + recording.rows, int(np.ceil(past_end * 10) * 100)
        counts = [len(recording.columns["start_time"]) for recording in recordings]
        self.trials = sum(counts)
        ends = [offset + recording.rows for offset, recording in zip(self.offsets, recordings, strict=True)]
        self.recorded_ms = np.repeat(np.stack([self.offsets, ends], axis=1), counts, axis=0)

    @cached_property
    def split(self) -> np.ndarray:
        """(trials,) the split of every trial, files in order, rows in table order."""
        return self.column("split")

    def column(self, name: str) -> np.ndarray:
        """A trial column over all files; a file without it gives NaN.

        Raises:
            NlbflowError: no file has it; the columns that exist are listed.
        """
        if not any(name in r.columns for r in self.recordings):
            known = sorted({c for r in self.recordings for c in r.columns} - {"end_time"})
            raise NlbflowError(
                f"{self.recordings[-1].path} has no trial column {name!r}; it has {', '.join(known)}: correct the "
                "dataset's definition."
            )
        parts = [r.columns.get(name) for r in self.recordings]
        if any(p is None for p in parts):
            counts = [len(r.columns["start_time"]) for r in self.recordings]
            kind = object if any(p is not None and p.dtype.kind == "O" for p in parts) else float
            parts = [
                np.full(n, np.nan, kind) if p is None else p.astype(kind) for p, n in zip(parts, counts, strict=True)
            ]
        return np.concatenate(parts)

    def numbers(self, name: str) -> np.ndarray:
        """(trials,) a trial column as float, NaN where unknown.

        Raises:
            NlbflowError: no file has it, or it holds text.
        """
        try:
            return self.column(name).astype(float)
        except (TypeError, ValueError) as error:
            raise NlbflowError(
                f"{self.recordings[-1].path}: the trial column {name!r} does not hold numbers ({error}); name another "
                "in the dataset's definition."
            ) from error

    def times(self, name: str) -> np.ndarray:
        """(trials,) a time column in int64 nanoseconds on the session's clock; NOT_A_TIME where unknown."""
        kind = self.column(name).dtype.kind
        if kind != "f":
            holds = "text" if kind in "OUST" else "whole numbers"
            raise NlbflowError(
                f"{self.recordings[-1].path}: the trial column {name!r} holds {holds}, not "
                "times in s; name another event in the dataset's definition."
            )
        parts = []
        for recording, offset in zip(self.recordings, self.offsets, strict=True):
            seconds = recording.columns.get(name, np.full(len(recording.columns["start_time"]), np.nan))
            ns = seconds_to_ns(seconds)
            parts.append(np.where(ns == NOT_A_TIME, NOT_A_TIME, ns + offset * NS_PER_MS))
        return np.concatenate(parts)

    def units(self, heldout: bool) -> Units:
        """The held-in or held-out units over all files.

        Raises:
            NlbflowError: no file has such units, or two files disagree about which they are.
        """
        groups = [(r.units(heldout), o) for r, o in zip(self.recordings, self.offsets, strict=True)]
        present = [(u, o) for u, o in groups if u is not None]
        kind = "held-out" if heldout else "held-in"
        if not present:
            raise NlbflowError(
                f"{self.recordings[-1].path} has no {kind} unit (column `heldout` of its units); expected at least one."
            )
        ids = present[0][0].ids
        for units, _ in present[1:]:
            if not np.array_equal(units.ids, ids):
                differ = sorted(set(ids.tolist()) ^ set(units.ids.tolist()))
                raise NlbflowError(
                    f"the {kind} units of {' and '.join(str(r.path) for r in self.recordings)} differ (ids "
                    f"{differ[:5]} are in one only); use files of one session and one release."
                )
        spikes = [np.concatenate([u.spike_ms[i] + o for u, o in present]) for i in range(len(ids))]
        return Units(ids, spikes, np.concatenate([u.stretches + o for u, o in present]))

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A behaviour series over all files: (rows, values (samples, channels)).

        Raises:
            NlbflowError: no file has a series of that name.
        """
        if name not in self._series:
            parts = [(r.series(name), o) for r, o in zip(self.recordings, self.offsets, strict=True)]
            parts = [(found[0] + offset, found[1]) for found, offset in parts if found is not None]
            if not parts:
                raise NlbflowError(
                    f"{self.recordings[-1].path} has no behaviour series named {name!r}; correct `behavior.series` in "
                    "the dataset's definition."
                )
            rows, values = zip(*parts, strict=True)
            one = len(parts) == 1
            self._series[name] = (rows[0], values[0]) if one else (np.concatenate(rows), np.concatenate(values))
        return self._series[name]
