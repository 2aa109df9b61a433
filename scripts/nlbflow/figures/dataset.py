"""A dataset at a glance: single trials around the event, rates, behaviour. The figure is drawn from what a model may
see, so it shows no answers and does not need them."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from nlbflow.figures.canvas import GREY, PAGE_MM, POINTS_PER_MM, page, panel, say, write
from nlbflow.figures.predictions import evenly, group_colors
from nlbflow.figures.recorded import SMOOTHED_MS, Recorded, known_mean, smoothed

TRIALS, CONDITIONS, CHANNELS = 4, 8, 4
LEFT_MM, RIGHT_MM, GAP_MM, LINE_MM, LETTERS = 14.0, 4.0, 5.0, 3.2, 165
RASTER_MM, RATES_MM, BEHAVIOR_MM, BETWEEN_MM = 46.0, 34.0, 28.0, 21.0
# from the foot of a panel to the text below its label
BELOW_MM = 8.5
EVENT, FORECAST, UNKNOWN, SEPARATOR = "#D55E00", "#EDF3F8", "#C4C4C4", "#0072B2"
HELDIN, HELDOUT = "#333333", "#0072B2"
RASTER_BINS = 24
PARTS = {"train": "training", "eval": "evaluation"}


def draw_dataset(recorded: Recorded | None, title: str, summary: list[list[str]]) -> Figure:
    """Rasters at the top; below them rates of the population and of the units; then behaviour, if there is any.

    Args:
        recorded: the place, None if it has no trial.
        summary: the facts written below the title, each [label, text].
    """
    if recorded is None:
        return say(title, "There is no trial to draw.")
    words = textwrap.wrap("; ".join(f"{label}: {text}" for label, text in summary), LETTERS)
    top = 7 + LINE_MM * len(words) + 8
    behaves = recorded.behavior is not None
    rates_top = top + RASTER_MM + BETWEEN_MM
    height = rates_top + RATES_MM + (BETWEEN_MM + 3 + BEHAVIOR_MM + 9 if behaves else 13)
    figure = page(PAGE_MM, height, title)
    write(figure, 1.5, 6, "\n".join(words), fontsize=6, linespacing=1.35)
    trials = recorded.examples(TRIALS)
    for axes, trial in zip(_row(figure, TRIALS, top, RASTER_MM), trials, strict=False):
        _draw_raster(axes, recorded, int(trial), first=trial == trials[0])
    _explain(figure, recorded, top + RASTER_MM + BELOW_MM)
    wide = (PAGE_MM - LEFT_MM - RIGHT_MM) * 0.58
    groups = evenly(recorded.groups, CONDITIONS) if recorded.groups else []
    moving = behaves and recorded.behavior.ndim == 3
    directed = {"eval_behavior": recorded.behavior} if moving and recorded.behavior.shape[2] > 1 else {}
    colors = group_colors(directed, groups) if groups else []
    axes = panel(figure, LEFT_MM, rates_top, wide, RATES_MM)
    _draw_rates(axes, recorded, groups, colors)
    _legend(figure, axes.get_legend_handles_labels()[0], rates_top + RATES_MM + BELOW_MM)
    left = LEFT_MM + wide + 3 * GAP_MM
    axes = panel(figure, left, rates_top, PAGE_MM - RIGHT_MM - left, RATES_MM)
    _draw_units(axes, recorded)
    _legend(figure, axes.get_legend_handles_labels()[0], rates_top + RATES_MM + BELOW_MM, left, columns=1)
    if behaves:
        at = rates_top + RATES_MM + BETWEEN_MM + 3
        if moving:
            _draw_courses(figure, recorded, at, groups, colors, trials)
        else:
            _draw_columns(figure, recorded, at)
    return figure


def _row(figure: Figure, number: int, top: float, height: float, gap: float = GAP_MM) -> list[Axes]:
    """`number` equal panels side by side, over the whole width."""
    each = (PAGE_MM - LEFT_MM - RIGHT_MM - (number - 1) * gap) / number
    return [panel(figure, LEFT_MM + i * (each + gap), top, each, height) for i in range(number)]


def _mark_time(axes: Axes, recorded: Recorded, end: float, name: bool = True) -> None:
    """The shaded forward window, and the line of the event with its name above."""
    start = recorded.observed[0]
    axes.set_xlim(start, end)
    if end > recorded.observed[1]:
        axes.axvspan(recorded.observed[1], end, color=FORECAST, zorder=0, linewidth=0)
    _mark_event(axes, recorded.definition["align"] if name else "")


def _mark_event(axes: Axes, name: str) -> None:
    start, end = axes.get_xlim()
    if start <= 0 <= end:
        axes.axvline(0, color=EVENT, linewidth=0.9, zorder=1.5, clip_on=False)
        at = -start / (end - start)
        side = "left" if at < 0.25 else "right" if at > 0.75 else "center"
        axes.text(at, 1.015, name, color=EVENT, fontsize=5.5, ha=side, va="bottom", transform=axes.transAxes)


def _draw_raster(axes: Axes, recorded: Recorded, trial: int, first: bool) -> None:
    """A tick for each bin with a spike, bolder if it has several."""
    counts = recorded.spikes[trial].astype(np.float32)
    units = counts.shape[1]
    _mark_time(axes, recorded, recorded.end)
    extent = (recorded.observed[0], recorded.end, units - 0.5, -0.5)
    unknown = np.ma.masked_where(np.isfinite(counts.T), np.ones_like(counts.T))
    if unknown.count():
        axes.imshow(unknown, aspect="auto", extent=extent, cmap=ListedColormap([UNKNOWN]), interpolation="nearest",
                    zorder=1)  # fmt: skip
    size = max(0.7 * RASTER_MM / units * POINTS_PER_MM, 0.7)
    for low, high, width in ((1, 1, 0.45), (2, np.inf, 0.9)):
        bins, rows = np.nonzero((counts >= low) & (counts <= high))
        axes.plot(recorded.times[bins], rows, "|", color="black", markersize=min(size, 5), markeredgewidth=width,
                  zorder=2)  # fmt: skip
    axes.set_xlim(*extent[:2])
    axes.set_ylim(*extent[2:])
    condition = recorded.condition_of(trial)
    of = "" if condition is None else f", condition {condition}"
    axes.set_title(f"{PARTS[recorded.part]} trial {trial}{of}", pad=9)
    axes.set_yticks([])
    if recorded.heldin < units:
        axes.axhline(recorded.heldin - 0.5, color=SEPARATOR, linewidth=0.8, zorder=3)
    if first:
        for word, low, high in (("held-in", 0, recorded.heldin), ("held-out", recorded.heldin, units)):
            if high > low:
                # with few units the word ends at the foot of the panel
                narrow = (high - low) / units * RASTER_MM < 12
                at = (high - 0.5, "bottom") if narrow and low else ((low + high - 1) / 2, "center")
                color = HELDOUT if low else HELDIN
                place = axes.get_yaxis_transform()
                axes.text(-0.03, at[0], word, rotation=90, ha="right", va=at[1], color=color, transform=place)
                axes.text(-0.14, at[0], f"{high - low} units", rotation=90, ha="right", va=at[1], color=color,
                          fontsize=6, transform=place)  # fmt: skip
        axes.set_xlabel(_clock(recorded), loc="left")


def _clock(recorded: Recorded) -> str:
    shifted = ", jittered" if "jitter" in recorded.definition else ""
    return f"time from {recorded.definition['align']}{shifted} (ms)"


def _explain(figure: Figure, recorded: Recorded, top: float) -> None:
    event = f"the event that trials are aligned to: {recorded.definition['align']}"
    marks = [Line2D([], [], color=EVENT, label=event)]
    if recorded.end > recorded.observed[1]:
        marks.append(Patch(facecolor=FORECAST, edgecolor=GREY, linewidth=0.3, label="forward window, to be forecast"))
    if np.isnan(recorded.spikes).any():
        marks.append(Patch(facecolor=UNKNOWN, label="not recorded"))
    _legend(figure, marks, top)


def _legend(figure: Figure, marks: list, top: float, left: float = LEFT_MM, columns: int | None = None) -> None:
    """Marks side by side, below a row of panels."""
    width, height = figure.get_size_inches() * 72 / POINTS_PER_MM
    anchor = (left / width, 1 - top / height)
    figure.legend(handles=marks, loc="upper left", bbox_to_anchor=anchor, ncols=columns or len(marks), borderaxespad=0)


def _draw_rates(axes: Axes, recorded: Recorded, groups: list[np.ndarray], colors: Sequence[str]) -> None:
    """Rates of the held-in units, the only ones that may be seen in evaluation trials."""
    scale = 1000 / recorded.bin_ms
    each = known_mean(recorded.spikes[:, :, : recorded.heldin], axis=2) * scale
    _mark_time(axes, recorded, recorded.end)
    for color, trials in zip(colors, groups, strict=True):
        rate = smoothed(known_mean(each[trials], axis=0), recorded.bin_ms)
        axes.plot(recorded.times, rate, color=color, linewidth=0.8)
    mean = smoothed(known_mean(each, axis=0), recorded.bin_ms)
    axes.plot(recorded.times, mean, color="black", linewidth=1.5, label=f"all {PARTS[recorded.part]} trials")
    if recorded.evaluated is not None and len(recorded.evaluated):
        mean = smoothed(known_mean(recorded.evaluated, axis=(0, 2)) * scale, recorded.bin_ms)
        axes.plot(recorded.times[: len(mean)], mean, "--", color="black", linewidth=1.1, label="all evaluation trials")
    if groups:
        of = f" of {len(recorded.groups)}" if len(groups) < len(recorded.groups) else ""
        axes.plot([], [], color=colors[0], label=f"one of {len(groups)}{of} conditions")
    axes.margins(y=0.08)
    axes.grid(True, axis="y")
    axes.set_ylabel("spikes/s, held-in units")
    axes.set_xlabel(f"{_clock(recorded)}; smoothed by {SMOOTHED_MS:.0f} ms")
    axes.set_title("rate of the population", pad=9)


def _draw_units(axes: Axes, recorded: Recorded) -> None:
    """A histogram of the units' mean rates."""
    rates = known_mean(recorded.spikes, axis=(0, 1)) * 1000 / recorded.bin_ms
    edges = np.linspace(0, max(np.nanmax(rates, initial=0), 1.0), RASTER_BINS + 1)
    for name, part, color in (
        ("held-in", rates[: recorded.heldin], HELDIN),
        ("held-out", rates[recorded.heldin :], HELDOUT),
    ):
        if len(part):
            silent = int((part == 0).sum())
            label = f"{len(part)} {name}, {silent or 'none'} silent"
            axes.hist(part[np.isfinite(part)], edges, histtype="step", linewidth=1.2, color=color, label=label)
    axes.set_xlim(0, edges[-1])
    axes.set_xlabel("mean rate of a unit (spikes/s)")
    axes.set_ylabel("units")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("rates of the units", pad=9)


def _draw_courses(
    figure: Figure, recorded: Recorded, top: float, groups: list[np.ndarray], colors: Sequence[str], trials: np.ndarray
) -> None:
    """A panel per channel, at the behaviour's own time, with a line per condition or per trial of the rasters."""
    named = recorded.definition["behavior"]
    lag = int(named["lag_ms"])
    channels = recorded.behavior.shape[2]
    shown = groups or [np.array([trial]) for trial in trials]
    look = colors or [f"C{i}" for i in range(len(shown))]
    times = recorded.times[: recorded.behavior.shape[1]] + lag
    row = _row(figure, min(channels, CHANNELS), top, BEHAVIOR_MM, gap=3 * GAP_MM)
    for channel, axes in enumerate(row):
        for color, members in zip(look, shown, strict=True):
            axes.plot(times, known_mean(recorded.behavior[members, :, channel], axis=0), color=color, linewidth=0.8)
        axes.set_xlim(recorded.observed[0] + lag, recorded.observed[1] + lag)
        axes.margins(y=0.08)
        axes.grid(True, axis="y")
        _mark_event(axes, recorded.definition["align"])
        axes.set_title(f"{named['series']}, channel {channel + 1} of {channels}", pad=9)
        axes.set_xlabel(_clock(recorded))
    side = "earlier" if lag >= 0 else "later"
    lines = "the mean of each condition" if groups else "the trials shown above"
    write(figure, LEFT_MM, top - 8.5, f"Behaviour: {lines}. It is decoded from spikes {abs(lag)} ms {side}.",
          color=GREY, fontsize=6)  # fmt: skip


def _draw_columns(figure: Figure, recorded: Recorded, top: float) -> None:
    """For columns of the table of trials: histograms of the first columns, and the last two against each other."""
    names = recorded.definition["behavior"]["columns"]
    values = recorded.behavior[np.isfinite(recorded.behavior).all(axis=1)]
    pair = len(names) > 1
    single = names[: min(len(names), CHANNELS - pair)]
    row = _row(figure, len(single) + pair, top, BEHAVIOR_MM, gap=2 * GAP_MM)
    for column, (name, axes) in enumerate(zip(single, row, strict=False)):
        axes.hist(values[:, column], 20, color=HELDIN)
        axes.set_xlabel(name)
        axes.set_ylabel("trials" if column == 0 else "")
    if pair:
        axes = row[-1]
        axes.plot(values[:, -2], values[:, -1], "o", color=HELDOUT, markersize=2, alpha=0.5, markeredgewidth=0)
        # the line of equality must not widen the limits
        axes.autoscale_view()
        axes.autoscale(False)
        axes.axline((0, 0), slope=1, color=GREY, linewidth=0.5, linestyle=":")
        axes.set_xlabel(names[-2])
        axes.set_ylabel(names[-1])
    left_out = len(recorded.behavior) - len(values)
    besides = f"; {left_out} left out as unknown or outliers" if left_out else ""
    write(figure, LEFT_MM, top - 5.5, f"Behaviour: columns of the table of trials, {len(values)} trials{besides}.",
          color=GREY, fontsize=6)  # fmt: skip
