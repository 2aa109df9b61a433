"""Figures of the tables: what is drawn is what the tables say, what is missing is said, and the bytes are the same."""

import os
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from fake_results import FAILED, fake_results
from nlbflow.boards.cells import positions, unbeaten
from nlbflow.boards.tables import place_title
from nlbflow.figures import FORMATS
from nlbflow.figures.canvas import page, panel, save, say, shortened, use_style
from nlbflow.figures.front import draw_front
from nlbflow.figures.labels import _free_place, label_points, spread_out
from nlbflow.figures.pipeline import BOXES, WAYS, draw_pipeline
from nlbflow.figures.rows import MARKS, draw_neurons, draw_ranks, draw_scores, order, rank_ticks
from nlbflow.figures.scaling import COLOURED, draw_scaling
from workflow import ROOT

use_style(ROOT / "resources/nlbflow.mplstyle")
DATASET = FAILED[1]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Made-up tables by name; those of one place, where a model failed, with `here_` before the name."""
    datasets = (DATASET, "mc_maze", "mc_maze_large", "mc_maze_small")
    paths = fake_results(tmp_path_factory.mktemp("fake"), models=16, datasets=datasets, bin_ms=(5,), seeds=3)
    found = {name: pd.read_csv(paths[name], keep_default_na=False, na_values=dict.fromkeys(NUMBERS, ""))
             for name in ("scores", "ranks", "neurons", "costs", "differences")}  # fmt: skip
    return found | {f"here_{name}": table[table["dataset"] == DATASET] for name, table in found.items()}


NUMBERS = ("value", "low", "high", "best_rank", "worst_rank", "co-bps", "parameters")


@pytest.fixture(scope="module")
def known(tables):
    ranks = tables["ranks"]
    return list(dict.fromkeys(ranks.loc[ranks["kind"] == "competitor", "model"]))


def drawn_points(axes, marker="o"):
    """(points, 2) of all markers of a kind, those of rows that are missing left out."""
    points = [line.get_xydata() for line in axes.lines if line.get_marker() == marker]
    points = np.concatenate(points) if points else np.zeros((0, 2))
    return points[~np.isnan(points).any(axis=1)]


def words(figure):
    axes_texts = [text for axes in figure.axes for text in axes.texts]
    return [text.get_text() for text in [*figure.texts, *axes_texts]]


def titled(figure, title):
    return next(axes for axes in figure.axes if axes.get_title(loc="left") == title)


def test_scores_are_those_of_the_table(tables, known):
    ranks = tables["here_ranks"]
    figure = draw_scores("title", ranks, tables["here_scores"], known)
    rows = [row.model for row in order(ranks, known)]
    for metric in set(ranks["metric"]):
        axes = titled(figure, metric)
        wanted = ranks[ranks["metric"] == metric].set_index("model")
        beside = {rows[round(line.get_ydata()[0])] for line in axes.lines if line.get_marker() in "<>"}
        competing = wanted[wanted["kind"] == "competitor"].drop(index=list(beside))
        found = {rows[round(y)]: x for x, y in drawn_points(axes)}
        for model, value in competing["value"].items():
            assert found[model] == pytest.approx(value)
        assert found.keys() - beside == set(competing.index)
        assert ("no interval" in axes.get_xlabel()) == wanted["low"].isna().all()
        ends = np.concatenate([c.get_segments() for c in axes.collections if c.get_linewidth()[0] > 1])
        assert {tuple(np.round(e[:, 0], 9)) for e in ends} == {
            tuple(np.round(pair, 9)) for pair in wanted[["low", "high"]].dropna().to_numpy()
        }
    strokes = drawn_points(titled(figure, "co-bps"), "|")
    bits = tables["here_scores"].query("metric == 'co-bps' and kind != 'null'")
    several = bits[bits.groupby("model")["seed"].transform("size") > 1]
    assert sorted(strokes[:, 0]) == pytest.approx(sorted(several["value"]))


def test_missing_is_said_and_never_zero(tables, known):
    figure = draw_scores("title", tables["here_ranks"], tables["here_scores"], known)
    axes = titled(figure, "co-bps")
    failed = [row.model for row in order(tables["here_ranks"], known)].index(FAILED[0])
    assert "no result" in [t.get_text() for t in axes.texts if t.get_position()[1] == failed]
    assert failed not in drawn_points(axes)[:, 1]
    unpredicted = set(known) - set(tables["here_ranks"].query("metric == 'fp-bps'")["model"]) - {FAILED[0]}
    assert [t.get_text() for t in titled(figure, "fp-bps").texts].count("no score") == len(unpredicted) > 0
    for draw, table in ((draw_ranks, None), (draw_neurons, tables["here_neurons"])):
        arguments = [a for a in (tables["here_ranks"], table, known) if a is not None]
        assert "no result" in words(draw("title", *arguments))


def test_far_scores_get_an_arrow_and_their_number(tables, known):
    ranks = tables["here_ranks"].copy()
    ranks.loc[(ranks["model"] == "mean_rate") & (ranks["metric"] == "co-bps"), ["value", "low", "high"]] = (
        -57.25,
        -60,
        -50,
    )
    axes = titled(draw_scores("title", ranks, tables["here_scores"], known), "co-bps")
    assert axes.get_xlim()[0] > -1 and "−57.2" in [text.get_text() for text in axes.texts]


def test_numbers_of_neighbouring_panels_are_apart(tables, known):
    for dataset in sorted(set(tables["ranks"]["dataset"])):
        placed, scores = (tables[name][tables[name]["dataset"] == dataset] for name in ("ranks", "scores"))
        figure = draw_scores("title", placed, scores, known)
        figure.draw_without_rendering()
        boxes = [
            [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()] for axes in figure.axes
        ]
        for left, right in pairwise(boxes):
            assert len(left) > 1 and max(box.x1 for box in left) < min(box.x0 for box in right), dataset


def test_ranks_are_those_of_the_table(tables, known):
    ranks = tables["here_ranks"]
    axes = titled(draw_ranks("title", ranks, known), "co-bps")
    wanted = ranks[(ranks["metric"] == "co-bps") & (ranks["kind"] == "competitor")].sort_values(
        "value", ascending=False
    )
    # rows are sorted by co-bps, so row and rank agree
    assert sorted(drawn_points(axes).tolist()) == [[i + 1, i] for i in range(len(wanted))]
    ends = np.concatenate([c.get_segments() for c in axes.collections if c.get_linewidth()[0] > 1])
    assert [tuple(e[:, 0]) for e in ends] == [*zip(wanted["best_rank"], wanted["worst_rank"], strict=True)]


def test_ranks_are_named_at_even_steps():
    assert rank_ticks(1) == [1] and rank_ticks(6) == [1, 2, 3, 4, 5, 6]
    assert rank_ticks(8) == [1, 3, 5, 7] and rank_ticks(13) == [1, 5, 10] and rank_ticks(40) == [1, 10, 20, 30, 40]
    for last in range(1, 400):
        ticks = rank_ticks(last)
        assert len(ticks) <= 7 and ticks[0] == 1 and ticks[-1] <= last and len({*np.diff(ticks[1:])}) <= 1


def test_the_legend_tells_of_seeds_only_where_there_are_several(tables, known):
    def keys(scores):
        return [
            text.get_text() for text in draw_scores("d", tables["here_ranks"], scores, known).legends[0].get_texts()
        ]

    scores = tables["here_scores"]
    assert "one seed of several" in keys(scores)
    assert "one seed of several" not in keys(scores[scores["seed"] == 0])


def test_neurons_are_those_of_the_table(tables, known):
    figure = draw_neurons("title", tables["here_ranks"], tables["here_neurons"], known)
    dots = drawn_points(figure.axes[0])
    means = tables["here_neurons"].groupby(["model", "neuron"])["co-bps"].mean().dropna()
    assert sorted(dots[:, 0]) == pytest.approx(sorted(means))


def test_labels_do_not_cover_each_other():
    points = np.random.default_rng(0).uniform(0, 40, (40, 2))
    taken = np.column_stack([points - 0.5, points + 0.5])
    boxes = []
    for point in points:
        box, _ = _free_place(point, 3.0, 2.0, taken, np.array([-5.0, -5.0, 45.0, 45.0]))
        boxes.append(box)
        taken = np.vstack([taken, box])
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert (np.minimum(a[2:], b[2:]) <= np.maximum(a[:2], b[:2]) + 1e-9).any()


def test_no_line_runs_through_a_name():
    axes = panel(page(60, 60), 5, 5, 50, 50, xlim=(0, 10), ylim=(0, 10))
    x, y = np.array([2.0, 5.0, 5.0, 8.0]), np.array([2.0, 5.0, 5.0, 8.0])
    axes.plot(x, y)
    label_points(axes, x, y, ["mean_rate", "flat_forecast", "smoothing", "gpfa"], path=(x, y))
    renderer = axes.figure.canvas.get_renderer() if hasattr(axes.figure.canvas, "get_renderer") else None
    on_line = axes.transData.transform(np.column_stack([np.linspace(2, 8, 500)] * 2))
    for text in axes.texts:
        box = text.get_window_extent(renderer)
        assert not any(box.contains(*point) for point in on_line), text.get_text()


def test_names_at_lines_are_moved_apart():
    heights = np.array([0.5, 0.51, 0.1, 0.505])
    moved = spread_out(heights, 0.1)
    assert np.diff(np.sort(moved)).min() > 0.099 and (np.argsort(moved) == np.argsort(heights)).all()
    assert spread_out(np.zeros(0), 0.1).size == 0


def test_scaling_lines_have_a_gap_where_a_model_failed(tables):
    trials = {"mc_maze": 1721, "mc_maze_large": 375, "mc_maze_small": 75}
    ranks = tables["ranks"]
    ranks = ranks[(ranks["model"] != "mint") | (ranks["dataset"] != "mc_maze_large")]
    names = {"mc_maze": "MC_Maze", "mc_maze_large": "Large", "mc_maze_small": "Small"}
    figure = draw_scaling("title", ranks, trials, names)
    assert "From left to right: Small, Large, MC_Maze" in words(figure)
    bits = ranks[(ranks["metric"] == "co-bps") & (ranks["kind"] == "competitor")]
    lines = [line.get_xydata() for line in titled(figure, "co-bps").lines]
    assert len(lines) == bits["model"].nunique() and all(line[:, 0].tolist() == [75, 375, 1721] for line in lines)
    assert [np.isnan(line[:, 1]).tolist() for line in lines].count([False, True, False]) == 1
    wanted = bits[bits["dataset"].isin(trials)]["value"]
    assert sorted(v for line in lines for v in line[:, 1] if v == v) == pytest.approx(sorted(wanted))
    assert len({line.get_color() for line in titled(figure, "co-bps").lines}) == COLOURED + 1


def test_pipeline_names_rules_that_exist():
    rules = {line.split()[1].rstrip(":") for path in (ROOT / "rules").glob("*.smk")
             for line in path.read_text().splitlines() if line.startswith("rule ")}  # fmt: skip
    assert {rule for box in BOXES for rule in box} <= rules
    # every way ends at the edge of a box
    edges = [(abs(x - end[0]), abs(y - end[1])) for way in WAYS if way.arrow for end in [way.corners[-1]]
             for x, y in BOXES.values() if abs(x - end[0]) <= 13 and abs(y - end[1]) <= 4.5]  # fmt: skip
    assert len(edges) == sum(way.arrow for way in WAYS)
    assert len(draw_pipeline().axes[0].patches) >= len(BOXES)


def test_a_sentence_instead_of_an_empty_figure(tmp_path):
    figure = say(place_title("d", 5, "val"), "There is nothing to draw. " * 8)
    assert not figure.axes and len(figure.texts) == 2
    save(figure, {form: tmp_path / f"a.{form}" for form in FORMATS})
    assert all((tmp_path / f"a.{form}").stat().st_size > 1000 for form in FORMATS)
    assert shortened("a_very_long_name_of_a_model", 9) == "a_ve…odel" and shortened("short", 9) == "short"


DRAW = """
import hashlib, io, sys
import pandas as pd
from nlbflow.figures.canvas import save, use_style
from nlbflow.figures.front import draw_front
from nlbflow.figures.pipeline import draw_pipeline
from nlbflow.figures.rows import draw_scores
use_style(sys.argv[2])
tables = {n: pd.read_csv(f"{sys.argv[1]}/{n}.csv", keep_default_na=False, na_values={c: "" for c in
          ("value", "low", "high", "best_rank", "worst_rank", "parameters")})
          for n in ("scores", "ranks", "costs", "differences")}
for figure in (draw_scores("title", tables["ranks"], tables["scores"], []), draw_pipeline(),
               draw_front("title", tables["scores"], tables["costs"], tables["differences"])):
    for form in ("svg", "pdf", "png"):
        held = io.BytesIO()
        save(figure, {form: held})
        print(form, hashlib.sha256(held.getvalue()).hexdigest())
"""


def test_the_same_bytes_in_another_process(tmp_path):
    fake_results(tmp_path, models=14, datasets=("mc_rtt",), bin_ms=(5,), seeds=2)
    outputs = set()
    for hashes, epoch in (("1", "86400"), ("2", "172800")):
        variables = os.environ | {"PYTHONHASHSEED": hashes, "SOURCE_DATE_EPOCH": epoch}
        variables["PYTHONPATH"] = str(ROOT / "scripts")
        command = [sys.executable, "-c", DRAW, str(tmp_path), str(ROOT / "resources/nlbflow.mplstyle")]
        outputs.add(subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout)
    assert len(outputs) == 1 and outputs.pop().count("\n") == 9


def test_nobody_competed_is_said(tables):
    oracles = {name: table[table["model"] == "condition_psth"] for name, table in tables.items()}
    drawn = [
        draw_ranks("d", oracles["here_ranks"], []),
        draw_front("d", oracles["here_scores"], oracles["here_costs"], oracles["here_differences"]),
        draw_scaling("d", oracles["ranks"], {"mc_maze": 100, "mc_maze_small": 10}, {}),
    ]
    for figure in drawn:
        assert not figure.axes and any("No competing model" in text for text in words(figure))


def test_colours_and_ranks_are_the_tables(tables):
    ranks = tables["ranks"]
    open_order = (ranks["dataset"] == "mc_maze_small") & (ranks["metric"] == "psth R2")
    assert ranks.loc[open_order, "low"].isna().all() and (ranks.loc[open_order, "best_rank"] == 1).any()
    assert not unbeaten(ranks)[open_order].any()
    small = ranks[ranks["dataset"] == "mc_maze_small"]
    axes = titled(draw_scores("d", small, tables["scores"][:0], []), "psth R2")
    orange = [line for line in axes.lines if line.get_color() == MARKS["unbeaten"]["color"]]
    assert len(small) and all(len(line.get_xdata()) == 0 for line in orange)


def test_equal_scores_share_a_rank():
    ranks = pd.DataFrame(
        {
            "dataset": "d", "bin_ms": 5, "phase": "val", "metric": ["co-bps"] * 4 + ["tp corr"] * 2,
            "model": [*"abcdab"], "kind": ["competitor"] * 3 + ["oracle"] + ["competitor"] * 2,
            "value": [0.1, 0.3, 0.1, 0.9, -0.2, -0.4], "low": 0.0, "high": 1.0, "best_rank": 1, "worst_rank": 3,
        }
    )  # fmt: skip
    found = positions(ranks)
    assert found[:3].tolist() == [2, 1, 2] and np.isnan(found[3]) and found[4:].tolist() == [2, 1]
    assert unbeaten(ranks).tolist() == [True, True, True, False, True, True]
    assert not unbeaten(ranks[:1]).any(), "nobody to beat"
