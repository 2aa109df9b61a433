"""Where a result comes from: versions, code, commit, device, cost."""

import platform
import re
import resource
import subprocess
import sys
import time
from functools import cache
from importlib import metadata
from pathlib import Path

from nlbflow import METRICS_VERSION, __version__
from nlbflow.running.files import read_json

# `git archive` writes the commit into it.
COMMIT = Path(__file__).resolve().parents[3] / "resources/commit.txt"
PACKAGES = ("numpy", "scipy", "h5py", "pynwb", "dandi", "torch", "snakemake")


@cache
def package_versions() -> dict[str, str]:
    """Versions of the packages that can change a number, as far as they are installed, and of the scoring."""
    versions = {"python": platform.python_version(), "nlbflow": __version__, "metrics": METRICS_VERSION}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@cache
def commit() -> str:
    """The commit of the code, with `+changes` if the working tree differs, but for profiles, which say where jobs run;
    empty where neither git nor the archive that the code came in tells it."""

    def git(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run(["git", *words], cwd=COMMIT.parents[1], capture_output=True, text=True, timeout=20)

    try:
        found = git("describe", "--always", "--abbrev=12", "--exclude=*")
        found.check_returncode()
        changed = git("diff", "--quiet", "HEAD", "--", ".", ":(exclude)profiles").returncode == 1
        return found.stdout.strip() + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        written = COMMIT.read_text().strip() if COMMIT.is_file() else ""
        return written[:12] if re.fullmatch("[0-9a-f]{40}", written) else ""


def made_here() -> str:
    """The version and commit of the code and the date, for what is made now."""
    at = commit()
    code = f"version {__version__}, commit {at}" if at else f"version {__version__}"
    return f"by nlbflow {code}, on {time.strftime('%Y-%m-%d at %H:%M UTC', time.gmtime())}"


def provenance(stamp: str | Path, dataset_version: str, seconds: float, device: str = "cpu") -> dict:
    """What made a result: stamp digest, dataset version, commit, packages, machine, device, date and cost.

    Args:
        stamp: the stamp file of the job.
        dataset_version: the DANDI version, or its substitute.
        seconds: wall time of the work.
        device: what the arithmetic ran on.
    """
    # a model runs in a process of its own
    peak_kb = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "code_digest": read_json(stamp)["digest"],
        "dataset_version": dataset_version,
        "commit": commit(),
        "packages": package_versions(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": device,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": round(seconds, 3),
        # ru_maxrss is in kilobytes on Linux and in bytes on macOS
        "peak_mb": round(peak_kb / (1024 * 1024 if sys.platform == "darwin" else 1024), 1),
    }
