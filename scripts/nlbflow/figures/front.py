"""Accuracy against interpretability: co-bps beside what it costs to understand a model (docs/metrics.md)."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from nlbflow.figures.canvas import GREY, PAGE_MM, page, panel, say, shortened, write
from nlbflow.figures.labels import label_points
from nlbflow.figures.rows import BLUE, NOBODY, ORANGE
from nlbflow.metrics.kinds import RANKED

SIDE_MM, LEFT_MM, TOP_MM, GAP_MM = 49.0, 12.5, 8.0, 9.0
KEY_COLUMNS, KEY_LETTERS = 4, 31
# With more models, the points are numbered and a key below gives the names.
MOST_NAMES = 10


@dataclass(frozen=True)
class Measure:
    """A measure that co-bps is drawn against: its axis label, whether less is better, whether its axis is logarithmic,
    and what is said of models that lack it."""

    name: str
    label: str
    less: bool
    log: bool
    lacking: str


def measures(scores: pd.DataFrame) -> list[Measure]:
    """Latent dimension, parameters and, if the scores have it, k-shot co-bps for one k."""
    few = [metric for metric in sorted(set(scores["metric"])) if metric.endswith("-shot co-bps")]
    return [
        Measure("latent dimension", "latent dimension", True, False, "no latents"),
        Measure("parameters", "parameters", True, True, "number not given"),
        *(Measure(name, name, False, False, "no latents") for name in few[:1]),
    ]


def competitors(scores: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """A row per competing model of one place, best co-bps first; a column per measure, the mean over seeds."""
    table = scores[scores["kind"].isin(RANKED)].groupby(["model", "metric"])["value"].mean().unstack()
    table["parameters"] = costs.groupby("model")["parameters"].mean().reindex(table.index)
    # a logarithmic axis cannot show zero parameters
    table["parameters"] = table["parameters"].where(table["parameters"] > 0)
    return table if table.empty else table.sort_values("co-bps", ascending=False, kind="stable")


def undominated(cost: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """(models,) whether no other is at least as good in both and better in one; less cost and more gain are better."""
    no_worse = (cost <= cost[:, None]) & (gain >= gain[:, None])
    better = (cost < cost[:, None]) | (gain > gain[:, None])
    return ~(no_worse & better).any(axis=1)


def draw_front(title: str, scores: pd.DataFrame, costs: pd.DataFrame) -> Figure:
    """One panel per measure; the models on the front are joined by a line.

    Args:
        scores, costs: rows of scores.csv and costs.csv of one place.
    """
    table = competitors(scores, costs)
    if table.empty:
        return say(title, NOBODY)
    numbered = len(table) > MOST_NAMES
    short = [str(i + 1) if numbered else shortened(model, 16) for i, model in enumerate(table.index)]
    key = [f"{i + 1}  {shortened(model, KEY_LETTERS)}" for i, model in enumerate(table.index)] if numbered else []
    lines = -(-len(key) // KEY_COLUMNS)
    below = TOP_MM + SIDE_MM + 17
    figure = page(PAGE_MM, below + 2 + 2.8 * lines, title)
    for number, measure in enumerate(measures(scores)):
        shown = table[[measure.name]].notna().all(axis=1).to_numpy() if measure.name in table else np.zeros(0, bool)
        left = LEFT_MM + number * (SIDE_MM + GAP_MM)
        if not shown.any():
            write(figure, left, TOP_MM + 2, f"{measure.label}:\nno competitor shown: {measure.lacking}", color=GREY)
            continue
        axes = panel(figure, left, TOP_MM, SIDE_MM, SIDE_MM)
        _draw_measure(axes, measure, table[shown], [name for name, s in zip(short, shown, strict=True) if s])
        if number == 0:
            axes.set_ylabel("co-bps")
        if not shown.all():
            missing = f"{(~shown).sum()} of {len(shown)} models not shown: {measure.lacking}"
            write(figure, left, TOP_MM + SIDE_MM + 8, missing, color=GREY, fontsize=5.5)
    for column in range(KEY_COLUMNS if key else 0):
        left, part = 2 + column * (PAGE_MM - 4) / KEY_COLUMNS, key[column * lines : (column + 1) * lines]
        write(figure, left, below, "\n".join(part), fontsize=5.5, linespacing=1.25)
    marks = [
        Line2D(
            [], [], color=ORANGE, marker="o", label="on the front: no other model is as good in both and better in one"
        ),
        Line2D([], [], color=BLUE, marker="o", linestyle="none", label="another model does better"),
    ]
    width, height = figure.get_size_inches() * 25.4
    figure.legend(handles=marks, loc="upper left", bbox_to_anchor=(1.5 / width, 1 - (below - 4.5) / height), ncols=2)
    return figure


def _draw_measure(axes: Axes, measure: Measure, table: pd.DataFrame, names: list[str]) -> None:
    x, y = table[measure.name].to_numpy(float), table["co-bps"].to_numpy(float)
    front = undominated(x if measure.less else -x, y)
    if measure.log:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(True)
    path = np.flatnonzero(front)[np.argsort(x[front], kind="stable")]
    axes.plot(x[path], y[path], color=ORANGE, linewidth=0.7, zorder=2)
    axes.plot(x[~front], y[~front], "o", color=BLUE, zorder=3)
    axes.plot(x[front], y[front], "o", color=ORANGE, zorder=3)
    axes.margins(0.12)
    axes.autoscale_view()
    axes.set_xlabel(f"{measure.label} ({'less' if measure.less else 'more'} is better)")
    first = np.argsort(~front, kind="stable")
    label_points(axes, x[first], y[first], [names[i] for i in first], path=(x[path], y[path]))
