"""Figures with a row per model and a panel per metric: scores, ranks, neurons. The best co-bps is at the top."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from nlbflow.boards.cells import positions, unbeaten
from nlbflow.figures.canvas import COLUMN_MM, GREY, PAGE_MM, RULE, page, panel, say, shortened
from nlbflow.metrics.decoded_metric import benchmark_metrics
from nlbflow.metrics.formulas import LOWER_IS_BETTER
from nlbflow.metrics.kinds import RANKED

ROW_MM, TOP_MM, BOTTOM_MM, RIGHT_MM, GAP_MM = 3.5, 11.0, 16.0, 3.0, 3.5
LETTER_MM, LONGEST_NAME = 1.3, 28
# As a share of a panel's width.
NEAR_END = 0.07
# So many numbers fit on the axis of a narrow panel.
MOST_RANKS = 6
ZERO = {"color": GREY, "linestyle": "--", "linewidth": 0.6, "zorder": 1}
GRID = {"color": "#E4E4E4", "linewidth": 0.4, "zorder": 0.5}
NOBODY = "No competing model has a score here."
BITS = ("co-bps", "fp-bps")
BLUE, ORANGE, SEED = "#0072B2", "#D55E00", "#333333"
MARKS = {
    "unbeaten": {"marker": "o", "color": ORANGE, "label": "competitor that none really beats"},
    "beaten": {"marker": "o", "color": BLUE, "label": "other competitor"},
    "oracle": {"marker": "D", "color": GREY, "markerfacecolor": "white", "label": "oracle or implausible, not ranked"},
}


@dataclass(frozen=True)
class Row:
    """A model at one place; `kind` is one of `nlbflow.metrics.kinds`, or absent if it has no score there."""

    model: str
    kind: str


def order(placed: pd.DataFrame, known: list[str]) -> list[Row]:
    """The models of one place, best co-bps first; competing models without a score there come last.

    Args:
        placed: rows of ranks.csv of one place.
        known: every competing model of the selection.
    """
    bits = placed[placed["metric"] == "co-bps"].sort_values(["value", "model"], ascending=[False, True])
    rows = [Row(model, kind) for model, kind in zip(bits["model"], bits["kind"], strict=True)]
    present = {row.model for row in rows}
    return rows + [Row(model, "absent") for model in known if model not in present]


def metrics_of(placed: pd.DataFrame) -> list[str]:
    """The benchmark's metrics that any model at the place has, in the benchmark's order."""
    return benchmark_metrics(placed["metric"])


def draw_rows(title: str, rows: list[Row], panels: list[str], width_mm: float | None = None) -> tuple[Figure, dict]:
    """A page with the models' names at the left and an empty panel for each title; and the axes by title.

    Row i is at height i, counted from the top.
    """
    if width_mm is None:
        width_mm = PAGE_MM if len(panels) > 1 else COLUMN_MM
    names = [shortened(row.model, LONGEST_NAME) for row in rows]
    left = 3 + LETTER_MM * max(map(len, names))
    each = (width_mm - left - RIGHT_MM - GAP_MM * (len(panels) - 1)) / len(panels)
    height = ROW_MM * len(rows)
    figure = page(width_mm, TOP_MM + height + BOTTOM_MM, title)
    found = {}
    for number, name in enumerate(panels):
        axes = panel(figure, left + number * (each + GAP_MM), TOP_MM, each, height)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        # one artist for all rows: 40 ticks in each of four panels would take most of the drawing time
        axes.set_yticks([])
        axes.hlines(range(len(rows)), 0, 1, transform=axes.get_yaxis_transform(), **GRID)
        axes.grid(True, axis="x")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4 if each < 40 else 6, min_n_ticks=2))
        axes.set_title(name)
        found[name] = axes
    first = found[panels[0]]
    for height, (row, name) in enumerate(zip(rows, names, strict=True)):
        color = "black" if row.kind in RANKED else GREY
        across = first.get_yaxis_transform()
        first.text(-1.2 / each, height, name, transform=across, ha="right", va="center", fontsize=6, color=color)
    return figure, found


def mark_missing(axes: Axes, missing: list[tuple[int, str]]) -> None:
    """Write why a score is missing into its row; (row, words)."""
    for row, words in missing:
        axes.text(0.02, row, words, transform=axes.get_yaxis_transform(), va="center", fontsize=5.5, color=GREY)


def inliers(values: np.ndarray) -> np.ndarray:
    """Which values the limits should show: all, unless a few far ones would take more than a third of the axis."""
    known = ~np.isnan(values)
    lower, upper = np.percentile(values[known], [25, 75])
    reach = 2.5 * max(upper - lower, 1e-3)
    near = known & (values >= lower - reach) & (values <= upper + reach)
    return known if np.ptp(values[known]) < 1.5 * np.ptp(values[near]) else near


def keep_in_view(axes: Axes, values: np.ndarray, lows: np.ndarray, highs: np.ndarray) -> None:
    """Set limits that show nearly all values; one that lies far out becomes an arrow and its number.

    Args:
        values: the value of each row, NaN where missing.
        lows, highs: ends of the intervals, NaN where there is none.
    """
    inside = inliers(values)
    ends = np.concatenate([part[inside & ~np.isnan(part)] for part in (values, lows, highs)])
    start, stop = ends.min(), ends.max()
    margin = 0.06 * (stop - start) or 0.5
    axes.set_xlim(start - margin, stop + margin)
    keep_numbers_apart(axes)
    across = axes.get_yaxis_transform()
    white = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    for row in np.flatnonzero(~np.isnan(values) & ~inside):
        arrow, side, words = ("<", "left", 0.06) if values[row] < start else (">", "right", 0.94)
        number = f"{values[row]:.3g}".replace("-", "−")
        axes.plot(0.015 if side == "left" else 0.985, row, arrow, color="black", transform=across)
        axes.text(words, row, number, transform=across, va="center", ha=side, fontsize=5.5, bbox=white)


def keep_numbers_apart(axes: Axes) -> None:
    """Drop ticks whose numbers would reach into the next panel, as long as two ticks remain."""
    low, high = axes.get_xlim()
    inner = [tick for tick in axes.get_xticks() if min(tick - low, high - tick) > NEAR_END * (high - low)]
    if len(inner) > 1:
        axes.set_xticks(inner)


def legend(figure: Figure, marks: list[Line2D]) -> None:
    """A legend of the marks at the foot of the page."""
    across = figure.get_figwidth() * 25.4
    figure.legend(handles=marks, loc="lower left", bbox_to_anchor=(1.5 / across, 0.0), ncols=4 if across > 100 else 2)


def draw_scores(title: str, placed: pd.DataFrame, scores: pd.DataFrame, known: list[str]) -> Figure:
    """Each model's scores with their 95 % intervals over evaluation trials; every seed is a small stroke.

    Args:
        placed: rows of ranks.csv of one place.
        scores: rows of scores.csv of that place.
        known: every competing model of the selection.
    """
    rows, metrics = order(placed, known), metrics_of(placed)
    figure, panels = draw_rows(title, rows, metrics)
    placed = placed.assign(unbeaten=unbeaten(placed))
    for metric, axes in panels.items():
        table = placed[placed["metric"] == metric].set_index("model")
        table = table.reindex([row.model for row in rows])
        values, lows, highs = (table[name].to_numpy(float) for name in ("value", "low", "high"))
        at = np.arange(len(rows))
        bounded = ~np.isnan(lows)
        axes.hlines(at[bounded], lows[bounded], highs[bounded], color=RULE, linewidth=1.6, zorder=2)
        _draw_seeds(axes, scores[scores["metric"] == metric], {row.model: i for i, row in enumerate(rows)})
        groups = _groups(rows, table["unbeaten"].eq(True).to_numpy(bool))
        for group, members in groups.items():
            shown = members & ~np.isnan(values)
            axes.plot(values[shown], at[shown], linestyle="none", zorder=3, **MARKS[group])
        keep_in_view(axes, values, lows, highs)
        if metric in BITS:
            axes.axvline(0, **ZERO)
        missing = np.flatnonzero(np.isnan(values))
        mark_missing(axes, [(i, "no result" if rows[i].kind == "absent" else "no score") for i in missing])
        said = ["more negative is better"] if metric in LOWER_IS_BETTER else []
        said += ["no interval"] if not bounded.any() and not np.isnan(values).all() else []
        axes.set_xlabel("; ".join(said))
    seed = Line2D([], [], color=SEED, marker="|", linestyle="none", markersize=6, label="one seed of several")
    seeds = [seed] if scores.groupby(["model", "metric"]).size().gt(1).any() else []
    interval = Line2D([], [], color=RULE, linewidth=1.6, label="95 % interval over evaluation trials")
    zero = Line2D([], [], **ZERO, label="null model, where in view")
    legend(figure, [*_keys(), *seeds, interval, zero])
    return figure


def draw_ranks(title: str, placed: pd.DataFrame, known: list[str]) -> Figure:
    """The ranks that the data allow each competitor, and its rank by score; arguments as for `draw_scores`."""
    metrics = metrics_of(placed)
    rows = [row for row in order(placed, known) if row.kind in (*RANKED, "absent")]
    if not rows:
        return say(title, NOBODY)
    figure, panels = draw_rows(title, rows, metrics)
    placed = placed.assign(position=positions(placed), unbeaten=unbeaten(placed))
    for metric, axes in panels.items():
        table = placed[(placed["metric"] == metric) & placed["kind"].isin(RANKED)].set_index("model")
        table = table.reindex([row.model for row in rows])
        best, worst, own = (table[name].to_numpy(float) for name in ("best_rank", "worst_rank", "position"))
        at = np.arange(len(rows))
        ranked = ~np.isnan(best)
        axes.hlines(at[ranked], best[ranked], worst[ranked], color=RULE, linewidth=3, zorder=2)
        for group, members in _groups(rows, table["unbeaten"].eq(True).to_numpy(bool)).items():
            axes.plot(own[members & ranked], at[members & ranked], linestyle="none", zorder=3, **MARKS[group])
        last = int(max(ranked.sum(), 1))
        axes.set_xlim(0.3, last + 0.7)
        axes.set_xticks(rank_ticks(last))
        mark_missing(
            axes, [(i, "no result" if rows[i].kind == "absent" else "no score") for i in np.flatnonzero(~ranked)]
        )
        axes.set_xlabel("rank")
    interval = Line2D([], [], color=RULE, linewidth=3, label="ranks that the data allow")
    legend(figure, [*_keys()[:2], interval])
    return figure


def rank_ticks(last: int) -> list[int]:
    """The ranks on an axis: all if they are few, otherwise the first and every second, fifth or tenth."""
    if last <= MOST_RANKS:
        return [*range(1, last + 1)]
    step = next(step for step in (2, 5, 10, 20, 50, last) if last < MOST_RANKS * step or step == last)
    return [*range(1, last + 1, 2)] if step == 2 else [1, *range(step, last + 1, step)]


def draw_neurons(title: str, placed: pd.DataFrame, neurons: pd.DataFrame, known: list[str]) -> Figure:
    """Bits per spike of every held-out neuron, mean over seeds, and their median.

    Args:
        placed, known: as for `draw_scores`.
        neurons: rows of neurons.csv of that place.
    """
    rows = order(placed, known)
    figure, panels = draw_rows(title, rows, ["co-bps of each held-out neuron"])
    (axes,) = panels.values()
    bits = neurons.groupby(["model", "neuron"])["co-bps"].mean().unstack("neuron")
    bits = bits.reindex([row.model for row in rows]).to_numpy(float)
    at = np.arange(len(rows))
    for group, members in _groups(rows, np.zeros(len(rows), bool)).items():
        shown = members[:, None] & ~np.isnan(bits)
        height = np.broadcast_to(at[:, None], bits.shape)[shown]
        axes.plot(bits[shown], height, "o", color=MARKS[group]["color"], markersize=2, alpha=0.35, markeredgewidth=0)
    with_bits = ~np.isnan(bits).all(axis=1)
    medians = np.full(len(rows), np.nan)
    medians[with_bits] = np.nanmedian(bits[with_bits], axis=1)
    axes.plot(medians, at, "|", color="black", markersize=7, markeredgewidth=1)
    axes.axvline(0, **ZERO)
    known = bits[~np.isnan(bits)]
    inside = known[inliers(known)]
    margin = 0.05 * np.ptp(inside) or 0.5
    axes.set_xlim(inside.min() - margin, inside.max() + margin)
    beyond = len(known) - len(inside)
    axes.set_xlabel("bits per spike" + (f" ({beyond} dots lie far outside)" if beyond else ""))
    mark_missing(axes, [(i, "no result") for i in np.flatnonzero(~with_bits)])
    median = Line2D([], [], color="black", marker="|", linestyle="none", markersize=7, label="median of the neurons")
    dots = [Line2D([], [], marker="o", linestyle="none", color=c, label=n) for c, n in
            ((BLUE, "a competitor's neuron"), (GREY, "an oracle's neuron"))]  # fmt: skip
    legend(figure, [*dots, median, Line2D([], [], **ZERO, label="null model")])
    return figure


def _groups(rows: list[Row], unbeaten: np.ndarray) -> dict[str, np.ndarray]:
    """Which rows are drawn with which mark."""
    competing = np.array([row.kind in RANKED for row in rows])
    return {
        "oracle": np.array([row.kind not in (*RANKED, "absent") for row in rows]),
        "beaten": competing & ~unbeaten,
        "unbeaten": competing & unbeaten,
    }


def _draw_seeds(axes: Axes, scores: pd.DataFrame, row_of: dict[str, int]) -> None:
    runs = scores.groupby("model")["value"].transform("size")
    several = scores[(runs > 1) & scores["model"].isin(row_of.keys())]
    heights = [row_of[model] for model in several["model"]]
    axes.plot(several["value"], heights, "|", color=SEED, markersize=6, markeredgewidth=0.5, zorder=2.5)


def _keys() -> list[Line2D]:
    return [Line2D([], [], linestyle="none", **mark) for mark in MARKS.values()]
