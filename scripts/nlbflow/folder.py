"""One run at a time on a folder: a lock that the kernel gives back when its holder dies, however it dies."""

import fcntl
import os
from pathlib import Path

from nlbflow.errors import NlbflowError

LOCK = Path("results/.running")
_held = []


def hold_folder() -> None:
    """Hold the results folder for as long as this process lives.

    Raises:
        NlbflowError: another live run holds it.
    """
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    file = open(LOCK, "a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise NlbflowError(
            f"the folder {Path.cwd()} is in use by a live run (process {holder}); wait for it or stop it first."
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    _held.append(file)
