"""Seals: the checksum of every file that a job made, in a small file beside it, so that damage is found before use.

`prediction.h5` has the seal `.prediction.h5.sha256`, in the format of sha256sum. A file without a seal is taken as it
is.
"""

import os
from contextlib import suppress
from pathlib import Path

from nlbflow.checksum import Log, sha256_of
from nlbflow.errors import NlbflowError

DAMAGED = ".damaged"


def seal_of(path: Path) -> Path:
    """Where the seal of a file lies."""
    return path.with_name(f".{path.name}.sha256")


def seal(temporary: Path, target: Path, log: Log) -> None:
    """Seal the content of `temporary`, which is then renamed to `target`.

    In this order, a kill in between leaves a seal without a file, never a file with another's seal.
    """
    unfinished = temporary.with_suffix(".seal.tmp")
    unfinished.write_text(f"{sha256_of(temporary, log)}  {target.name}\n")
    os.replace(unfinished, seal_of(target))


def set_aside_if_damaged(path: Path, log: Log) -> None:
    """Rename a file that is not what its seal says, so that the next run makes it anew.

    Raises:
        NlbflowError: it was damaged, or replaced by hand.
    """
    sealed = seal_of(path)
    if not (path.is_file() and sealed.is_file()) or sealed.read_bytes()[:64] == sha256_of(path, log).encode():
        return
    aside = path.with_name(path.name + DAMAGED)
    with suppress(FileNotFoundError):  # another job that reads it was faster
        os.replace(path, aside)
    raise NlbflowError(
        f"{path} is not what was written there (its SHA-256 differs from the one beside it), so it was set aside as "
        f"{aside.name}; run again, which makes it anew."
    )


def set_aside_damaged(folders: list[Path], log: Log) -> int:
    """Do so with all sealed files below the folders, with a line for each; how many were damaged."""
    damaged = 0
    for found in sorted(path for folder in folders for path in folder.rglob(".*.sha256")):
        try:
            set_aside_if_damaged(found.with_name(found.name[1 : -len(".sha256")]), log)
        except NlbflowError as error:
            damaged += 1
            log(f"nlbflow: {error}")
    return damaged
