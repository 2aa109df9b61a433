"""Files that the user already has: they are checked like fetched files and linked, never copied."""

import os
from collections.abc import Iterator
from pathlib import Path

import h5py

from nlbflow.archive.pins import Pin
from nlbflow.errors import NlbflowError
from nlbflow.running.checksums import Log, sha256_of


def is_whole(path: Path, pin: Pin, log: Log) -> bool:
    return path.is_file() and path.stat().st_size == pin.bytes and sha256_of(path, log) == pin.sha256


def link_from_folder(pin: Pin, destination: Path, folder: Path, log: Log) -> None:
    """Make `destination` a link to the pinned file, which lies anywhere below `folder` and is not changed.

    Raises NlbflowError, naming the config key `data_folder`, if it is not a folder, if no file below it has the pinned
    file's name, and if none with that name has the pinned size and SHA-256.
    """
    if is_whole(destination, pin, log):
        return
    folder = folder.expanduser().absolute()
    if not folder.is_dir():
        raise NlbflowError(f"The config key `data_folder` names {folder}, which is not a folder; correct it.")
    found, fault = find_pinned(pin, folder, log, besides=destination.absolute())
    if found is None:
        raise NlbflowError(
            f"{fault} (config key `data_folder`); put the pinned file there, or set the dataset's `source: dandi`."
        )
    link(found, destination, log)


def find_pinned(pin: Pin, folder: Path, log: Log, besides: Path | None = None) -> tuple[Path | None, str]:
    """The pinned file, searched by name, size and SHA-256 below a folder, or None; and what is wrong if it is None."""
    name = Path(pin.path).name
    found = [at for at in files_below(folder, name) if at.is_file() and at.absolute() != besides]
    fault = f"Nothing called {name} was found below {folder} for {pin}"
    # The right subject's folder comes first, which spares the checksum of a namesake of the same size.
    for path in sorted(found, key=lambda path: path.as_posix().endswith(f"/{pin.path}"), reverse=True):
        if (size := path.stat().st_size) != pin.bytes:
            fault = f"{path} has {size} bytes where {pin} has {pin.bytes}"
        elif (sha256 := sha256_of(path, log)) != pin.sha256:
            fault = f"{path} has SHA-256 {sha256} where {pin} has {pin.sha256}"
        else:
            return path, ""
    return None, fault


def files_below(folder: Path, name: str) -> Iterator[Path]:
    seen = set()  # links to folders are followed and may lead in a circle
    for place, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            folders.clear()
        elif name in files:
            yield Path(place, name)
        seen.add(real)


def link_user_file(source: Path, destination: Path, sha256: str | None, log: Log = lambda line: None) -> None:
    """Make `destination` a link to a user's own file that is HDF5 and has `sha256`, if one is given.

    Raises NlbflowError if the file does not exist, is not HDF5, or has another SHA-256.
    """
    source = source.expanduser().absolute()
    if not source.is_file():
        raise NlbflowError(f"The dataset's file {source} does not exist; correct its path in the config.")
    if not h5py.is_hdf5(source):
        raise NlbflowError(f"{source} should be an NWB 2 file, but is not HDF5; name another in the config.")
    if sha256 is not None and (found := sha256_of(source, log)) != sha256.lower():
        raise NlbflowError(f"{source} has SHA-256 {found}, but the config says {sha256}; correct either one.")
    link(source, destination, log)


def link(source: Path, destination: Path, log: Log) -> None:
    """Make `destination` a link to `source`."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    if os.path.realpath(source) == os.path.join(os.path.realpath(destination.parent), destination.name):
        return  # a link would replace the very file that it leads to
    temporary = destination.with_name(f".{destination.name}.{os.getpid()}.link")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(source)
    os.replace(temporary, destination)
    log(f"linked to {source}")
