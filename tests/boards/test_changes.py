"""What `nlbflow changes` says of two builds, and the feed that it extends."""

import copy
import json
import re
from datetime import datetime
from xml.etree import ElementTree

import pytest

from fake_leaderboard import at, written
from fake_page import parts
from nlbflow import cli
from nlbflow.boards import feed
from nlbflow.boards.changes import MOST_ROWS, UNKNOWN, changes_between, changes_html, changes_markdown
from nlbflow.boards.feed import ATOM, add_entry
from nlbflow.errors import NlbflowError

HOSTILE = "<script>alert(1)</script> | =cmd() &amp; `x` \x00\x1b[31m \\input{x}"
PLACE = "mc_maze, 5 ms bins, val phase"


@pytest.fixture(scope="module")
def build() -> dict:
    return json.loads(written(parts(14, (5,), 2)))


@pytest.fixture
def again(build) -> dict:
    """A later build, which a test may change."""
    later = copy.deepcopy(build)
    later["made"] |= {"date": "2026-03-01T12:00:00Z", "commit": "f00d"}
    return later


def row_of(board: dict, model: str, dataset: str = "mc_maze") -> dict:
    return next(row for row in at(board, dataset)["rows"] if row["model"] == model)


def runs_of(board: dict, model: str, dataset: str = "mc_maze") -> list[dict]:
    return [run for run in board["made"]["runs"] if (run["dataset"], run["model"]) == (dataset, model)]


def test_dates_and_commits_alone_are_no_change(build, again):
    for run in again["made"]["runs"]:
        run["prediction_sha256"] = None
    found = changes_between(build, again)
    assert not found and found.summary() == "nothing changed"


def test_a_digit_is_told_however_small(build, again):
    score = row_of(again, "gpfa")["scores"]["co-bps"]
    before = score["value"]
    score["value"] = before + 2e-9
    ((place, model, number, old, new, why),) = changes_between(build, again).digits
    assert (place, model, number, why) == (PLACE, "gpfa", "co-bps", UNKNOWN)
    assert old != new and old.startswith(f"{before:.4f}"[:5]) and len(old.split()[0]) == len(new.split()[0]) < 14


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda row, runs: row.update(metrics_version="2"), "metrics version: 1 → 2"),
        (lambda row, runs: [run["score"].update(dataset_version="new") for run in runs],
         "data version: 0.220113.0400 → new"),
        (lambda row, runs: row.update(seeds=[0, 1, 2]), "seeds: 0, 1 → 0, 1, 2"),
        (lambda row, runs: [run["params"].update(width=9) for run in runs], "parameters width"),
        (lambda row, runs: [run["score"].update(code_digest="new") for run in runs],
         "code or settings of the scoring: 0123456789abcdef → new"),
        (lambda row, runs: [run["prediction"].update(code_digest="new") for run in runs],
         r"code, environment or parameters of the model: \w+, \w+ → new"),
        (lambda row, runs: [run["prediction"]["packages"].update(numpy="9.9") for run in runs],
         "numpy: 2.4.6 → 2.4.6, 9.9"),
        (lambda row, runs: [run["prediction"].update(device="tpu") for run in runs], "device: cuda → tpu"),
    ],
)  # fmt: skip
def test_why_a_number_changed(build, again, change, why):
    row = row_of(again, "ndt")
    row["scores"]["co-bps"]["value"] += 0.01
    change(row, runs_of(again, "ndt"))
    (line,) = changes_between(build, again).digits
    assert re.fullmatch(why, line[-1]), line


def test_the_code_behind_the_answers_is_a_reason(build, again):
    row_of(again, "ndt")["scores"]["vel R2"]["value"] += 0.01
    for item in again["made"]["answers"]:
        item["made"]["code_digest"] = "new"
    (line,) = changes_between(build, again).digits
    assert line[-1] == "code or definition behind the answers: 0123456789abcdef → new"


def test_new_and_gone_rows(build, again):
    place = at(again, "mc_maze")
    added = copy.deepcopy(row_of(again, "ndt")) | {"model": "mine"}
    place["rows"] = [row for row in place["rows"] if row["model"] not in ("gpfa", "lfads")] + [added]
    place["absent"].append({"model": "gpfa", "reason": "failed: it broke"})
    again["places"] = [p for p in again["places"] if p["dataset"] != "dmfc_rsg"]
    found = changes_between(build, again)
    score = added["scores"]["co-bps"]
    ends = f"[{score['low']:.4f}, {score['high']:.4f}]"
    assert [line[:3] for line in found.new] == [[PLACE, "mine", f"{score['value']:.4f} {ends}"]]
    assert [line for line in found.gone if line[0] == PLACE] == [
        [PLACE, "gpfa", "failed: it broke"],
        [PLACE, "lfads", "no longer selected"],
    ]
    assert len(found.gone) == 2 + len(at(build, "dmfc_rsg")["rows"]) and not found.digits and not found.published


def test_ranks_kinds_and_published_scores(build, again):
    row_of(again, "ndt")["scores"]["co-bps"] |= {"rank": 12, "best_rank": 11, "worst_rank": 14}
    row_of(again, "gru")["kind"] = "implausible"
    published = at(again, "mc_maze")["published"][0]
    metric, value = next(iter(published["scores"].items()))
    published["scores"][metric] = value + 0.1
    found = changes_between(build, again)
    ((place, metric_ranked, models),) = found.ranks
    assert (place, metric_ranked) == (PLACE, "co-bps") and re.fullmatch(r"ndt .* → 12 \(11–14\)", models)
    assert [line[:5] for line in found.digits] == [[PLACE, "gru", "kind", "competitor", "implausible"]]
    assert found.published == [
        [PLACE, published["method"], metric, f"{value:.4f}", f"{value + 0.1:.4f}", published["source"]]
    ]
    assert found.summary() == "1 changed number, 1 ranking changed, 1 published score changed"


def entries(path) -> list[dict]:
    """The entries of a feed that has what RFC 4287 requires (4.1.1, 4.1.2), each as a dict of texts."""
    feed = ElementTree.parse(path).getroot()
    assert feed.tag == f"{{{ATOM}}}feed"
    names = [child.tag.removeprefix(f"{{{ATOM}}}") for child in feed]
    assert all(names.count(name) == 1 for name in ("id", "title", "updated")) and names.count("author") == 1
    assert feed.findtext(f"{{{ATOM}}}author/{{{ATOM}}}name")
    found = []
    for entry in feed.findall(f"{{{ATOM}}}entry"):
        texts = {child.tag.removeprefix(f"{{{ATOM}}}"): child.text for child in entry}
        assert len(entry) == len(texts) and {"id", "title", "updated", "content"} == set(texts)
        datetime.strptime(texts["updated"], "%Y-%m-%dT%H:%M:%SZ")
        assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", texts["id"]) and texts["title"]
        found.append(texts)
    assert len({entry["id"] for entry in found}) == len(found)
    assert feed.findtext(f"{{{ATOM}}}updated") == max(entry["updated"] for entry in found)
    return found


def test_the_command_prints_markdown_and_extends_the_feed(build, again, tmp_path, capsys):
    row_of(again, "gpfa")["scores"]["co-bps"]["value"] += 0.01
    third = copy.deepcopy(again)
    row_of(third, "gpfa")["scores"]["co-bps"]["value"] += 0.01
    third["made"]["date"] = "2026-04-01T12:00:00Z"
    for name, board in (("a", build), ("b", again), ("c", third)):
        (tmp_path / f"{name}.json").write_text(json.dumps(board))
    path = tmp_path / "changes.atom"
    a, b, c = (str(tmp_path / f"{name}.json") for name in "abc")
    cli.main(["changes", a, a, "--atom", str(path)])
    assert "In short: nothing changed." in capsys.readouterr().out and not path.exists()
    for _ in range(2):
        cli.main(["changes", a, b, "--atom", str(path)])
        told = capsys.readouterr().out
        assert "In short: 1 changed number." in told and f"| {PLACE} | gpfa  | co-bps |" in told
        (first,) = entries(path)
    # as HTML, because readers of a feed break plain text anew
    assert first["title"] == "1 changed number"
    assert f"<td>{PLACE}</td><th scope='row'>gpfa</th><td>co-bps</td>" in first["content"]
    assert "<p>In short: 1 changed number.</p>" in first["content"]
    cli.main(["changes", b, c, "--atom", str(path)])
    assert [entry["updated"][:7] for entry in entries(path)] == ["2026-04", "2026-03"]
    assert entries(path)[1] == first
    (tmp_path / "old.json").write_text('{"schema_version": 7}')
    with pytest.raises(SystemExit, match=r"nlbflow: .*old\.json is of schema_version 7"):
        cli.main(["changes", str(tmp_path / "old.json"), b])


def test_names_are_text_everywhere(build, again, tmp_path):
    place = at(again, "mc_maze")
    place["rows"].append(copy.deepcopy(place["rows"][0]) | {"model": HOSTILE})
    found = changes_between(build, again)
    text = changes_markdown(found, build, again)
    assert "<script>" not in text and r"\|" in text
    shown = changes_html(found, build, again)
    add_entry(tmp_path / "feed.atom", HOSTILE, HOSTILE, HOSTILE, shown, "2026-01-01T00:00:00Z")
    (entry,) = entries(tmp_path / "feed.atom")
    assert "<script" not in entry["content"] and "&lt;script" in entry["content"]
    assert entry["title"] == HOSTILE.replace("\x00", "\ufffd").replace("\x1b", "\ufffd")
    assert "<script>" not in (tmp_path / "feed.atom").read_text()


def test_a_feed_stays_small(build, again, tmp_path, monkeypatch):
    monkeypatch.setattr(feed, "MOST_ENTRIES", 3)
    for place in again["places"]:
        for row in place["rows"]:
            for score in row["scores"].values():
                score["value"] = (score["value"] or 0) + 0.01
    found = changes_between(build, again)
    shown = changes_html(found, build, again)
    assert len(found.digits) > 200 and shown.count("<tr>") == 1 + MOST_ROWS
    assert f"And {len(found.digits) - MOST_ROWS} more" in shown and " more" not in changes_markdown(found, build, again)
    for month in (3, 1, 5, 4, 2):
        add_entry(tmp_path / "feed.atom", "of", f"{month}", "title", shown, f"2026-0{month}-01T00:00:00Z")
    assert [entry["updated"][:7] for entry in entries(tmp_path / "feed.atom")] == ["2026-05", "2026-04", "2026-03"]


@pytest.mark.parametrize("text", ["", "<html></html>", '<feed xmlns="http://www.w3.org/2005/Atom"/>', "{}"])
def test_what_is_no_feed_is_left_alone(tmp_path, text):
    path = tmp_path / "changes.atom"
    path.write_text(text)
    with pytest.raises(NlbflowError, match="name another file for the feed"):
        add_entry(path, "of", "about", "title", "text", "2026-01-01T00:00:00Z")
    assert path.read_text() == text and [*tmp_path.iterdir()] == [path]


def test_a_feed_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(NlbflowError, match=r"nowhere/feed\.atom cannot be written \(No such file or directory\)"):
        add_entry(tmp_path / "nowhere/feed.atom", "of", "about", "title", "text", "2026-01-01T00:00:00Z")
