"""Recordings: what the benchmark needs of an NWB file, read straight from HDF5 (nlb_tools `NWBDataset`; specification,
section 2.1). Behaviour series are in `series`, tables and their columns in `nwb_tables`."""

from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np

from nlbflow.archive.opening import open_recording
from nlbflow.errors import NlbflowError
from nlbflow.recordings.nwb_tables import (
    find_table,
    has_values,
    interval_tables,
    invalid_times,
    read_columns,
    select,
    unit_tables,
)
from nlbflow.recordings.series import Series, find_series, read_series
from nlbflow.recordings.splits import draw_split
from nlbflow.recordings.stretches import common, covered, inside, merge_stretches, without

# Sorted units of awake animals fire faster than this; spike times in ms make them a thousand times slower.
SLOW_HZ = 0.2
# Spikes that reach so many times further than the trials are in ms.
FAR = 50
# How long all units may be silent before the first and after the last spike.
SILENCE_MS = 1000.0


class Units:
    """The spikes of one group of units (held-in or held-out) in ascending order of unit id.

    Attributes: ids (units,), spike_ms: for each unit the sorted 1 ms rows of its observed spikes, stretches (n, 2): the
    observed stretches [first row, end row) of the group.
    """

    def __init__(self, ids: np.ndarray, spike_ms: list[np.ndarray], stretches: np.ndarray):
        self.ids, self.spike_ms, self.stretches = ids, spike_ms, stretches


class Recording:
    """One NWB file, read by a dataset's definition.

    `trials` and `units` of the definition name the tables and may select their rows. `heldout` says which units are
    held out: {column: name} (by default the benchmark's `heldout`), {ids: [...]}, or {fraction, seed}; `split` likewise
    which trials are for what: {column: name} or {val, test, seed}. With `reference: nlb_tools` the file is read as the
    benchmark's reference does: one list of observed intervals for all units, behaviour at 1 kHz as it is stored.

    Attributes: columns: the trial columns by name, with `end_time` and `split`; ids, heldout, spike_ms, intervals: of
    each unit; first, rows: the first 1 ms row and the end of what is recorded; spikes_inside: share of the spikes that
    lie in a trial or an observed interval; not_selected: trials that `trials` does not select.

    Raises:
        NlbflowError: the file is not NWB, lacks what the definition names, or its times contradict each other.
    """

    def __init__(self, path: str | Path, definition: dict):
        self.path = path
        self.as_reference = definition.get("reference") == "nlb_tools"
        trials, units = definition.get("trials", {}), definition.get("units", {})
        with open_recording(path) as file:
            intervals = find_table(file, path, "trials", trials.get("table", "trials"), interval_tables)
            for column, what in (("start_time", "the start of each trial"), ("stop_time", "the end of each trial")):
                _need(intervals, path, column, what)
            table = find_table(file, path, "units", units.get("table", "units"), unit_tables)
            for column, what in (
                ("id", "the ids of the units"),
                ("spike_times_index", "spike-sorted units with spike times"),
                ("spike_times", "spike-sorted units with spike times"),
            ):
                _need(table, path, column, what)
            try:
                self.columns = read_columns(intervals)
                self.columns["end_time"] = self.columns["stop_time"]
                self.known_columns = sorted(set(self.columns) - {"end_time", "id"})
                times = self._read_units(table, units, definition.get("heldout", {"column": "heldout"}))
                self.invalid = invalid_times(file)
            except OSError as error:
                raise NlbflowError(f"{path} is damaged ({error}); delete it and fetch it again.") from error
        if len(self.columns["start_time"]) == 0:
            raise NlbflowError(f"{path}: the table of trials is empty; use a file with trials.")
        self._check_clocks(times)
        self._split_trials(definition.get("split", {"column": "split"}), trials)

    def _read_units(self, units: h5py.Group, selection: dict, heldout: dict) -> list[np.ndarray]:
        """Make the units' attributes; the spike times of each in s."""
        self.ids = units["id"][()]
        if len(self.ids) == 0:
            raise NlbflowError(
                f"{self.path} has no units, so there is nothing to bin; use a file with spike-sorted units."
            )
        chosen = np.arange(len(self.ids))
        if "column" in selection:
            chosen = np.flatnonzero(select(read_columns(units), selection, self.path, "units"))
            if len(chosen) == 0:
                raise NlbflowError(f"{self.path}: `units` of the stanza selects no unit; correct its values.")
        rows_of_table = len(self.ids)
        self.ids = self.ids[chosen]
        self._refuse_twins()
        self.heldout = self._held_out(units, heldout, chosen)
        times, ends = units["spike_times"][()], units["spike_times_index"][()].astype(np.int64)
        if len(ends) != rows_of_table or (np.diff(ends, prepend=0) < 0).any() or ends[-1] > len(times):
            raise NlbflowError(
                f"{self.path}: /{units.name.strip('/')}/spike_times_index does not divide the {len(times):,} spike "
                f"times among the {rows_of_table} units; expected ascending ends, one for each: mend the file."
            )
        if not np.isfinite(times).all():
            raise NlbflowError(f"{self.path} has spike times that are not numbers; remove them from the file.")
        # the benchmark's rule: truncate at a tolerance of 1e-6 ms (specification, section 2.1, rule 4)
        rows = np.round(times * 1000.0, 6)
        rows = (np.trunc(rows) if self.as_reference else np.floor(rows)).astype(np.int64)
        spike_ms, seconds = (np.split(values[: ends[-1]], ends[:-1]) for values in (rows, times))
        intervals = self._read_intervals(units, rows_of_table)
        self.has_intervals = intervals is not None
        if intervals is None:
            intervals = [self._recorded(times)] * rows_of_table
        known = [i for i in intervals if len(i)]
        if self.as_reference:
            # its clock starts at 0, wherever the recording does
            self.first, self.rows = 0, round(max(i[-1][-1] for i in known) * 1000.0)
        else:
            edges = np.concatenate(known) if known else np.zeros((1, 2))
            self.first = int(np.floor(np.round(edges.min() * 1000.0, 6)))
            self.rows = int(np.ceil(np.round(edges.max() * 1000.0, 6)))
        self.spike_ms, self.intervals = ([of[i] for i in chosen] for of in (spike_ms, intervals))
        return [seconds[i] for i in chosen]

    def _read_intervals(self, units: h5py.Group, rows_of_table: int) -> list[np.ndarray] | None:
        """The observed intervals (n, 2) in s of each row of the table of units, or None where the file has none."""
        if "obs_intervals" not in units or not len(units["obs_intervals"]):
            return None
        intervals = units["obs_intervals"][()].reshape(-1, 2)
        if "obs_intervals_index" not in units:
            if self.as_reference:
                return None
            ends = np.arange(1, len(intervals) + 1)
        else:
            ends = units["obs_intervals_index"][()].astype(np.int64)
        if not self.as_reference:
            fits = len(ends) == rows_of_table and (np.diff(ends, prepend=0) >= 0).all() and ends[-1] <= len(intervals)
            if not (fits and np.isfinite(intervals).all() and (intervals[:, 0] <= intervals[:, 1]).all()):
                raise NlbflowError(
                    f"{self.path}: /units/obs_intervals has an interval that ends before it begins or is NaN, or is "
                    f"not divided among the {rows_of_table} units; expected [start, end] in s of each: mend the file."
                )
        return [intervals[a:b] for a, b in pairwise(np.concatenate([[0], ends]))]

    def _recorded(self, times: np.ndarray) -> np.ndarray:
        """(1, 2) when the recording began and ended, in s, for a file without observed intervals.

        The reference takes it from 0 to the last spike or trial. For others it reaches from the first to the last spike
        of any unit, since nothing says that anything was recorded before or after, and on to the ends of trials that
        reach at most a second further.
        """
        if self.as_reference:
            end = max(times.max(initial=0.0), np.nanmax(self.columns["end_time"], initial=0.0))
            return np.array([[0.0, np.ceil(end * 1000.0) / 1000.0]])
        if len(times) == 0:
            raise NlbflowError(f"{self.path} has no spikes; use a file with spike-sorted units.")
        first, end = np.floor(np.round(times.min() * 1000.0, 6)), np.floor(np.round(times.max() * 1000.0, 6)) + 1
        trials = np.concatenate([self.columns["start_time"], self.columns["end_time"]]) * 1000.0
        trials = trials[np.isfinite(trials) & (trials > first - SILENCE_MS) & (trials < end + SILENCE_MS)]
        first = min(first, np.floor(np.round(trials.min(initial=first), 6)))
        end = max(end, np.ceil(np.round(trials.max(initial=end), 6)))
        return np.array([[first, end]]) / 1000.0

    def _refuse_twins(self) -> None:
        known, counts = np.unique(self.ids, return_counts=True)
        if (counts > 1).any():
            raise NlbflowError(
                f"{self.path} has more than one unit with the id {known[counts > 1][0]}; expected an id of its own for "
                "each, by which held-in and held-out units are told apart: renumber them, or select some by `units`."
            )

    def _check_clocks(self, times: list[np.ndarray]) -> None:
        """Refuse spikes or trials in another unit of time than s. Makes `spikes_inside`."""
        start, stop = self.columns["start_time"], self.columns["end_time"]
        self.spikes_inside = 1.0
        if not has_values(start):
            return
        span = np.nanmin(start), np.nanmax(np.concatenate([start, stop]))
        every = np.concatenate(times)
        in_trials = (every >= span[0]) & (every <= span[1])
        observed = np.concatenate(
            [covered(t, intervals) if self.has_intervals else np.zeros(len(t), bool)
             for t, intervals in zip(times, self.intervals, strict=True)]
        )  # fmt: skip
        self.spikes_inside = float(np.mean(in_trials | observed)) if len(every) else 1.0
        seconds = max(span[1] - span[0], 1e-3)
        rate = float(np.median([np.sum((t >= span[0]) & (t <= span[1])) for t in times])) / seconds
        far = len(every) > 0 and np.ptp(every) > FAR * seconds
        if self.spikes_inside < 0.5 and (self.has_intervals or (far and rate < SLOW_HZ)):
            raise NlbflowError(
                f"{self.path}: {1 - self.spikes_inside:.0%} of the spikes lie outside of the time of the trials "
                f"({span[0]:g} to {span[1]:g} s) and of all observed intervals, and the units' median rate in the "
                f"trials is {rate:.3g} spikes/s; spike times must be in s on the clock of the trials (spikes reach "
                f"from {every.min():g} to {every.max():g}): divide by 1000 if they are in ms."
            )
        known = np.isfinite(start)
        if len(every) and not self.as_reference:
            later = np.mean(start[known] > every.max())
            if later > 0.5:
                raise NlbflowError(
                    f"{self.path}: {later:.0%} of the trials ({span[0]:g} to {span[1]:g} s) begin after the last spike "
                    f"({every.max():g} s); trial times must be in s on the clock of the spikes: divide by 1000 if they "
                    "are in ms."
                )

    def _held_out(self, units: h5py.Group, rule: dict, chosen: np.ndarray) -> np.ndarray:
        """(units,) whether each of the chosen units is held out."""
        if "ids" in rule:
            unknown = sorted(set(rule["ids"]) - set(self.ids.tolist()))
            if unknown and len(unknown) < len(rule["ids"]):
                raise NlbflowError(
                    f"{self.path} has no units with the ids {unknown}, which `heldout.ids` of the stanza names."
                )
            return np.isin(self.ids, rule["ids"])
        if "fraction" in rule:
            order = np.random.default_rng(rule["seed"]).permutation(np.sort(self.ids))
            return np.isin(self.ids, order[: max(1, round(rule["fraction"] * len(order)))])
        if rule["column"] not in units:
            raise NlbflowError(
                f"{self.path} has no /units/{rule['column']}; expected a boolean column that says which units are held "
                "out: name another with `heldout: {column: NAME}` in the dataset's stanza, or give `heldout: {ids: "
                "[...]}` or `heldout: {fraction: 0.25, seed: 0}`."
            )
        if self.as_reference:
            return units[rule["column"]][()].astype(bool)[chosen]
        values = read_columns(units)[rule["column"]][chosen]
        if values.dtype.kind not in "biuf" or not np.isin(values, [0, 1]).all():
            there = ", ".join(sorted(set(values.astype(str).tolist()))[:5])
            raise NlbflowError(
                f"{self.path}: the units' column {rule['column']!r}, which `heldout.column` names, holds {there}; "
                "expected true and false, or 1 and 0."
            )
        return values.astype(bool)

    def _split_trials(self, rule: dict, selection: dict) -> None:
        """Make the column `split`; trials that are not selected have the split `none`."""
        trials = len(self.columns["start_time"])
        wanted = np.ones(trials, bool)
        if "column" in selection:
            wanted = select(self.columns, selection, self.path, "trials")
        self.not_selected = int((~wanted).sum())
        if "column" in rule:
            if rule["column"] not in self.columns:
                raise NlbflowError(
                    f"{self.path} has no trial column {rule['column']!r}; expected train, val, test or none in it: "
                    "name another with `split: {column: NAME}` in the dataset's stanza, or give "
                    f"`split: {{val: 0.2, test: 0.2, seed: 0}}`. It has {', '.join(self.known_columns)}."
                )
            split = self.columns[rule["column"]]
            wrong = sorted(set(split.astype(str).tolist()) - {"train", "val", "test", "none"})
            if wrong:
                raise NlbflowError(
                    f"{self.path}: the trial column {rule['column']!r} holds {', '.join(map(repr, wrong[:5]))}; "
                    "expected train, val, test or none."
                )
            self.columns["split"] = split if wanted.all() else np.where(wanted, split.astype(str), "none")
            return
        split = np.full(trials, "none", object)
        split[wanted] = draw_split(rule, self.columns["start_time"][wanted])
        self.columns["split"] = split

    def keep_units(self, kept: np.ndarray) -> None:
        """Forget the other units; `kept` (units,) is boolean."""
        chosen = np.flatnonzero(kept)
        self.ids, self.heldout = self.ids[chosen], self.heldout[chosen]
        self.spike_ms, self.intervals = ([of[i] for i in chosen] for of in (self.spike_ms, self.intervals))

    def observed(self, unit: int) -> np.ndarray:
        """(n, 2) the stretches of 1 ms rows [first, end) in which a unit (a position in `ids`) was observed."""
        # the bounds of section 2.1, rule 5, in float arithmetic of the same order
        edges = np.round(self.intervals[unit] * 1000.0, 6)
        stretches = np.stack([np.ceil(edges[:, 0]), np.floor(edges[:, 1])], axis=1).astype(np.int64)
        stretches = merge_stretches(np.clip(stretches, self.first, self.rows))
        return stretches if self.as_reference else without(stretches, self.invalid)

    def units(self, heldout: bool) -> Units | None:
        """The held-in or held-out units, or None where the file has none (the benchmark's test files)."""
        chosen = np.flatnonzero(self.heldout == heldout)
        if len(chosen) == 0:
            return None
        stretches = self.observed(chosen[0])
        if not self.as_reference:
            first_of = {intervals.tobytes(): unit for unit, intervals in enumerate(self.intervals)}
            for unit in first_of.values():
                stretches = common(stretches, self.observed(unit))
        order = chosen[np.argsort(self.ids[chosen], kind="stable")]
        # spikes outside of the observed stretches do not count
        spikes = [np.sort(self.spike_ms[i]) for i in order]
        return Units(self.ids[order], [rows[inside(stretches, rows) >= 0] for rows in spikes], stretches)

    def has_series(self, name: str) -> bool:
        """Whether there is a behaviour series of that name or path."""
        with open_recording(self.path) as file:
            return find_series(file, self.path, name, self.as_reference) is not None

    def series(self, name: str) -> Series | None:
        """A behaviour series on the 1 ms clock, or None where the file has none.

        Raises:
            NlbflowError: it cannot be brought to that clock.
        """
        with open_recording(self.path) as file:
            return read_series(file, self.path, name, self.first, self.rows, self.as_reference)


def _need(table: h5py.Group, path: str | Path, column: str, what: str) -> None:
    if column not in table:
        where = f"{table.name.strip('/')}/{column}"
        raise NlbflowError(f"{path} has no /{where}; expected {what}: use an NWB file that has it.")
