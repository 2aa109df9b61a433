"""The figure of accuracy and interpretability: its points are the tables', its front is the one that is computed."""

import numpy as np
import pandas as pd
import pytest

from fake_results import FAILED, fake_results
from nlbflow.boards.front import competitor_values, on_front
from nlbflow.boards.tables import read_table
from nlbflow.figures.canvas import use_style
from nlbflow.figures.front import draw_front, drawn_axes
from nlbflow.figures.rows import ORANGE
from workflow import ROOT

use_style(ROOT / "resources/nlbflow.mplstyle")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Made-up tables of one place, by name."""
    paths = fake_results(tmp_path_factory.mktemp("fake"), models=16, datasets=FAILED[1:], bin_ms=(5,), seeds=3)
    return {name: read_table(paths[name]) for name in ("scores", "costs", "differences")}


def drawn_points(axes) -> np.ndarray:
    """(points, 2) of all markers."""
    return np.concatenate([line.get_xydata() for line in axes.lines if line.get_marker() == "o"])


def words(figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_front_shows_every_competitor_that_has_the_measure(tables):
    scores, costs = tables["scores"], tables["costs"]
    figure = draw_front("title", scores, costs, tables["differences"])
    labels = [axes.get_xlabel().split(" (")[0] for axes in figure.axes]
    assert labels == ["32-shot co-bps", "latent dimension", "parameters"]
    competing = scores[scores["kind"] == "competitor"].groupby(["model", "metric"])["value"].mean().unstack()
    for axes, label in zip(figure.axes, labels, strict=True):
        if label != "parameters":
            wanted = competing.dropna(subset=[label])
            assert sorted(drawn_points(axes)[:, 0]) == pytest.approx(sorted(wanted[label]))
        assert len(drawn_points(axes)) > 5
    lacking = competing["latent dimension"].isna().sum()
    assert f"{lacking} of {len(competing)} models not shown: no latents" in words(figure)
    numbers = [t.get_text() for t in figure.axes[1].texts]
    assert len(numbers) == len(set(numbers)) == len(drawn_points(figure.axes[1]))


def test_the_front_that_is_drawn_is_the_one_that_is_computed(tables):
    scores, costs, differences = (tables[name] for name in ("scores", "costs", "differences"))
    figure = draw_front("title", scores, costs, differences)
    values = competitor_values(drawn_axes(scores), scores, costs, pd.DataFrame(columns=["model"]))
    for axes, axis in zip(figure.axes, drawn_axes(scores), strict=True):
        wanted = values[on_front(values, axis, differences)].sort_values(axis.name)
        line = next(line for line in axes.lines if line.get_marker() == "None" and line.get_color() == ORANGE)
        assert line.get_xydata() == pytest.approx(wanted[[axis.name, "co-bps"]].to_numpy())
        assert 0 < len(wanted) < values[axis.name].notna().sum()


def test_front_without_latents_says_so(tables):
    scores = tables["scores"]
    figure = draw_front("title", scores[scores["metric"] == "co-bps"], tables["costs"], tables["differences"])
    assert len(figure.axes) == 1
    assert any("no competitor shown: no latents" in text for text in words(figure))
