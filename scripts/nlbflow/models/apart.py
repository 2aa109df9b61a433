"""A model's code runs apart: in a process of its own, which the kernel lets open its input and nothing else.

That process has the job's input in its memory. It can write to its work folder and to a scratch folder, through which
its result comes back as plain arrays, which are held to the contract again. Where the kernel has no Landlock, the model
runs all the same, and its prediction says that it was not confined.
"""

import ctypes
import errno
import json
import os
import re
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.models.catalogue import submission_path
from nlbflow.recordings.datasets import user_path
from nlbflow.running.bucket import bucket_of_run
from nlbflow.running.confine import confine, devices, system, version
from nlbflow.running.job import NO_MEMORY
from nlbflow.running.process import PR_SET_PDEATHSIG
from nlbflow.running.code import LIBRARY

RESULT, FAULT = "result.json", "fault.json"
RECORDINGS = (".nwb", ".h5", ".hdf5")
DENIED = "Permission denied"
# Arrays by name, or columns by name under `history`; and facts.
Predicted = tuple[dict, dict]


@dataclass(frozen=True)
class Reach:
    """What a model's process can open, beside Python and the system's libraries: its own code, and `work`.

    `hidden` cannot be read wherever it lies. `free` is for oracles, which see the answers: they are not confined.
    """

    file: Path
    work: Path | None = None
    hidden: tuple[Path, ...] = ()
    free: bool = False

    @classmethod
    def of(cls, file: Path, config: Mapping, work: Path | None = None) -> "Reach":
        """The reach of a model in a run with a config: no results, no recordings and no submissions."""
        here = Path.cwd()
        hidden = [here / "results", here / "data"]
        folder = Path(config["data_folder"] or here / "data").expanduser().absolute()
        for stanza in config["datasets"].values():
            hidden += [user_path(config["data_folder"], part["path"]) for part in stanza.get("files", {}).values()]
        for stanza in config["models"].values():
            if "prediction" in stanza:
                hidden += [submission_path(stanza, phase) for phase in ("val", "test")]
        if folder in file.absolute().parents:
            # the model lies among the recordings: those are hidden one by one
            hidden += _recordings(folder, hidden[:2])
        else:
            hidden.append(folder)
        if bucket := bucket_of_run():
            hidden.append(bucket.local)
        return cls(file, work, tuple(hidden))

    def take(self, scratch: Path) -> str:
        """Take everything else from this process, and return how it is confined, or why not."""
        if self.free:
            return "no: an oracle sees the answers"
        readable = [*system(), LIBRARY.parent, self.file.parent]
        writable = [scratch, *devices(), *([self.work] if self.work else [])]
        if not version():
            return "no: the kernel has no Landlock"
        # if this fails, the model does not run
        confine(readable, writable, self.hidden)
        return f"Landlock {version()}"


def _recordings(folder: Path, known: list[Path]) -> list[Path]:
    """The recordings below a folder; not those in `known` folders, nor in hidden ones such as an environment's."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and Path(place, name) not in known]
        found += [Path(place, name) for name in files if name.endswith(RECORDINGS)]
    return found


def run_apart(call: Callable[[], list[Predicted]], model: str, reach: Reach) -> tuple[list[Predicted], str]:
    """Call in a process of its own.

    Args:
        call: gives what was predicted, with each seed.
        model: its name, for the error.
        reach: what the process can open.

    Returns:
        (what `call` gave; how it was confined, or why not).

    Raises:
        NlbflowError: the call raised, opened what it may not, or ended its process.
    """
    with tempfile.TemporaryDirectory(prefix="nlbflow-") as folder:
        scratch = Path(os.path.realpath(folder))
        parent = os.getpid()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        with warnings.catch_warnings():
            # threads that wait for the time limit hold no lock that the child needs
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if not pid:
            _child(call, model, reach, scratch, parent)
        try:
            _, status = os.waitpid(pid, 0)
        except BaseException:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        if (scratch / FAULT).is_file():
            _raise(json.loads((scratch / FAULT).read_text()))
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            reason = " (often for want of memory)" if code == -signal.SIGKILL else ""
            raise NlbflowError(f"the process of model {model} was ended by {signal.Signals(-code).name}{reason}.")
        if not (scratch / RESULT).is_file():
            raise NlbflowError(
                f"the process of model {model} ended itself with exit code {code} before `predict` returned; let "
                "`predict` return its rates, and call no exit."
            )
        return _take_over(scratch)


def _child(call: Callable, model: str, reach: Reach, scratch: Path, parent: int) -> None:
    """What the process does; it never returns."""
    code = 1
    try:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
        _close_files()
        # libraries keep here what they would keep in the home folder
        os.environ |= dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "MPLCONFIGDIR"), str(scratch))
        tempfile.tempdir = None
        own = os.getpid()
        try:
            confined = reach.take(scratch)
            predicted = call()
            if os.getpid() != own:
                os._exit(0)  # this is a process that the model forked, and it returned too
            _hand_over(scratch, predicted, confined)
            code = 0
        except BaseException as error:
            if not (isinstance(error, NlbflowError | SystemExit) or _denied(error, reach)):
                traceback.print_exc()
            fault = {"sentence": _sentence(error, model, reach), "errno": getattr(error, "errno", None)}
            memory = isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY)
            (scratch / FAULT).write_text(json.dumps({**fault, "memory": memory and str(error)}))
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(code)


def _raise(fault: dict) -> None:
    """Raise the fault that the process reported, as the kind of error for which the job has advice."""
    if fault["memory"]:
        raise MemoryError(fault["memory"])
    if fault["errno"] in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        raise OSError(fault["errno"], os.strerror(fault["errno"]))
    raise NlbflowError(fault["sentence"])


def _close_files() -> None:
    """Close all that the job has open except the standard streams and its log."""
    kept = {0, 1, 2}
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            kept.add(stream.fileno())
    for name in os.listdir("/proc/self/fd") if sys.platform == "linux" else ():
        if int(name) not in kept:
            with suppress(OSError):
                os.close(int(name))


def _denied(error: BaseException, reach: Reach) -> bool:
    return isinstance(error, OSError) and not reach.free and DENIED in str(error)


def _sentence(error: BaseException, model: str, reach: Reach) -> str:
    """What went wrong in a model, and in which line of it."""
    if isinstance(error, NlbflowError):
        return str(error)
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return f"model {model} was ended by {error!r} before `predict` returned."
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).parent == reach.file.parent]
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    if _denied(error, reach):
        # h5py gives the name only in its text
        named = re.search(r"name = '([^']+)'", str(error))
        what = error.filename or (named[1] if named else str(error))
        return (
            f"model {model}{where} was kept from {what}: a model sees its input and its own folder, writes to "
            "data.work, and has no network (docs/models.md)."
        )
    return f"model {model} raised {type(error).__name__}{where}: {error}."


def _hand_over(scratch: Path, predicted: list[Predicted], confined: str) -> None:
    told = []
    for number, (arrays, facts) in enumerate(predicted):
        columns = [(("history", name), column) for name, column in arrays.get("history", {}).items()]
        named = [*(((name,), array) for name, array in arrays.items() if name != "history"), *columns]
        for place, (_, array) in enumerate(named):
            np.save(scratch / f"{number}-{place}.npy", np.asarray(array), allow_pickle=False)
        told.append({"names": [key for key, _ in named], "facts": facts})
    (scratch / RESULT).write_text(json.dumps({"predicted": told, "confined": confined}))


def _take_over(scratch: Path) -> tuple[list[Predicted], str]:
    told, predicted = json.loads((scratch / RESULT).read_text()), []
    for number, one in enumerate(told["predicted"]):
        arrays: dict = {}
        for place, (first, *column) in enumerate(one["names"]):
            array = np.load(scratch / f"{number}-{place}.npy", allow_pickle=False)
            if column:
                arrays.setdefault(first, {})[column[0]] = array
            else:
                arrays[first] = array
        predicted.append((arrays, one["facts"]))
    return predicted, told["confined"]
