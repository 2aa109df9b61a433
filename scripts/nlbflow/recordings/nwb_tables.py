"""Tables of an NWB file (NWB's DynamicTable): where they are, their columns, the rows that a stanza selects."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.recordings.stretches import merge_stretches


def find_table(file: h5py.File, path: str | Path, key: str, name: str, known: Callable) -> h5py.Group:
    """The table that the stanza names as `key.table`: a name in /intervals (or /units), or a path in the file.

    Raises:
        NlbflowError: there is none; the message lists those that exist.
    """
    where = name if "/" in name or key == "units" else f"intervals/{name}"
    if isinstance(file.get(where), h5py.Group):
        return file[where]
    what = "a table of trials" if key == "trials" else "a table of the units"
    # for a file without units the message names what is needed of them first
    missing = f"{where}/id; expected the ids of the units" if key == "units" else f"{where}; expected {what}"
    there = known(file)
    name_it = f"name one of those it has with `{key}: {{table: NAME}}` in the stanza: {', '.join(there)}"
    raise NlbflowError(f"{path} has no /{missing}; " + (name_it if there else "use an NWB file that has it") + ".")


def interval_tables(file: h5py.File) -> list[str]:
    """The tables of time intervals: by name in /intervals, by path elsewhere."""
    found = _groups_with(file, {"start_time", "stop_time"})
    return [path.removeprefix("intervals/") if path.count("/") == 1 else path for path in found]


def unit_tables(file: h5py.File) -> list[str]:
    """The tables of units with spike times, by path."""
    return _groups_with(file, {"spike_times", "spike_times_index"})


def _groups_with(file: h5py.File, names: set[str]) -> list[str]:
    found: list[str] = []

    def note(path: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Group) and names <= set(item):
            found.append(path)

    file.visititems(note)
    return found


def read_columns(table: h5py.Group) -> dict[str, np.ndarray]:
    """The columns with one value in each row; an EnumData column as the words that its numbers stand for."""
    columns = {}
    for name, data in table.items():
        # ragged columns (a second index dataset) are not per-row values and nothing here needs them
        if not isinstance(data, h5py.Dataset) or f"{name}_index" in table or data.ndim != 1:
            continue
        columns[name] = data.asstr()[()] if h5py.check_string_dtype(data.dtype) else data[()]
        if isinstance(data.attrs.get("elements"), h5py.Reference):
            words = table.file[data.attrs["elements"]].asstr()[()]
            columns[name] = words[columns[name].astype(np.int64)]
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in sorted(lengths.items()))
        raise NlbflowError(
            f"{table.file.filename}: the columns of /{table.name.strip('/')} differ in length ({told}); mend the file."
        )
    # whole numbers of seconds are times too
    for name in ("start_time", "stop_time"):
        if name in columns and columns[name].dtype.kind in "iu":
            columns[name] = columns[name].astype(float)
    return columns


def select(columns: dict[str, np.ndarray], rule: dict, path: str | Path, key: str) -> np.ndarray:
    """(rows,) whether each row has one of `rule.values` in `rule.column`; `key` is the stanza's, for messages.

    Raises:
        NlbflowError: no such column, or a value that no row has.
    """
    if rule["column"] not in columns:
        known = ", ".join(sorted(set(columns) - {"end_time"}))
        raise NlbflowError(f"{path} has no column {rule['column']!r}, which `{key}.column` names; it has {known}.")
    values = columns[rule["column"]]
    words = values.dtype.kind in "OUS"
    chosen = np.zeros(len(values), bool)
    for value in rule["values"]:
        same = values.astype(str) == str(value) if words else _equal(values, value)
        if not same.any():
            there = ", ".join(sorted(set(values.astype(str)))[:10])
            raise NlbflowError(
                f"{path}: no row of the column {rule['column']!r} holds {value!r}, which `{key}.values` names; it "
                f"holds {there}."
            )
        chosen |= same
    return chosen


def _equal(values: np.ndarray, value: object) -> np.ndarray:
    return values == value if isinstance(value, int | float) else np.zeros(len(values), bool)


def has_values(column: np.ndarray) -> bool:
    """Whether a column of times holds any."""
    return column.dtype.kind in "fiu" and bool(np.isfinite(column).any())


def invalid_times(file: h5py.File) -> np.ndarray:
    """(n, 2) rows of 1 ms [first, end) that the file declares invalid (NWB's `invalid_times`)."""
    table = file.get("intervals/invalid_times")
    if table is None:
        return np.zeros((0, 2), np.int64)
    edges = np.stack([table["start_time"][()], table["stop_time"][()]], axis=1) * 1000.0
    if not (np.isfinite(edges).all() and (edges[:, 0] <= edges[:, 1]).all()):
        raise NlbflowError(
            f"{file.filename}: /intervals/invalid_times has an interval that ends before it begins or is NaN; expected "
            "start_time and stop_time in s: mend the file."
        )
    return merge_stretches(np.stack([np.floor(edges[:, 0]), np.ceil(edges[:, 1])], axis=1).astype(np.int64))
