"""Learning curves of networks and the course of population-based training, from the group `history` of predictions."""

from collections.abc import Mapping

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from nlbflow.figures.canvas import MM_PER_INCH, PAGE_MM, RULE, page, panel, say, shortened, write
from nlbflow.figures.predictions import Place, columns

LEFT_MM, TOP_MM, RIGHT_MM, HEIGHT_MM, BELOW_MM = 13.0, 17.0, 3.0, 32.0, 15.0
# Panels in a row: of learning curves, of a population's hyperparameters.
CURVES, TRAITS = 3, 4
# Losses above this percentile, usually those of the first epochs, leave the panel.
HIGHEST = 98.0
# A hyperparameter that spans more decades has a logarithmic axis.
DECADES = 1.3
FITTING, CHOSEN = "#0072B2", "#000000"

History = Mapping[str, np.ndarray]


def draw_learning(place: Place) -> Figure:
    """A panel per network with the curves of all its seeds; below, the first seed of each population."""
    histories: dict[str, dict[int, History]] = {}
    for model, seed, path in place.runs:
        found = columns(path, "history")
        if found is not None:
            histories.setdefault(model, {})[seed] = found
    if not histories:
        return say(place.title, "No model here has kept a history of its training.")
    populations = {
        model: next(iter(seeds.values()))
        for model, seeds in histories.items()
        if any(len(set(history.get("member", [0]))) > 1 for history in seeds.values())
    }
    single = {model: seeds for model, seeds in histories.items() if model not in populations}
    rows = -(-len(single) // CURVES)
    tall = TRAITS_ROWS * (HEIGHT_MM + BELOW_MM) + 6
    figure = page(PAGE_MM, TOP_MM + rows * (HEIGHT_MM + BELOW_MM) + len(populations) * tall, place.title)
    for number, (model, seeds) in enumerate(single.items()):
        axes = _panel(figure, number, CURVES, TOP_MM)
        axes.set_title(shortened(model, 40))
        _draw_curves(axes, seeds)
    top = TOP_MM + rows * (HEIGHT_MM + BELOW_MM)
    marks = [
        Line2D([], [], color=FITTING, linewidth=1.1, label="validation loss"),
        Line2D([], [], color=FITTING, linewidth=0.4, label="training loss"),
        Line2D([], [], color=FITTING, linewidth=0.8, linestyle=":", label="fitted again to all training trials"),
        *([Line2D([], [], color=CHOSEN, label="population: the path to the final model")] if populations else []),
    ]
    write(figure, PAGE_MM - RIGHT_MM, 2.0, "a colour for each seed", ha="right", fontsize=6)
    below_title = 1 - 6 / (figure.get_figheight() * MM_PER_INCH)
    figure.legend(
        handles=marks, loc="upper left", bbox_to_anchor=(1.5 / PAGE_MM, below_title), borderaxespad=0, ncols=4
    )
    for model, history in populations.items():
        write(figure, 1.5, top - 4, f"{model}: a population of {len(set(history['member']))}")
        _draw_population(figure, top + 4, history)
        top += tall
    return figure


def _panel(figure: Figure, number: int, across: int, top: float) -> Axes:
    each = (PAGE_MM - LEFT_MM - RIGHT_MM - (across - 1) * LEFT_MM) / across
    row, column = divmod(number, across)
    left = LEFT_MM + column * (each + LEFT_MM)
    return panel(figure, left, top + row * (HEIGHT_MM + BELOW_MM), each, HEIGHT_MM)


def _draw_curves(axes: Axes, seeds: Mapping[int, History]) -> None:
    colors = rcParams["axes.prop_cycle"].by_key()["color"]
    step = "generation" if "generation" in next(iter(seeds.values())) else "epoch"
    shown = []
    for color, history in zip(_repeated(colors, len(seeds)), seeds.values(), strict=True):
        for refitting, line in ((0, "-"), (1, ":")):
            chosen = history.get("refitting", np.zeros(len(history[step]))) == refitting
            if "training_loss" in history:
                axes.plot(history[step][chosen], history["training_loss"][chosen], line, color=color, linewidth=0.4)
                shown.append(history["training_loss"][chosen])
            known = chosen & ~np.isnan(history["validation_loss"])
            axes.plot(history[step][known], history["validation_loss"][known], line, color=color, linewidth=1.1)
            shown.append(history["validation_loss"][known])
    _keep_losses_in_view(axes, np.concatenate(shown))
    axes.grid(True)
    axes.set_xlabel(step)
    axes.set_ylabel("loss")


def _keep_losses_in_view(axes: Axes, losses: np.ndarray) -> None:
    known = losses[np.isfinite(losses)]
    if len(known):
        low, high = known.min(), np.percentile(known, HIGHEST)
        margin = 0.05 * (high - low) or 0.5
        axes.set_ylim(low - margin, high + margin)


def _repeated(colors: list[str], number: int) -> list[str]:
    return [colors[i % len(colors)] for i in range(number)]


def lineage(history: History) -> tuple[np.ndarray, np.ndarray]:
    """Each member's ancestry, and the path to the best one.

    Args:
        history: a row per generation and member: generation, member, parent (the member that this one copies after the
            generation; itself if none) and validation_loss.

    Returns:
        (segments, 2) row numbers, from a parent's row to that of its copy, or of itself, one generation later; (path,)
        row numbers of the ancestors of the lowest loss, oldest first, and its own.
    """
    row_of = {
        (int(g), int(m)): row for row, (g, m) in enumerate(zip(history["generation"], history["member"], strict=True))
    }
    came_from = {}
    for (generation, member), row in row_of.items():
        later, earlier = row_of.get((generation + 1, member)), row_of.get((generation, int(history["parent"][row])))
        if later is not None and earlier is not None:
            came_from[later] = earlier
    path = [int(np.nanargmin(history["validation_loss"]))]
    while path[-1] in came_from:
        path.append(came_from[path[-1]])
    return np.array([[source, row] for row, source in sorted(came_from.items())]).reshape(-1, 2), np.array(path[::-1])


NOT_TRAITS = ("generation", "epoch", "member", "parent", "validation_loss")
# Validation loss and seven hyperparameters.
TRAITS_ROWS = 2


def _draw_population(figure: Figure, top: float, history: History) -> None:
    segments, path = lineage(history)
    traits = ["validation_loss", *(name for name in history if name not in NOT_TRAITS)]
    for number, name in enumerate(traits[: TRAITS * TRAITS_ROWS]):
        axes = _panel(figure, number, TRAITS, top)
        points = np.column_stack([history["generation"], history[name]]).astype(float)
        if name != "validation_loss" and points[:, 1].min() > 0 and np.ptp(np.log10(points[:, 1])) > DECADES:
            axes.set_yscale("log")
            axes.yaxis.set_minor_locator(NullLocator())
        axes.add_collection(LineCollection(points[segments], colors=RULE, linewidths=0.5))
        axes.plot(*points.T, "o", color=FITTING, markersize=1.2, markeredgewidth=0)
        axes.plot(*points[path].T, color=CHOSEN, linewidth=1.0)
        if name == "validation_loss":
            _keep_losses_in_view(axes, points[:, 1])
        axes.grid(True, axis="x")
        axes.set_title(name.replace("_", " "))
        axes.set_xlabel("generation")
