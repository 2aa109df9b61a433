"""Each GPU for one job at a time, where jobs share a workstation with several. On a cluster, SLURM does this."""

import fcntl
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

from nlbflow.errors import NlbflowError

_held: list[TextIO] = []


def hold_gpus(asked: int, log: Callable[[str], None]) -> None:
    """Wait for free GPUs and show this process only these (CUDA_VISIBLE_DEVICES), until it ends, however it ends.

    A lock file for each GPU, in the folder for temporary files, keeps the jobs of all of a user's runs apart. Nothing
    is done if CUDA_VISIBLE_DEVICES is set (by SLURM or the user), if no GPU is asked for, or if there is none.

    Args:
        asked: the number of GPUs.
        log: gets a line for each step.

    Raises:
        NlbflowError: the job asks for more GPUs than there are.
    """
    if asked == 0 or "CUDA_VISIBLE_DEVICES" in os.environ:
        return
    names = gpu_names()
    if not names:
        return
    if asked > len(names):
        raise NlbflowError(
            f"the model's stanza asks for {asked} GPUs, but this machine has {len(names)}; lower `resources: gpu`."
        )
    log(f"waiting for {asked} of {len(names)} GPUs")
    while len(free := _lock(names, asked)) < asked:
        time.sleep(1)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(free)
    log(f"got {', '.join(free)}")


def gpu_names() -> list[str]:
    """The names of this machine's GPUs, the same in every process; empty without a driver."""
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return []


def _lock(names: list[str], asked: int) -> list[str]:
    """Lock as many free GPUs as asked for, or none: two jobs that each hold one of two would wait for ever."""
    locked = {}
    for name in names:
        file = open(Path(tempfile.gettempdir(), f"nlbflow-{os.getuid()}-{name}.lock"), "w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        locked[name] = file
        if len(locked) == asked:
            _held.extend(locked.values())
            return list(locked)
    for file in locked.values():
        file.close()
    return []


def most_hours(asking: Iterable[tuple[int, int, float]], gpus: bool) -> str:
    """The longest time, in words, that jobs which ask for a GPU can take.

    Args:
        asking: (GPUs, cores, time limit in minutes) of each job that asks for a GPU.
        gpus: whether there are GPUs; otherwise these jobs run on the CPU.
    """
    asking = list(asking)
    if not asking:
        return "no job asks for a GPU"
    if gpus:
        return f"at most {sum(n * minutes for n, _, minutes in asking) / 60:.1f} GPU hours (by the time limits)"
    hours = sum(cores * minutes for _, cores, minutes in asking) / 60
    return f"at most {hours:.1f} CPU hours, as there is no GPU (by the time limits)"
