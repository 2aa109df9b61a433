"""Published scores: each says where it is from, and two values of one thing stand apart."""

import pandas as pd

from fake_page import block, parts
from fake_results import fake_results
from nlbflow.boards.boards import Results, place_board
from nlbflow.boards.page import leaderboard_page
from nlbflow.boards.sheets import board_sheets
from nlbflow.boards.tables import PLACE, read_table
from nlbflow.boards.typesetting import to_markdown
from workflow import ROOT

PATH = ROOT / "resources/published.csv"
PUBLISHED = pd.read_csv(PATH)
RTT = ("mc_rtt", 5, "test")
ABOUT = {"mc_rtt": {"title": "MC_RTT", "citation": "they (2022)", "license": "CC-BY-4.0"}}


def value(dataset: str, method: str, metric: str = "co-bps") -> float:
    found = PUBLISHED[(PUBLISHED["dataset"] == dataset) & (PUBLISHED["bin_ms"] == 5) & (PUBLISHED["phase"] == "test")]
    return found.set_index(["method", "metric"])["value"][method, metric]


def test_each_score_stands_once_with_grade_and_source():
    assert not PUBLISHED.duplicated([*PLACE, "method", "metric"]).any()
    assert set(PUBLISHED["grade"]) == set("ABC") and PUBLISHED["source"].str.len().gt(9).all()
    lines = PATH.read_bytes().split(b"\n")
    assert all(line.endswith(b"\r") for line in lines[:-1]) and lines[-1] == b""


def test_two_values_of_one_thing_stand_apart():
    assert value("mc_rtt", "AutoLFADS") == 0.1868 and value("mc_rtt", "AutoLFADS (Pei et al. table)") == 0.192
    assert value("mc_maze", "AutoLFADS") == 0.3364 and value("mc_maze", "AutoLFADS (KubeFlow)") == 0.35103
    # the self-reported value gave way to that of the paper
    assert "KubeFlow AutoLFADS" not in set(PUBLISHED["method"]) and value("mc_rtt", "NDT") == 0.16


def test_a_reader_sees_both_and_is_told(tmp_path):
    paths = fake_results(tmp_path, models=4, datasets=("mc_rtt",), bin_ms=(5,), seeds=1, phase="test")
    results = Results(*(read_table(paths[name]) for name in ("scores", "ranks", "differences")), PUBLISHED, [])
    board = place_board(results, RTT)
    found = {row.name: row.cells["co-bps"].value for row in board.groups[0].rows if row.kind == "published"}
    assert found["AutoLFADS"] == 0.1868 and found["AutoLFADS (Pei et al. table)"] == 0.192
    text = to_markdown(board_sheets(board, ABOUT)[0])
    assert "0.1868" in text and "0.1920" in text and "STNDT's paper gives 0.1868 for the same" in text


def test_the_page_has_both():
    made = parts(4, (5,), 1)
    for entry in made["entries"]:
        entry["phase"] = "test"
    frames = {name: made[name].assign(phase="test") for name in ("ranks", "differences")}
    rows = block(leaderboard_page(**made | frames), "scores")["rows"]
    found = {row["model"]: row for row in rows if (row["dataset"], row.get("grade")) == ("mc_rtt", "C")}
    assert "STNDT's paper gives 0.1868" in found["AutoLFADS (Pei et al. table)"]["source"]


def test_both_values_are_compared_with_ours():
    reproduced = pd.read_csv(ROOT / "resources/reproduced.csv")
    methods = set(reproduced["method"][reproduced["model"] == "autolfads"])
    assert {"AutoLFADS", "AutoLFADS (Pei et al. table)"} <= methods
