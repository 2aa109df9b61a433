"""What the comparisons share: an environment for the other software, and a child process measured from outside.

Only Python's own library is imported here, so any interpreter starts a benchmark. That keeps this process small too,
which matters: Linux counts the memory of a process before its `exec` into the peak of the program it becomes.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv/bin/python"
# One BLAS thread for both sides, as in nlbflow's own jobs.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

SSM_FIX = ("autograd.scipy.misc", "autograd.scipy.special")
# With pandas >= 1.5 nlb_tools 0.0.4 loses trials, with pandas 3 it fails. These two lines make it give what it gives
# with the pandas it was written for.
NLB_TOOLS_FIXES = (
    ("\n        data = pd.concat(data_list, axis=1)\n", "\n        data = pd.concat(data_list, axis=1).sort_index()\n"),
    ("arr = self.data[signal_type].to_numpy()\n", "arr = self.data[signal_type].to_numpy(copy=True)\n"),
)


@dataclass(frozen=True)
class Measured:
    """A finished process: wall time in s, peak resident memory in MB (10^6 bytes), what it printed, CPU time in s."""

    seconds: float
    peak_mb: float
    output: str
    cpu_seconds: float


def nlb_tools_python() -> Path:
    """The interpreter of an environment with nlb_tools, mended.

    nlb_tools' own pins cannot be met by a Python of today, so it is installed beside the versions that nlbflow pins.
    """
    return _environment("nlb_tools", mend_nlb_tools)


def elephant_python() -> Path:
    """The interpreter of an environment with elephant and scikit-learn."""
    return _environment("elephant")


def ssm_python() -> Path:
    """The interpreter of an environment with ssm, mended."""
    return _environment("ssm", mend_ssm)


def _environment(name: str, mend: Callable[[Path], None] | None = None) -> Path:
    """The interpreter of an environment of its own, made on first use under .cache/.

    Args:
        name: its folder, and its lock's name.
        mend: what is done last, given the folder of the installed packages.
    """
    folder = ROOT / ".cache/benchmarks" / name
    python, done = folder / "bin/python", folder / "done"
    content = repr(((ROOT / f"requirements/{name}.lock").read_text(), NLB_TOOLS_FIXES, SSM_FIX))
    if not done.exists() or done.read_text() != content:
        print(f"Installing requirements/{name}.lock into {folder.relative_to(ROOT)} ...", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        _run(PYTHON, ROOT / "requirements/install.py", folder, name)
        if mend:
            (packages_folder,) = folder.glob("lib/python*/site-packages")
            mend(packages_folder)
        done.write_text(content)
    return python


def mend_ssm(packages_folder: Path) -> None:
    """ssm names a module that autograd has since moved."""
    for source in (packages_folder / "ssm").glob("*.py"):
        source.write_text(source.read_text().replace(*SSM_FIX))


def mend_nlb_tools(packages_folder: Path) -> None:
    """Apply the two fixes to the nlb_tools that is installed there."""
    source = packages_folder / "nlb_tools/nwb_interface.py"
    text = source.read_text()
    for old, new in NLB_TOOLS_FIXES:
        if text.count(old) != 1:
            sys.exit(f"{source} does not hold {old.strip()!r} exactly once; adapt NLB_TOOLS_FIXES to it.")
        text = text.replace(old, new)
    source.write_text(text)


def _run(*command: str | Path) -> None:
    finished = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if finished.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{finished.stderr}")


def measure(*command: str | Path, one_thread: bool = True) -> Measured:
    """Run a command, usually with one BLAS thread; its stderr is passed through. The peak is of its largest process.

    Raises:
        SystemExit: the command failed.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **ONE_THREAD} if one_thread else None,
    )
    with process.stdout:
        output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed with status {process.returncode}.")
    unit = 1 if sys.platform == "darwin" else 1024
    return Measured(seconds, usage.ru_maxrss * unit / 1e6, output, usage.ru_utime + usage.ru_stime)
