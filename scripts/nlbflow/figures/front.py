"""Accuracy against interpretability: co-bps beside what it costs to understand a model (docs/metrics.md)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from nlbflow.boards.front import ACCURACY, Axis, axes_of, competitor_values, on_front
from nlbflow.figures.canvas import GREY, PAGE_MM, page, panel, say, shortened, write
from nlbflow.figures.labels import label_points
from nlbflow.figures.rows import BLUE, NOBODY, ORANGE
from nlbflow.metrics.meanings import NEITHER

SIDE_MM, LEFT_MM, TOP_MM, GAP_MM = 49.0, 12.5, 8.0, 9.0
KEY_COLUMNS, KEY_LETTERS = 4, 31
# With more models, the points are numbered and a key below gives the names.
MOST_NAMES = 10
DRAWN = ("latent dimension", "parameters")


def drawn_axes(scores: pd.DataFrame) -> list[Axis]:
    """k-shot co-bps if the scores have it, latent dimension and parameters; the page has the others too."""
    return [axis for axis in axes_of(scores["metric"]) if axis.headline or axis.name in DRAWN]


def draw_front(title: str, scores: pd.DataFrame, costs: pd.DataFrame, differences: pd.DataFrame) -> Figure:
    """One panel per axis; the models on the front are joined by a line.

    Args:
        scores, costs, differences: rows of scores.csv, costs.csv and differences.csv of one place.
    """
    axes_here = drawn_axes(scores)
    # the consistency over seeds has no panel
    table = competitor_values(axes_here, scores, costs, pd.DataFrame(columns=["model"]))
    if table.empty:
        return say(title, NOBODY)
    numbered = len(table) > MOST_NAMES
    short = [str(i + 1) if numbered else shortened(model, 16) for i, model in enumerate(table.index)]
    key = [f"{i + 1}  {shortened(model, KEY_LETTERS)}" for i, model in enumerate(table.index)] if numbered else []
    lines = -(-len(key) // KEY_COLUMNS)
    below = TOP_MM + SIDE_MM + 17
    figure = page(PAGE_MM, below + 2 + 2.8 * lines, title)
    for number, axis in enumerate(axes_here):
        shown = table[axis.name].notna().to_numpy()
        left = LEFT_MM + number * (SIDE_MM + GAP_MM)
        if not shown.any():
            write(figure, left, TOP_MM + 2, f"{axis.name}:\nno competitor shown: {axis.lacking}", color=GREY)
            continue
        axes = panel(figure, left, TOP_MM, SIDE_MM, SIDE_MM)
        front = on_front(table, axis, differences).to_numpy()[shown]
        _draw_points(axes, axis, table[shown], front, [name for name, s in zip(short, shown, strict=True) if s])
        if number == 0:
            axes.set_ylabel("co-bps")
        if not shown.all():
            missing = f"{(~shown).sum()} of {len(shown)} models not shown: {axis.lacking}"
            write(figure, left, TOP_MM + SIDE_MM + 8, missing, color=GREY, fontsize=5.5)
    for column in range(KEY_COLUMNS if key else 0):
        left, part = 2 + column * (PAGE_MM - 4) / KEY_COLUMNS, key[column * lines : (column + 1) * lines]
        write(figure, left, below, "\n".join(part), fontsize=5.5, linespacing=1.25)
    marks = [
        Line2D([], [], color=ORANGE, marker="o", label="on the front: no other model is really better in both"),
        Line2D([], [], color=BLUE, marker="o", linestyle="none", label="another model is really better in both"),
    ]
    width, height = figure.get_size_inches() * 25.4
    figure.legend(handles=marks, loc="upper left", bbox_to_anchor=(1.5 / width, 1 - (below - 4.5) / height), ncols=2)
    return figure


def _draw_points(axes: Axes, axis: Axis, table: pd.DataFrame, front: np.ndarray, names: list[str]) -> None:
    x, y = table[axis.name].to_numpy(float), table[ACCURACY].to_numpy(float)
    if axis.log:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(True)
    path = np.flatnonzero(front)[np.argsort(x[front], kind="stable")]
    axes.plot(x[path], y[path], color=ORANGE, linewidth=0.7, zorder=2)
    axes.plot(x[~front], y[~front], "o", color=BLUE, zorder=3)
    axes.plot(x[front], y[front], "o", color=ORANGE, zorder=3)
    axes.margins(0.12)
    axes.autoscale_view()
    better = "fewer at equal co-bps" if axis.name in NEITHER else f"{'less' if axis.less else 'more'} is better"
    axes.set_xlabel(f"{axis.name} ({better})")
    first = np.argsort(~front, kind="stable")
    label_points(axes, x[first], y[first], [names[i] for i in first], path=(x[path], y[path]))
