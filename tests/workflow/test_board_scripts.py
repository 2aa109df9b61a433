"""The scripts behind the board's workflows: what a pull request adds is scored, and the board is published."""

import json
import os
import subprocess
import sys

import pytest
import yaml

import check_entries
from entry_files import Host, write_entry, write_rates
from nlbflow.planning.unfinished import Failure, Unfinished
from publish_board import of_entries, tell_changes
from workflow import ROOT, copy_code, run


def git(folder, *words: str) -> str:
    named = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *named, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """(a repository of the project without entries, the host of a submission, a small config)."""
    base = tmp_path_factory.mktemp("project")
    code = copy_code(base / "code")
    (code / "entries").mkdir()
    (code / "entries/README.md").write_text("Entries.")
    (code / ".gitignore").write_text("results\ndata\nlogs\n.snakemake\n__pycache__\n")
    small = yaml.safe_load((ROOT / "tests/helpers/small.yaml").read_text())
    small["run"] |= {"bin_ms": [5], "phases": ["val"], "models": ["mean_rate"], "entries": ["all"]}
    small["entry_hosts"] = ["127.0.0.1"]
    config = base / "small.yaml"
    config.write_text(yaml.safe_dump(small))
    run(code, code, "results/simulated_maze/5ms/val/mean_rate/0/prediction.h5", config=config)
    served = base / "served"
    served.mkdir()
    made = code / "results/simulated_maze/5ms/val/mean_rate/0/prediction.h5"
    write_rates(made, served / "rates.h5", "simulated_maze")
    git(code, "init")
    git(code, "add", "-A")
    git(code, "commit", "-m", "The project")
    host = Host(served)
    yield code, host, config
    host.close()


def script(code, name: str, *words: str, summary=None) -> tuple[int, str]:
    environment = dict(os.environ) | ({"GITHUB_STEP_SUMMARY": str(summary)} if summary else {})
    environment.pop("GITHUB_STEP_SUMMARY", None) if summary is None else None
    command = [sys.executable, str(code / "scripts" / name), *words]
    done = subprocess.run(
        command, cwd=code, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600
    )
    return done.returncode, done.stdout


def test_what_a_pull_request_adds_is_scored_and_no_code_of_it_is_run(project, tmp_path):
    code, host, config = project
    base = git(code, "rev-parse", "HEAD")
    write_entry(code / "entries", "fresh", files={"val": [host.file("rates.h5")]})
    folder = write_entry(code / "entries", "coded", title="Coded", model="coded.py")
    (folder / "coded.py").write_text(f'open({str(tmp_path / "ran")!r}, "w")')
    write_entry(code / "entries", "broken", title="=1", files={"val": [host.file("rates.h5")]})
    git(code, "checkout", "-b", "entry")
    git(code, "add", "-A")
    (code / "Snakefile").write_text("raise SystemExit('code of the pull request')")
    git(code, "commit", "-am", "Entries, and more")
    head = git(code, "rev-parse", "HEAD")
    git(code, "checkout", base)
    words = base, head, "--configfile", str(config)
    status, output = script(code, "check_entries.py", *words, summary=tmp_path / "summary")
    told = (tmp_path / "summary").read_text()
    # in the order of their names
    broken, coded, fresh = told.split("## broken")[1].split("## coded")[0], *told.split("## coded")[1].split("## fresh")
    assert status == 1, output
    assert "key title is '=1'" in broken
    assert "a maintainer reads it" in coded and not (tmp_path / "ran").exists()
    assert "changes 'Snakefile'" in told and "adds 'entries/coded/coded.py'" in told
    assert "| fresh" in fresh and "reduced_rank" in fresh and "S1: scored here" in fresh


def test_an_entry_comes_alone(monkeypatch, capfd):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.setattr(check_entries, "git", lambda *words: "")
    monkeypatch.setattr(check_entries, "check", lambda name, words: (True, "its board"))
    for changed, status, told in (
        ([("A", "entries/fresh/entry.yaml")], 0, "## fresh\n\nits board"),
        ([("M", "entries/fresh/entry.yaml")], 0, "It changes an entry that is there already."),
        ([("A", "entries/fresh/entry.yaml"), ("M", "Snakefile")], 1, "changes 'Snakefile'"),
        (
            [("A", "entries/fresh/entry.yaml"), ("D", "entries/rival/entry.yaml")],
            1,
            "deletes 'entries/rival/entry.yaml'",
        ),
        ([("A", "entries/fresh/more/entry.yaml")], 1, "adds 'entries/fresh/more/entry.yaml'"),
        ([("A", "entries/README.md")], 1, "No entry was added"),
        ([("A", 'entries/"evil"/entry.yaml')], 1, "is no name"),
        ([("A", "entries/mint_tuned/entry.yaml")], 1, "the name of another model"),
    ):
        monkeypatch.setattr(check_entries, "changed_files", lambda *commits, changed=changed: changed)
        assert check_entries.main("base", "head", []) == status, changed
        assert told in capfd.readouterr().out


def test_the_board_is_published_unless_more_than_entries_fails(project, tmp_path):
    code, host, config = project
    wrong = host.file("rates.h5", sha256="1" * 64)
    write_entry(code / "entries", "wrong", title="Wrong", files={"val": [wrong]})
    status, output = script(code, "publish_board.py", str(tmp_path / "site"), "--configfile", str(config))
    assert status == 0, output
    assert "came with the wrong checksum" in (tmp_path / "site/index.html").read_text()
    assert (tmp_path / "site/scores.csv").stat().st_size > 1000
    assert (code / "results/published.json").read_bytes() == (tmp_path / "site/leaderboard.json").read_bytes()


def test_a_feed_tells_what_changed_since_the_board_was_published_last(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    board = json.loads((ROOT / "tests/boards/leaderboard_schema_1.json").read_text())
    feed = tmp_path / "results/changes.atom"
    for value in (0.1, 0.1, 0.2):
        board["places"][0]["rows"][0]["scores"]["co-bps"]["value"] = value
        (tmp_path / "results/leaderboard.json").write_text(json.dumps(board))
        assert not feed.exists()
        tell_changes()
    assert feed.read_text().count("<entry>") == 1 and "0.1000 " in feed.read_text() and "0.2000 " in feed.read_text()
    (tmp_path / "results/published.json").write_text('{"schema_version": 9}')
    tell_changes()
    assert "is of schema_version 9" in capsys.readouterr().err and feed.read_text().count("<entry>") == 1
    assert json.loads((tmp_path / "results/published.json").read_text()) == board


def test_the_board_is_not_published_if_more_than_entries_failed():
    of_wrong = Failure("Fetching", "", "", ["data/entries/wrong/val_0_1111111111111111.h5"])
    of_coded = Failure("Checking", "", "", ["results/checks/coded.json"])
    of_ours = Failure("Training", "", "", ["results/d/5ms/val/gru/0/prediction.h5"])
    assert of_entries(Unfinished([of_wrong, of_coded], {}), ["wrong", "coded"])
    assert not of_entries(Unfinished([of_wrong, of_ours], {}), ["wrong", "coded"])
    # an entry that is called as a folder is excuses nothing
    assert not of_entries(Unfinished([of_ours], {}), ["results", "d", "val", "prediction"])
    assert not of_entries(Unfinished([], {}), ["wrong"])
