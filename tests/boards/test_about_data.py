"""What the page says of each dataset: from its stanza, and what scores mean there."""

import re

import pytest
import yaml

from fake_page import block, parts
from fake_results import DATASETS
from nlbflow.boards.about_data import introduce, worth_of
from nlbflow.boards.page import leaderboard_page
from workflow import ROOT

CATALOGUE = yaml.safe_load((ROOT / "resources/datasets.yaml").read_text())["datasets"]
HOSTILE = "</script><script>window.hit = 1</script><img src=x onerror='window.hit = 2'>& {{ 7 * 7 }}"
MINE = {
    "title": "Mine", "citation": "me", "license": "CC0", "source": "files", "align": "cue", "window_ms": [0, 700],
    "forward_ms": 100,
}  # fmt: skip
WHERE = {"dataset": "mc_rtt", "bin_ms": 5, "phase": "val"}


@pytest.fixture(scope="module")
def made() -> dict:
    return parts(14, (5, 20), 3)


def test_what_a_stanza_tells():
    told = introduce(CATALOGUE["dmfc_rsg"])
    facts = dict(told["facts"])
    assert facts["subject"] == "monkey Haydn" and "DMFC" in facts["area"] and "Ready to Set" in facts["task"]
    assert facts["aligned to"] == (
        "go_time, observed from −1500 to 0 ms, shifted by up to 300 ms at random, scored from set_time to go_time; "
        "200 ms more to forecast"
    )
    assert facts["behaviour"] == "is_eye, theta, is_short, ts and tp of the table of trials"
    assert facts["conditions"] == "is_eye, theta, is_short and ts; PSTHs smoothed with 70 ms"
    assert dict(introduce(CATALOGUE["area2_bump"])["facts"])["behaviour"] == (
        "hand_vel, 20 ms before the spikes, a decoder for each value of ctr_hold_bump"
    )
    assert dict(introduce(CATALOGUE["mc_rtt"])["facts"])["behaviour"] == "finger_vel, 140 ms after the spikes"


def test_a_stanza_of_ones_own_needs_none_of_it():
    told = introduce(MINE)
    aligned = "cue, observed from 0 to 700 ms; 100 ms more to forecast"
    assert told == {"facts": [["aligned to", aligned], ["please cite", "me"], ["licence", "CC0"]], "links": []}
    more = introduce(MINE | {"task": "Rest.", "links": {"paper": "https://example.org"}})
    assert more["facts"][0] == ["task", "Rest."] and more["links"] == [["paper", "https://example.org"]]


@pytest.mark.parametrize("name", DATASETS)
def test_each_dataset_of_the_benchmark_says_who_where_and_what(name):
    told = introduce(CATALOGUE[name])
    assert {"task", "area", "subject", "aligned to", "please cite", "licence"} <= dict(told["facts"]).keys()
    addresses = [address for _, address in told["links"]]
    dandiset = re.search(r"DANDI (\d{6})", CATALOGUE[name]["citation"])[1]
    assert addresses == ["https://neurallatents.github.io", f"https://dandiarchive.org/dandiset/{dandiset}"]


def row(model: str, value: float, **more) -> dict:
    return {**WHERE, "model": model, "cells": {"co-bps": {"value": value}}, **more}


def published(model: str, value: float, grade: str, stated: bool = True) -> dict:
    return row(model, value, group=2, grade=grade, bin_stated=stated)


def test_what_a_score_is_worth_is_told_by_its_neighbours():
    rows = [
        row("mine", 0.2, kind="competitor", rank=1), row("other", 0.1, kind="competitor", rank=2),
        row("null", 0.0, kind="null"), row("psth", 0.3, kind="oracle"), row("broken", 9.0, kind="implausible"),
        published("a paper's", 0.25, "A"), published("a lesser", 0.24, "A"), published("repository's", 0.2, "B"),
        published("self-reported", 0.26, "C"), published("which bins?", 0.5, "A", stated=False),
        published("oracle: true PSTH", 0.6, "B"),
        {**WHERE, "model": "without", "group": 3, "cells": {}},
    ]  # fmt: skip
    assert worth_of(rows) == {
        ("mc_rtt", 5, "val"): [
            ["null model", "0.0000 (null)"],
            ["best competitor", "0.2000 (mine)"],
            ["best published, grade A", "0.2500 (a paper's)"],
            # grade B's best is below A's
            ["best published, grade C", "0.2600 (self-reported)"],
            ["oracle", "0.3000 (psth)"],
        ]
    }
    assert worth_of([row("low", -0.25, kind="competitor", rank=1)])["mc_rtt", 5, "val"] == [
        ["best competitor", "−0.2500 (low)"]
    ]


def test_the_page_has_a_section_for_each_dataset(opened, made):
    figure = {"dataset": "aGVsbG8="}
    summary = [["trials", "810 for training, 270 for evaluation"], ["units", "98 held-in, 32 held-out"]]
    about = [{**WHERE, "summary": summary, "notes": [], "figures": figure}]
    html = leaderboard_page(**made, about_data=about)
    page = opened(html)
    page.locator("select[name=dataset]").select_option("mc_rtt")
    section = page.get_by_role("region", name="MC_RTT", exact=True)
    text = section.inner_text()
    for said in ("monkey Indy", "motor cortex", "start_time, observed from 0 to 600 ms", "O'Doherty", "CC-BY-4.0",
                 "98 held-in", "810 for training", "co-bps: null model", "0.0000 (null)"):  # fmt: skip
        assert said in text, said
    best = next(row for row in block(html, "scores")["rows"] if row["dataset"] == "mc_rtt" and row.get("rank") == 1)
    assert f"{best['cells']['co-bps']['value']:.4f} ({best['model']})" in text
    links = [link.get_attribute("href") for link in section.get_by_role("link").all()]
    assert links == ["https://neurallatents.github.io", "https://dandiarchive.org/dandiset/000129"]
    assert section.locator("img").count() == 1 and not section.locator("img").is_visible()
    section.locator("summary").click()
    assert section.locator("img").is_visible()


def test_sections_follow_the_choice_of_a_dataset(opened, made):
    page = opened(leaderboard_page(**made))
    assert page.locator(".dataset:visible h3").all_inner_texts() == ["MC_Maze"]
    page.locator("select[name=dataset]").select_option("")
    assert page.locator(".dataset:visible").count() == len(DATASETS)


@pytest.mark.parametrize("width", [1400, 390])
def test_a_hostile_or_endless_introduction_is_text(opened, made, width):
    told = introduce(
        MINE | {"task": HOSTILE, "area": "no_place_to_break" * 40, "links": {HOSTILE: 'https://x"onclick="'}}
    )
    place = {**WHERE, "dataset": "mc_maze", "summary": [["trials", HOSTILE]], "notes": [], "figures": {"dataset": ""}}
    html = leaderboard_page(**made | {"introductions": {"mc_maze": told}}, about_data=[place])
    page = opened(html, width=width)
    section = page.locator(".dataset:visible")
    assert HOSTILE in section.inner_text() and page.evaluate("window.hit") is None
    assert section.locator("img").count() == 1 and section.get_by_role("link").get_attribute("onclick") is None
    assert page.evaluate("document.documentElement.scrollWidth") <= width
