"""Recordings: what the benchmark needs of an NWB file, read straight from HDF5 (nlb_tools `NWBDataset`; specification,
section 2.1)."""

from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.files import open_h5

NOT_A_TIME = np.iinfo(np.int64).min
NS_PER_MS = 1_000_000


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
    observed stretches [first row, end row) of the group, which are those of its first unit in the file.
    """

    def __init__(self, ids: np.ndarray, spike_ms: list[np.ndarray], stretches: np.ndarray):
        self.ids, self.spike_ms, self.stretches = ids, spike_ms, stretches


class Recording:
    """One NWB file, read by a dataset's definition.

    `heldout` of the definition says which units are held out: {column: name} (by default the benchmark's `heldout`),
    {ids: [...]}, or {fraction, seed}; `split` likewise which trials are for what: {column: name} or {val, test, seed}.

    Raises:
        NlbflowError: the file is not NWB, or lacks the trials, the units or a column that the definition names.
    """

    def __init__(self, path: str | Path, definition: dict):
        self.path = path
        with open_h5(path) as file:
            for needed, what in (
                ("intervals/trials", "a table of trials (a recording without one needs it added first)"),
                ("intervals/trials/start_time", "the start of each trial"),
                ("intervals/trials/stop_time", "the end of each trial"),
                ("units/id", "the ids of the units"),
                ("units/spike_times_index", "sorted units with spike times"),
                ("units/spike_times", "sorted units with spike times"),
            ):
                if needed not in file:
                    raise NlbflowError(f"{path} has no /{needed}; expected {what}: use an NWB file that has it.")
            try:
                self.columns = self._read_trials(file["intervals/trials"])
                self._read_units(file["units"], definition.get("heldout", {"column": "heldout"}))
            except OSError as error:
                raise NlbflowError(f"{path} is damaged ({error}); delete it and fetch it again.") from error
        self._split_trials(definition.get("split", {"column": "split"}))

    @staticmethod
    def _read_trials(table: h5py.Group) -> dict[str, np.ndarray]:
        columns = {}
        for name, data in table.items():
            # ragged columns (a second index dataset) are not per-trial values and nothing here needs them
            if isinstance(data, h5py.Dataset) and f"{name}_index" not in table and data.ndim == 1:
                columns[name] = data.asstr()[()] if h5py.check_string_dtype(data.dtype) else data[()]
        columns["end_time"] = columns["stop_time"]
        return columns

    def _read_units(self, units: h5py.Group, heldout: dict) -> None:
        self.ids = units["id"][()]
        if len(self.ids) == 0:
            raise NlbflowError(f"{self.path} has no units, so there is nothing to bin; use a file with sorted units.")
        self.heldout = self._held_out(units, heldout)
        times, ends = units["spike_times"][()], units["spike_times_index"][()].astype(np.int64)
        if not np.isfinite(times).all():
            raise NlbflowError(f"{self.path} has spike times that are not numbers; remove them from the file.")
        # the benchmark's rule: truncate at a tolerance of 1e-6 ms (specification, section 2.1, rule 4)
        rows = np.round(times * 1000.0, 6).astype(np.int64)
        self.spike_ms = np.split(rows, ends[:-1])
        if "obs_intervals_index" in units and len(units["obs_intervals"]):
            intervals = units["obs_intervals"][()].reshape(-1, 2)
            starts = np.concatenate([[0], units["obs_intervals_index"][()].astype(np.int64)])
            self.intervals = [intervals[a:b] for a, b in pairwise(starts)]
        else:
            end = max(times.max(initial=0.0), np.nanmax(self.columns["end_time"], initial=0.0))
            self.intervals = [np.array([[0.0, np.ceil(end * 1000.0) / 1000.0]])] * len(self.ids)
        self.rows = round(max(i[-1][-1] for i in self.intervals if len(i)) * 1000.0)

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

    def _split_trials(self, rule: dict) -> None:
        """Make the column `split`."""
        trials = len(self.columns["start_time"])
        if "column" in rule:
            if rule["column"] not in self.columns:
                raise NlbflowError(
                    f"{self.path} has no trial column {rule['column']!r}; expected train, val, test or none in it: "
                    "name another with `split: {column: NAME}` in the dataset's stanza, or give "
                    "`split: {val: 0.2, test: 0.2, seed: 0}`."
                )
            self.columns["split"] = self.columns[rule["column"]]
            wrong = sorted(set(self.columns["split"].astype(str)) - {"train", "val", "test", "none"})
            if wrong:
                raise NlbflowError(
                    f"{self.path}: the trial column {rule['column']!r} holds {', '.join(map(repr, wrong[:5]))}; "
                    "expected train, val, test or none."
                )
            return
        order = np.random.default_rng(rule["seed"]).permutation(trials)
        val, test = (round(rule[part] * trials) for part in ("val", "test"))
        self.columns["split"] = np.full(trials, "train", object)
        self.columns["split"][order[:val]] = "val"
        self.columns["split"][order[val : val + test]] = "test"

    def units(self, heldout: bool) -> Units | None:
        """The held-in or held-out units, or None where the file has none (the benchmark's test files)."""
        chosen = np.flatnonzero(self.heldout == heldout)
        if len(chosen) == 0:
            return None
        # the bounds of section 2.1, rule 5, in float arithmetic of the same order
        edges = np.round(self.intervals[chosen[0]] * 1000.0, 6)
        stretches = np.stack([np.ceil(edges[:, 0]), np.floor(edges[:, 1])], axis=1).astype(np.int64)
        stretches = merge_stretches(np.clip(stretches, 0, self.rows))
        order = chosen[np.argsort(self.ids[chosen], kind="stable")]
        # spikes outside what was observed count for nothing
        spikes = [np.sort(self.spike_ms[i]) for i in order]
        return Units(self.ids[order], [rows[inside(stretches, rows) >= 0] for rows in spikes], stretches)

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """A behaviour series: (rows on the 1 ms clock, values (samples, channels)) or None where the file has none.

        Raises:
            NlbflowError: its samples do not lie on the 1 ms clock.
        """
        with open_h5(self.path) as file:
            item = _find_series(file, name)
            if item is None:
                return None
            try:
                values = item["data"][()]
            except OSError as error:
                raise NlbflowError(f"{self.path}: the series {name} is damaged ({error}); fetch it again.") from error
            if "timestamps" in item:
                ms = item["timestamps"][()] * 1000.0
            else:
                start = item["starting_time"]
                ms = (np.arange(len(values)) / start.attrs["rate"] + start[()]) * 1000.0
            comments = item.attrs.get("comments", "")
        values = values.reshape(len(values), -1).astype(float, copy=False)
        if not np.isfinite(values).any(axis=0).all():
            raise NlbflowError(f"{self.path}: the series {name} has a channel without a finite sample; name another.")
        whole = np.rint(ms)
        if np.isnan(ms).any() or np.abs(ms - whole).max() > 1e-3 or (np.diff(whole) <= 0).any():
            raise NlbflowError(
                f"{self.path}: the samples of the series {name} do not lie on the 1 ms clock in ascending order; "
                "resample it to 1 kHz."
            )
        rows = whole.astype(np.int64)
        if len(rows) > 1 and np.median(np.diff(rows)) != 1:
            raise NlbflowError(
                f"{self.path}: the series {name} is sampled every {np.median(np.diff(rows)):g} ms; resample to 1 kHz."
            )
        recorded = slice(*np.searchsorted(rows, [0, self.rows]))
        order = _column_order(comments, values.shape[1])
        return rows[recorded], values[recorded] if order is None else values[recorded][:, order]


def _find_series(file: h5py.File, name: str) -> h5py.Group | None:
    """The group of a time series, in processing/behavior or anywhere in the file."""
    usual = file.get(f"processing/behavior/{name}")
    if isinstance(usual, h5py.Group) and "data" in usual:
        return usual

    def check(path: str, item: h5py.Group | h5py.Dataset) -> h5py.Group | None:
        same = path.rsplit("/", 1)[-1] == name
        return item if same and isinstance(item, h5py.Group) and "data" in item else None

    return file.visititems(check)


def _column_order(comments: str, channels: int) -> np.ndarray | None:
    """Channels sorted by their names, which the benchmark keeps in the comments as `columns=[x,y]`; None where they
    are in order."""
    if "columns=" not in comments:
        return None
    names = comments.split("[")[-1].split("]")[0].split(",")
    return np.argsort(np.array(names)) if len(names) == channels and names != sorted(names) else None


def inside(stretches: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The number of the stretch that holds each 1 ms row, or -1."""
    if len(stretches) == 0:
        return np.full(np.shape(rows), -1)
    which = np.searchsorted(stretches[:, 0], rows, "right") - 1
    return np.where((which >= 0) & (rows < stretches[which, 1]), which, -1)


def merge_stretches(stretches: np.ndarray) -> np.ndarray:
    """Sorted, disjoint, non-empty stretches (n, 2) that cover the same rows."""
    merged: list[list[int]] = []
    for start, end in stretches[np.argsort(stretches[:, 0], kind="stable")].tolist():
        if end <= start:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return np.array(merged, np.int64).reshape(-1, 2)
