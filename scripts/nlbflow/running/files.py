"""Reading and writing the workflow's own HDF5 and JSON files.

A file's arrays are reproducible byte for byte. Dates, seconds, device and commit, which are not, are in its attribute
`provenance`. Vectors of different lengths (the trials of each condition) are stored as one flat array with row ends,
never as Python objects, so nothing has to be unpickled.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from nlbflow.errors import NlbflowError

RAGGED = "ragged_ends"


def open_h5(path: str | Path) -> h5py.File:
    """Open an HDF5 file for reading; a missing, truncated or foreign file is refused in one sentence.

    Raises:
        NlbflowError: the file is absent or cannot be read as HDF5.
    """
    if not Path(path).is_file():
        found = "is not a file" if Path(path).exists() else "does not exist"
        raise NlbflowError(f"{path} {found}; expected an HDF5 file there: check the path or make the file again.")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise NlbflowError(
            f"{path} ({Path(path).stat().st_size:,} bytes) cannot be read as an HDF5 file, so it is truncated, "
            f"corrupt or of another kind ({error}); delete it and fetch or make it again."
        ) from error


def write_arrays(path: str | Path, arrays: dict, attributes: dict) -> None:
    """Write arrays, lists of index vectors and nested dicts of these; attributes as JSON strings or numbers."""
    with h5py.File(path, "w") as file:
        _write_group(file, arrays)
        for name, value in attributes.items():
            file.attrs[name] = json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value


def _write_group(group: h5py.Group, arrays: dict) -> None:
    for name, value in arrays.items():
        if isinstance(value, dict):
            _write_group(group.create_group(name), value)
        elif isinstance(value, list):
            flat = np.concatenate([np.asarray(v, np.int64) for v in value]) if value else np.zeros(0, np.int64)
            data = group.create_dataset(name, data=flat)
            data.attrs[RAGGED] = np.cumsum([len(v) for v in value], dtype=np.int64)
        else:
            value = np.asarray(value)
            # with shuffled bytes, gzip's cheapest level makes counts and smooth rates several times smaller
            packing = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if value.size > 1024 else {}
            group.create_dataset(name, data=value, **packing)


def read_arrays(path: str | Path) -> tuple[dict, dict]:
    """Everything that `write_arrays` wrote: (arrays, attributes)."""
    with open_h5(path) as file:
        try:
            arrays = _read_group(file)
        except OSError as error:
            raise NlbflowError(f"{path} is damaged ({error}); delete it and run again.") from error
        attributes = dict(file.attrs)
    for name, value in attributes.items():
        if isinstance(value, str) and value[:1] in "{[":
            attributes[name] = json.loads(value)
    return arrays, attributes


def read_attributes(path: str | Path) -> dict:
    """The attributes alone; no array is read."""
    with open_h5(path) as file:
        return {
            name: json.loads(value) if isinstance(value, str) and value[:1] in "{[" else value
            for name, value in file.attrs.items()
        }


def _read_group(group: h5py.Group) -> dict:
    arrays = {}
    for name, item in group.items():
        if isinstance(item, h5py.Group):
            arrays[name] = _read_group(item)
        elif RAGGED in item.attrs:
            ends = item.attrs[RAGGED]
            arrays[name] = np.split(item[()], ends[:-1]) if len(ends) else []
        else:
            arrays[name] = item[()]
    return arrays


def write_json(path: str | Path, content: dict) -> None:
    """Write JSON that a person can read and diff."""
    Path(path).write_bytes(json_of(content))


def json_of(content: Mapping) -> bytes:
    """JSON that a person can read and diff."""
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def read_json(path: str | Path) -> dict:
    """Read a JSON file of ours.

    Raises:
        NlbflowError: the file is not valid JSON.
    """
    return parse_json(Path(path).read_bytes(), path)


def parse_json(content: bytes, path: str | Path) -> dict:
    """What a JSON file of ours holds.

    Raises:
        NlbflowError: the content is not valid JSON.
    """
    try:
        return json.loads(content)
    except ValueError as error:
        raise NlbflowError(f"{path} is not valid JSON ({error}); delete it and run again.") from error
