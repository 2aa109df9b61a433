"""What the leaderboard page holds: numbers, provenance, bundled files."""

import copy
import hashlib
import re

import numpy as np
import pandas as pd
import pytest

from fake_page import FOLDER, block, parts
from nlbflow.boards.about_data import places_data
from nlbflow.boards.cells import best_and_second
from nlbflow.boards.page import leaderboard_page
from nlbflow.boards.tables import note_table, summary_table


@pytest.fixture(scope="module")
def made() -> dict:
    return parts()


@pytest.fixture(scope="module")
def html(made) -> str:
    return leaderboard_page(**made)


def test_only_the_block_of_runs_differs_between_two_runs(made, html):
    again = copy.deepcopy(made)
    for entry in again["entries"]:
        for record in filter(None, entry["provenance"].values()):
            record |= {
                "date": "2027-02-03T04:05:06Z",
                "seconds": 9.75,
                "peak_mb": 1.0,
                "commit": "f00d",
                "device": "tpu",
            }
    assert leaderboard_page(**made) == html
    lines = zip(html.splitlines(), leaderboard_page(**again).splitlines(), strict=True)
    assert ['id="runs"' in first for first, second in lines if first != second] == [True]


def test_size_and_policy(html):
    assert len(html.encode()) < 3e6
    assert "default-src &#39;none&#39;" in html and "unsafe" not in re.search(r'Policy" content="([^"]*)', html)[1]


def test_bundled_files_are_what_their_list_says():
    listed = re.findall(
        r"^\| (\S+\.js) \| \S+ \| ([\d.]+) \| (\w{64}) \|$", (FOLDER / "vendor/README.md").read_text(), re.M
    )
    assert {name for name, _, _ in listed} == {path.name for path in (FOLDER / "vendor").glob("*.js")}
    for name, version, digest in listed:
        content = (FOLDER / "vendor" / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
        # fflate's file does not say its version
        assert name == "fflate.min.js" or re.search(rf" v?{re.escape(version)}\s".encode(), content[:60])


def test_numbers_are_those_of_the_tables(made, html):
    rows = [row for row in block(html, "scores")["rows"] if row["group"] < 2]
    ranks = made["ranks"].set_index(["dataset", "bin_ms", "phase", "model", "metric"])
    marks, compared = best_and_second(made["ranks"], made["differences"]), 0
    for row in rows:
        for metric, cell in row["cells"].items():
            key = (row["dataset"], row["bin_ms"], row["phase"], row["model"], metric)
            if key in ranks.index:
                of = ranks.loc[key]
                assert cell["value"] == pytest.approx(of["value"], abs=1e-6)
                assert ("low" in cell) == pd.notna(of["low"]) and ("ranks" in cell) == (of["kind"] == "competitor")
                assert cell.get("mark", "") == marks.get((*key[:3], metric, row["model"]), "")
                compared += 1
    assert marks and compared == len(ranks) and len(block(html, "runs")["of"]) == len(rows)


def test_a_fact_that_is_no_number():
    made = parts(9, (5,), 3)
    made["entries"][0]["params"] = {"widths": [1.0, float("inf")]}
    made["entries"][0]["facts"] = {"validation_co_bps": float("nan"), "validation_loss": float("inf"), "parameters": 3}
    shared = block(leaderboard_page(**made), "runs")["shared"]
    assert {"validation_co_bps": "nan", "validation_loss": "inf", "parameters": 3} in shared
    assert {"widths": [1.0, "inf"]} in shared


def test_a_metric_that_one_seed_lacks():
    made = parts(9, (5,), 3)
    seeds = [e for e in made["entries"] if (e["dataset"], e["model"]) == ("mc_maze", "ndt")]
    del seeds[1]["scores"]["vel R2"], seeds[1]["intervals"]["vel R2"]
    rows = block(leaderboard_page(**made), "scores")["rows"]
    cell = next(row["cells"]["vel R2"] for row in rows if (row["dataset"], row["model"]) == ("mc_maze", "ndt"))
    values = [seeds[i]["scores"]["vel R2"] for i in (0, 2)]
    assert cell["seeds"][1] == [None] and cell["value"] == pytest.approx(np.mean(values), abs=1e-6)
    assert cell["spread"] == pytest.approx(np.std(values, ddof=1), abs=1e-6)


def test_notes_figures_and_summaries_of_the_data(made):
    note = '<img src=x> 3 of 5 trials & "more"'
    place = {"dataset": "mc_rtt", "bin_ms": 5, "phase": "val", "summary": [["trials", "3 <b>"]], "notes": [note]}
    html = leaderboard_page(**made, about_data=[{**place, "figures": {"dataset": "aGVsbG8=", "structure": "bW9yZQ=="}}])
    assert block(html, "scores")["places"] == [place]
    assert "<li>&lt;img src=x&gt; 3 of 5 trials &amp; &#34;more&#34;</li>" in html and "<img src=x>" not in html
    assert 'src="data:image/png;base64,aGVsbG8="' in html and "<dt>trials</dt><dd>3 &lt;b&gt;</dd>" in html
    assert 'src="data:image/png;base64,bW9yZQ=="' in html and "that models show" in html
    html = leaderboard_page(**made, about_data=[{**place, "figures": {"dataset": "aGVsbG8="}}])
    assert "that models show" not in html


def test_what_the_data_are_by_place(tmp_path):
    (tmp_path / "a.png").write_bytes(b"hello")
    source = {"dataset": "mine", "bin_ms": 5, "phase": "val", "summary": [["trials", "3"]], "notes": ["odd"]}
    score = {"dataset": "mine", "bin_ms": 5, "phase": "val", "notes": ["odd", "constant channel"]}
    tables = summary_table([source]), note_table([source, score, {**score, "phase": "test", "notes": []}])
    figures = {("dataset", "mine", 5, phase): tmp_path / "a.png" for phase in ("val", "test")}
    figures["structure", "mine", 5, "test"] = tmp_path / "a.png"
    found = places_data([["mine", 5, "val"], ["mine", 5, "test"]], *tables, figures)
    assert [place["notes"] for place in found] == [["odd", "constant channel"], []]
    assert (
        found[0]["summary"] == [["trials", "3"]]
        and found[1]["summary"] == []
        and found[0]["figures"] == {"dataset": "aGVsbG8="}
    )
    assert set(found[1]["figures"]) == {"dataset", "structure"}
