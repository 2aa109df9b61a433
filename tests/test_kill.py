"""Killed runs: nothing half-written, no job lives on to overwrite, a resumed run ends with the same tables."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workflow import ROOT, command, copy_code, run


def jobs_alive(work: Path) -> list[int]:
    """Processes that work in the folder."""
    alive = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").resolve() == work.resolve() and "(python" in (entry / "stat").read_text():
                alive.append(int(entry.name))
        except OSError:
            continue
    return alive


def resume(code: Path, work: Path) -> None:
    """What `make resume` does."""
    subprocess.run([sys.executable, str(code / "scripts/resume.py")], cwd=work, check=True, timeout=60)
    run(code, work, "--unlock")
    run(code, work)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("seconds", [2.5, 4.0, 6.0])
def test_killed_run_resumes_to_the_same_tables(tmp_path, tmp_path_factory, seconds):
    code, work = copy_code(tmp_path / "code"), tmp_path / "work"
    work.mkdir()
    started = subprocess.Popen(command(code), cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    started.kill()
    started.wait()
    deadline = time.monotonic() + 10
    while jobs_alive(work) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not jobs_alive(work), "jobs outlive their run"
    resume(code, work)
    whole = tmp_path / "whole"
    run(code, whole)
    for table in ("scores.csv", "leaderboard.md"):
        assert (work / "results" / table).read_bytes() == (whole / "results" / table).read_bytes()


JOB = """
import sys, time, pathlib, types
sys.path.insert(0, {scripts!r})
import nlbflow.job
from nlbflow.job import job
smk = types.SimpleNamespace(
    log=[], input={{}}, rule="slow", output={{"out": "results/out.txt"}}, wildcards={{}}, config={{"models": {{}}}},
    resources=types.SimpleNamespace(runtime=1),
)
with job(smk) as run:
    run.out["out"].write_text({text!r})
    pathlib.Path({text!r}).touch()
    time.sleep({seconds})
"""


def start_job(work: Path, text: str, seconds: float) -> subprocess.Popen:
    source = JOB.format(scripts=str(ROOT / "scripts"), text=text, seconds=seconds)
    started = subprocess.Popen([sys.executable, "-c", source], cwd=work, stderr=subprocess.PIPE, text=True)
    while not (work / text).exists() and started.poll() is None:
        time.sleep(0.02)
    return started


def test_job_of_an_earlier_run_cannot_overwrite(tmp_path):
    survivor = start_job(tmp_path, "old", 3)
    newer = start_job(tmp_path, "new", 0)
    assert newer.wait() == 0
    assert survivor.wait() == 1
    assert "another run has started it anew" in survivor.stderr.read()
    assert (tmp_path / "results/out.txt").read_text() == "new"
    assert os.listdir(tmp_path / "results") == ["out.txt"]


def test_job_killed_leaves_nothing_under_the_final_name(tmp_path):
    killed = start_job(tmp_path, "half", 30)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "results/out.txt").exists()
    assert start_job(tmp_path, "whole", 0).wait() == 0
    assert os.listdir(tmp_path / "results") == ["out.txt"]


def test_resume_refuses_while_a_run_is_live(tmp_path):
    hold = f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); from nlbflow.folder import hold_folder; "
    live = subprocess.Popen(
        [sys.executable, "-c", hold + "hold_folder(); print('held', flush=True); input()"],
        cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert live.stdout.readline() == "held\n"
    command = [sys.executable, str(ROOT / "scripts/resume.py")]
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 1 and f"in use by a live run of snakemake (process {live.pid} on" in refused.stderr
    live.kill()
    live.wait()
    assert subprocess.run(command, cwd=tmp_path).returncode == 0
