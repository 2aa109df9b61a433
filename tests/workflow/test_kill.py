"""Killed runs: nothing half-written, no job lives on to overwrite, a resumed run ends with the same tables."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import nlbflow.running.job
from nlbflow.running.folder import date_back
from workflow import ROOT, command, copy_code, processes_in, reproducible, run

TABLES = ("results/scores.csv", "results/leaderboard.md")


def resume(code: Path, work: Path) -> None:
    """What `make resume` does."""
    subprocess.run([sys.executable, str(code / "scripts/resume.py")], cwd=work, check=True, timeout=60)
    run(code, work, "--unlock")
    run(code, work, *TABLES)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("seconds", [*(pytest.param(s, marks=pytest.mark.slow) for s in (2.5, 4.0)), 6.0])
def test_killed_run_resumes_to_the_same_tables(tmp_path, finished, seconds):
    code, work = copy_code(tmp_path / "code"), tmp_path / "work"
    work.mkdir()
    started = subprocess.Popen(command(code, *TABLES), cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    started.kill()
    started.wait()
    deadline = time.monotonic() + 10
    while processes_in(work) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not processes_in(work), "jobs outlive their run"
    resume(code, work)
    for table in TABLES:
        assert reproducible(work / table) == reproducible(finished[1] / table)


JOB = """
import sys, time, pathlib, types
sys.path.insert(0, {scripts!r})
import nlbflow.running.job
from nlbflow.running.job import job
smk = types.SimpleNamespace(
    log=[], input={{}}, rule="slow", output={{"out": "results/out.txt"}}, wildcards={{}}, config={{"models": {{}}}},
    resources=types.SimpleNamespace(runtime={minutes}),
)
with job(smk) as run:
    run.out["out"].write_text({text!r})
    pathlib.Path({text!r}).touch()
    {more}
    time.sleep({seconds})
"""


def start_job(work: Path, text: str, seconds: float, minutes: float = 1, more: str = "") -> subprocess.Popen:
    source = JOB.format(scripts=str(ROOT / "scripts"), text=text, seconds=seconds, minutes=minutes, more=more)
    started = subprocess.Popen([sys.executable, "-c", source], cwd=work, stderr=subprocess.PIPE, text=True)
    while not (work / text).exists() and started.poll() is None:
        time.sleep(0.02)
    return started


def test_job_of_an_earlier_run_cannot_overwrite(tmp_path):
    survivor = start_job(tmp_path, "old", 3)
    newer = start_job(tmp_path, "new", 0)
    assert newer.wait() == 0
    assert survivor.wait() == 1
    assert "another run started it anew" in survivor.stderr.read()
    assert (tmp_path / "results/out.txt").read_text() == "new"
    assert sorted(os.listdir(tmp_path / "results")) == [".out.txt.sha256", "out.txt"]


def test_job_killed_leaves_nothing_under_the_final_name(tmp_path):
    killed = start_job(tmp_path, "half", 30)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "results/out.txt").exists()
    assert start_job(tmp_path, "whole", 0).wait() == 0
    assert sorted(os.listdir(tmp_path / "results")) == [".out.txt.sha256", "out.txt"]


def test_job_that_hangs_is_ended(tmp_path):
    hanging = start_job(tmp_path, "half", 60, minutes=0.01)
    assert hanging.wait(timeout=50) == 1
    assert "rule slow did not end within its 0.01 minutes" in hanging.stderr.read()
    assert not os.listdir(tmp_path / "results")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_child_outlives_its_job(tmp_path):
    # left by a child that has ended, in a session of its own
    shell = "import subprocess; subprocess.run('setsid sleep 300 & sleep 0.2', shell=True)"
    leaving = start_job(tmp_path, "whole", 0, more=shell)
    assert leaving.wait(timeout=60) == 0
    assert not processes_in(tmp_path)


def test_a_forked_child_that_returns_writes_nothing(tmp_path):
    fork = "import os; child = os.fork(); child or run.out['out'].write_text('twice'); child and os.waitpid(child, 0)"
    assert start_job(tmp_path, "once", 0, more=fork).wait(timeout=60) == 0
    assert (tmp_path / "results/out.txt").read_text() == "once"


def test_a_log_takes_so_much_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(nlbflow.running.job, "LOG_BYTES", 1000)
    log = nlbflow.running.job.LogFile(tmp_path / "logs/job.log")
    for _ in range(30):
        assert log.write("x" * 100) == 100
    log.put(b"the last sentence")
    text = (tmp_path / "logs/job.log").read_text()
    assert text.startswith("x" * 900) and text.endswith("the log is full]\nthe last sentence") and len(text) < 1100


def test_a_job_does_without_a_log_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "logs").write_text("a file where a folder should be")
    assert nlbflow.running.job.LogFile(tmp_path / "logs/job.log").write("lost") == 4
    assert "cannot be written" in capsys.readouterr().err


def test_files_of_the_future_are_dated_back_in_their_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    now = time.time()
    dates = {"data/session.nwb": now + 100, "results/input.h5": now + 200, "results/old.h5": now - 5000}
    for name, date in dates.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
        os.utime(name, (date, date))
    date_back()
    found = {name: os.stat(name).st_mtime for name in dates}
    assert sorted(found, key=found.get) == ["results/old.h5", "data/session.nwb", "results/input.h5"]
    assert max(found.values()) < time.time() and found["results/old.h5"] == pytest.approx(now - 5000)


def test_resume_refuses_while_a_run_is_live(tmp_path):
    hold = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); from nlbflow.running.folder import hold_folder; "
    )
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
