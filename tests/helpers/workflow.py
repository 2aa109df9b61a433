"""Running the workflow from a test: a copy of the code, a folder to run in, what a run would do."""

import atexit
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from multiprocessing.reduction import DupFd
from pathlib import Path

from forked_scripts import fork_scripts

ROOT = Path(__file__).parents[2]
SMALL = ROOT / "tests/helpers/small.yaml"
PARTS = ("Snakefile", "config.yaml", "rules", "scripts", "schemas", "resources", "profiles", "report", "envs",
         "CITATION.cff")  # fmt: skip


def copy_code(folder: Path) -> Path:
    """A copy of the workflow, as a fresh clone would be."""
    folder.mkdir(parents=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    return folder


def command(code: Path, *arguments: str, config: Path | None = SMALL) -> list[str]:
    base = [sys.executable, "-m", "snakemake", "-s", str(code / "Snakefile"), "--cores", "2"]
    # last, since it takes every word that follows
    return [*base, *arguments, *(["--configfile", str(config)] if config else [])]


def run(code: Path, work: Path, *arguments: str, config: Path | None = SMALL, fails: bool = False) -> str:
    """Run snakemake in `work`; its output. It must succeed, or fail, as said."""
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile("w+", errors="replace") as written:
        # a process that has Snakemake imported is forked, because importing it takes two seconds
        process = PROCESSES.Process(
            target=_snakemake,
            args=(command(code, *arguments, config=config)[3:], str(work), dict(os.environ), DupFd(written.fileno())),
        )
        process.start()
        process.join(900)
        process.kill()
        process.join()
        written.seek(0)
        output = written.read()
    assert (process.exitcode != 0) == fails, output
    return output


PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["preloaded"])


def _snakemake(arguments: list[str], work: str, environment: dict[str, str], output) -> None:
    """What `python -m snakemake` does, in this process."""
    import snakemake.cli

    os.chdir(work)
    os.environ.clear()
    os.environ.update(environment)
    written = output.detach()
    os.dup2(written, 1)
    os.dup2(written, 2)
    sys.stdout, sys.stderr = (open(number, "w", closefd=False, buffering=1) for number in (1, 2))
    sys.argv = [str(Path(snakemake.__file__).with_name("__main__.py")), *arguments]
    # as they are there, without what the tests import; a benchmark's own imports are in this process already
    for name in [name for name in sys.modules if name.split(".")[0] == "nlbflow"]:
        del sys.modules[name]
    sys.path[:] = [path for path in sys.path if not Path(path).resolve().is_relative_to(ROOT) or ".venv" in path]
    fork_scripts()
    try:
        snakemake.cli.main()
    finally:
        # a forked process leaves without them
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()


def planned(code: Path, work: Path, *arguments: str, config: Path | None = SMALL) -> Counter:
    """The messages of the jobs that a run would do."""
    output = run(code, work, "-n", *arguments, config=config)
    return Counter(re.findall(r"^Job \d+: (.*)$", output, re.MULTILINE))


def reproducible(path: Path) -> bytes:
    """A table's bytes; of the leaderboards all but what says when and where they and each run were made."""
    if path.suffix == ".json":
        return json.dumps(json.loads(path.read_text()) | {"made": None}).encode()
    lines = path.read_bytes().split(b"\n")
    differ = (b'id="runs"', b'id="made"', b"Made from ")
    return b"\n".join(line for line in lines if path.stem != "leaderboard" or not any(d in line for d in differ))


def copy_results(source: Path, target: Path, *extra: str) -> Path:
    """Results copied to another folder with their dates, and what else is named."""
    target.mkdir(parents=True)
    for name in ("results", *extra):
        if (source / name).exists():
            subprocess.run(["cp", "-a", str(source / name), str(target / name)], check=True)
    return target


def processes_in(work: Path) -> list[int]:
    """Processes that work in the folder (Linux)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").resolve() == work.resolve() and " Z " not in (entry / "stat").read_text():
                found.append(int(entry.name))
        except OSError:
            continue
    return found
