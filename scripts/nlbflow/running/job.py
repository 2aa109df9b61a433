"""What surrounds the work of every rule: a log, atomic outputs, one sentence for a fault; and it ends with its run."""

import errno
import io
import logging
import os
import shutil
import sys
import time
import traceback
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

# One BLAS thread on every machine, because sums in another order give other last digits.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[_name] = "1"

from nlbflow.errors import NlbflowError
from nlbflow.running.checksums import seal, set_aside_if_damaged
from nlbflow.running.files import parse_json, read_json
from nlbflow.running.gpus import hold_gpus
from nlbflow.running.lease import holder
from nlbflow.running.process import die_with_run, end_children, limit_time
from nlbflow.running.stamps import is_stamp_of, refuse_edited
from nlbflow.running.store import store_of_run

# The largest size of a log, because a model may print at every step.
LOG_BYTES = 20_000_000
# How torch, CUDA and Python say that memory ran out.
NO_MEMORY = ("out of memory", "can't allocate memory", "can't start new thread")


class Job:
    """A running job: `out` has the temporary path to write each output to, by name; `log` writes a line into the log,
    and `say` on the screen of the run too, for what a person waits for."""

    def __init__(self, out: dict[str, Path], started: float, screen: TextIO):
        self.out, self.started, self.screen = out, started, screen

    @staticmethod
    def log(line: str) -> None:
        logging.getLogger("nlbflow").info(line)

    def say(self, line: str) -> None:
        self.log(line)
        print(f"nlbflow: {line}", file=self.screen, flush=True)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


class LogFile(io.TextIOBase):
    """A job's log. It drops what exceeds LOG_BYTES and what a full disk refuses, so that no result is lost because its
    log cannot be written."""

    encoding = "utf-8"

    def __init__(self, path: str | Path):
        self.left, self.file = LOG_BYTES, None
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            # a buffer would be flushed at exit, when nobody can catch a failure
            self.file = open(path, "wb", buffering=0)
        except OSError as error:
            print(f"nlbflow: the log {path} cannot be written ({error.strerror}).", file=sys.stderr, flush=True)

    def write(self, text: str) -> int:
        content, full = text.encode(errors="replace"), self.left <= 0
        self.left -= len(content)
        if not full:
            self.put(content if self.left > 0 else content[: self.left] + b"\n[the log is full]\n")
        return len(text)

    def fileno(self) -> int:
        return self.file.fileno() if self.file else super().fileno()

    def put(self, content: bytes) -> None:
        with suppress(OSError):
            if self.file:
                self.file.write(content)


@contextmanager
def job(smk, apart: Collection[str] = ()) -> Iterator[Job]:
    """Run a rule's work.

    Outputs are written to unique files beside their targets; when the work is done, all are sealed and renamed. A job
    that fails or is killed leaves nothing under a final name. A job that starts removes what an earlier, killed job
    left, so a survivor of that run fails at its rename instead of overwriting newer results.

    Args:
        smk: the `snakemake` object of a script (output by name, log, input, resources).
        apart: the inputs that the work itself checks one by one.

    Raises:
        SystemExit: the work failed; the log holds the traceback, stderr the sentence.
    """
    die_with_run()
    stderr = sys.stderr
    log = LogFile(smk.log[0]) if smk.log else stderr
    if smk.log:
        sys.stdout = sys.stderr = log
    handlers = [logging.StreamHandler(log)]
    # a job that another one forks has a log of its own
    told = {"level": logging.INFO, "format": "%(asctime)s %(message)s", "datefmt": "%H:%M:%S"}
    logging.basicConfig(**told, handlers=handlers, force=True)
    # absolute, because a model may change the working directory
    targets = {name: Path(path).absolute() for name, path in smk.output.items()}
    stamp = Path(smk.input.stamp).absolute() if "stamp" in smk.input.keys() else None
    out = {name: path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp") for name, path in targets.items()}
    # a child that a model forks, and that returns here, would write the same files
    os.register_at_fork(after_in_child=out.clear)

    def expire() -> None:
        tell(
            f"rule {smk.rule} did not end within its {smk.resources.runtime} minutes; if it needs more, use "
            f"{_resource(smk, 'runtime')}."
        )
        remove(out.values())
        os._exit(1)

    def tell(sentence: str) -> None:
        if smk.log:
            log.put(f"nlbflow: {sentence}\n".encode())
        print(f"nlbflow: {sentence}", file=stderr, flush=True)

    clock, of_run = None, None
    try:
        of_run = holder()
        clock = limit_time(smk.resources.runtime, expire)
        for target in targets.values():
            target.parent.mkdir(parents=True, exist_ok=True)
            remove(target.parent.glob(f".{target.name}.*.tmp"))
        _check_plan(stamp, smk)
        hold_gpus(getattr(smk.resources, "gpu", 0), Job.log)
        if stamp is not None:
            refuse_edited(read_json(stamp))
        for path in (Path(path) for path in smk.input if path not in apart):
            set_aside_if_damaged(path, Job.log)
            if not path.exists():
                raise NlbflowError(f"{path} has disappeared since this run was planned; run again.")
        yield Job(out, time.monotonic(), stderr)
        _check_plan(stamp, smk)
        if holder() not in (of_run, None):
            raise NlbflowError("the run that this job belongs to is over, and another has taken its place.")
        for name, target in targets.items():
            if not out[name].exists():
                raise NlbflowError(
                    f"{target} disappeared while it was written, because another run started it anew; let that finish."
                )
            if out[name].is_file():
                seal(out[name], target, Job.log)
            os.replace(out[name], target)
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        sentence = _sentence(error, smk)
        if sentence is None:
            traceback.print_exc(file=log)
            where = f"; the traceback is in {store_of_run().name_of(smk.log[0])}" if smk.log else ""
            sentence = f"unexpected {type(error).__name__} in rule {smk.rule}: {error}{where}."
        tell(sentence)
        raise SystemExit(1) from None
    finally:
        if clock:
            clock.cancel()
        remove(out.values())
        sys.stderr, sys.stdout = stderr, sys.__stdout__
        if out:
            end_children()


def remove(paths: Iterable[Path]) -> None:
    """Remove files and folders that exist; what a broken disk cannot remove is left to the next job."""
    for path in paths:
        with suppress(OSError):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _check_plan(stamp: Path | None, smk) -> None:
    """Refuse to continue if another call of snakemake has replaced the stamp that this job was planned with."""
    if stamp is None:
        return
    # not a copy, which another call would not replace
    store = store_of_run()
    name = store.name_of(stamp)
    content = store.read(name)
    if content is None or not is_stamp_of(parse_json(content, name), smk.params.digest):
        raise NlbflowError(f"the code or the parameters behind {name} changed since this run was planned; run again.")


def _resource(smk, name: str) -> str:
    """The setting that gives a job more of a resource."""
    model = smk.wildcards.get("model", "").removesuffix("_tuned")
    if model in smk.config["models"]:
        return f"the config key models.{model}.resources.{name}"
    return f"--set-resources {smk.rule}:{name}=..."


def _sentence(error: BaseException, smk) -> str | None:
    """What a user can do about a fault; None if only its traceback can tell."""
    if isinstance(error, NlbflowError):
        return str(error)
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return f"rule {smk.rule} was ended by {error!r} before it finished."
    if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
        more = _resource(smk, "mem_mb")
        return (
            f"rule {smk.rule} ran out of memory ({error}); use a smaller model or batch, or give it more with {more}."
        )
    for code, what in ((errno.ENOSPC, "make room"), (errno.EDQUOT, "make room"), (errno.EROFS, "make it writable")):
        # h5py gives the reason only in its message
        if os.strerror(code) in str(error):
            return f"rule {smk.rule} could not write its results ({os.strerror(code)}); {what} and run again."
    return None
