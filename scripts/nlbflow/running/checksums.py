"""Checksums of files, seals, and progress lines for reading or fetching big files.

A seal is the checksum of a file that a job made, in a small file beside it, so that damage is found before use:
`prediction.h5` has the seal `.prediction.h5.sha256`, in the format of sha256sum. A file without a seal is not checked.
The seal of a file that lies in a bucket lies there too; the job reads it anew, because its copy of the file is.
"""

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from nlbflow.errors import NlbflowError
from nlbflow.running.bucket import Bucket, bucket_of_run
from nlbflow.running.store import store_of_run

Log = Callable[[str], None]
SECONDS_BETWEEN_LINES = 5.0
DAMAGED = ".damaged"


class Meter:
    """Progress lines (what is done, how far, how fast, time left), at most one every few seconds."""

    def __init__(self, what: str, total: int, done: int, log: Log) -> None:
        self.what, self.total, self.first, self.log = what, total, done, log
        self.start = self.told = time.monotonic()

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now - self.told < SECONDS_BETWEEN_LINES:
            return
        self.told, rate = now, (done - self.first) / (now - self.start)
        left = timedelta(seconds=round((self.total - done) / rate))
        far = f"{done / 1e6:.1f} of {self.total / 1e6:.1f} MB ({done / self.total:.0%})"
        self.log(f"{self.what}: {far}, {rate / 1e6:.1f} MB/s, {left} left")


def sha256_of(path: Path, log: Log) -> str:
    """The SHA-256 of the file at `path` in hexadecimal, with progress lines to `log` for a big file."""
    digest = hashlib.sha256()
    meter = Meter(f"checking {path.name}", path.stat().st_size, 0, log)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            meter(file.tell())
    return digest.hexdigest()


def seal_of(path: Path) -> Path:
    """The path of a file's seal."""
    return path.with_name(f".{path.name}.sha256")


def _bucket_of(path: Path) -> Bucket | None:
    """The bucket that has the original of a file, if one has."""
    bucket = bucket_of_run()
    return bucket if bucket and path.absolute().is_relative_to(bucket.local) else None


def _sealed_sha256(path: Path) -> str | None:
    """What a file's seal says; None if it has none."""
    sealed, bucket = seal_of(path), _bucket_of(path)
    if bucket:
        content = bucket.read(bucket.name_of(sealed))
    else:
        content = sealed.read_bytes() if sealed.is_file() else None
    return None if content is None else content[:64].decode(errors="replace")


def known_sha256(path: Path, log: Log) -> str:
    """The SHA-256 of a file, from its seal where it has one; a job has compared the seals of its inputs already."""
    return _sealed_sha256(path) or sha256_of(path, log)


def seal(temporary: Path, target: Path, log: Log) -> None:
    """Seal the content of `temporary`, which is renamed to `target` afterwards.

    A kill between the two leaves a seal without a file, never a file with the wrong seal.
    """
    content, sealed, bucket = f"{sha256_of(temporary, log)}  {target.name}\n", seal_of(target), _bucket_of(target)
    if bucket:
        bucket.write(bucket.name_of(sealed), content.encode())
        return
    unfinished = temporary.with_suffix(".seal.tmp")
    unfinished.write_text(content)
    os.replace(unfinished, sealed)


def is_intact(path: Path, log: Log) -> bool:
    """Whether a file is there and, if it has a seal, is what was sealed."""
    sealed = _sealed_sha256(path) if path.is_file() else ""
    return sealed is None or (path.is_file() and sealed == sha256_of(path, log))


def set_aside_if_damaged(path: Path, log: Log) -> None:
    """Rename a file that does not fit its seal, so that the next run makes it anew.

    Raises:
        NlbflowError: the file was damaged, or replaced by hand.
    """
    if not path.is_file() or is_intact(path, log):
        return
    aside, bucket = path.with_name(path.name + DAMAGED), _bucket_of(path)
    if bucket:
        bucket.move(bucket.name_of(path), bucket.name_of(aside))
    with suppress(FileNotFoundError):  # another job that reads it has already moved it
        os.replace(path, aside)
    raise NlbflowError(
        f"{store_of_run().name_of(path)} has changed since it was written (its SHA-256 does not fit its seal), so it "
        f"was set aside as {aside.name}; run again to make it anew."
    )


def set_aside_damaged(folders: list[Path], log: Log) -> int:
    """Set aside every damaged file below the folders, log a line for each, and return their number."""
    damaged = 0
    for found in sorted(path for folder in folders for path in folder.rglob(".*.sha256")):
        try:
            set_aside_if_damaged(found.with_name(found.name[1 : -len(".sha256")]), log)
        except NlbflowError as error:
            damaged += 1
            log(f"nlbflow: {error}")
    return damaged
