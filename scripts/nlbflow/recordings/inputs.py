"""What of an NWB file tensors and answers are made from, as checksums that can be pinned.

Where only a part of a file is read (`stream: true`), its SHA-256 cannot be checked. Instead, each group that is read
(the table of trials, the units, the behaviour series) has a checksum of its own. `resources/inputs.tsv` pins those that
were made from whole files whose SHA-256 had been checked.
"""

import hashlib
from pathlib import Path

import h5py
import numpy as np

from nlbflow.archive.pointers import is_pointer, read_pointer
from nlbflow.archive.opening import open_recording
from nlbflow.errors import NlbflowError
from nlbflow.recordings.nwb_tables import find_table, interval_tables, unit_tables
from nlbflow.recordings.series import find_series

VERIFIED, NOT_VERIFIED = "verified", "not verified"
# The ragged columns of units that are read.
RAGGED = ("spike_times", "obs_intervals")


def check_streamed(parts: dict[str, str], definition: dict) -> dict[str, str]:
    """`verified` or, where nothing is pinned, `not verified`, for each part of a dataset that is streamed.

    Raises:
        NlbflowError: what was read is not what is pinned.
    """
    return {part: _check(path, definition) for part, path in parts.items() if is_pointer(path)}


def _check(path: str, definition: dict) -> str:
    pinned = read_pointer(path).inputs
    found = checksums_of(path, definition) if pinned else {}
    for item, sha256 in found.items():
        if pinned.get(item, sha256) != sha256:
            raise NlbflowError(
                f"/{item} of {path}, as it was streamed, is not that of the pinned file (expected SHA-256 "
                f"{pinned[item]}, found {sha256}); set `stream: false` in the dataset's stanza, which fetches and "
                "checks the whole file."
            )
    return VERIFIED if found and found.keys() <= pinned.keys() else NOT_VERIFIED


def checksums_of(path: str | Path, definition: dict) -> dict[str, str]:
    """The SHA-256 of the content of each group that a dataset's definition reads, by its path in the file.

    Raises:
        NlbflowError: the file lacks a table that the definition names.
    """
    with open_recording(path) as file:
        groups = [
            find_table(file, path, "trials", definition.get("trials", {}).get("table", "trials"), interval_tables),
            find_table(file, path, "units", definition.get("units", {}).get("table", "units"), unit_tables),
            file.get("intervals/invalid_times"),
        ]
        if name := definition.get("behavior", {}).get("series"):
            groups.append(find_series(file, path, name, definition.get("reference") == "nlb_tools"))
        return {group.name.strip("/"): _checksum(group) for group in groups if group is not None}


def _checksum(group: h5py.Group) -> str:
    """Of names, types, shapes, values and attributes, so that it does not depend on how HDF5 stores them."""
    digest = hashlib.sha256(str(group.attrs.get("comments", "")).encode())
    for name, data in sorted(group.items()):
        if not _is_read(name, data, group):
            continue
        values = data.asstr()[()] if h5py.check_string_dtype(data.dtype) else data[()]
        values = np.ascontiguousarray(values if values.dtype.kind != "O" else values.astype(str))
        digest.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
        digest.update(values)
        for key, value in sorted(data.attrs.items()):
            if isinstance(value, str | np.number):
                digest.update(f"{key} {value if isinstance(value, str) else value.item()!r}\n".encode())
    return digest.hexdigest()


def _is_read(name: str, data: h5py.Dataset | h5py.Group, group: h5py.Group) -> bool:
    """Whether a dataset is read: all of a series; of a table, the columns with one value in each row, and RAGGED."""
    if not isinstance(data, h5py.Dataset) or h5py.check_ref_dtype(data.dtype):
        return False
    column = data.ndim == 1 and f"{name}_index" not in group
    return "data" in group or name in RAGGED or column
