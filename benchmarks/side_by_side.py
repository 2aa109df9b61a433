"""What the comparisons share: an environment for the other software, and a child process measured from outside.

Only Python's own library is imported here, so any interpreter starts a benchmark. That keeps this process small too,
which matters: Linux counts the memory of a process before its `exec` into the peak of the program it becomes.
"""

import os
import re
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

# Python packages to compare with, beside the numpy, scipy and scikit-learn that nlbflow pins.
ELEPHANT = ("elephant==1.2.1", "neo==0.14.6", "quantities==0.16.4")
NLB_TOOLS = "nlb-tools==0.0.4"
# Built with what is installed: it imports numpy and cython in its setup.
SSM = "ssm==0.0.1"
SSM_NEEDS = ("autograd==1.9.1", "cython==3.3.1", "tqdm==4.70.1", "setuptools==80.9.0")
SSM_FIX = ("autograd.scipy.misc", "autograd.scipy.special")
NLB_TOOLS_NEEDS = ("numpy", "scipy", "pandas", "h5py", "hdmf", "pynwb", "scikit-learn")
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

    nlb_tools' own pins cannot be met by a Python of today, so it is installed without them, beside the versions that
    nlbflow pins.
    """
    return _environment("nlb_tools", _pinned(NLB_TOOLS_NEEDS), NLB_TOOLS, mend_nlb_tools)


def elephant_python() -> Path:
    """The interpreter of an environment with elephant and scikit-learn."""
    return _environment("elephant", [*_pinned(("numpy", "scipy", "scikit-learn")), *ELEPHANT])


def ssm_python() -> Path:
    """The interpreter of an environment with ssm, mended."""
    return _environment("ssm", [*_pinned(("numpy", "scipy", "matplotlib", "scikit-learn")), *SSM_NEEDS], SSM, mend_ssm)


def _environment(
    name: str, packages: list[str], alone: str | None = None, mend: Callable[[Path], None] | None = None
) -> Path:
    """The interpreter of an environment of its own, made on first use under .cache/.

    Args:
        name: its folder.
        packages: what is installed as usual.
        alone: what is then built and installed without what it asks for.
        mend: what is done last, given the folder of the installed packages.
    """
    folder = ROOT / ".cache/benchmarks" / name
    python, done, content = folder / "bin/python", folder / "done", repr((packages, alone, NLB_TOOLS_FIXES, SSM_FIX))
    if not done.exists() or done.read_text() != content:
        print(
            f"Installing {', '.join(filter(None, [*packages, alone]))} into {folder.relative_to(ROOT)} ...", flush=True
        )
        _run(PYTHON, "-m", "venv", "--clear", folder)
        install = (python, "-m", "pip", "install", "-q", "--disable-pip-version-check")
        _run(*install, *packages)
        if alone:
            _run(*install, "--no-deps", *(["--no-build-isolation"] if alone == SSM else []), alone)
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
            sys.exit(f"{source} does not hold {old.strip()!r} exactly once; adapt NLB_TOOLS_FIXES to {NLB_TOOLS}.")
        text = text.replace(old, new)
    source.write_text(text)


def _pinned(names: tuple[str, ...]) -> list[str]:
    """name==version of each, as locked for nlbflow's tests."""
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements/test.lock").read_text(), re.MULTILINE))
    return [f"{name}=={locked[name]}" for name in names]


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
