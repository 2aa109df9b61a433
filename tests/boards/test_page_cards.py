"""What the leaderboard page says of a model beside its scores: a sentence and a card from its file."""

import pytest

from fake_page import block, parts
from nlbflow.boards.page import leaderboard_page
from nlbflow.models.cards import FIELDS, describe_ensemble, describe_model
from workflow import ROOT

HOSTILE = "</script><script>window.hit = 1</script><img src=x onerror='window.hit = 2'>&`<b>`"
LONG = "no_place_to_break" * 40
MODELS = {
    **{name: describe_model(ROOT / f"scripts/models/{name}.py") for name in ("slds", "autolfads")},
    "smoothing": {"about": "Mine.", "card": []},
    "gru": describe_ensemble({"members": {"ndt": [0, 1], "mint": [0]}, "average": "linear"}),
    "ndt": {"about": HOSTILE, "card": [["Assumes", HOSTILE], ["Limits", LONG]]},
}


@pytest.fixture(scope="module")
def made() -> dict:
    return parts(13, (5,), 3)


def panel(page, model: str):
    """What the dialog of a row says of its model."""
    page.keyboard.press("Escape")
    page.get_by_role("button", name=model, exact=True).click()
    return page.locator("dialog .card")


@pytest.mark.parametrize("width", [1400, 390])
def test_a_card_is_unfolded_in_the_details_of_its_row(opened, made, width):
    page = opened(leaderboard_page(**made, models=MODELS), width=width)
    card = panel(page, "slds")
    assert card.inner_text().startswith(MODELS["slds"]["about"]) and not card.locator("dl").is_visible()
    card.locator("summary").click()
    assert card.locator("dt").all_inner_texts() == list(FIELDS)
    assert card.locator("dd").all_inner_texts() == [text.replace("`", "") for _, text in MODELS["slds"]["card"]]
    assert "occupancy" in card.locator("code").all_inner_texts()
    for name, said in zip(card.locator("dt").all(), card.locator("dd").all(), strict=True):
        name, said = name.bounding_box(), said.bounding_box()
        beside = name["y"] == said["y"] and name["x"] + name["width"] <= said["x"]
        assert beside if width > 640 else name["y"] + name["height"] <= said["y"]


def test_a_model_without_a_card_has_its_sentence_and_others_nothing(opened, made):
    page = opened(leaderboard_page(**made, models=MODELS))
    assert panel(page, "smoothing").inner_text() == "Mine." and page.locator("dialog summary").count() == 1
    # what an entry says of itself is no claim of ours
    page = opened(leaderboard_page(**made, models=MODELS, sources={"slds": ["S", "scored here"]}))
    assert panel(page, "slds").locator("summary").inner_text() == "What its authors say of it"
    # what it averages
    assert panel(page, "gru").inner_text() == "An ensemble: the mean of the rates of ndt (seeds 0, 1), mint (seed 0)."
    assert panel(page, "gpfa").count() == 0 and panel(page, "null").count() == 0
    assert panel(page, "lfads-torch 30 epochs seed0").count() == 0


@pytest.mark.parametrize("width", [1400, 390])
def test_a_hostile_card_is_text_and_a_long_word_is_broken(opened, made, width):
    page = opened(leaderboard_page(**made, models=MODELS), width=width)
    card = panel(page, "ndt")
    card.locator("summary").click()
    assert card.locator("dd").first.inner_text() == HOSTILE.replace("`", "")
    assert page.evaluate("window.hit") is None and page.locator("dialog img, dialog b").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("(box => box.scrollWidth - box.clientWidth)(document.querySelector('dialog'))") == 0


def test_cards_change_nothing_else_and_little_of_the_size(made):
    without, html = leaderboard_page(**made), leaderboard_page(**made, models=MODELS)
    before, after = block(without, "scores"), block(html, "scores")
    assert after.pop("models") and before.pop("models") == {} and before == after
    assert block(without, "runs") == block(html, "runs")
    lines = zip(without.splitlines(), html.splitlines(), strict=True)
    assert ['id="scores"' in old for old, new in lines if old != new] == [True]
    assert len(html.encode()) - len(without.encode()) < 10_000
