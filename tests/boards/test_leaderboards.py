"""Comparisons of models and the leaderboards made from them."""

import numpy as np
import pandas as pd
import pytest

from nlbflow.boards.boards import Results, place_board
from nlbflow.boards.sheets import board_sheets, leaderboard_sheets
from nlbflow.boards.tables import COMPARISONS, PLACE, comparison_table, score_table
from nlbflow.boards.typesetting import markdown_page
from nlbflow.scoring.bootstrap import Bootstrap, TrialStatistic, bootstrap
from nlbflow.scoring.comparisons import cross_decoding_table, difference_table, rank_table

TRIALS = 100
DRAW = np.random.default_rng(0)
SHARED = DRAW.normal(size=TRIALS)


def mean_score(level: float, noise: float = 0.01) -> Bootstrap:
    """A bootstrapped mean over trials; much of its spread is that of all models."""
    values = level + SHARED + noise * np.random.default_rng(int(abs(level) * 1e6)).normal(size=TRIALS)

    def score(weights):
        return weights @ values / weights.sum(axis=1)

    def slopes(weights):
        return (values - score(weights)[:, None]) / weights.sum(axis=1)[:, None]

    return bootstrap(TrialStatistic(score, slopes, [np.arange(TRIALS)], TRIALS), draws=400, seed=1)


@pytest.fixture
def scores():
    """Two seeds of `good`, nearly as good `close`, `bad` and an oracle; the metric tp corr is lacking for `bad`."""
    bits = {("good", 0): 0.31, ("good", 1): 0.33, ("close", 0): 0.3201, ("bad", 0): 0.1, ("ideal", 0): 0.9}
    return {
        run: {"co-bps": mean_score(level)} | ({} if run[0] == "bad" else {"tp corr": mean_score(-level, 0.02)})
        for run, level in bits.items()
    }


def test_ranks_and_differences(scores):
    ranks = {(row["metric"], row["model"]): row for row in rank_table(scores, {"ideal": "oracle"})}
    good = ranks["co-bps", "good"]
    assert good["value"] == pytest.approx(np.mean([scores["good", s]["co-bps"].estimate for s in (0, 1)]))
    assert good["seeds"] == 2 and good["low"] < good["value"] < good["high"]
    assert (good["best_rank"], good["worst_rank"]) == (1, 2)
    assert (ranks["co-bps", "bad"]["best_rank"], ranks["co-bps", "bad"]["worst_rank"]) == (3, 3)
    assert ranks["co-bps", "ideal"]["best_rank"] is None and ranks["co-bps", "ideal"]["kind"] == "oracle"
    # the more negative, the better
    assert ranks["tp corr", "good"]["best_rank"] == 1 and ("tp corr", "bad") not in ranks
    real = {(r["metric"], r["model"], r["other"]): r["real"] for r in difference_table(scores)}
    assert real["co-bps", "good", "bad"] and not real["co-bps", "good", "close"]
    # each score alone is far less certain than the difference
    assert good["low"] < ranks["co-bps", "bad"]["high"]


def test_a_control_is_ranked_and_marked(scores):
    plain, marked = (
        {(row["metric"], row["model"]): row for row in rank_table(scores, kinds)}
        for kinds in ({"ideal": "oracle"}, {"ideal": "oracle", "close": "control"})
    )
    assert marked["co-bps", "close"] == {**plain["co-bps", "close"], "kind": "control"}
    assert all(marked[key] == plain[key] for key in plain if key[1] != "close")
    rows = [
        {"dataset": "d", "bin_ms": 5, "phase": "val", "model": model, "seed": seed, "metric": metric,
         "value": found.estimate, "low": None, "high": None, "kind": "control" if model == "close" else "competitor"}
        for (model, seed), metrics in scores.items() if model != "ideal"
        for metric, found in metrics.items()
    ]  # fmt: skip
    place = {"dataset": "d", "bin_ms": 5, "phase": "val"}
    tables = {name: comparison_table([{**place, name: found}], name) for name, found in
              (("ranks", rank_table(scores, {"ideal": "oracle", "close": "control"})),
               ("differences", difference_table(scores)))}  # fmt: skip
    published = pd.DataFrame(columns=[*PLACE, "method", "metric", "value", "grade", "source"])
    results = Results(pd.DataFrame(rows), tables["ranks"], tables["differences"], published, [])
    board = place_board(results, ("d", 5, "val"))
    ranked = {row.name: (row.kind, row.rank) for group in board.groups for row in group.rows}
    assert ranked["close"][0] == "control" and ranked["close"][1] in (1, 2) and ranked["bad"] == ("competitor", 3)
    (sheet,) = board_sheets(board, {"d": {"title": "D", "citation": "we", "license": "MIT"}})
    assert "close (control)" in [line[1] for _, lines in sheet.groups for line in lines]
    # it competes: not set aside like an oracle
    assert not any(sheet.aside[0])


def test_cross_decoding_pairs():
    states = DRAW.normal(size=(20, 10, 2))
    noise = DRAW.normal(size=(20, 10, 2))
    rich = np.concatenate([states, noise], axis=2)
    latents = {
        name: {"train_latents": a[:10], "eval_latents": a[10:]} for name, a in {"lean": states, "rich": rich}.items()
    }
    found = {(row["model"], row["other"]): row["R2"] for row in cross_decoding_table(latents)}
    assert set(found) == {("lean", "rich"), ("rich", "lean")}
    assert found["rich", "lean"] > 0.99 and found["lean", "rich"] < 0.7
    assert cross_decoding_table({"alone": latents["lean"]}) == []


@pytest.fixture
def sheets(scores):
    place = {"dataset": "mc_maze", "bin_ms": 5, "phase": "test"}
    entries = [
        {
            **place,
            "model": model,
            "seed": seed,
            "kind": "oracle" if model == "ideal" else "competitor",
            "metrics_version": "1",
            "scores": {m: b.estimate for m, b in metrics.items()}
            | ({"16-shot co-bps": 0.2 + seed / 10} if model in ("bad", "good") else {}),
            "intervals": {m: b.interval() for m, b in metrics.items()},
        }
        for (model, seed), metrics in scores.items()
    ]
    null = {"model": "null", "seed": 0, "kind": "null", "metrics_version": "1"}
    entries.append({**place, **null, "scores": {"co-bps": 0.0}, "intervals": {}})
    comparison = {
        **place,
        "ranks": rank_table(scores, {"ideal": "oracle"}),
        "differences": difference_table({run: metrics for run, metrics in scores.items() if run[0] != "ideal"}),
        "cross_decoding": [],
        "consistency": [],
    }
    published = pd.DataFrame(
        [
            ["mc_maze", 5, "test", "GPFA", "co-bps", 0.1872, "A", "a paper"],
            ["mc_maze", 5, "test", "GPFA", "vel R2", 0.6399, "A", "a paper"],
            ["mc_maze", np.nan, "test", "Better", "co-bps", 0.4, "C", "<b>a page</b>"],
            ["mc_maze", 20, "test", "GPFA", "co-bps", 0.2, "A", "a paper"],
            ["mc_rtt", 5, "test", "GPFA", "co-bps", 0.15, "A", "a paper"],
        ],
        columns=["dataset", "bin_ms", "phase", "method", "metric", "value", "grade", "source"],
    )
    compared = (comparison_table([comparison], name) for name in ("ranks", "differences"))
    results = Results(score_table(entries), *compared, published, [])
    about = {"mc_maze": {"title": "MC_Maze", "citation": "them (2021)", "license": "CC-BY-4.0"}}
    return leaderboard_sheets(results, about)


def test_board(sheets):
    main, further = sheets
    assert main.header == ["rank", "model", "seeds", "co-bps", "tp corr", "source"]
    (_, ours), (title, published) = main.groups
    rows = {row[1]: row for row in ours}
    order = [row[1] for row in ours]
    assert order[0] == "ideal (oracle)" and set(order[1:3]) == {"good", "close"} and order[3:] == ["bad", "null"]
    assert {rows["good"][0], rows["close"][0]} == {"1 (1–2)", "2 (1–2)"} and rows["bad"][0] == "3"
    assert rows["null"][3].value == 0 and rows["null"][4].missing == "not of the null model"
    assert rows["null"][0] == rows["ideal (oracle)"][0] == "–"
    assert rows["good"][3].sd > 0 and rows["close"][3].sd is None and rows["bad"][4].value is None
    assert rows["good"][3].unbeaten and rows["close"][3].unbeaten and not rows["bad"][3].unbeaten
    assert main.aside == [[True, False, False, False, True], [False, False]]
    assert further.header == ["model", "16-shot co-bps"]
    assert [(name, cell.value) for name, cell in further.groups[0][1]] == [
        ("good", pytest.approx(0.25)),
        ("bad", pytest.approx(0.2)),
    ]
    assert title == "published" and [(row[1], row[3].value, row[-1]) for row in published] == [
        ("Better (bin width not stated)", 0.4, "C1"),
        ("GPFA", 0.1872, "A2"),
    ]
    assert "Data: MC_Maze, them (2021), CC-BY-4.0." in main.notes


def test_markdown(sheets):
    text = markdown_page(sheets, [["mc_maze", 20, "test", "all models", "no truth"]], "from a_1.yaml")
    assert "Made from a_1.yaml." in text
    assert "mc_maze, 20 ms bins, test phase: all models: no truth" in text and "&lt;b>a page" in text
    for table in text.split("\n\n"):
        if table.startswith("|"):
            assert len({line.count("|") for line in table.splitlines()}) == 1


def test_no_model_makes_empty_tables():
    empty = {
        "dataset": "d",
        "bin_ms": 5,
        "phase": "val",
        "ranks": [],
        "differences": [],
        "cross_decoding": [],
        "consistency": [],
    }
    for name, columns in COMPARISONS.items():
        assert list(comparison_table([empty], name).columns) == [*PLACE, *columns]


def test_notes_on_the_data_of_a_place_without_a_table(sheets):
    text = markdown_page(sheets, [], "from a.yaml", {("mc_rtt", 5, "test"): ["2 units are *silent*."]})
    assert text.rstrip().endswith("- mc_rtt, 5 ms bins, test phase: 2 units are \\*silent\\*.")
