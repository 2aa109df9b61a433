"""Sessions: the files of a dataset laid one after the other on a 1 ms clock, which is how the benchmark's reference
defines bins and interpolation (nlb_tools `NWBDataset`; specification, section 2.2)."""

from dataclasses import replace
from functools import cached_property

import numpy as np

from nlbflow.archive.opening import open_recording
from nlbflow.errors import NlbflowError
from nlbflow.recordings.clock import NOT_A_TIME, NS_PER_MS, seconds_to_ns
from nlbflow.recordings.nwb import Recording, Units
from nlbflow.recordings.series import Series, series_paths


class Session:
    """Recordings laid one after the other on one 1 ms clock, in the order given.

    The next file starts at the first multiple of 100 ms at least 50 ms after the last row of the one before it
    (specification, section 2.2). The benchmark loads the test file before the train file.
    """

    def __init__(self, recordings: list[Recording]):
        self.recordings = recordings
        self._series: dict[str, Series] = {}
        self.offsets: list[int] = []
        self.first = self.rows = recordings[0].first
        for recording in recordings:
            offset = 0
            if self.offsets:
                past_end = (self.rows - 1) / 1000.0 + 0.05
                # the time before a file's first row, in whole tenths of a second, keeps its bins where they are
                offset = int(np.ceil(past_end * 10) * 100) - recording.first // 100 * 100
            self.offsets.append(offset)
            self.rows = offset + recording.rows
        counts = [len(recording.columns["start_time"]) for recording in recordings]
        self.trials = sum(counts)
        recorded = [(o + r.first, o + r.rows) for o, r in zip(self.offsets, recordings, strict=True)]
        self.recorded_ms = np.repeat(np.array(recorded), counts, axis=0)
        # why a trial cannot be used, and which units were not observed throughout: see nlbflow.recordings.exclusions
        self.reasons, self.leaves_out = np.full(self.trials, "", object), False
        self.dropped_units: list[int] = []

    @cached_property
    def split(self) -> np.ndarray:
        """(trials,) the split of every trial, files in order, rows in table order."""
        split = self.column("split")
        return np.where(self.reasons == "", split.astype(str), "none") if self.leaves_out else split

    @property
    def known_columns(self) -> list[str]:
        """The trial columns that the files have."""
        return sorted({column for recording in self.recordings for column in recording.known_columns})

    def column(self, name: str) -> np.ndarray:
        """A trial column over all files; a file without it gives NaN.

        Raises:
            NlbflowError: no file has it; the columns that exist are listed.
        """
        if not any(name in r.columns for r in self.recordings):
            raise NlbflowError(
                f"{self.recordings[-1].path} has no trial column {name!r}; it has {', '.join(self.known_columns)}: "
                "correct the dataset's definition."
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

    def series(self, name: str) -> Series:
        """A behaviour series over all files.

        Raises:
            NlbflowError: no file has a series of that name; the message lists those that exist.
        """
        if name not in self._series:
            parts = [(r.series(name), o) for r, o in zip(self.recordings, self.offsets, strict=True)]
            parts = [replace(found, rows=found.rows + offset) for found, offset in parts if found is not None]
            if not parts:
                path = self.recordings[-1].path
                with open_recording(path) as file:
                    there = ", ".join(series_paths(file)) or "none"
                raise NlbflowError(
                    f"{path} has no behaviour series named {name!r}; correct `behavior.series` in the dataset's "
                    f"definition. The series of the file: {there}."
                )
            shapes = {part.values.shape[1] for part in parts}
            if len(shapes) > 1:
                raise NlbflowError(
                    f"the series {name} has {' and '.join(map(str, sorted(shapes)))} channels in the files of one "
                    "dataset; use files of one session."
                )
            units = {part.unit for part in parts}
            if len(units) > 1 and not self.recordings[0].as_reference:
                raise NlbflowError(
                    f"the series {name} is in {' and in '.join(sorted(units))} in the files of one dataset; give it "
                    "one unit."
                )
            one = len(parts) == 1
            self._series[name] = parts[0] if one else replace(
                parts[0],
                rows=np.concatenate([part.rows for part in parts]),
                values=np.concatenate([part.values for part in parts]),
            )  # fmt: skip
        return self._series[name]
