"""Neural speed against the produced interval (tp corr), trial by trial."""

import numpy as np
from matplotlib import rcParams
from matplotlib.figure import Figure

from nlbflow.figures.canvas import PAGE_MM, page, panel, say
from nlbflow.figures.predictions import Place, rates
from nlbflow.metrics.formulas import tp_correlation
from nlbflow.scoring.trial_statistics import speeds_by_condition

MODELS, ACROSS = 6, 3
LEFT_MM, TOP_MM, RIGHT_MM, HEIGHT_MM, BELOW_MM = 13.0, 12.0, 3.0, 40.0, 14.0


def draw_speed(place: Place) -> Figure:
    """A panel for each of the best models by co-bps; its title gives tp corr."""
    target, models = place.target, place.best(MODELS)
    if not models:
        return say(place.title, "No competing model has made a prediction here.")
    rows = -(-len(models) // ACROSS)
    each = (PAGE_MM - RIGHT_MM - ACROSS * LEFT_MM) / ACROSS
    figure = page(PAGE_MM, TOP_MM + rows * (HEIGHT_MM + BELOW_MM), place.title)
    colors = rcParams["axes.prop_cycle"].by_key()["color"]
    spikes, behavior = target["eval_spikes_heldout"], target["eval_behavior"]
    for number, (model, path) in enumerate(models.items()):
        predicted = rates(path, "eval")
        row, column = divmod(number, ACROSS)
        left = LEFT_MM + column * (each + LEFT_MM)
        axes = panel(figure, left, TOP_MM + row * (HEIGHT_MM + BELOW_MM), each, HEIGHT_MM)
        for i, (_, speed, produced) in enumerate(speeds_by_condition(predicted, spikes, behavior)):
            color = colors[i % len(colors)]
            # rates are per bin and steps are one bin long, so two conversions to seconds
            speed = speed * (1000 / place.bin_ms) ** 2
            axes.plot(speed, produced, "o", color=color, markersize=1.8, alpha=0.7, markeredgewidth=0)
            if np.ptp(speed) > 0:
                ends = np.array([speed.min(), speed.max()])
                axes.plot(ends, np.polyval(np.polyfit(speed, produced, 1), ends), color=color, linewidth=0.8)
        found = tp_correlation(predicted, spikes, behavior)
        axes.set_title(f"{model}: tp corr " + (f"{found:.3f}".replace("-", "−") if found == found else "undefined"))
        axes.set_xlabel("neural speed (spikes/s per s)")
        axes.set_ylabel("produced interval (ms)")
        axes.grid(True)
    return figure
