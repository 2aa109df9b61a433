"""The NWB team's checker on a user's recording: with a stand-in for it, and with nwbinspector where it is installed."""

import stat

import pytest

from nlbflow.errors import NlbflowError
from nlbflow.recordings.inspection import COMMAND, find_inspector, importance_of, inspect_recording
from workflow import ROOT

STAND_IN = """#!/usr/bin/env python3
import json, sys
options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
if "broken" in sys.argv[1]:
    sys.exit("cannot read it")
"""
REPORTS = """open(options["--report-file-path"], "w").write("the report")
found = [{"importance": name} for name in ("CRITICAL", "BEST_PRACTICE_VIOLATION", "CRITICAL")]
json.dump({"messages": found}, open(options["--json-file-path"], "w"))
"""


def stand_in(path, source: str) -> str:
    path.write_text(source)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_messages_are_counted_and_the_report_kept(tmp_path):
    command = stand_in(tmp_path / "nwbinspector", STAND_IN + REPORTS)
    said = inspect_recording(command, tmp_path / "a.nwb", tmp_path / "a.txt")
    assert said.endswith("2 critical, 1 best practice violation.")
    assert (tmp_path / "a.txt").read_text() == "the report" and not (tmp_path / "a.json").exists()


def test_a_file_that_cannot_be_read_is_reported(tmp_path):
    command = stand_in(tmp_path / "nwbinspector", STAND_IN + REPORTS)
    assert "could not inspect" in inspect_recording(command, tmp_path / "broken.nwb", tmp_path / "a.txt")
    assert "cannot read it" in (tmp_path / "a.txt").read_text()


def test_without_the_checker_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NlbflowError, match=r"make \.venv-inspect"):
        find_inspector(tmp_path)


def test_importance():
    assert importance_of({"importance": {"name": "CRITICAL", "value": 2}}) == "critical"
    assert importance_of({"importance": "Importance.BEST_PRACTICE_SUGGESTION"}) == "best practice suggestion"


def test_the_checker_itself(tmp_path):
    command = ROOT / COMMAND
    if not command.is_file():
        pytest.skip(f"{COMMAND} is not installed (make .venv-inspect/done)")
    from layouts import write_maze

    recording = write_maze(tmp_path, 0)["train"]
    assert "nwbinspector on" in inspect_recording(str(command), recording, tmp_path / "a.txt")
    assert (tmp_path / "a.txt").stat().st_size
