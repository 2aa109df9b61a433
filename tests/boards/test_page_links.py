"""Links in the details of a row: to papers and code that a model's file or a published row names."""

import pytest

from fake_page import PUBLISHED, parts
from nlbflow.boards.page import leaderboard_page
from nlbflow.models.cards import describe_model
from workflow import ROOT

HOSTILE = "</script><img src=x onerror='window.hit = 1'>{{ 7 * 7 }}"
LINKED = (
    "See arXiv:2109.04463, arXiv 2206.04727v2 (doi:10.1016/0047-259X(75)90042-1); (https://example.org/a_(b)). "
    "<https://example.org/x>, http://example.org, javascript:alert(1), https://user@example.org/, https://, "
    "`https://example.org/code`, arXiv:12, //example.org, JOSS 10.21105/joss.05023, 10.5/2"
)
LED = [
    ("arXiv:2109.04463", "https://arxiv.org/abs/2109.04463"),
    ("arXiv 2206.04727v2", "https://arxiv.org/abs/2206.04727v2"),
    ("doi:10.1016/0047-259X(75)90042-1", "https://doi.org/10.1016/0047-259X(75)90042-1"),
    ("https://example.org/a_(b)", "https://example.org/a_(b)"),
    ("https://example.org/x", "https://example.org/x"),
    ("https://example.org/code", "https://example.org/code"),
    ("10.21105/joss.05023", "https://doi.org/10.21105/joss.05023"),
]


@pytest.fixture(scope="module")
def made() -> dict:
    return parts(13, (5,), 1)


def test_addresses_in_what_a_model_says_are_links_to_https_alone(opened, made):
    told = {"about": LINKED, "more": [], "card": [["Reference code", HOSTILE + " arXiv:1511.07543"]]}
    page = opened(leaderboard_page(**made, models={"mint": told}))
    page.get_by_role("button", name="mint", exact=True).click()
    said = page.locator("dialog .card p")
    links = said.get_by_role("link").all()
    assert [(link.inner_text(), link.get_attribute("href")) for link in links] == LED
    assert said.inner_text() == LINKED.replace("`", "")
    assert all(link.get_attribute("rel") == "noreferrer" for link in links)
    assert page.locator("dialog dd a").get_attribute("href") == "https://arxiv.org/abs/1511.07543"
    assert page.locator("dialog img").count() == 0


def test_shipped_models_and_published_rows_lead_to_their_papers(opened, made):
    models = {name: describe_model(ROOT / f"scripts/models/{name}.py") for name in ("gpfa", "ndt", "mint")}
    page = opened(leaderboard_page(**made, models=models))
    for name, wanted in (
        ("gpfa", {"https://arxiv.org/abs/2109.04463", "https://github.com/neurallatents/nlb_tools"}),
        ("ndt", {"https://doi.org/10.51628/001c.27358", "https://arxiv.org/abs/2206.04727"}),
        ("mint", {"https://doi.org/10.7554/eLife.89421"}),
    ):
        page.get_by_role("button", name=name, exact=True).click()
        led = page.locator("dialog .card").evaluate("card => [...card.querySelectorAll('a')].map(link => link.href)")
        assert wanted <= set(led), name
        page.keyboard.press("Escape")
    # a published row leads to its paper, and one that others entered shows its source as text and links
    sources = {"gru": ["S", f"scored here, rates by Somebody, https://example.org/gru {HOSTILE}"]}
    page = opened(leaderboard_page(**made | {"published": PUBLISHED.assign(phase="val")}, sources=sources))
    page.get_by_role("button", name="AutoLFADS (KubeFlow)").click()
    assert page.get_by_role("link", name="10.21105/joss.05023").is_visible()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="gru", exact=True).click()
    assert page.get_by_role("link", name="https://example.org/gru").is_visible()
    assert page.locator("dialog img").count() == 0
