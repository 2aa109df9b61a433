"""One run at a time on a folder: a lock that the kernel gives back when its holder dies, however it dies."""

import errno
import fcntl
import os
import socket
from pathlib import Path

from nlbflow.errors import NlbflowError

LOCK = Path("results/.running")
_held = []


def hold_folder() -> None:
    """Hold the results folder for as long as this process lives; a second call does nothing.

    On a file system without locks there is nothing to hold, and Snakemake's own lock has to do.

    Raises:
        NlbflowError: another live run holds it.
    """
    if _held:
        return
    # the jobs of this run end with it (see job.py)
    os.environ["NLBFLOW_RUN"] = str(os.getpid())
    try:
        LOCK.parent.mkdir(parents=True, exist_ok=True)
        file = open(LOCK, "a+")
    except OSError as error:
        raise NlbflowError(
            f"the folder {LOCK.parent.absolute()} cannot be written to ({error.strerror}); make it writable, or run "
            "elsewhere."
        ) from error
    _held.append(file)
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
            "then go on with `make resume`."
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()} on {socket.gethostname()}\n")
    file.flush()
