"""A job's process ends with its run and within its time limit, and leaves no process behind (Linux)."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
# The kernel ends a job so many seconds after its limit if the job's own thread could not.
GRACE = 30


def die_with_run() -> None:
    """Ask the kernel to kill this process when its parent ends, so that a killed run leaves no job behind, and to make
    it the parent of processes that its children leave (see `end_children`)."""
    if sys.platform != "linux":
        return
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    # the run may have been killed before this request
    run = os.environ.get("NLBFLOW_RUN")
    if run and not Path("/proc", run).exists():
        os.kill(os.getpid(), signal.SIGKILL)


def end_children() -> None:
    """Kill the processes that a model started and left; they would keep using the machine and might still write."""
    while children := _children():
        for pid in children:
            # it may have ended, or been waited for by a thread of the model, since it was found
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                # its own children become ours and are found in the next round
                os.waitpid(pid, 0)


def _children() -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # the name, in parentheses, may contain anything; the parent is the second word after it
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue  # it has ended
        if parent == os.getpid():
            found.append(int(stat.parent.name))
    return found


def limit_time(minutes: float, expire: Callable[[], None]) -> threading.Timer:
    """Call `expire` in a thread when the time is over; cancel the returned timer if the work is done in time."""
    timer = threading.Timer(60 * minutes, expire)
    timer.daemon = True
    timer.start()
    # C code that hangs may block every Python thread; by default, this signal ends the process
    signal.setitimer(signal.ITIMER_REAL, 60 * minutes + GRACE)
    return timer
