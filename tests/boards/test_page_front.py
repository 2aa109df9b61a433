"""The plot of accuracy and interpretability on the leaderboard page, driven in headless Chromium."""

import re
from itertools import pairwise, zip_longest

import pytest

from fake_page import block, parts, with_outlier
from nlbflow.boards.page import leaderboard_page

HEADLINE = "32-shot co-bps"
HOSTILE = "</script><img src=x onerror='window.hit = 1'>{{ 7 * 7 }}"


@pytest.fixture(scope="module")
def made() -> dict:
    return parts(16, (5,), 3)


@pytest.fixture(scope="module")
def html(made) -> str:
    return leaderboard_page(**made)


def against(page, axis: str) -> None:
    page.get_by_label("co-bps against", exact=True).select_option(axis)


def points(page, of: str = "") -> list[str]:
    """The labels of the points, in the order of the arrow keys."""
    return page.locator(f"#plot [role=option]{of}").evaluate_all("found => found.map(node => node.ariaLabel)")


def rows_of(html: str, dataset: str = "mc_maze") -> list[dict]:
    """The page's rows of a place, with what both blocks say of their fronts."""
    scores, runs = block(html, "scores"), block(html, "runs")
    for row, of_costs in zip_longest(scores["rows"], runs["axes"], fillvalue={}):
        row["front"] = row.get("front", []) + of_costs.get("front", [])
        row["beside"] = row.get("beside", {}) | of_costs.get("beside", {})
    return [row for row in scores["rows"] if row["dataset"] == dataset and row["cells"] and row["model"] != "null"]


def labels(found: list[str]) -> set[str]:
    return {label.split(": co-bps")[0] for label in found}


def value_on(row: dict, axis: str) -> float | None:
    return row["cells"].get(axis, {"value": row.get("beside", {}).get(axis)})["value"]


@pytest.mark.parametrize(
    "axis", [HEADLINE, "latent dimension", "matched correlation", "psth R2", "parameters", "seconds"]
)
def test_every_row_is_a_point_and_those_on_the_front_are_joined(opened, html, axis):
    page, rows = opened(html), rows_of(html)
    against(page, axis)
    found = points(page)
    assert sorted(label.split(": co-bps")[0] for label in found) == sorted(row["model"] for row in rows)
    on = {row["model"] for row in rows if axis in row.get("front", [])}
    assert labels(points(page, ".on-front")) == on and 1 < len(on) < len(rows)
    assert all(label.endswith("; on the front") == (label.split(": co-bps")[0] in on) for label in found)
    # from left to right, then what has no value
    line = page.locator("#plot .front-line path").get_attribute("d")
    assert len(re.findall("[ML]", line)) == len(on)
    placed = {row["model"]: value_on(row, axis) for row in rows}
    in_order = [placed[label.split(": co-bps")[0]] for label in found]
    known = [value for value in in_order if value is not None]
    assert known == sorted(known) == in_order[: len(known)]
    boxes = [node.bounding_box() for node in page.locator("#plot [role=option]").all()]
    lefts = [box["x"] + box["width"] / 2 for box in boxes]
    assert all(a <= b + 0.5 for a, b in pairwise(lefts[: len(known)]))
    assert all(left > max(lefts[: len(known)]) for left in lefts[len(known) :])


def test_the_height_and_the_bar_of_a_point_are_its_score(opened, html):
    page, rows = opened(html), {row["model"]: row for row in rows_of(html)}
    # the middle of a triangle's box is not where it points to
    inside = ":not(.beyond, .published)"
    nodes, told = page.locator(f"#plot [role=option]{inside}").all(), points(page, inside)
    found = [(rows[label.split(": co-bps")[0]], node.bounding_box()) for label, node in zip(told, nodes, strict=True)]
    heights = sorted((row["cells"]["co-bps"]["value"], -box["y"] - box["height"] / 2) for row, box in found)
    (low, bottom), (high, top) = heights[0], heights[-1]
    for bits, height in heights:
        assert height == pytest.approx(bottom + (top - bottom) * (bits - low) / (high - low), abs=1)
    bars = page.locator("#plot .interval line").count()
    # of what lies beyond an edge, a bar may lie there too
    assert 10 < sum("low" in row["cells"]["co-bps"] for row, _ in found) <= bars
    assert bars <= sum("low" in row["cells"]["co-bps"] for row in rows.values())


def test_what_has_no_value_stands_at_the_margin_with_its_reason(opened, html):
    page = opened(html)
    said = page.get_by_role("list", name="Models that the axes do not place").inner_text()
    without = next(line for line in said.splitlines() if "no latents" in line)
    assert without.startswith("At the right margin, no latents: ") and "smoothing" in without and "gpfa" not in without
    assert "not published: " in said and "null" not in labels(points(page))
    assert "smoothing: co-bps 0." in page.locator("#plot .points").nth(1).inner_html()
    against(page, "parameters")
    said = page.get_by_role("list", name="Models that the axes do not place").inner_text()
    assert "not a competitor: " in said and "no latents" not in said


def test_published_methods_and_oracles_are_drawn_where_they_have_a_value_and_never_on_the_front(opened, html):
    page = opened(html.replace('"phase":"val"', '"phase":"val"'))
    against(page, "psth R2")
    rows = rows_of(html)
    oracles = {row["model"] for row in rows if row["kind" if "kind" in row else "group"] == "oracle"}
    assert {"true_rates", "condition_psth"} <= oracles == labels(points(page, ".aside"))
    assert labels(points(page, ".published")) == {row["model"] for row in rows if row["group"] == 2}
    assert page.locator("#plot .published.on-front, #plot .aside.on-front").count() == 0


def test_the_table_marks_the_front_of_the_headline_axis(opened, html):
    page = opened(html)
    marked = {row["model"] for row in rows_of(html) if HEADLINE in row["front"]}
    shown = page.locator("#board tr:has(small.on-front) th button").all_inner_texts()
    assert set(shown) == marked and 1 < len(marked)
    # whatever axis is drawn
    against(page, "seconds")
    assert page.locator("#board small.on-front").count() == len(marked)
    mark = page.locator("#board small.on-front").first
    mark.scroll_into_view_if_needed()
    # what scrolls takes its hint away
    page.wait_for_timeout(100)
    mark.hover()
    assert f"both in co-bps and in {HEADLINE}" in page.get_by_role("tooltip").inner_text()


def test_a_click_opens_the_row_of_the_nearest_point(opened, html):
    page = opened(html)
    node = page.locator("#plot [role=option]").nth(3)
    page.locator("#plot").scroll_into_view_if_needed()
    name, box = points(page)[3].split(": co-bps")[0], node.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2 - 9, box["y"] + box["height"] / 2 - 9)
    dialog = page.get_by_role("dialog", name=name, exact=True)
    assert dialog.is_visible() and "MC_Maze, 5 ms bins, val phase" in dialog.inner_text()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == points(page)[3]
    corner = page.locator("#plot svg").bounding_box()
    page.mouse.click(corner["x"] + 3, corner["y"] + 3)
    assert not page.locator("dialog").is_visible()


def test_points_by_keyboard(opened, html):
    page, label = opened(html), "document.activeElement.getAttribute('aria-label')"
    page.get_by_label("co-bps against", exact=True).focus()
    page.keyboard.press("Tab")
    found = points(page)
    assert page.evaluate(label) == found[0] and page.locator("#plot [tabindex='0']").count() == 1
    assert page.get_by_role("tooltip").inner_text() == found[0]
    for key, at in (
        ("ArrowRight", 1),
        ("ArrowDown", 2),
        ("ArrowLeft", 1),
        ("End", -1),
        ("ArrowRight", -1),
        ("Home", 0),
        ("ArrowUp", 0),
    ):
        page.keyboard.press(key)
        assert page.evaluate(label) == found[at], key
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name=found[1].split(": co-bps")[0], exact=True)
    assert dialog.is_visible()
    page.keyboard.press("Escape")
    assert page.evaluate(label) == found[1]
    page.keyboard.press(" ")
    assert dialog.is_visible()
    page.keyboard.press("Escape")
    # one key leads out of the plot, and back to the same point
    page.keyboard.press("Tab")
    assert "as a table" in page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate(label) == found[1]


def test_the_plot_has_a_name_and_the_same_as_a_table(opened, html):
    page = opened(html)
    title = f"co-bps against {HEADLINE}: MC_Maze, 5 ms bins, val phase"
    assert page.get_by_role("listbox", name=title).count() == 1 and page.get_by_role("figure", name=title).count() == 1
    page.get_by_text("The plot as a table").click()
    table = page.get_by_role("table", name=title)
    told = {
        row.locator("th").inner_text(): row.locator("td").all_inner_texts() for row in table.locator("tbody tr").all()
    }
    rows = {row["model"]: row for row in rows_of(html)}
    assert told.keys() == rows.keys()
    for name, (bits, _, on) in told.items():
        assert bits.replace("−", "-") == f"{rows[name]['cells']['co-bps']['value']:.4f}".replace("-0.0000", "0.0000")
        assert on == ("yes" if HEADLINE in rows[name]["front"] else "no" if rows[name]["group"] == 0 else "never")
    assert told["smoothing"][1] == "no latents"
    assert told["gpfa"][1] == f"{rows['gpfa']['cells'][HEADLINE]['value']:.4f}"


def test_the_plot_is_of_what_is_chosen(opened, html):
    page = opened(html)
    page.locator("select[name=dataset]").select_option("mc_rtt")
    assert page.get_by_role("listbox", name="co-bps against 32-shot co-bps: MC_RTT, 5 ms bins, val phase").count() == 1
    assert labels(points(page)) == {row["model"] for row in rows_of(html, "mc_rtt")}
    against(page, "psth R2")
    assert page.get_by_text("Nothing here has both co-bps and psth R2.").is_visible()
    assert not page.locator("#front figure").is_visible()
    page.locator("select[name=dataset]").select_option("")
    assert page.get_by_text("Choose one dataset, bin width and phase").is_visible()
    page.locator("select[name=dataset]").select_option("dmfc_rsg")
    assert page.locator("#front figure").is_visible()


def test_names_do_not_cover_each_other_and_stay_in_the_picture(opened):
    page = opened(leaderboard_page(**parts(60, (5,), 1)))
    said = page.get_by_role("list", name="Models that the axes do not place").inner_text()
    # all others are in the table
    assert re.search(r"no latents: ([^,]+, ){11}[^,]+ and \d+ more, in the table", said)
    frame = page.locator("#plot svg").bounding_box()
    # without the halo of three pixels
    boxes = [
        {"x": box["x"] + 3, "y": box["y"] + 3, "width": box["width"] - 6, "height": box["height"] - 6}
        for box in (node.bounding_box() for node in page.locator("#plot .names text").all())
    ]
    assert len(boxes) > 8
    for i, a in enumerate(boxes):
        # beside the ticks, above the axis
        assert frame["x"] + 50 <= a["x"] and a["x"] + a["width"] <= frame["x"] + frame["width"] + 1
        assert frame["y"] <= a["y"] and a["y"] + a["height"] <= frame["y"] + frame["height"] - 40
        for b in boxes[:i]:
            apart_x = a["x"] + a["width"] <= b["x"] + 0.5 or b["x"] + b["width"] <= a["x"] + 0.5
            apart_y = a["y"] + a["height"] <= b["y"] + 0.5 or b["y"] + b["height"] <= a["y"] + 0.5
            assert apart_x or apart_y


def test_one_model_far_below_does_not_press_the_others_together(opened):
    page = opened(leaderboard_page(**with_outlier(parts(14, (5,), 3))))
    against(page, "psth R2")
    assert "Drawn at an edge, beyond which they lie: flat_forecast" in page.locator("#beside-plot").inner_text()
    lefts = [node.bounding_box()["x"] for node in page.locator("#plot .competitor, #plot .on-front").all()]
    assert max(lefts) - sorted(lefts)[1] > 100


def test_implausible_scores_are_not_drawn(opened):
    made = parts(14, (5,), 1)
    for entry in made["entries"]:
        if entry["model"] == "gru":
            entry["kind"] = "implausible"
    page = opened(leaderboard_page(**made))
    assert (
        "gru" not in labels(points(page)) and "Not drawn, implausible: gru" in page.locator("#beside-plot").inner_text()
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_both_schemes_and_widths(opened, html, width, scheme):
    page = opened(html, width=width)
    page.emulate_media(color_scheme=scheme)
    for axis in (HEADLINE, "seconds"):
        against(page, axis)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        for part in (".names text.on-front", ".on-front"):
            colour = page.locator(f"#plot {part}").first.evaluate("node => getComputedStyle(node).fill")
            assert contrast(colour, ground) > 4.5
        assert (
            contrast(
                page.locator("#plot .interval line").first.evaluate("node => getComputedStyle(node).stroke"), ground
            )
            > 3
        )
        # ticks that are apart and whole
        boxes = [node.bounding_box() for node in page.locator("#plot [aria-label^='x-axis tick label'] text").all()]
        assert len(boxes) > 1 and all(a["x"] + a["width"] < b["x"] for a, b in pairwise(boxes))
        plot = page.locator("#plot svg").bounding_box()
        texts = [node.bounding_box() for node in page.locator("#plot text").all()]
        assert all(plot["x"] <= box["x"] and box["x"] + box["width"] <= plot["x"] + plot["width"] + 1 for box in texts)


def contrast(colour: str, ground: str) -> float:
    """The contrast ratio of two colours `rgb(r, g, b)` (WCAG 2)."""

    def luminance(text: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", text)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    first, second = sorted((luminance(colour), luminance(ground)))
    return (second + 0.05) / (first + 0.05)


def test_the_plot_is_drawn_anew_for_another_width(opened, html):
    page = opened(html)
    page.locator("#plot [role=option]").nth(2).focus()
    page.set_viewport_size({"width": 500, "height": 900})
    page.wait_for_function("document.querySelector('#plot svg').clientWidth <= 500")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == points(page)[2]
    assert page.evaluate("document.documentElement.scrollWidth") <= 500


def test_print_has_the_plot_and_no_choice(opened, html):
    page = opened(html)
    page.emulate_media(media="print")
    assert page.locator("#plot svg").is_visible() and not page.get_by_label("co-bps against", exact=True).is_visible()
    assert page.locator("#plot-title").is_visible() and not page.locator("#plot-table summary").is_visible()


def test_hostile_names_are_text_in_the_plot(opened):
    made = parts(13, (5,), 1)
    for table in ("ranks", "differences", "consistency"):
        made[table] = made[table].replace("mint", HOSTILE)
    for entry in made["entries"]:
        entry["model"] = HOSTILE if entry["model"] == "mint" else entry["model"]
    page = opened(leaderboard_page(**made))
    assert HOSTILE in labels(points(page)) and page.evaluate("window.hit") is None and page.locator("img").count() == 0
    assert HOSTILE in page.locator("#plot-table").text_content()
