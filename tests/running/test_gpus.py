"""Jobs that share a workstation with several GPUs: one each, and free again when a job is killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workflow import ROOT

HOLD = """
import os, sys
sys.path.insert(0, {scripts!r})
from nlbflow.running.gpus import hold_gpus
hold_gpus({asked}, lambda line: None)
print(os.environ.get("CUDA_VISIBLE_DEVICES", "all"), flush=True)
input()
"""


@pytest.fixture
def environment(tmp_path, two_gpus) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    return kept | {"PATH": two_gpus, "TMPDIR": str(tmp_path)}


def start(environment: dict[str, str], asked: int) -> subprocess.Popen:
    source = HOLD.format(scripts=str(ROOT / "scripts"), asked=asked)
    return subprocess.Popen(
        [sys.executable, "-c", source], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_each_job_has_a_gpu_of_its_own(environment):
    jobs = [start(environment, 1), start(environment, 1)]
    given = [job.stdout.readline().strip() for job in jobs]
    assert sorted(given) == ["GPU-one", "GPU-two"]
    waiting = start(environment, 1)
    jobs[0].kill()
    jobs[0].wait()
    assert waiting.stdout.readline().strip() == given[0]
    both = start(environment, 2)
    for job in (jobs[1], waiting):
        job.communicate("\n")
    assert both.communicate("\n")[0].strip() == "GPU-one,GPU-two"


def test_what_was_assigned_before_is_left(environment):
    assigned = environment | {"CUDA_VISIBLE_DEVICES": "3"}
    assert start(assigned, 1).communicate("\n")[0].strip() == "3"
    assert start(environment, 0).communicate("\n")[0].strip() == "all"
    Path(environment["TMPDIR"], "bin/nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    assert start(environment, 1).communicate("\n")[0].strip() == "all"


def test_more_than_there_are(environment):
    refused = start(environment, 3)
    assert "asks for 3 GPUs, but this machine has 2" in refused.communicate("\n")[1]
