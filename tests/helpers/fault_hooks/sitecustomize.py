"""Runs at the start of every Python that has this folder on PYTHONPATH: does a deed at a moment of a stage's job.

FAULT in the environment is JSON: `stage`; `moment`, a number of seconds after the job began, or `writing` (when an
output has its first bytes), or a pattern of files with a `/` in it (when there is one), or `rename N` (right before the
output has its first bytes), or a pattern of files with a `/` in it (when there is one), or `rename N` (right before
the N-th file takes its final name); `deed`, a signal to the job, `run SIGNAL` to the whole run, `memory` (no more of it
than now), or a shell command; `mark`, a file that is made when it is done. It is done once.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

UNFINISHED = ["results/**/.*.tmp", "data/**/.*.tmp"]


def install(fault: dict) -> None:
    renames, script = 0, f"/.{fault['stage']}.py".replace("/", "")

    def watch(event: str, arguments: tuple) -> None:
        nonlocal renames
        # the job opens its log first of all
        if event == "open" and not state and str(arguments[0]).startswith(f"logs/{fault['stage']}"):
            state.append("begun")
            if fault["moment"] == "writing":
                threading.Thread(target=wait_for, args=(UNFINISHED,), daemon=True).start()
            elif "/" in str(fault["moment"]):
                threading.Thread(target=wait_for, args=([fault["moment"]],), daemon=True).start()
            elif isinstance(fault["moment"], int | float) and fault["moment"] > 0:
                threading.Timer(fault["moment"], do).start()
            elif fault["moment"] == 0:
                do()
        elif event == "os.rename" and state and not Path(arguments[1]).name.startswith("."):
            renames += 1
            if fault["moment"] == f"rename {renames}":
                do()

    def wait_for(patterns: list[str]) -> None:
        while True:
            try:
                if any(path.stat().st_size for pattern in patterns for path in Path().glob(pattern)):
                    return do()
            except OSError:
                pass  # renamed meanwhile
            time.sleep(0.0002)

    def do() -> None:
        try:
            os.close(os.open(fault["mark"], os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        deed, *what = fault["deed"].split(maxsplit=1)
        if deed == "run":
            os.kill(int(os.environ["NLBFLOW_RUN"]), getattr(signal, what[0]))
        elif deed == "memory":
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used, used))
        elif hasattr(signal, deed):
            os.kill(os.getpid(), getattr(signal, deed))
        else:
            subprocess.run(fault["deed"], shell=True, stderr=subprocess.DEVNULL)

    state = []
    if sys.argv[0].endswith(script):
        sys.addaudithook(watch)


if "FAULT" in os.environ:
    install(json.loads(os.environ["FAULT"]))
