"""Scores against the number of training trials, for datasets that are one session cut to different lengths."""

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from nlbflow.figures.canvas import GREY, PAGE_MM, RULE, page, panel, say, shortened, write
from nlbflow.figures.labels import spread_out
from nlbflow.figures.rows import NOBODY, inliers, metrics_of
from nlbflow.metrics.kinds import RANKED

LEFT_MM, TOP_MM, HEIGHT_MM, NAMES_MM, GAP_MM = 9.0, 11.0, 46.0, 31.0, 8.0
# No more colours than can be told apart; the other lines are grey.
COLOURED = 6


def draw_scaling(title: str, ranks: pd.DataFrame, trials: dict[str, int], names: dict[str, str]) -> Figure:
    """A line per competitor and a panel per metric; a model without a score on a dataset has a gap there.

    Args:
        ranks: rows of ranks.csv of one bin width and phase.
        trials: the number of training trials of each dataset of the family.
        names: the datasets' titles.
    """
    sizes = sorted(trials, key=lambda dataset: (trials[dataset], dataset))
    x = np.array([trials[dataset] for dataset in sizes], float)
    family = ranks[ranks["dataset"].isin(sizes) & ranks["kind"].isin(RANKED)]
    if family.empty:
        return say(title, NOBODY)
    metrics = metrics_of(family)
    tables = {
        metric: family[family["metric"] == metric].pivot(index="model", columns="dataset", values="value")
        for metric in metrics
    }
    bits = tables["co-bps"].reindex(columns=sizes)
    # sorted by the largest dataset, so that the best models there are in colour
    order = list(bits.sort_values(sizes[::-1], ascending=False, kind="stable").index)
    colors = dict(zip(order[:COLOURED], rcParams["axes.prop_cycle"].by_key()["color"], strict=False))
    each = (PAGE_MM - LEFT_MM - NAMES_MM - GAP_MM * (len(metrics) - 1)) / len(metrics)
    figure = page(PAGE_MM, TOP_MM + HEIGHT_MM + 18, title)
    for number, metric in enumerate(metrics):
        axes = panel(figure, LEFT_MM + number * (each + GAP_MM), TOP_MM, each, HEIGHT_MM)
        table = tables[metric].reindex(index=order, columns=sizes)
        for model in reversed(order):
            color = colors.get(model, RULE)
            front = model in colors
            axes.plot(x, table.loc[model], "o-", color=color, linewidth=0.9 if front else 0.4, zorder=2 + front,
                      markersize=3 if front else 1.5)  # fmt: skip
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(x))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(x, [f"{n:.0f}" for n in x], rotation=45)
        axes.margins(x=0.08)
        _keep_in_view(axes, table.to_numpy(float))
        axes.grid(True)
        axes.set_title(metric)
        axes.set_xlabel("training trials")
        if metric == metrics[-1]:
            _name_lines(axes, table, colors, len(order))
    write(
        figure,
        1.5,
        TOP_MM + HEIGHT_MM + 14,
        "From left to right: " + ", ".join(names[dataset] for dataset in sizes),
        color=GREY,
        fontsize=6,
    )
    return figure


def _keep_in_view(axes: Axes, values: np.ndarray) -> None:
    """Set limits that show nearly all values (models, sizes), and write how many models leave the panel."""
    near = inliers(values)
    margin = 0.06 * np.ptp(values[near]) or 0.5
    axes.set_ylim(values[near].min() - margin, values[near].max() + margin)
    hidden = (~np.isnan(values) & ~near).any(axis=1).sum()
    if hidden:
        axes.text(
            0.98, 0.02, f"{hidden} partly outside", transform=axes.transAxes, ha="right", fontsize=5.5, color=GREY
        )


def _name_lines(axes: Axes, table: pd.DataFrame, colors: dict[str, str], models: int) -> None:
    """Write the names of the coloured models at the right, in the order of their last points."""
    last = table.ffill(axis=1).iloc[:, -1].reindex([*colors])
    known = last[last.notna()]
    low, high = axes.get_ylim()
    heights = spread_out((known.to_numpy() - low) / (high - low), 0.065)
    heights -= max(heights.max(initial=0) - 0.98, 0)
    places = [*zip(known.index, heights, strict=True)]
    # those without this metric are named below the others
    foot = min([*heights, 1.0])
    places += [(model, foot - 0.065 * (i + 1)) for i, model in enumerate(m for m in colors if m not in known.index)]
    for model, height in places:
        axes.text(1.05, height, shortened(model, 22), color=colors[model], transform=axes.transAxes, va="center",
                  fontsize=6)  # fmt: skip
    if models > len(colors):
        foot = min(height for _, height in places) - 0.065
        axes.text(1.05, foot, f"grey: {models - len(colors)} others", color=GREY, transform=axes.transAxes,
                  va="center", fontsize=6)  # fmt: skip
