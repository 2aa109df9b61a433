"""Behaviour of example trials, recorded and as the benchmark's decoder reads it from the models' rates: the path of the
hand if its velocity is decoded, otherwise each channel over time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nlbflow.figures.canvas import GREY, panel, shortened, write
from nlbflow.figures.predictions import Place, rates
from nlbflow.metrics.decoded_metric import is_velocity
from nlbflow.metrics.decoder import counted_channels, decoded, decoder_rows, decoder_trials, known_bins

PATH_MM, COURSE_MM, BETWEEN_MM, LEGEND_MM = 40.0, 13.0, 3.0, 16.0
MOST_CHANNELS = 4
# How far left of the panels the names of channels stand, and how many letters have room.
LABEL_MM, LABEL_LETTERS, LEGEND_LETTERS, MORE_MM = 8.5, 11, 24, 4.0
STILL = "does not vary in training or evaluation: not decoded"


def behavior_height(place: Place) -> float:
    """The height in mm that `draw_behavior` needs; 0 if no series of behaviour is decoded."""
    channels = _channels(place)
    if not channels:
        return 0.0
    if _is_path(place):
        return PATH_MM + LEGEND_MM
    shown = min(channels, MOST_CHANNELS)
    return shown * (COURSE_MM + BETWEEN_MM) + LEGEND_MM + (MORE_MM if channels > MOST_CHANNELS else 0)


def draw_behavior(
    figure: Figure, place: Place, trials: np.ndarray, models: dict[str, Path], lefts: list, top: float, each: float
) -> None:
    """A panel for each trial, `each` mm wide, at its place in `lefts`, from `top` mm downwards; and a legend."""
    counted = counted_channels(*_decoded(place)).any()
    found = {model: decoded_behavior(place, path, trials) for model, path in models.items()} if counted else {}
    colors = dict(zip(found, rcParams["axes.prop_cycle"].by_key()["color"], strict=False))
    if _is_path(place):
        _draw_paths(figure, place, trials, found, colors, lefts, top, each)
        top += PATH_MM
    else:
        top = _draw_courses(figure, place, trials, found, colors, lefts, top, each)
    unit = f" ({shortened(place.unit, LEGEND_LETTERS)})" if place.unit else ""
    true = "true" if _is_path(place) else f"true {shortened(_name(place), LEGEND_LETTERS)}{unit}"
    marks = [Line2D([], [], color="black", label=true)]
    marks += [Line2D([], [], color=color, label=f"decoded from {model}") for model, color in colors.items()]
    width, height = figure.get_size_inches() * 25.4
    anchor = lefts[0] / width, 1 - (top + 7) / height
    figure.legend(handles=marks, loc="upper left", bbox_to_anchor=anchor, ncols=len(marks), borderaxespad=0)


def decoded_behavior(place: Place, path: Path, trials: Sequence[int]) -> np.ndarray:
    """(trials, bins, channels) as read by the benchmark's decoder for the trial's kind, fitted to the training trials;
    NaN in channels that do not count."""
    arrays, train = _decoded(place), rates(path, "train")
    shown = rates(path, "eval", np.asarray(trials))
    made = np.full((*shown.shape[:2], _channels(place)), np.nan)
    for channels, (train_trials, eval_trials) in zip(counted_channels(*arrays), decoder_trials(*arrays), strict=True):
        here = np.flatnonzero(eval_trials[trials])
        if len(here) and channels.any():
            x, y = decoder_rows("train", train, arrays[0], train_trials)
            rows = decoded(x, y.compress(channels, axis=1), shown[here].reshape(-1, x.shape[1]))
            made[np.ix_(here, range(made.shape[1]), channels)] = rows.reshape(len(here), made.shape[1], -1)
    return made


def path_of(velocity: np.ndarray, bin_ms: int) -> np.ndarray:
    """(bins + 1, 2) the path from 0 along velocity (bins, 2); it stays in place in unknown bins."""
    steps = np.nan_to_num(velocity) * bin_ms / 1000
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])


def _decoded(place: Place) -> tuple[np.ndarray | None, ...]:
    """The arguments of `counted_channels`: behaviour and decode masks of training and evaluation trials."""
    parts = [f"{part}_{what}" for what in ("behavior", "decode_mask") for part in ("train", "eval")]
    return tuple(place.target.get(name) for name in parts)


def _channels(place: Place) -> int:
    behavior = place.target.get("eval_behavior", np.zeros(0))
    return behavior.shape[2] if behavior.ndim == 3 else 0


def _name(place: Place) -> str:
    return place.series or "behaviour"


def _is_path(place: Place) -> bool:
    return _channels(place) == 2 and is_velocity(place.series)


def _draw_paths(
    figure: Figure, place: Place, trials: np.ndarray, found: dict, colors: dict, lefts: list, top: float, each: float
) -> None:
    true = place.target["eval_behavior"][trials]
    known = known_bins(true)[..., None]
    # of a velocity per second
    length = f" ({place.unit[:-2]})" if place.unit.endswith("/s") else ""
    for i, left in enumerate(lefts):
        axes = panel(figure, left, top, each, PATH_MM, aspect="equal", adjustable="datalim")
        axes.plot(*path_of(true[i], place.bin_ms).T, color="black", linewidth=1.4)
        for model, velocity in found.items():
            # without a known hand there is no path to compare with
            axes.plot(*path_of(np.where(known[i], velocity[i], np.nan), place.bin_ms).T, color=colors[model])
        axes.plot(0, 0, "o", color="black")
        axes.margins(0.1)
        if i == 0:
            axes.set_ylabel(f"hand path, y{length}")
        axes.set_xlabel(f"x{length}")


def _draw_courses(
    figure: Figure, place: Place, trials: np.ndarray, found: dict, colors: dict, lefts: list, top: float, each: float
) -> float:
    """A row of panels per channel; returns where they end, in mm from the top of the page."""
    true = place.target["eval_behavior"][trials]
    counts = counted_channels(*_decoded(place)).any(axis=0)
    channels = true.shape[2]
    for channel in range(min(channels, MOST_CHANNELS)):
        row: list[Axes] = []
        for i, left in enumerate(lefts):
            axes = panel(figure, left, top, each, COURSE_MM, sharey=row[0] if row else None)
            row.append(axes)
            axes.plot(place.times, true[i, :, channel], color="black", linewidth=1.4)
            for model, behavior in found.items():
                axes.plot(place.times, behavior[i, :, channel], color=colors[model])
            axes.set_xlim(place.times[0] - place.bin_ms / 2, place.times[-1] + place.bin_ms / 2)
            axes.tick_params(labelbottom=channel == min(channels, MOST_CHANNELS) - 1, labelleft=i == 0)
            axes.locator_params(axis="y", nbins=3)
            # short numbers, because there is little room between them and the names
            axes.ticklabel_format(axis="y", scilimits=(-1, 3))
        row[0].set_ylabel(f"channel {channel}" if channels > 1 else shortened(_name(place), LABEL_LETTERS))
        row[0].yaxis.set_label_coords(-LABEL_MM / each, 0.5)
        if not counts[channel]:
            row[0].set_yticks([])
            row[0].text(0.02, 0.94, STILL, transform=row[0].transAxes, va="top", color=GREY, fontsize=5.5)
        top += COURSE_MM + BETWEEN_MM
    if channels > MOST_CHANNELS:
        write(figure, lefts[0], top + 2, f"{channels - MOST_CHANNELS} more channels are not shown", color=GREY)
        top += MORE_MM
    return top - BETWEEN_MM
