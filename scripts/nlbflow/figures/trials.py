"""Example trials: the recorded spikes, the rates that models infer from them, and behaviour decoded from the rates."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nlbflow.figures.behavior import behavior_height, draw_behavior
from nlbflow.figures.canvas import PAGE_MM, page, panel, say, write
from nlbflow.figures.predictions import Place, evenly, rates
from nlbflow.running.files import open_h5

TRIALS, MODELS = 3, 3
LEFT_MM, TOP_MM, RIGHT_MM, GAP_MM = 13.0, 10.0, 14.0, 8.0
SPIKES_MM, RATES_MM, BETWEEN_MM = 32.0, 24.0, 4.0
# The brightest colour stands for this percentile of the rates.
BRIGHTEST = 99.0


def chosen_trials(place: Place) -> np.ndarray:
    """Evaluation trials, the first of evenly spread conditions; without conditions, evenly spread trials."""
    known = range(len(place.target["eval_spikes_heldout"]))
    firsts = [int(trials[0]) for trials in place.groups()] or list(known)
    return np.array(sorted(set(evenly(firsts, TRIALS))))


def draw_trials(place: Place) -> Figure:
    """A column per trial: spikes at the top, a row per model below, decoded behaviour, if any, at the foot."""
    models = place.best(MODELS)
    if not models:
        return say(place.title, "No competing model has made a prediction here.")
    trials = chosen_trials(place)
    spikes = recorded_spikes(place, trials)
    inferred = {model: rates(path, "eval", trials) * 1000 / place.bin_ms for model, path in models.items()}
    foot = behavior_height(place)
    height = TOP_MM + SPIKES_MM + len(models) * (RATES_MM + BETWEEN_MM) + (foot + 9 if foot else 5)
    figure = page(PAGE_MM, height, place.title)
    each = (PAGE_MM - LEFT_MM - RIGHT_MM - (len(trials) - 1) * GAP_MM) / len(trials)
    lefts = [LEFT_MM + i * (each + GAP_MM) for i in range(len(trials))]
    heldin = spikes.shape[2] - place.target["eval_spikes_heldout"].shape[2]
    order = peak_order(next(iter(inferred.values())).mean(axis=0), heldin)
    brightest = np.percentile(np.concatenate([r.ravel() for r in inferred.values()]), BRIGHTEST)

    for i, left in enumerate(lefts):
        axes = panel(figure, left, TOP_MM, each, SPIKES_MM)
        _draw_spikes(axes, place, spikes[i][:, order], heldin)
        axes.set_title(f"evaluation trial {trials[i]}")
        _label_neurons(axes, "spikes" if i == 0 else None, heldin, len(order))
    top = TOP_MM + SPIKES_MM + BETWEEN_MM
    for model, shown in inferred.items():
        for i, left in enumerate(lefts):
            axes = panel(figure, left, top, each, RATES_MM)
            image = _draw_rates(axes, place, shown[i][:, order], heldin, brightest)
            axes.tick_params(labelbottom=model == [*inferred][-1])
            _label_neurons(axes, model if i == 0 else None, heldin, len(order))
        top += RATES_MM + BETWEEN_MM
    bar = panel(figure, PAGE_MM - RIGHT_MM + 2.5, top - RATES_MM - BETWEEN_MM, 2.0, RATES_MM)
    figure.colorbar(image, cax=bar).set_label("spikes/s")
    write(figure, LEFT_MM, top + 1.0, "time from the event that trials are aligned to (ms)")
    if foot:
        draw_behavior(figure, place, trials, models, lefts, top + 9, each)
    return figure


def recorded_spikes(place: Place, trials: np.ndarray) -> np.ndarray:
    """(trials, bins, neurons) counts, held-in neurons first; NaN where not scored."""
    with open_h5(place.input) as file:
        heldin = file["eval_spikes_heldin"][trials]
    return np.concatenate([heldin, place.target["eval_spikes_heldout"][trials]], axis=2)


def peak_order(mean: np.ndarray, heldin: int) -> np.ndarray:
    """Neurons ordered by the time of their peak in (bins, neurons), held-in ones before held-out ones."""
    peak = np.argmax(mean, axis=0)
    parts = np.arange(heldin), np.arange(heldin, mean.shape[1])
    return np.concatenate([part[np.argsort(peak[part], kind="stable")] for part in parts])


def _label_neurons(axes: Axes, label: str | None, heldin: int, neurons: int) -> None:
    axes.set_ylim(neurons - 0.5, -0.5)
    axes.axhline(heldin - 0.5, color="#D55E00", linewidth=0.6)
    words = ["held-in", "held-out"] if label else ["", ""]
    axes.set_yticks([heldin / 2, neurons - 0.5], words, rotation=90, va="center")
    # held-out neurons may be few: their word begins at the foot and may reach beyond them
    axes.get_yticklabels()[1].set_va("bottom")
    axes.tick_params(axis="y", length=0)
    if label:
        axes.set_ylabel(label)


def _draw_spikes(axes: Axes, place: Place, counts: np.ndarray, heldin: int) -> None:
    bins, neurons = np.nonzero(np.nan_to_num(counts) > 0)
    size = 0.75 * SPIKES_MM / counts.shape[1] * 72 / 25.4
    axes.plot(place.times[bins], neurons, "|", color="black", markersize=max(size, 0.8), markeredgewidth=0.5)
    axes.set_xlim(place.times[0] - place.bin_ms / 2, place.times[-1] + place.bin_ms / 2)
    axes.tick_params(labelbottom=False)


def _draw_rates(axes: Axes, place: Place, shown: np.ndarray, heldin: int, brightest: float):
    edges = place.times[0] - place.bin_ms / 2, place.times[-1] + place.bin_ms / 2
    extent = (*edges, shown.shape[1] - 0.5, -0.5)
    return axes.imshow(shown.T, aspect="auto", extent=extent, vmin=0, vmax=brightest, interpolation="nearest")
