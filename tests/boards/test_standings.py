"""Standings of suites: shared ranks, who is complete, what decides, in every markup."""

import pandas as pd
import pytest
import yaml

from fake_page import parts
from fake_results import DATASETS, fake_results
from nlbflow.boards.boards import Results
from nlbflow.boards.contents import planned_standings, table_files, tables_in_report
from nlbflow.boards.page import leaderboard_page
from nlbflow.boards.standings import SharedRank, columns_of, shared_ranks, standings, standings_of
from nlbflow.boards.tables import COMPARISONS, PLACE, read_table
from nlbflow.boards.typesetting import to_html, to_latex, to_markdown
from workflow import ROOT

CATALOGUE = yaml.safe_load((ROOT / "resources/datasets.yaml").read_text())["datasets"]
SUITES = yaml.safe_load((ROOT / "config.yaml").read_text())["suites"]
PUBLISHED = pd.DataFrame(columns=["dataset", "bin_ms", "phase", "method", "metric", "value", "grade", "source"])
HOSTILE = "</script><script>window.hit = 1</script><img src=x onerror='window.hit = 2'> \\input{x} | =1+1"
# of one suite: a dataset by itself, and two together
GROUPS = [
    {"name": "alone", "datasets": ["a"], "rank": "each"},
    {"name": "pair", "datasets": ["b", "c"], "rank": "mean"},
]
ABOUT = {name: {"title": name.upper(), "citation": "they (2021)", "license": "CC0"} for name in "abc"}


def plan(run=None, groups=GROUPS, metrics=("co-bps",), catalogue=ABOUT, **more) -> list[dict]:
    suite = {"name": "Mine", "theme": "Why?", "groups": groups, "bin_ms": [5], "phases": ["val"], "metrics": metrics}
    run = {"datasets": ["a", "b", "c"], "bin_ms": [5], "phases": ["val"], **(run or {})}
    return planned_standings(run, catalogue, {"mine": {**suite, **more}})


def results(scores: dict[str, dict[str, float]], told_apart: str = "", kinds=None, metric="co-bps") -> Results:
    """Results with one score of each model by dataset; `told_apart` holds pairs such as "xy": x really beats y,
    everywhere; all other ranks are open. An empty string: nothing was compared."""
    kinds, rows, ranks = kinds or {}, [], []
    pairs = told_apart.split()
    for dataset, models in scores.items():
        ranked = [model for model in models if kinds.get(model, "competitor") in ("competitor", "control")]
        for model, value in models.items():
            kind = kinds.get(model, "competitor")
            rows.append((dataset, 5, "val", model, 0, metric, value, None, None, kind, "1"))
            best = 1 + sum(other + model in pairs for other in ranked)
            worst = len(ranked) - sum(model + other in pairs for other in ranked)
            best, worst = (best, worst) if model in ranked else (None, None)
            ranks.append((dataset, 5, "val", metric, model, kind, 1, value, value - 1, value + 1, best, worst))
    columns = [*PLACE, "model", "seed", "metric", "value", "low", "high", "kind", "metrics_version"]
    compared = pd.DataFrame(ranks if told_apart else [], columns=[*PLACE, *COMPARISONS["ranks"]])
    differences = pd.DataFrame(columns=[*PLACE, *COMPARISONS["differences"]])
    return Results(pd.DataFrame(rows, columns=columns), compared, differences, PUBLISHED, [])


def of(found: Results, wanted: list[dict] | None = None) -> dict[str, float | None]:
    """The mean rank of each model, in the order of the standings."""
    (wanted,) = wanted or plan()
    return {s.model: s.mean and s.mean.middle for s in standings(found, wanted["suite"], "val")}


SCORES = {"a": {"x": 0.3, "y": 0.2, "z": 0.1}, "b": {"x": 0.3, "y": 0.2, "z": 0.1}, "c": {"x": 0.3, "y": 0.2, "z": 0.1}}


def test_models_that_are_not_told_apart_share_their_ranks():
    # x is above y everywhere, and nowhere really
    assert of(results(SCORES, "xz yz")) == {"x": 1.5, "y": 1.5, "z": 3}
    assert of(results(SCORES, "no")) == {"x": 2, "y": 2, "z": 2}
    assert of(results(SCORES, "xy xz yz")) == {"x": 1, "y": 2, "z": 3}


def test_a_group_of_datasets_counts_once():
    # first on dataset a, last on b and c; three datasets each would give 7 / 3
    turned = {"a": SCORES["a"], "b": {"x": 0.1, "y": 0.2, "z": 0.3}, "c": {"x": 0.1, "y": 0.2, "z": 0.3}}
    assert of(results(turned)) == {"x": 2, "y": 2, "z": 2}
    each = plan(groups=[{"name": "all", "datasets": ["a", "b", "c"], "rank": "each"}])
    assert of(results(turned), each) == {"z": pytest.approx(5 / 3), "y": 2, "x": pytest.approx(7 / 3)}


def test_what_was_not_compared_is_ranked_by_its_scores():
    equal = {name: {"x": 0.3, "y": 0.3, "z": 0.1} for name in "abc"}
    assert of(results(equal)) == {"x": 1.5, "y": 1.5, "z": 3}
    lower = {name: {"x": -0.3, "y": 0.3} for name in "abc"}
    assert of(results(lower, metric="tp corr"), plan(metrics=["tp corr"])) == {"x": 1, "y": 2}


def test_who_does_not_compete_takes_no_rank():
    scores = {name: {"x": 0.3, "oracle": 0.9, "fraud": 0.8, "null": 0.0, "plain": 0.1} for name in "abc"}
    kinds = {"oracle": "oracle", "fraud": "implausible", "null": "null", "plain": "control"}
    for told in ("", "xplain"):
        assert of(results(scores, told, kinds)) == {"x": 1, "plain": 2}
    _, sheet = standings_of(results(scores, "", kinds), plan()[0], ABOUT)
    assert [row[:2] for row in sheet.groups[0][1]] == [["1", "x"], ["2", "plain (control)"]]


def test_incomplete_models_stand_below_with_what_they_lack():
    scores = {**SCORES, "b": {"x": 0.3, "z": 0.1}, "c": {"z": 0.1}}
    found = results(scores)
    # third of three, then the mean of second of two and first of one
    assert of(found) == {"z": 2.25, "x": None, "y": None}
    table, sheet = standings_of(found, plan()[0], ABOUT)
    assert table["lacks"].tolist() == [
        "",
        "mean of pair: it lacks a rank of this mean; c: no scores were made",
        "mean of pair: it lacks a rank of this mean; b: no scores were made; c: no scores were made",
    ]
    (_, complete), (title, rest) = sheet.groups
    assert title == "incomplete" and [row[1] for row in complete] == ["z"] and [row[1] for row in rest] == ["x", "y"]
    text = to_markdown(sheet)
    assert "Missing – a: it lacks a rank of this mean; b: no scores were made." in text


def test_what_is_not_selected_leaves_nobody_complete():
    wanted = plan({"datasets": ["a", "c"]})
    assert of(results({"a": SCORES["a"], "c": SCORES["c"]}), wanted) == {"x": None, "y": None, "z": None}
    _, sheet = standings_of(results({"a": SCORES["a"], "c": SCORES["c"]}), wanted[0], ABOUT)
    assert sheet.header == ["mean rank", "model", "A", "C"]
    assert sheet.notes[0] == "Not selected, so that nobody is complete: B at 5 ms."


def test_which_standings_are_planned():
    names = [board["name"] for board in plan({"phases": ["val", "test"]}, phases=["val", "test"])]
    assert names == ["standings-mine_val", "standings-mine_test"]
    assert plan({"phases": ["test"]}) == [] and plan({"bin_ms": [20]}) == []
    # one dataset of three has its leaderboard; the whole of a suite has standings
    assert plan({"datasets": ["a"]}) == [] and len(plan({"datasets": ["a", "b"]})) == 1
    assert len(plan({"datasets": ["a"]}, groups=GROUPS[:1])) == 1


def test_a_column_for_each_dataset_bin_and_metric():
    several = plan({"bin_ms": [5, 20]}, bin_ms=[5, 20], metrics=["co-bps", "rate R2"])[0]["suite"]
    titles = [column.title for column in columns_of(several, "val")]
    assert titles[:2] == ["A, co-bps, 5 ms", "A, co-bps, 20 ms"] and len(titles) == 2 * 2 * 4
    assert [column.contest for column in columns_of(plan()[0]["suite"], "val")] == [True, True, False, False]


def test_the_benchmark_is_ranked_by_its_own_rule(tmp_path):
    run = {"datasets": [*DATASETS], "bin_ms": [5, 20], "phases": ["test"]}
    (wanted,) = planned_standings(run, CATALOGUE, SUITES)
    contests = [column for column in columns_of(wanted["suite"], "test") if column.contest]
    assert [column.name for column in contests] == [
        "mc_maze", "mc_rtt", "area2_bump", "dmfc_rsg", "mean of scaling datasets",
    ]  # fmt: skip
    assert {(column.metric, *column.places[0][1:]) for column in contests} == {("co-bps", 5, "test")}
    paths = fake_results(tmp_path, models=20, bin_ms=(5, 20), seeds=2, phase="test")
    found = Results(*(read_table(paths[name]) for name in ("scores", "ranks", "differences")), PUBLISHED, [])
    table, sheet = standings_of(found, wanted, {name: CATALOGUE[name] for name in DATASETS})
    complete = table[table["lacks"] == ""]
    assert complete["mean_rank"].is_monotonic_increasing and set(table["model"][table["lacks"] != ""]) == {"stndt"}
    means = complete[[column.name for column in contests]].mean(axis=1)
    assert complete["mean_rank"].tolist() == pytest.approx(means.tolist())
    # shared ranks add up to what ranks 1, 2, 3, ... add up to
    place = ("mc_maze", 5, "test")
    shared = shared_ranks(found, place, "co-bps")
    assert sum(rank.middle for rank in shared.values()) == sum(range(1, len(table) + 1))
    assert SharedRank(2, 5).middle == 3.5
    assert len(sheet.header) == 2 + 7 + 1


def test_hostile_words_are_text_in_every_markup(opened):
    named = {"a": {**ABOUT["a"], "title": HOSTILE}, "b": ABOUT["b"], "c": ABOUT["c"]}
    groups = [GROUPS[0], {**GROUPS[1], "name": HOSTILE}]
    (wanted,) = plan(groups=groups, catalogue=named, name=HOSTILE, theme=HOSTILE)
    table, sheet = standings_of(results({**SCORES, "b": {"x": 0.3}}), wanted, named)
    assert "<img" not in to_html(sheet) and "<script" not in to_markdown(sheet)
    assert "\\input{x}" not in to_latex(sheet, "tab:x")
    cells = map(str, [*table.columns, *table.to_numpy().ravel()])
    assert not any(cell.startswith(("=", "+", "@", "-")) for cell in cells)
    page = opened(leaderboard_page(**parts(3, (5,), 1), standings=[(sheet.title, to_html(sheet))]))
    page.locator("summary", has_text="Standings").click()
    assert HOSTILE in page.locator(".standings").inner_text() and page.evaluate("window.hit") is None


def test_files_and_report_have_standings_like_any_table():
    board = plan()[0]
    assert "results/tables/standings-mine_val.tex" in table_files([board]).values()
    told = tables_in_report([board])["standings-mine_val.html"]
    assert told["subcategory"] == "Standings" and told["labels"] == {"table": "Mine", "bins": "5 ms", "phase": "val"}
    assert (ROOT / "rules" / told["caption"]).is_file()


@pytest.mark.parametrize("width", [1400, 390])
def test_the_page_has_them_folded(opened, tmp_path, width):
    paths = fake_results(tmp_path, models=14, bin_ms=(5,), seeds=1)
    found = Results(*(read_table(paths[name]) for name in ("scores", "ranks", "differences")), PUBLISHED, [])
    run = {"datasets": [*DATASETS], "bin_ms": [5], "phases": ["val"]}
    (wanted,) = planned_standings(run, CATALOGUE, SUITES)
    _, sheet = standings_of(found, wanted, {name: CATALOGUE[name] for name in DATASETS})
    page = opened(leaderboard_page(**parts(3, (5,), 1), standings=[(sheet.title, to_html(sheet))]), width=width)
    table = page.get_by_role("table", name="Standings: NLB'21, val phase")
    assert table.count() == 0
    page.locator("summary", has_text="NLB'21").click()
    assert table.get_by_role("rowheader").first.inner_text() == sheet.groups[0][1][0][1]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.get_by_role("region", name="Standings: NLB'21, val phase")
    box.focus()
    assert box.evaluate("node => node === document.activeElement")


def test_without_suites_the_page_says_nothing_of_them():
    assert "Standings" not in leaderboard_page(**parts(3, (5,), 1))
