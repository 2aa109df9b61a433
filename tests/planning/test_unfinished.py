"""What a run could not make: what is said of it, what is left out of the tables, and how those are made."""

import os
import shlex
import sys

import pytest
from test_selection import selection

from nlbflow.planning.origin import ORIGIN, is_shown, origin_of, set_others_aside
from nlbflow.planning.selection import Selection
from nlbflow.planning.unfinished import (
    STOPPED,
    Failure,
    Unfinished,
    command_again,
    failure_sentence,
    partial_command,
)

PLACE, OTHER = "results/simulated_maze/5ms/val", "results/simulated_maze/20ms/val"


def without(chosen: Selection, reasons: dict, failed: tuple = ()) -> Selection:
    """The selection without what was not made, and whose jobs failed themselves."""
    chosen._unfinished = Unfinished([Failure("a job", "broken.", "", [*failed])], reasons)
    return chosen


def test_a_submission_takes_the_first_seed_that_did_not_fail():
    names = {"models": ("gru",), "bins": (5, 20), "seeds": (0, 1)}
    chosen = without(selection(**names), {f"{PLACE}/gru/0/prediction.h5": "broken."})
    assert [run[1:] for run in chosen.submitted("gru", "val")] == [(5, "val", "gru", 1), (20, "val", "gru", 0)]


def test_a_failed_run_is_left_out_and_its_model_if_it_was_the_only_one():
    names = {"models": ("mean_rate", "gru"), "bins": (5, 20), "seeds": (0, 1)}
    chosen = without(
        selection(**names), {f"{PLACE}/gru/1/prediction.h5": "broken.", f"{PLACE}/gru/1/scores.json": "broken."}
    )
    assert len(chosen.runs()) == 5 and chosen.absences() == []
    notes = [{"dataset": "simulated_maze", "bin_ms": 5, "phase": "val", "notes": ["gru, seed 1, failed: broken"]}]
    assert chosen.failed_seeds() == notes
    both = {f"{PLACE}/gru/{seed}/{file}": "broken." for seed in (0, 1) for file in ("prediction.h5", "scores.json")}
    chosen = without(selection(**names), both)
    assert chosen.absences() == [["simulated_maze", 5, "val", "gru", "failed: broken"]] and chosen.failed_seeds() == []
    assert [run[3] for run in chosen.runs_at("simulated_maze", 5, "val")] == ["mean_rate"]


def test_a_prediction_that_could_not_be_scored_is_left_out():
    chosen = without(selection(("mean_rate", "smoothing")), {f"{PLACE}/mean_rate/0/scores.json": "broken."})
    assert [run[3] for run in chosen.scored()] == ["null", "smoothing"]
    assert chosen.absences() == [["simulated_maze", 5, "val", "mean_rate", "failed: broken"]]


@pytest.mark.parametrize("file", ["input.h5", "dataset.json"])
def test_a_recording_that_could_not_be_cut_leaves_the_other_places(file):
    reasons = {f"{PLACE}/{name}": "no file." for name in (file, "target.h5", "null/0/scores.json", "comparison.json")}
    chosen = without(selection(bins=(5, 20)), reasons)
    assert chosen.cut_places() == chosen.scored_places() == [("simulated_maze", 20, "val")]
    assert chosen.absences() == [["simulated_maze", 5, "val", "all models", "failed: no file"]]
    assert not [path for path in chosen.wanted() if path.startswith(PLACE)]


def test_answers_that_could_not_be_made_leave_the_predictions():
    reasons = {
        f"{PLACE}/{name}": "no answers." for name in ("target.h5", "null/0/scores.json", "mean_rate/0/scores.json")
    }
    chosen = without(selection(), reasons)
    assert chosen.scored() == [] and f"{PLACE}/mean_rate/0/prediction.h5" in chosen.wanted()


def test_a_comparison_that_only_waited_is_made_and_one_that_failed_is_not():
    reasons = {f"{PLACE}/comparison.json": "broken.", f"{PLACE}/smoothing/0/scores.json": "broken."}
    assert without(selection(("mean_rate", "smoothing")), reasons).scored_places()
    assert not without(selection(("mean_rate", "smoothing")), reasons, (f"{PLACE}/comparison.json",)).scored_places()


def test_an_ensemble_waits_for_its_members():
    stanza = {"ensemble": {"members": {"gru": [0, 1]}}}
    files = [f"{PLACE}/{run}/{file}" for run in ("gru/0", "both/0") for file in ("prediction.h5", "scores.json")]
    chosen = without(selection(("gru", "both"), seeds=(0, 1), both=stanza), dict.fromkeys(files, "broken."))
    assert [run[3:] for run in chosen.runs()] == [("gru", 1)]
    assert chosen.absences() == [["simulated_maze", 5, "val", "both", "failed: broken"]]


def test_an_ensemble_whose_only_member_failed_has_failed():
    stanza = {"ensemble": {"members": {"gru": [0]}}}
    files = [f"{PLACE}/{run}/{file}" for run in ("gru/0", "one/0") for file in ("prediction.h5", "scores.json")]
    chosen = without(selection(("gru", "one"), one=stanza), dict.fromkeys(files, "gru broke."))
    assert {row[3]: row[4] for row in chosen.absences()} == dict.fromkeys(("gru", "one"), "failed: gru broke")


def test_it_is_kept_and_read_back(tmp_path):
    path = tmp_path / "unfinished.json"
    assert Unfinished.read(path) == Unfinished()
    found = Unfinished([Failure("Training x", "broken.", "logs/x.log", ["a"])], {"a": "broken.", "b": "broken."})
    found.write(path)
    assert Unfinished.read(path) == found


def test_the_first_five_are_told():
    failures = [Failure(f"Training {i}", "broken.", "" if i else "logs/0.log", []) for i in range(7)]
    told = Unfinished(failures).tell(["results/leaderboard.md"], True, False, "snakemake").splitlines()
    assert told[0] == "nlbflow: 7 jobs failed:" and told[1] == "  Training 0: broken. (log: logs/0.log)"
    assert told[6] == "  ... and 2 more: results/unfinished.json" and len(told) == 9
    assert told[-2:] == [
        "What succeeded is shown in results/leaderboard.md.",
        "Fix what failed, then continue with: snakemake",
    ]


@pytest.mark.parametrize(
    ("shown", "whole", "healed", "reasons", "said"),
    [
        ([], True, False, {}, "No tables were made.\nFix"),
        (
            [],
            False,
            False,
            {},
            "No tables were made. Not all tables and figures of what succeeded could be made: see above.",
        ),
        (["a", "b"], False, False, {}, "What succeeded is shown in a and b. Not all tables and figures"),
        ([], True, False, {"a": STOPPED}, "The run was stopped and made no tables; add `--config partial=True`"),
        (["a"], True, False, {"a": STOPPED}, "What succeeded is shown in a.\nFix"),
        (["a"], True, True, {}, "What succeeded is shown in a.\nA second attempt made all that was missing"),
    ],
)
def test_what_is_shown_is_told_as_it_is(shown, whole, healed, reasons, said):
    assert said in Unfinished([Failure("Training x", "broken.", "", [])], reasons).tell(
        shown, whole, healed, "snakemake"
    )


def test_what_a_job_said_last(tmp_path):
    log = tmp_path / "a.log"
    silent = "it ended without a message; it may have been killed, or have run out of memory."
    assert failure_sentence(str(log), 0) == failure_sentence("", 0) == silent
    refused = silent.replace(".", ", or was refused by the cluster, whose reason is above.")
    assert failure_sentence(str(log), 0, True) == failure_sentence("", 0, True) == refused
    log.write_text("12:00 nlbflow: not this\nnlbflow: first\nnlbflow: the model broke.\nmore\n")
    assert failure_sentence(str(log), 0) == "the model broke."
    os.utime(log, (100, 100))
    assert failure_sentence(str(log), 101) == silent and failure_sentence(str(log), 101, True) == refused


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("", "--nolock --config partial=True"),
        ("paper --configfile a.yaml", "paper --configfile a.yaml --nolock --config partial=True"),
        ("--config a=1 b=2 -n", "--nolock --config partial=True a=1 b=2 -n"),
        ("-C a=1 --config b=2", "-C a=1 --nolock --config partial=True b=2"),
        ("--config=a=1=2 paper", "paper --nolock --config partial=True a=1=2"),
        ("-c 2 -- paper", "-c 2 --nolock --config partial=True -- paper"),
        ("--config a=1 -- paper", "--nolock --config partial=True a=1 -- paper"),
        ("--config=a=1 -- paper", "--nolock --config partial=True a=1 -- paper"),
        ("-F -c 2", "-c 2 --nolock --config partial=True"),
        ("-R train score --cores 2", "--cores 2 --nolock --config partial=True"),
        ("--forcerun train -k paper", "-k paper --nolock --config partial=True"),
        ("--until train", None),
        ("--batch=all=1/3", None),
    ],
)
def test_the_run_that_makes_tables_of_what_there_is(words, wanted):
    assert partial_command(words.split(), {}) == (None if wanted is None else wanted.split())


def test_the_second_run_keeps_the_config_of_a_profile():
    given = {"data_folder": "my data", "run": {"bin_ms": [5]}}
    values = ['data_folder="my data"', 'run={"bin_ms": [5]}']
    expected = ["--workflow-profile", "p", "--nolock", "--config", "partial=True", *values, "--", "paper"]
    assert partial_command(["--workflow-profile", "p", "--", "paper"], given) == expected
    # values on the command line are among its words already
    assert partial_command(["--config", "a=1"], {"a": 1}) == ["--nolock", "--config", "partial=True", "a=1"]


def test_the_command_that_goes_on_makes_nothing_anew_twice():
    assert command_again(".venv/bin/snakemake", ["-F", "--cores", "2"]) == ".venv/bin/snakemake --cores 2"
    python = shlex.quote(sys.executable)
    assert command_again("x/snakemake/__main__.py", ["a b"]) == f"{python} -m snakemake 'a b'"


def test_only_what_changes_a_result_makes_another_selection():
    # every config has datasets
    mine = {"datasets": {"mine": {"align": "cue", "task": "one"}}}
    first = origin_of({"run": 1, "partial": False, "data_folder": "", **mine}, [])
    assert first["config"] == ["config.yaml"] and len(first["selection"]) == 12
    told = {"datasets": {"mine": {"align": "cue", "links": {"more": "https://example.org"}}}}
    again = origin_of({"run": 1, "partial": True, "data_folder": "here", **told}, ["/x/a.yaml"])
    assert again == {"config": ["a.yaml"], "selection": first["selection"]}
    assert origin_of({"run": 2, "partial": False, **mine}, [])["selection"] != first["selection"]
    other = {"datasets": {"mine": {"align": "go", "task": "one"}}}
    assert origin_of({"run": 1, "partial": False, **other}, [])["selection"] != first["selection"]


def test_what_shows_a_selection():
    shown = ("results/leaderboard.md", "results/figures/a.png", "results/tables/a.csv", "results/scores.csv")
    assert all(map(is_shown, shown))
    assert not any(map(is_shown, (f"{PLACE}/input.h5", "results/stamps/a.json", "results", "data/scores.csv")))


def test_others_are_moved_once_and_nothing_of_ours(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/figures").mkdir(parents=True)
    (tmp_path / "results/paper").mkdir()
    for name in ("leaderboard.md", "scores.csv", "figures/a.png", "paper/main.tex"):
        (tmp_path / "results" / name).write_text("old")
    mine, other = ({"config": [f"{name}.yaml"], "selection": name} for name in ("mine", "other"))
    told = set_others_aside(mine, {"results/figures/a.png"})
    assert told == "3 tables and figures of an unknown config were moved to results/old/unknown"
    assert (tmp_path / "results/old/unknown/paper/main.tex").exists() and (tmp_path / "results/figures/a.png").exists()
    assert set_others_aside(mine, set()) == "" and ORIGIN.exists()
    for _ in range(2):
        (tmp_path / "results/leaderboard.md").write_text("mine")
        assert "of mine.yaml, selection mine were moved to results/old/mine" in set_others_aside(other, set())
        assert (tmp_path / "results/old/mine/leaderboard.md").read_text() == "mine"
        set_others_aside(mine, set())
