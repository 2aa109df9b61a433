"""Recordings: what the benchmark needs of an NWB file, read straight from HDF5 (nlb_tools `NWBDataset`; specification,
section 2.1). Behaviour series are in `nlbflow.series`, tables and their columns in `nlbflow.nwb_tables`."""

from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.files import open_h5
from nlbflow.nwb_tables import find_table, has_values, interval_tables, read_columns, select, unit_tables
from nlbflow.series import Series, read_series, series_paths
from nlbflow.stretches import common, covered, inside, merge_stretches, without

NOT_A_TIME = np.iinfo(np.int64).min
NS_PER_MS = 1_000_000
# Sorted units of awake animals fire faster; spike times in ms make them a thousand times slower.
SLOW_HZ = 0.2


def seconds_to_ns(seconds: np.ndarray) -> np.ndarray:
    """Seconds as int64 nanoseconds, rounded and cut as pandas does; NaN becomes NOT_A_TIME."""
    seconds = np.asarray(seconds, float)
    known = np.isfinite(seconds)
    whole = np.trunc(np.where(known, seconds, 0.0))
    part = np.round(np.where(known, seconds, 0.0) - whole, 9)
    ns = whole.astype(np.int64) * 1_000_000_000 + (part * 1e9).astype(np.int64)
    return np.where(known, ns, NOT_A_TIME)


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
        with open_h5(path) as file:
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
                self.invalid = _invalid_times(file)
            except OSError as error:
                raise NlbflowError(f"{path} is damaged ({error}); delete it and fetch it again.") from error
        self._check_clocks(times)
        self._split_trials(definition.get("split", {"column": "split"}), trials)

    def _read_units(self, units: h5py.Group, selection: dict, heldout: dict) -> list[np.ndarray]:
        """Make the units' attributes; the spike times of each in s."""
        self.ids = units["id"][()]
        if len(self.ids) == 0:
            raise NlbflowError(f"{self.path} has no units, so there is nothing to bin; use a file with sorted units.")
        chosen = np.arange(len(self.ids))
        if "column" in selection:
            chosen = np.flatnonzero(select(read_columns(units), selection, self.path, "units"))
            if len(chosen) == 0:
                raise NlbflowError(f"{self.path}: `units` of the stanza selects no unit; correct its values.")
        self.heldout = self._held_out(units, heldout)[chosen]
        times, ends = units["spike_times"][()], units["spike_times_index"][()].astype(np.int64)
        if len(ends) != len(self.ids) or (np.diff(ends, prepend=0) < 0).any() or ends[-1] > len(times):
            raise NlbflowError(
                f"{self.path}: /{units.name.strip('/')}/spike_times_index does not divide the {len(times):,} spike "
                f"times among the {len(self.ids)} units; expected ascending ends, one for each: mend the file."
            )
        if not np.isfinite(times).all():
            raise NlbflowError(f"{self.path} has spike times that are not numbers; remove them from the file.")
        # the benchmark's rule: truncate at a tolerance of 1e-6 ms (specification, section 2.1, rule 4)
        rows = np.floor(np.round(times * 1000.0, 6)).astype(np.int64)
        spike_ms, seconds = (np.split(values[: ends[-1]], ends[:-1]) for values in (rows, times))
        intervals = None
        if "obs_intervals_index" in units and len(units["obs_intervals"]):
            intervals = units["obs_intervals"][()].reshape(-1, 2)
            if not self.as_reference and not (intervals[:, 0] <= intervals[:, 1]).all():
                raise NlbflowError(
                    f"{self.path}: /units/obs_intervals has an interval that ends before it begins or is NaN; expected "
                    "[start, end] in s: mend the file."
                )
            starts = np.concatenate([[0], units["obs_intervals_index"][()].astype(np.int64)])
            intervals = [intervals[a:b] for a, b in pairwise(starts)]
        self.has_intervals = intervals is not None
        ends_s = max(times.max(initial=0.0), np.nanmax(self.columns["end_time"], initial=0.0))
        first_s = 0.0
        if not self.as_reference:
            first_s = min(times.min(initial=np.inf), np.nanmin(self.columns["start_time"], initial=np.inf))
            first_s = np.floor(first_s * 1000.0) / 1000.0 if np.isfinite(first_s) else 0.0
        if intervals is None:
            intervals = [np.array([[first_s, np.ceil(ends_s * 1000.0) / 1000.0]])] * len(self.ids)
        self.rows = round(max((i[-1][-1] for i in intervals if len(i)), default=ends_s) * 1000.0)
        first = min((i[:, 0].min() for i in intervals if len(i)), default=0.0)
        # the reference's clock starts at 0, wherever the recording does
        self.first = 0 if self.as_reference else int(np.floor(np.round(first * 1000.0, 6)))
        self.ids = self.ids[chosen]
        self._refuse_twins()
        self.spike_ms, self.intervals = ([of[i] for i in chosen] for of in (spike_ms, intervals))
        return [seconds[i] for i in chosen]

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
        if not (has_values(start) and has_values(stop)):
            return
        span = np.nanmin(start), max(np.nanmax(stop), np.nanmax(start))
        every = np.concatenate(times)
        in_trials = (every >= span[0]) & (every <= span[1])
        observed = np.concatenate(
            [covered(t, intervals) if self.has_intervals else np.zeros(len(t), bool)
             for t, intervals in zip(times, self.intervals, strict=True)]
        )  # fmt: skip
        self.spikes_inside = float(np.mean(in_trials | observed)) if len(every) else 1.0
        seconds = max(span[1] - span[0], 1e-3)
        rate = float(np.median([np.sum((t >= span[0]) & (t <= span[1])) for t in times])) / seconds
        if self.spikes_inside < 0.5 and (self.has_intervals or rate < SLOW_HZ):
            raise NlbflowError(
                f"{self.path}: {1 - self.spikes_inside:.0%} of the spikes lie outside of the time of the trials "
                f"({span[0]:g} to {span[1]:g} s) and of all observed intervals, and the units' median rate in the "
                f"trials is {rate:.3g} spikes/s; spike times must be in s on the clock of the trials (spikes reach "
                f"from {every.min():g} to {every.max():g}): divide by 1000 if they are in ms."
            )
        known = np.isfinite(start)
        if len(every):
            later = np.mean(start[known] > every.max())
            if later > 0.5:
                raise NlbflowError(
                    f"{self.path}: {later:.0%} of the trials ({span[0]:g} to {span[1]:g} s) begin after the last spike "
                    f"({every.max():g} s); trial times must be in s on the clock of the spikes: divide by 1000 if they "
                    "are in ms."
                )

    def _held_out(self, units: h5py.Group, rule: dict) -> np.ndarray:
        """(units,) which ones are held out."""
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
        return units[rule["column"]][()].astype(bool)

    def _split_trials(self, rule: dict, selection: dict) -> None:
        """Make the column `split`; trials that are not selected are for nothing (`none`)."""
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
            wrong = sorted(set(split.astype(str)) - {"train", "val", "test", "none"})
            if wrong:
                raise NlbflowError(
                    f"{self.path}: the trial column {rule['column']!r} holds {', '.join(map(repr, wrong[:5]))}; "
                    "expected train, val, test or none."
                )
            self.columns["split"] = split if wanted.all() else np.where(wanted, split.astype(str), "none")
            return
        split = np.full(trials, "none", object)
        split[wanted] = _draw_split(rule, self.columns["start_time"][wanted])
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
            for unit in range(len(self.ids)):
                if not np.array_equal(self.intervals[unit], self.intervals[chosen[0]]):
                    stretches = common(stretches, self.observed(unit))
        order = chosen[np.argsort(self.ids[chosen], kind="stable")]
        # spikes outside what was observed count for nothing
        spikes = [np.sort(self.spike_ms[i]) for i in order]
        return Units(self.ids[order], [rows[inside(stretches, rows) >= 0] for rows in spikes], stretches)

    def has_series(self, name: str) -> bool:
        """Whether there is a behaviour series of that name or path."""
        with open_h5(self.path) as file:
            return any(name in (path, path.rsplit("/", 1)[-1]) for path in series_paths(file))

    def series(self, name: str) -> Series | None:
        """A behaviour series on the 1 ms clock, or None where the file has none.

        Raises:
            NlbflowError: it cannot be brought there.
        """
        with open_h5(self.path) as file:
            return read_series(file, self.path, name, self.first, self.rows, self.as_reference)


def _draw_split(rule: dict, start_time: np.ndarray) -> np.ndarray:
    """(trials,) train, val or test at random, in whole blocks of trials that follow each other in time if asked for.

    Raises:
        NlbflowError: there are fewer blocks than the shares need.
    """
    trials = len(start_time)
    rng = np.random.default_rng(rule["seed"])
    if "blocks" not in rule:
        order = rng.permutation(trials)
        drawn = [np.array([trial]) for trial in order]
    else:
        in_time = np.argsort(start_time, kind="stable")
        blocks = np.array_split(in_time, rule["blocks"])
        drawn = [blocks[i] for i in rng.permutation(len(blocks))]
    val, test = (round(rule[part] * len(drawn)) for part in ("val", "test"))
    if "blocks" in rule and (rule["blocks"] > trials or any(
        rule[part] > 0 and not n for part, n in (("val", val), ("test", test))
    )):  # fmt: skip
        raise NlbflowError(
            f"`split.blocks: {rule['blocks']}` of the stanza cannot be drawn from {trials} trials so that val "
            f"({rule['val']:g}) and test ({rule['test']:g}) get a block each; choose another number of blocks."
        )
    split = np.full(trials, "train", object)
    for name, chosen in (("val", drawn[:val]), ("test", drawn[val : val + test])):
        for block in chosen:
            split[block] = name
    return split


def _need(table: h5py.Group, path: str | Path, column: str, what: str) -> None:
    if column not in table:
        where = f"{table.name.strip('/')}/{column}"
        raise NlbflowError(f"{path} has no /{where}; expected {what}: use an NWB file that has it.")


def _invalid_times(file: h5py.File) -> np.ndarray:
    """(n, 2) rows of 1 ms [first, end) that the file declares invalid (NWB's `invalid_times`)."""
    table = file.get("intervals/invalid_times")
    if table is None:
        return np.zeros((0, 2), np.int64)
    edges = np.stack([table["start_time"][()], table["stop_time"][()]], axis=1) * 1000.0
    return merge_stretches(np.stack([np.floor(edges[:, 0]), np.ceil(edges[:, 1])], axis=1).astype(np.int64))
