"""leaderboard.json: its schema, its numbers, what differs between two runs, and what the reader refuses."""

import copy
import json

import jsonschema
import numpy as np
import pytest

from fake_leaderboard import NOTES, at, written
from fake_page import ABSENT, parts
from nlbflow.boards.changes import changes_between, changes_markdown
from nlbflow.boards.leaderboard_json import read_leaderboard
from nlbflow.errors import NlbflowError
from workflow import ROOT


@pytest.fixture(scope="module")
def made() -> dict:
    return parts(20, (5,), 3)


@pytest.fixture(scope="module")
def text(made) -> str:
    return written({**made, "absent": [*ABSENT, ["nowhere", 5, "val", "all models", "no train file"]]})


@pytest.fixture(scope="module")
def content(text) -> dict:
    return json.loads(text)


def schema() -> dict:
    return json.loads((ROOT / "schemas/leaderboard.schema.json").read_text())


def test_it_keeps_its_schema(content):
    jsonschema.Draft202012Validator.check_schema(schema())
    validator = jsonschema.Draft202012Validator(schema())
    assert not [error.message for error in validator.iter_errors(content)]
    for spoil in (
        lambda c: c.update(extra=1),
        lambda c: c["places"][0]["rows"][0].pop("kind"),
        lambda c: c["places"][0]["rows"][0]["scores"]["co-bps"].update(value="0.3"),
        lambda c: c["made"]["runs"][1].update(prediction_sha256="f00d"),
    ):
        spoilt = copy.deepcopy(content)
        spoil(spoilt)
        assert not validator.is_valid(spoilt)


def test_every_key_of_the_schema_is_described():
    def look(node: dict, where: str) -> None:
        for name, inner in node.get("properties", {}).items():
            told = {**schema()["$defs"].get(inner.get("$ref", "").rsplit("/", 1)[-1], {}), **inner}
            assert told.get("description") or told.get("properties"), f"{where}.{name}"
            look(inner, f"{where}.{name}")
            look(inner.get("items", {}), f"{where}.{name}[]")

    look(schema(), "")
    for name, node in schema()["$defs"].items():
        look(node, name)


def test_numbers_are_those_that_were_scored(made, content):
    entries = {(e["dataset"], e["model"], e["seed"]): e for e in made["entries"]}
    seen = 0
    for place in content["places"]:
        for row in place["rows"]:
            for metric, score in row["scores"].items():
                values = [one["value"] for one in score["by_seed"]]
                found = [entries[place["dataset"], row["model"], seed] for seed in row["seeds"]]
                assert values == [entry["scores"].get(metric) for entry in found]
                ends = [[one["low"], one["high"]] for one in score["by_seed"]]
                assert ends == [[*(entry["intervals"].get(metric) or (None, None))] for entry in found]
                assert score["value"] == pytest.approx(np.mean(values), abs=1e-12)
                seen += len(values)
    assert seen == sum(len(entry["scores"]) for entry in made["entries"])
    ranked = [row for row in at(content, "mc_maze")["rows"] if row["kind"] == "competitor"]
    assert [row["scores"]["co-bps"]["rank"] for row in ranked] == [*range(1, 1 + len(ranked))]
    others = [row["scores"]["co-bps"] for row in at(content, "mc_maze")["rows"] if row["kind"] in ("oracle", "null")]
    assert len(others) == 3 and {score["best_rank"] for score in others} == {None}


def test_what_is_missing_has_its_reason(content):
    absent = {row["model"]: row["reason"] for row in at(content, "mc_rtt")["absent"]}
    others = dict.fromkeys(("stndt", "true_rates"), "no scores were made")
    assert absent == {"condition_psth": ABSENT[0][-1], **others}
    assert at(content, "nowhere")["absent"] == [{"model": None, "reason": "no train file"}]
    smoothing = next(row for row in at(content, "mc_rtt")["rows"] if row["model"] == "smoothing")
    assert smoothing["missing"]["fp-bps"] == "no forecast" and "fp-bps" not in smoothing["scores"]
    assert at(content, "mc_rtt")["notes"] == NOTES[0]["notes"]


def test_published_scores_stand_apart(content, made):
    places = parts(3, (5,), 1)["published"]
    wanted = places.query("dataset == 'mc_maze' and phase == 'val'")
    found = at(content, "mc_maze")["published"]
    assert sum(len(row["scores"]) for row in found) == len(wanted[wanted["bin_ms"].fillna(5) == 5]) > 0
    assert not {row["model"] for row in at(content, "mc_maze")["rows"]} & {row["method"] for row in found}


def test_rows_of_others_have_their_grade_and_source(content):
    told = {row["model"]: (row["grade"], row["source"]) for row in at(content, "mc_maze")["rows"]}
    assert told.pop("gru") == ("S", "of others, 2026-01-31") and {*told.values()} == {(None, None)}


def test_only_what_was_made_differs_between_two_runs(made):
    again = copy.deepcopy(made)
    for entry in again["entries"]:
        entry["prediction_sha256"] = "0" * 64
        for record in filter(None, entry["provenance"].values()):
            record |= {"date": "2027-02-03T04:05:06Z", "seconds": 9.75, "peak_mb": 1.0, "commit": "f00d"}
    first, second = written(made), written(again, date="2027-02-03T04:05:06Z", commit="f00d")
    assert written(made) == first != second
    cut = [text[: text.index('\n "made": {')] for text in (first, second)]
    assert cut[0] == cut[1] and len(cut[0]) > 50_000


def test_what_is_no_number_is_null():
    made = parts(9, (5,), 1)
    entry = next(e for e in made["entries"] if (e["dataset"], e["model"]) == ("mc_maze", "gpfa"))
    entry["scores"]["vel R2"], entry["intervals"]["vel R2"] = float("nan"), (float("-inf"), float("nan"))
    entry["facts"] = {"loss": float("inf"), "widths": [1.0, float("nan")]}
    content = json.loads(written(made), parse_constant=lambda name: pytest.fail(name))
    row = next(row for row in at(content, "mc_maze")["rows"] if row["model"] == "gpfa")
    assert row["scores"]["vel R2"]["by_seed"] == [{"value": None, "low": None, "high": None}]
    run = next(r for r in content["made"]["runs"] if (r["dataset"], r["model"]) == ("mc_maze", "gpfa"))
    assert run["facts"] == {"loss": None, "widths": [1.0, None]}
    jsonschema.Draft202012Validator(schema()).validate(content)


def test_it_is_read_back(text, content, tmp_path):
    (tmp_path / "leaderboard.json").write_text(text)
    assert read_leaderboard(tmp_path / "leaderboard.json") == content


def test_a_file_of_the_first_schema_is_read_for_good():
    """A later layout has its own file, and converts this one."""
    board = read_leaderboard(ROOT / "tests/boards/leaderboard_schema_1.json")
    assert at(board, "mc_rtt")["rows"][0]["scores"]["co-bps"]["rank"] == 1
    assert not changes_between(board, board) and "nothing changed" in changes_markdown(
        changes_between(board, board), board, board
    )


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda c: c.update(schema_version=2), "is of schema_version 2, and this nlbflow reads 1"),
        (lambda c: c.update(schema_version="1"), "has no schema_version"),
        (lambda c: c.pop("places"), "places is missing, which is not the layout"),
        (lambda c: c["places"][1]["rows"][2].update(seeds="0"), r"places\[1\]\.rows\[2\]\.seeds is '0'"),
        (lambda c: c["places"][0]["rows"][0]["scores"]["co-bps"].update(value=[]), r"scores\.co-bps\.value is \[\]"),
        (lambda c: c["made"]["runs"][0].pop("score"), r"made\.runs\[0\]\.score is missing"),
    ],
)
def test_what_is_no_leaderboard_is_refused(content, tmp_path, spoil, sentence):
    spoilt, path = copy.deepcopy(content), tmp_path / "old.json"
    spoil(spoilt)
    path.write_text(json.dumps(spoilt))
    with pytest.raises(NlbflowError, match=sentence):
        read_leaderboard(path)


@pytest.mark.parametrize("text", ["", "[1]", "<html>", "[" * 100_000, '{"schema_version": 1' + "0" * 9_999 + "}"])
def test_nor_what_is_no_json(tmp_path, text):
    (tmp_path / "old.json").write_text(text)
    with pytest.raises(NlbflowError, match=r"old\.json (cannot be read as JSON|has no schema_version)"):
        read_leaderboard(tmp_path / "old.json")
