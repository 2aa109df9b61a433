"""One run at a time in a folder, by a lock that the kernel releases however its holder dies."""

import errno
import fcntl
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from nlbflow.errors import NlbflowError

LOCK = Path("results/.running")
_held = []


def lead_jobs() -> None:
    """Make the jobs that this process starts end with it (see job.py)."""
    os.environ["NLBFLOW_RUN"] = str(os.getpid())


def hold_folder() -> None:
    """Hold the results folder for as long as this process lives; a second call does nothing.

    On a file system without locks, only Snakemake's own lock holds it.

    Raises:
        NlbflowError: another live run holds the folder, or it cannot be written to.
    """
    if _held:
        return
    lead_jobs()
    try:
        LOCK.parent.mkdir(parents=True, exist_ok=True)
        file = open(LOCK, "a+")
        _held.append(file)
        _lock(file)
        file.truncate(0)
        file.write(f"{os.getpid()} on {socket.gethostname()}\n")
        file.flush()
    except OSError as error:
        raise NlbflowError(
            f"the folder {LOCK.parent.absolute()} cannot be written to ({error.strerror}); make room there or make it "
            "writable, then run again."
        ) from error
    date_back()


def release_folder() -> None:
    """Release the results folder, because this run is over and another process continues."""
    while _held:
        _held.pop().close()


def _lock(file: TextIO) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            return
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        _held.clear()
        raise NlbflowError(
            f"the folder {Path.cwd()} is in use by a live run of snakemake (process {holder}); wait for it or stop it, "
            "then run again."
        ) from None


def date_back() -> None:
    """Date files from the future to a second ago, keeping their order. They were made while the clock was ahead, and
    what is made from them now would count as older."""
    now, ahead = time.time_ns(), {}
    # logs too, because Snakemake counts a job's benchmark file among its outputs
    for top in ("data", "results", "logs"):
        for folder, _, names in os.walk(top):
            for path in (os.path.join(folder, name) for name in names):
                if (modified := os.lstat(path).st_mtime_ns) > now:
                    ahead.setdefault(modified, []).append(path)
    for age, (_, paths) in enumerate(sorted(ahead.items(), reverse=True)):
        for path in paths:
            with suppress(OSError):  # another user's file keeps its date
                os.utime(path, ns=(now, now - 1_000_000_000 - age), follow_symlinks=False)
