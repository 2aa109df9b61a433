"""benchmarks/gpu.py, whole, on a CPU: its first run on a GPU is not its first run."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="torch is an extra (pip install torch at the pin in pyproject.toml)")

from workflow import ROOT


def test_rehearsal(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks/gpu.py"), "--rehearse", "--out", str(tmp_path / "gpu.json")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["summary"] == json.loads(printed.splitlines()[-1])
    for step, result in found["steps"].items():
        assert "failed" not in result, (step, result["failed"])
    for name in ("same_twice", "same_after_kill", "same_in_another_process"):
        assert set(found["summary"][name].values()) == {True}, name
    # two trainings on the one device there is
    assert set(found["summary"]["largest_difference_of_rates"].values()) == {0.0}
    assert max(found["summary"]["largest_difference_side_by_side"].values()) < 1e-5
    assert found["summary"]["ndt_over_plain"]["speed"] > 0
    assert found["summary"]["population20_over_20_processes"] > 0
    assert all(case["2"] > 0 for case in found["summary"]["side_by_side"].values())
    assert all(found["summary"]["hours_of_nlb21_at_most"].values())
