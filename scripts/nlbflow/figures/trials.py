"""Example trials: the recorded spikes, the rates that models infer from them, and the hand's path."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib import rcParams

from nlbflow.decoder import decoded, decoder_rows
from nlbflow.figures.canvas import PAGE_MM, page, panel, say, write
from nlbflow.figures.predictions import Place, evenly, rates
from nlbflow.files import open_h5

TRIALS, MODELS = 3, 3
LEFT_MM, TOP_MM, RIGHT_MM, GAP_MM = 13.0, 10.0, 14.0, 8.0
SPIKES_MM, RATES_MM, PATH_MM, BETWEEN_MM = 32.0, 24.0, 40.0, 4.0
# The brightest colour is the rate that one bin in a hundred exceeds.
BRIGHTEST = 99.0


def chosen_trials(place: Place) -> np.ndarray:
    """Evaluation trials of conditions that are evenly spread, or evenly spread themselves."""
    known = range(len(place.target["eval_spikes_heldout"]))
    firsts = [int(trials[0]) for trials in place.groups()] or list(known)
    return np.array(sorted(set(evenly(firsts, TRIALS))))


def draw_trials(place: Place) -> Figure:
    """A column per trial; below the spikes a row per model, and the paths at the foot where velocity is recorded."""
    models = place.best(MODELS)
    if not models:
        return say(place.title, "No competing model has made a prediction here.")
    trials = chosen_trials(place)
    spikes = recorded_spikes(place, trials)
    inferred = {model: rates(path, "eval", trials) * 1000 / place.bin_ms for model, path in models.items()}
    moving = place.target.get("eval_behavior", np.zeros(0)).ndim == 3
    height = TOP_MM + SPIKES_MM + len(models) * (RATES_MM + BETWEEN_MM) + (PATH_MM + 25 if moving else 5)
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
    if moving:
        _draw_paths(figure, place, trials, [*models.items()], lefts, top + 9, each)
    return figure


def recorded_spikes(place: Place, trials: np.ndarray) -> np.ndarray:
    """(trials, bins, neurons) counts, held-in neurons first; NaN where not scored."""
    with open_h5(place.input) as file:
        heldin = file["eval_spikes_heldin"][trials]
    return np.concatenate([heldin, place.target["eval_spikes_heldout"][trials]], axis=2)


def peak_order(mean: np.ndarray, heldin: int) -> np.ndarray:
    """Neurons by the time of their peak in (bins, neurons), held-in and held-out apart."""
    peak = np.argmax(mean, axis=0)
    parts = np.arange(heldin), np.arange(heldin, mean.shape[1])
    return np.concatenate([part[np.argsort(peak[part], kind="stable")] for part in parts])


def _label_neurons(axes: Axes, label: str | None, heldin: int, neurons: int) -> None:
    axes.set_ylim(neurons - 0.5, -0.5)
    axes.axhline(heldin - 0.5, color="#D55E00", linewidth=0.6)
    words = ["held-in", "held-out"] if label else ["", ""]
    axes.set_yticks([heldin / 2, neurons - 0.5], words, rotation=90, va="center")
    # few held-out neurons: their word begins at the foot, and may reach beyond them
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


def decoded_velocity(place: Place, path, trials: Sequence[int]) -> np.ndarray:
    """(trials, bins, 2) by the benchmark's decoder of the trial's kind, fitted to the training trials."""
    target, train = place.target, rates(path, "train")
    masks = [target.get(f"{part}_decode_mask", np.ones((len(target[f"{part}_behavior"]), 1))) for part in
             ("train", "eval")]  # fmt: skip
    shown = rates(path, "eval", np.asarray(trials))
    velocity = np.full((*shown.shape[:2], 2), np.nan)
    for train_trials, eval_trials in zip(masks[0].T.astype(bool), masks[1][trials].T.astype(bool), strict=True):
        if eval_trials.any():
            x, y = decoder_rows("train", train, target["train_behavior"], train_trials)
            asked = shown[eval_trials]
            velocity[eval_trials] = decoded(x, y, asked.reshape(-1, x.shape[1])).reshape(*asked.shape[:2], 2)
    return velocity


def path_of(velocity: np.ndarray, bin_ms: int) -> np.ndarray:
    """(bins + 1, 2) where velocity (bins, 2) leads from 0; unknown bins do not move."""
    steps = np.nan_to_num(velocity) * bin_ms / 1000
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])


def _draw_paths(figure: Figure, place: Place, trials: np.ndarray, models: list, lefts: list, top: float, each: float):
    velocity = {model: decoded_velocity(place, path, trials) for model, path in models}
    colors = rcParams["axes.prop_cycle"].by_key()["color"]
    true = place.target["eval_behavior"][trials]
    known = ~np.isnan(true[..., :1])
    for i, left in enumerate(lefts):
        axes = panel(figure, left, top, each, PATH_MM, aspect="equal", adjustable="datalim")
        axes.plot(*path_of(true[i], place.bin_ms).T, color="black", linewidth=1.4)
        for color, found in zip(colors, velocity.values(), strict=False):
            # where the hand is not known, no path is compared
            axes.plot(*path_of(np.where(known[i], found[i], np.nan), place.bin_ms).T, color=color)
        axes.plot(0, 0, "o", color="black")
        axes.margins(0.1)
        if i == 0:
            axes.set_ylabel("hand path, y")
        axes.set_xlabel("x")
    marks = [Line2D([], [], color="black", linewidth=1.4, label="true")]
    marks += [Line2D([], [], color=c, label=f"decoded from {m}") for c, (m, _) in zip(colors, models, strict=False)]
    width, height = figure.get_size_inches() * 25.4
    anchor = LEFT_MM / width, 1 - (top + PATH_MM + 7) / height
    figure.legend(handles=marks, loc="upper left", bbox_to_anchor=anchor, ncols=len(marks), borderaxespad=0)
