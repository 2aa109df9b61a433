"""The table of pinned archive files: which bytes every published dataset consists of.

Only `csv` and `re` are needed, because Snakemake reads the table each time it parses the workflow.
"""

import csv
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nlbflow.errors import NlbflowError

COLUMNS = ("dataset", "dandiset", "version", "part", "path", "bytes", "sha256")
# These become folder and file names, so they must not lead out of the data folder.
NAME = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.+-]*")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Pin:
    """One file of a published dandiset version.

    `part` is the file's role in the dataset (`train` or `test`), `path` its path in the dandiset, with `/`.
    """

    dataset: str
    dandiset: str
    version: str
    part: str
    path: str
    bytes: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.path} of dandiset {self.dandiset}/{self.version}" if self.dandiset else self.path


def read_pins(path: str | Path) -> dict[str, dict[str, Pin]]:
    """Read the tab-separated table `path` into {dataset: {part: Pin}}; it may have further columns.

    Raises NlbflowError, naming table and line, for a missing table or column, an invalid value, and a second line for
    the same dataset and part.
    """
    path = Path(path)
    if not path.is_file():
        raise NlbflowError(f"The table of pinned files {path} does not exist; restore it or name another.")
    pins: dict[str, dict[str, Pin]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file, delimiter="\t")
        if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
            raise NlbflowError(
                f"{path} needs the tab-separated columns {', '.join(COLUMNS)}, but its first line lacks "
                f"{', '.join(missing)}; add what is missing."
            )
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            pin = _pin({name: row[name] or "" for name in COLUMNS}, where)
            parts = pins.setdefault(pin.dataset, {})
            if pin.part in parts:
                raise NlbflowError(
                    f"{where}: expected one file for each dataset and part, found a second one for "
                    f"{pin.dataset}, {pin.part}; delete one of the two lines."
                )
            parts[pin.part] = pin
    return pins


def _pin(row: dict[str, str], where: str) -> Pin:
    for name in ("dataset", "dandiset", "version", "part"):
        if not NAME.fullmatch(row[name]):
            raise _unusable(where, name, row[name], "letters, digits and _ . + -")
    place = PurePosixPath(row["path"])
    if not place.name or place.is_absolute() or ".." in place.parts or "\\" in row["path"]:
        raise _unusable(where, "path", row["path"], "a relative path without '..'")
    if not re.fullmatch(r"[1-9][0-9]*", row["bytes"]):
        raise _unusable(where, "bytes", row["bytes"], "a positive whole number")
    if not SHA256.fullmatch(row["sha256"]):
        raise _unusable(where, "sha256", row["sha256"], "64 lower-case hexadecimal digits")
    return Pin(**{**row, "bytes": int(row["bytes"])})


def _unusable(where: str, column: str, found: str, expected: str) -> NlbflowError:
    return NlbflowError(f"{where}: column {column} must be {expected}, but holds {found!r}; correct it.")


def read_inputs(path: str | Path) -> dict[str, dict[str, str]]:
    """Read the tab-separated table of what streamed files are checked by: {file's SHA-256: {item: item's SHA-256}}.

    An item is a group of the file (`recordings.inputs`). Without the table nothing is checked.

    Raises:
        NlbflowError: a column is missing, or a value is not a SHA-256.
    """
    path, found = Path(path), {}
    if not path.is_file():
        return found
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            for column in ("file_sha256", "sha256"):
                if not SHA256.fullmatch(row.get(column) or ""):
                    raise _unusable(str(path), column, row.get(column), "64 lower-case hexadecimal digits")
            found.setdefault(row["file_sha256"], {})[row["item"]] = row["sha256"]
    return found


def find_pin(pins: dict[str, dict[str, Pin]], dandiset: str, version: str, path: str) -> Pin:
    """The pin of one file of a dandiset.

    Raises:
        NlbflowError: no pin names the file.
    """
    for pin in (pin for parts in pins.values() for pin in parts.values()):
        if (pin.dandiset, pin.version, pin.path) == (dandiset, version, path):
            return pin
    raise NlbflowError(f"no pin names {path} of dandiset {dandiset}/{version}; add it to the table (config key pins).")
