"""A page of very many models: its data are packed, and it shows and tells the same from one file."""

import base64
import gzip
import json
import re

import pytest

from fake_page import block, parts
from nlbflow.boards import page as page_module
from nlbflow.boards.page import as_shown, leaderboard_page


@pytest.fixture(scope="module")
def made() -> dict:
    return parts(models=14, bins=(5,), seeds=2)


def packed(made: dict, monkeypatch) -> str:
    monkeypatch.setattr(page_module, "MOST_PLAIN", 1000)
    return leaderboard_page(**made)


def test_what_is_packed_is_the_same_data(made, monkeypatch):
    plain = leaderboard_page(**made)
    html = packed(made, monkeypatch)
    assert "fflate" in html and "fflate" not in plain.replace("fflate.", "")
    assert html == leaderboard_page(**made) and len(html) < len(plain)
    for name in ("scores", "runs"):
        content = re.search(rf'<script type="application/json" id="{name}" data-packed>(.*)</script>', html)[1]
        assert json.loads(gzip.decompress(base64.b64decode(content))) == as_shown(block(plain, name))


def test_a_packed_page_is_sorted_searched_and_opened(made, monkeypatch, opened):
    page = opened(packed(made, monkeypatch))
    assert page.get_by_role("rowheader", name="mint").count() == 1
    page.get_by_role("rowheader", name="mint").get_by_role("button").click()
    assert "Provenance" in page.get_by_role("dialog").inner_text()
