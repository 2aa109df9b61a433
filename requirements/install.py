"""A virtual environment with exactly what a lock lists: install.py FOLDER LOCK [--torch cpu|gpu].

Everything that nlbflow installs, anywhere, it installs this way, so that nothing published after a lock was made can
change or break an installation:

- pip resolves nothing (`--no-deps`): it takes each version that the lock names, if its hash is in the lock.
- What lies on PyPI as source alone (`SOURCES`) is built last, with the build tools that are in its lock too: pip would
  otherwise fetch the newest ones. Everything else comes as a wheel.
- `pip check` has the last word.

torch comes in two builds, of one version. PyPI's, on Linux, is for NVIDIA's GPUs and brings gigabytes of libraries; the
lock has all of them. The CPU's is not on PyPI, so the lock cannot have its hash: it is installed by its exact version,
from a source that pip has been told of (PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS or its configuration), without the GPU's
libraries. `--torch` chooses; without it the CPU build is taken where such a source offers it, as pip itself would do.

Only Python's own library is imported here, as an environment has nothing else yet.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

LOCKS = Path(__file__).resolve().parent
# On PyPI as source alone. A new one shows itself: pip finds no wheel of it.
SOURCES = ("connection-pool", "ssm")
# What PyPI's torch needs beyond what any build of it does.
GPU_ONLY = re.compile(r"(torch|triton|(cuda|nvidia)-[\w-]+)==")
# Asks for versions that no Python of today has; benchmarks/side_by_side.py mends it for those it gets.
ASKS_IN_VAIN = "nlb-tools 0.0.4 has requirement"


def read(lock: Path) -> list[str]:
    """The lock's requirements, each with its marker, its hashes and the comment that says what wants it."""
    return re.findall(r"^[\w.-]+==.*\n(?:[ ]+.*\n)*", lock.read_text(), re.MULTILINE)


def name_of(requirement: str) -> str:
    return requirement.split("==")[0]


def pip(python: Path | str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def install(python: Path | str, requirements: list[str], *options: str) -> None:
    """Install these and nothing else into the environment of `python`."""
    wheels = [r for r in requirements if name_of(r) not in SOURCES]
    built = [r for r in requirements if name_of(r) in SOURCES]
    for part, how in ((wheels, ["--only-binary=:all:"]), (built, ["--no-build-isolation", "--use-pep517"])):
        if part:
            with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
                file.write("".join(part))
                file.flush()
                must(pip(python, "install", "-q", "--no-deps", "--require-hashes", *how, *options, "-r", file.name))


def install_cpu_torch(python: Path, requirements: list[str], needed: bool) -> bool:
    """Whether the CPU build of the locked version could be had; it is then installed."""
    (version,) = (re.match(r"torch==([\w.]+)", r)[1] for r in requirements if name_of(r) == "torch")
    done = pip(python, "install", "-q", "--no-deps", "--only-binary=:all:", f"torch=={version}+cpu")
    missing = "No matching distribution" in done.stderr
    if missing and needed:
        sys.exit(
            f"No source that pip knows offers torch {version}+cpu for this Python. Name one that does "
            "(docs/installing.md), or take PyPI's build with TORCH=gpu."
        )
    if not missing:
        must(done)
    return not missing


def check(python: Path, folder: Path) -> None:
    """Nothing that is installed lacks what it asks for."""
    done = pip(python, "check")
    wrong = [line for line in done.stdout.splitlines() if not line.startswith(ASKS_IN_VAIN)]
    if done.returncode and wrong:
        sys.exit("\n".join([*wrong, f"The packages in {folder} do not fit together: delete it and install again."]))


def must(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}{' '.join(done.args)} failed.")


def main(folder: Path, lock: str, torch: str | None) -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 (who runs this has what the machine has)
        sys.exit(f"nlbflow needs Python 3.11 or newer; found {sys.version.split()[0]}. Try: make PYTHON=python3.12 ...")
    python = folder / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    requirements = read(LOCKS / f"{lock}.lock")
    has_torch = any(name_of(r) == "torch" for r in requirements)
    if has_torch and torch != "gpu" and install_cpu_torch(python, requirements, needed=torch == "cpu"):
        requirements = [r for r in requirements if not GPU_ONLY.match(r)]
    install(python, requirements)
    check(python, folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the environment; made where there is none")
    parser.add_argument("lock", help="name of a lock beside this file, without .lock")
    parser.add_argument("--torch", choices=("cpu", "gpu"), help="which build of torch")
    main(**vars(parser.parse_args()))
