"""Pointer files: where a recording lies in the archive, in place of a copy of it."""

from dataclasses import asdict, dataclass
from pathlib import Path

from nlbflow.errors import NlbflowError
from nlbflow.running.files import read_json, write_json

SUFFIX = ".json"


@dataclass(frozen=True)
class Pointer:
    """The object in the archive that holds a pinned file. Whoever reads it refuses any other.

    Attributes:
        name: of the file and its dandiset, for messages.
        url: where the object lies.
        bytes: its size.
        etag: its entity tag (HTTP ETag), which DANDI makes from the MD5 sums of the parts of the content.
        version: its version, where the storage keeps several (x-amz-version-id); else empty.
        sha256: the pinned SHA-256 of the whole file, which the archive says the object has.
        inputs: the pinned SHA-256 of each part of the content that tensors and answers are made from, by its path in
            the file; empty where none is pinned.
    """

    name: str
    url: str
    bytes: int
    etag: str
    version: str
    sha256: str
    inputs: dict[str, str]


def is_pointer(path: str | Path) -> bool:
    """Whether a path is that of a pointer, rather than of the recording itself."""
    return Path(path).suffix == SUFFIX


def read_pointer(path: str | Path) -> Pointer:
    """The pointer in a file.

    Raises:
        NlbflowError: the file holds something else.
    """
    try:
        return Pointer(**read_json(path))
    except TypeError as fault:
        raise NlbflowError(f"{path} is not a pointer to a recording ({fault}); delete it and run again.") from fault


def write_pointer(path: Path, pointer: Pointer) -> None:
    """Write a pointer, as JSON."""
    write_json(path, asdict(pointer))
