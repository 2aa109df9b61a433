"""Phases val and test side by side on the leaderboard page, in headless Chromium."""

import pytest

from fake_page import block, parts
from nlbflow.boards.page import leaderboard_page
from nlbflow.boards.phases import phase_gaps
from nlbflow.boards.tables import score_table

MARK = "better on test than val allows"


@pytest.fixture(scope="module")
def made() -> dict:
    """Two phases, in which one model gains on test what its score on val does not allow."""
    made = parts(12, (5,), 3, ("val", "test"))
    ranks, differences = made["ranks"], made["differences"]
    gained = (ranks[["dataset", "phase", "metric", "model"]] == ["mc_maze", "test", "co-bps", "gru"]).all(axis=1)
    ranks.loc[gained, "value"] += 0.2
    for name, sign in (("model", 1), ("other", -1)):
        of = (differences[["dataset", "phase", "metric", name]] == ["mc_maze", "test", "co-bps", "gru"]).all(axis=1)
        differences.loc[of, ["difference", "low", "high"]] += sign * 0.2
    gaps = phase_gaps(score_table(made["entries"]), ranks, differences, ["gru"])
    return made | {"gaps": gaps}


def test_both_phases_stand_side_by_side_and_who_gains_is_marked(opened, made):
    html = leaderboard_page(**made)
    page, gaps = opened(html), made["gaps"].query("dataset == 'mc_maze'").set_index("model")
    # the page begins in phase test
    marked = {*gaps.index[gaps["suspicious"]]}
    assert {*page.locator("#board tr", has_text=MARK).locator("th button").all_inner_texts()} == marked
    assert "gru" in marked and len(marked) < len(gaps) / 2
    page.get_by_text("co-bps on val and on test").click()
    table = page.get_by_role("table", name="MC_Maze, 5 ms bins", exact=True)
    rows = {
        row.locator("th").inner_text(): row.locator("td").all_inner_texts() for row in table.locator("tbody tr").all()
    }
    assert [*rows] == [*gaps.sort_values("val", ascending=False).index] and len(rows) > 8
    cells = {(row["phase"], row["model"]): row["cells"]["co-bps"] for row in block(html, "scores")["rows"]
             if row["dataset"] == "mc_maze" and "co-bps" in row["cells"]}  # fmt: skip
    for model, (val, test, gap, errors, mark) in rows.items():
        for phase, said in (("val", val), ("test", test)):
            cell = cells[phase, model]
            assert said.replace("−", "-") == f"{cell['value']:.4f} [{cell['low']:.3f}, {cell['high']:.3f}]"
        if model == gaps.loc[model, "reference"]:
            assert (gap, errors, mark) == ("reference", "", "")
            continue
        assert float(gap.replace("−", "-")) == pytest.approx(gaps.loc[model, "gap"], abs=6e-5)
        assert float(errors.replace("−", "-")) == pytest.approx(gaps.loc[model, "standard errors"], abs=0.051)
        assert mark == (MARK if model in marked else "")
    # of what is chosen, and in the details too
    page.locator("select[name=dataset]").select_option("mc_rtt")
    assert page.get_by_role("table", name="MC_RTT, 5 ms bins", exact=True).count() == 1 and not table.count()
    page.locator("select[name=dataset]").select_option("mc_maze")
    page.get_by_role("button", name="gru", exact=True).click()
    assert MARK in page.get_by_role("table", name="Val and test").inner_text()


def test_one_phase_has_no_such_part(made):
    html = leaderboard_page(**made | {"gaps": made["gaps"].iloc[:0]})
    assert "Val and test side by side" not in html and '"gap":' not in html


def test_it_fits_a_phone(opened, made):
    page = opened(leaderboard_page(**made), width=390)
    page.get_by_text("co-bps on val and on test").click()
    assert page.locator("#phases-tables table").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
