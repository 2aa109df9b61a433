"""What surrounds the work of every rule: log, atomic outputs, one plain sentence at a fault, and dying with the run."""

import ctypes
import logging
import os
import shutil
import signal
import sys
import time
import traceback
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# One BLAS thread whatever the machine: sums in another order give other last digits.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[_name] = "1"

from nlbflow.errors import NlbflowError
from nlbflow.files import read_json
from nlbflow.gpus import hold_gpus

PR_SET_PDEATHSIG = 1


class Job:
    """A running job: `out` maps the names of its outputs to the temporary paths to write to; `log` prints a line."""

    def __init__(self, out: dict[str, Path], started: float):
        self.out, self.started = out, started

    @staticmethod
    def log(line: str) -> None:
        logging.getLogger("nlbflow").info(line)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


def die_with_run() -> None:
    """Ask the kernel to kill this process when its parent ends, so that a killed run leaves no job behind (Linux)."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # the run may have been killed before that line
    run = os.environ.get("NLBFLOW_RUN")
    if run and not Path("/proc", run).exists():
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def job(smk) -> Iterator[Job]:
    """Run a rule's work.

    Outputs are written to unique files beside their targets and renamed, all together, when the work is done; nothing
    is left under a final name by a job that fails or is killed. A job that was started anew removes what an earlier,
    killed one left, so a survivor of that run fails at its rename instead of overwriting newer results.

    Args:
        smk: the `snakemake` object of a script (output by name, log, input, resources).

    Raises:
        SystemExit: the work raised; the log holds the traceback, stderr the sentence.
    """
    die_with_run()
    stderr = sys.stderr
    handlers: list[logging.Handler] = [logging.StreamHandler(stderr)]
    log_file = None
    if smk.log:
        Path(smk.log[0]).parent.mkdir(parents=True, exist_ok=True)
        log_file = open(smk.log[0], "w", buffering=1)
        handlers = [logging.StreamHandler(log_file)]
        sys.stdout = sys.stderr = log_file
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", handlers=handlers)
    # absolute, since a model may change the working directory
    targets = {name: Path(path).absolute() for name, path in smk.output.items()}
    stamp = Path(smk.input.stamp).absolute() if "stamp" in smk.input.keys() else None
    out = {}
    for name, target in targets.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        for stale in target.parent.glob(f".{target.name}.*.tmp"):
            _remove(stale)
        out[name] = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        _check_plan(stamp, smk)
        hold_gpus(smk.resources.get("gpu", 0), Job.log)
        yield Job(out, time.monotonic())
        _check_plan(stamp, smk)
        for name, target in targets.items():
            if not out[name].exists():
                raise NlbflowError(
                    f"{target} is gone while it was written: another run has started it anew; let that finish."
                )
            os.replace(out[name], target)
    except NlbflowError as error:
        _fail(f"nlbflow: {error}", log_file, stderr)
    except (SystemExit, KeyboardInterrupt) as error:
        _fail(f"nlbflow: rule {smk.rule} was ended by {error!r} before it had finished.", log_file, stderr)
    except Exception as error:
        traceback.print_exc(file=log_file or stderr)
        where = f"; the traceback is in {smk.log[0]}" if smk.log else ""
        _fail(f"nlbflow: unexpected {type(error).__name__} in rule {smk.rule}: {error}{where}.", log_file, stderr)
    finally:
        for path in out.values():
            _remove(path)
        sys.stderr, sys.stdout = stderr, sys.__stdout__


def _remove(path: Path) -> None:
    """Remove a file or a folder, if there is one."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _check_plan(stamp: Path | None, smk) -> None:
    """Refuse to go on when another call of snakemake has replaced what this job was planned with."""
    if stamp is not None and (not stamp.is_file() or read_json(stamp)["digest"] != smk.params.digest):
        raise NlbflowError(
            f"the code or the parameters behind {smk.input.stamp} changed since this run was planned; run again."
        )


def _fail(sentence: str, log_file, stderr) -> None:
    if log_file:
        print(sentence, file=log_file)
    print(sentence, file=stderr, flush=True)
    raise SystemExit(1)
