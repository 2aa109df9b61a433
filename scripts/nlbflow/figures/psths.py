"""PSTHs of single neurons, recorded and predicted."""

import numpy as np
from matplotlib.figure import Figure

from nlbflow.figures.canvas import GREY, PAGE_MM, page, panel, say, write
from nlbflow.figures.predictions import Place, color_meaning, evenly, group_colors, rates
from nlbflow.metrics.formulas import shifted

NEURONS, MODELS, CONDITIONS = 4, 3, 8
LEFT_MM, TOP_MM, HEIGHT_MM, RIGHT_MM, GAP_MM = 17.0, 11.0, 24.0, 3.0, 3.5


def draw_psths(place: Place) -> Figure:
    """A row per neuron; a column for the recorded PSTHs and one per model; a line per condition."""
    if "psth" not in place.target:
        return say(place.title, "There are no PSTHs here: the dataset's definition names no conditions.")
    shown = [(c, trials) for c, trials in enumerate(place.target["eval_cond_idx"]) if len(trials)]
    if not shown or not place.predictions:
        return say(place.title, "No condition has an evaluation trial that a competing model has predicted.")
    shown = evenly(shown, CONDITIONS)
    scale = 1000 / place.bin_ms
    true = place.target["psth"][[c for c, _ in shown]] * scale
    neurons = most_varied(true, place.target["eval_spikes_heldout"].shape[2])
    models = place.best(MODELS)
    columns = {"recorded": true}
    for model, path in models.items():
        columns[model] = condition_means(place, rates(path, "eval"), [trials for _, trials in shown]) * scale
    colors = group_colors(place.target, [trials for _, trials in shown])
    each = (PAGE_MM - LEFT_MM - RIGHT_MM - GAP_MM * (len(columns) - 1)) / len(columns)
    figure = page(PAGE_MM, TOP_MM + len(neurons) * (HEIGHT_MM + GAP_MM) + 8, place.title)
    for row, neuron in enumerate(neurons):
        lowest, highest = (f([f(c[:, :, neuron]) for c in columns.values()]) for f in (np.nanmin, np.nanmax))
        for column, (name, means) in enumerate(columns.items()):
            left, top = LEFT_MM + column * (each + GAP_MM), TOP_MM + row * (HEIGHT_MM + GAP_MM)
            axes = panel(figure, left, top, each, HEIGHT_MM)
            for color, mean in zip(colors, means, strict=True):
                axes.plot(place.times[: means.shape[1]], mean[:, neuron], color=color)
            margin = 0.05 * (highest - lowest) or 1.0
            axes.set_ylim(lowest - margin, highest + margin)
            axes.grid(True)
            axes.tick_params(labelleft=column == 0, labelbottom=row == len(neurons) - 1)
            if row == 0:
                axes.set_title(name)
            if column == 0:
                heldout = neuron - true.shape[2] + place.target["eval_spikes_heldout"].shape[2]
                axes.set_ylabel(f"neuron {heldout}\n(spikes/s)")
    write(figure, LEFT_MM, TOP_MM + len(neurons) * (HEIGHT_MM + GAP_MM) + 2.5,
          "time from the event that trials are aligned to (ms)")  # fmt: skip
    more = len(place.groups()) - len(shown)
    said = color_meaning(place.target) + (f"; {len(shown)} conditions of {len(shown) + more}" if more else "")
    write(figure, PAGE_MM - RIGHT_MM, 2.0, said, ha="right", color=GREY)
    return figure


def most_varied(psth: np.ndarray, heldout: int) -> np.ndarray:
    """The held-out neurons (the last of (conditions, bins, neurons)) whose PSTHs vary most, the most varied first."""
    spread = np.nanvar(psth, axis=(0, 1))
    first = len(spread) - heldout
    return first + np.argsort(-spread[first:], kind="stable")[:NEURONS]


def condition_means(place: Place, predicted: np.ndarray, groups: list[np.ndarray]) -> np.ndarray:
    """(groups, bins, neurons) rates averaged over trials; jittered trials are shifted back, which leaves NaN."""
    if "eval_jitter" in place.target:
        jitter = place.target["eval_jitter"]
        predicted = np.stack([shifted(rate, bins) for rate, bins in zip(predicted, jitter, strict=True)])
    return np.stack([predicted[trials].mean(axis=0, dtype=float) for trials in groups])
