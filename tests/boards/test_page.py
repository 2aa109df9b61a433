"""The leaderboard page, driven in headless Chromium."""

import re
from pathlib import Path

import pandas as pd
import pytest

from fake_page import PUBLISHED, block, parts, with_outlier
from nlbflow.boards.page import leaderboard_page
from nlbflow.metrics.formulas import METRICS

HOSTILE = (
    "</script><script>window.hit = 1</script><img src=x onerror='window.hit = 2'>&<img src=//127.0.0.1/x> {{ 7 * 7 }}"
)


@pytest.fixture(scope="module")
def made() -> dict:
    return parts()


@pytest.fixture(scope="module")
def html(made) -> str:
    return leaderboard_page(**made)


@pytest.fixture
def page(opened, html):
    return opened(html)


def groups(page) -> dict[str, list]:
    """The rows that are shown, as lists of the first line of each cell, by the title above them."""
    lines = page.evaluate(
        "[...document.querySelectorAll('#board tbody tr')].map(row => row.classList.contains('dtrg-group') ? "
        "row.textContent : [...row.cells].map(cell => cell.innerText.split('\\n')[0]))"
    )
    found, title = {}, None
    for line in lines:
        if isinstance(line, str):
            found[title := line] = []
        else:
            found[title].append(line)
    return found


def names(page, group: str = "Ranked by co-bps") -> list[str]:
    return [row[1] for row in groups(page).get(group, [])]


def choose(page, **values: str) -> None:
    for name, value in values.items():
        page.locator(f"select[name={name}]").select_option(value)


def test_a_table_for_screen_readers(page):
    table = page.get_by_role("table", name="MC_Maze, 5 ms bins, val phase")
    assert table.get_by_role("columnheader").count() == len(groups(page)["Ranked by co-bps"][0])
    assert table.get_by_role("rowheader", name="mint").count() == 1
    assert page.get_by_role("region", name="MC_Maze, 5 ms bins, val phase").count() == 1
    for name in ("Dataset", "Bin width", "Phase", "Model", "co-bps"):
        assert page.get_by_label(name, exact=True).count() == 1, name
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the table"


def test_groups_stand_apart(page):
    found = groups(page)
    aside = "Not ranked: oracles, implausible scores and the null model"
    assert list(found) == ["Ranked by co-bps", aside, "Published elsewhere"]
    assert [row[1] for row in found[aside]][-1] == "null"
    assert all(row[0] == "–" for title, rows in found.items() for row in rows if not title.startswith("Ranked"))
    assert [int(row[0].split()[0]) for row in found["Ranked by co-bps"]] == list(range(1, 39))
    assert (
        "grade B" in page.locator("#board tbody").inner_text() and "cabe9" in page.locator("#board tbody").inner_text()
    )


def test_every_column_sorts_both_ways(page):
    from playwright.sync_api import expect

    for box in page.locator("[name=metric]").all():
        box.check()
    choose(page, dataset="", bin_ms="", phase="")
    page.get_by_label("Model", exact=True).fill("ndt")
    headers = page.locator("#board thead th")
    assert headers.count() == 7 + len(METRICS) + 2
    for i in range(headers.count()):
        before = headers.nth(i).get_attribute("aria-sort")
        other = {"ascending": "descending", "descending": "ascending"}
        for _ in range(2):
            headers.nth(i).locator(".dt-column-order").click()
            # DataTables sorts a moment later
            wanted = other.get(before, re.compile("(a|de)scending"))
            expect(headers.nth(i)).to_have_attribute("aria-sort", wanted)
            before = headers.nth(i).get_attribute("aria-sort")
            assert page.locator("#board th[aria-sort]").count() == 1
            for rows in groups(page).values():
                numbers = [re.match(r"[−\d.]+(?=$| )", row[i]) for row in rows]
                known = [float(match[0].replace("−", "-")) for match in numbers if match]
                assert known == sorted(known, reverse=before == "descending")
                # what is missing comes last, whichever way
                assert all(numbers[: len(known)])


def test_the_heading_says_what_rows_are_sorted_by(page):
    header = page.locator("#board thead th[data-name='vel R2']")
    header.locator(".dt-column-order").click()
    page.locator("#board thead th[aria-sort][data-name='vel R2']").wait_for()
    assert next(iter(groups(page))) == "Competitors by vel R2; ranks are by co-bps"
    page.locator("#board thead th[data-name='co-bps'] .dt-column-order").click()
    page.locator("#board thead th[aria-sort][data-name='co-bps']").wait_for()
    assert next(iter(groups(page))) == "Ranked by co-bps"


def test_metrics_and_marks_are_explained_by_pointer_and_keyboard(page):
    hint = page.get_by_role("tooltip")
    assert hint.count() == 0
    page.evaluate("document.querySelector('#board-region').scrollIntoView()")
    # what scrolls takes a hint away
    page.wait_for_timeout(100)
    page.locator("#board thead th[data-name='psth R2']").hover()
    assert "with the recorded PSTHs" in hint.inner_text() and "Higher is better" in hint.inner_text()
    page.keyboard.press("Escape")
    assert hint.count() == 0
    page.locator("#board td .bar").nth(1).hover()
    assert "the grey stroke 0" in hint.inner_text()
    page.locator("#board thead .dt-column-order").first.focus()
    for name in ("model", "co-bps"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('th').dataset.name") == name
    assert "null model" in hint.inner_text()
    box = hint.bounding_box()
    assert 0 <= box["x"] and box["x"] + box["width"] <= 1400
    described = page.evaluate("document.activeElement.getAttribute('aria-describedby')")
    assert page.locator(f"#{described}").inner_text() in hint.inner_text()


def test_all_datasets_fit_and_an_outlier_makes_no_column_wide(opened):
    page = opened(leaderboard_page(**with_outlier(parts(14, (5,), 5))))
    choose(page, dataset="", bin_ms="", phase="")
    assert page.evaluate("document.querySelector('#board').offsetWidth") <= 1360
    assert "−5.91e+5" in page.locator("#board tbody").inner_text()


def test_filters(page, html):
    everything = len(block(html, "scores")["rows"])
    choose(page, dataset="dmfc_rsg", bin_ms="20")
    assert page.locator("#board caption").inner_text() == "DMFC_RSG, 20 ms bins, val phase"
    headers = page.locator("#board thead").inner_text()
    assert "tp corr (lower is better)" in headers and "vel R2" not in headers and "Dataset" not in headers
    assert page.locator("#nowhere").inner_text() == "No row of this choice has vel R2."
    page.get_by_label("tp corr", exact=True).uncheck()
    assert "tp corr" not in page.locator("#board thead").inner_text()
    choose(page, dataset="", bin_ms="")
    assert f"of {everything}" in page.locator(".dt-info").inner_text()
    assert "Dataset" in page.locator("#board thead").inner_text()
    page.locator(".dt-paging button", has_text="2").click()
    assert "101 to 200" in page.locator(".dt-info").inner_text()


def test_search(page):
    page.get_by_label("Model", exact=True).fill("LFADS 07")
    assert names(page) == ["lfads_ensemble_of_twenty_07"]
    page.get_by_label("Model", exact=True).fill("nothing of that name")
    assert "Nothing matches" in page.locator("#board tbody").inner_text()


def test_what_is_missing_is_said_to_be(page):
    choose(page, dataset="mc_rtt")
    found = groups(page)["Without scores"]
    reasons = {row[1]: row[-1] for row in found}
    assert reasons["condition_psth"] == "Missing: the dataset's definition names no conditions"
    assert reasons["stndt"] == "Missing: no scores were made"
    assert all(set(row[2:-2]) == {"missing"} for row in found)
    ranked = {row[1]: row for row in groups(page)["Ranked by co-bps"]}
    assert "no forecast" in ranked["smoothing"] and "does not apply here" not in ranked["smoothing"]
    choose(page, dataset="mc_maze_small")
    page.get_by_role("button", name="mint").click()
    line = page.locator("dialog tr", has=page.get_by_role("rowheader", name="psth R2"))
    assert line.locator("td").nth(1).inner_text() == "none"


def test_provenance_by_keyboard(page, made):
    page.get_by_label("Model", exact=True).fill("gru")
    page.locator("#board thead .dt-column-order").first.focus()
    page.keyboard.press("Space")
    page.locator("#board thead th[aria-sort=descending]").wait_for()
    button = page.get_by_role("button", name="gru", exact=True)
    while not button.evaluate("node => node === document.activeElement"):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="gru")
    entry = next(e for e in made["entries"] if (e["dataset"], e["bin_ms"], e["model"]) == ("mc_maze", 5, "gru"))
    text = dialog.inner_text()
    assert entry["provenance"]["prediction"]["code_digest"] in text and entry["provenance"]["score"]["commit"] in text
    for part in ("numpy 2.4.6, python 3.11.7", "2026-01-31T12:00:00Z", "width", "310000", "160.5", "CC-BY-4.0", "cuda"):
        assert part in text, part
    assert f"{entry['scores']['co-bps']:.4f}" in text and dialog.locator("summary").count() == 5
    page.keyboard.press("Escape")
    assert not dialog.is_visible() and button.evaluate("node => node === document.activeElement")


def test_a_number_opens_its_provenance(page):
    page.locator("#board td.score[data-metric='vel R2']").first.click()
    assert page.locator("dialog strong").inner_text() == "vel R2"
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="lfads-torch 30 epochs seed0").click()
    assert "phase to be checked at the source" in page.locator("dialog").inner_text()


def test_links_lead_to_the_files_beside_the_page(page, tmp_path):
    wanted = tmp_path / "mc_maze/5ms/val/ndt/1/scores.json"
    wanted.parent.mkdir(parents=True)
    wanted.write_text('{"here": true}')
    page.get_by_role("button", name="ndt", exact=True).click()
    page.locator("dialog summary").nth(1).click()
    links = page.locator("dialog details").nth(1).get_by_role("link")
    assert [link.get_attribute("href") for link in links.all()] == [
        f"mc_maze/5ms/val/ndt/1/{name}" for name in ("prediction.h5", "scores.json")
    ]
    links.nth(1).click()
    page.wait_for_url(wanted.as_uri())
    assert "here" in page.content()


def test_what_failed_is_said_to_have(opened):
    made, reason = parts(3, (5,), 1), "failed: " + "the model broke in a way that takes many words. " * 6
    made |= {"absent": [["mc_maze", 5, "val", "mine", reason.strip()]]}
    page = opened(leaderboard_page(**made), width=390)
    (row,) = (row for row in groups(page)["Without scores"] if row[1] == "mine")
    assert {*row[2:-2]} == {"failed"} and row[-1] == reason.strip()
    # no screen high, and so nothing but white, where the reason is out of sight
    assert page.locator("#board tr", has_text="mine").last.bounding_box()["height"] < 300


def test_hostile_names_are_text(opened):
    made = parts(3, (5,), 1)
    published = pd.DataFrame([["mc_maze", 5, "val", HOSTILE, "co-bps", 0.3, "A", HOSTILE]], columns=PUBLISHED.columns)
    made |= {"published": published, "absent": [["mc_maze", 5, "val", HOSTILE, HOSTILE]]}
    made["datasets"]["mc_maze"] = {"title": HOSTILE, "citation": HOSTILE, "license": HOSTILE}
    for entry in made["entries"]:
        entry["params"] = {HOSTILE: HOSTILE}
        entry["provenance"]["score"]["device"] = HOSTILE
    page = opened(leaderboard_page(**made))
    found = groups(page)
    assert found["Published elsewhere"][0][1] == HOSTILE and HOSTILE in page.locator("#board caption").inner_text()
    assert found["Without scores"][0][-1] == f"Missing: {HOSTILE}"
    for button in page.locator("#board th button").all():
        button.click()
        assert HOSTILE in page.locator("dialog").inner_text()
        page.keyboard.press("Escape")
    page.get_by_label("Model", exact=True).fill("<img")
    assert page.locator("#board th button").count() == 1
    assert page.evaluate("window.hit") is None and page.locator("img").count() == 0


def test_narrow_and_printed(opened, html, tmp_path):
    page = opened(html, width=400)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.get_by_role("button", name="mint").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.keyboard.press("Escape")
    choose(page, dataset="", bin_ms="")
    shown = "document.querySelectorAll('#board tbody tr:not(.dtrg-group)').length"
    page.evaluate(f"addEventListener('beforeprint', () => {{ window.printed = {shown} }})")
    page.pdf(path=tmp_path / "page.pdf")
    total = int(re.search(r"of ([\d,]+)", page.locator(".dt-info").inner_text())[1].replace(",", ""))
    assert page.evaluate("window.printed") == total > 500 and page.evaluate(shown) == 100
    page.emulate_media(media="print")
    assert not page.locator("#choices").is_visible() and page.locator("#board").is_visible()
    score, interval = (
        page.locator(f"#board td.score {part}").first.evaluate("node => parseFloat(getComputedStyle(node).fontSize)")
        for part in ("span", "small")
    )
    assert interval < score


def test_nothing_scored(opened):
    made = parts(1, (5,), 1)
    nothing = {"entries": [], "ranks": made["ranks"][:0], "differences": made["differences"][:0]}
    html = leaderboard_page(**made | nothing)
    assert groups(opened(html))["Without scores"][0][1] == "condition_psth"


def test_the_workflow_writes_it(finished, opened):
    results = Path(finished[1]) / "results"
    page = opened((results / "leaderboard.html").read_text())
    assert set(names(page)) == {"mean_rate", "flat_forecast", "smoothing"} and page.locator(
        "#board caption"
    ).inner_text().endswith("test phase")
    page.get_by_role("button", name="smoothing").click()
    assert "Reference code" in page.locator("dialog .card").text_content()
    led = [link.get_attribute("href") for link in page.locator("dialog").get_by_role("link").all()]
    # the paper, as long as the card is folded, and the files beside the page
    assert [address for address in led if address.startswith("https:")] == ["https://arxiv.org/abs/2109.04463"]
    assert all((results / address).is_file() for address in led if not address.startswith("https:")) and len(led) > 2
