"""What models show beyond rates: states over time in some trials, and which neurons belong together or are coupled."""

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from nlbflow.figures.canvas import PAGE_MM, page, panel, say
from nlbflow.figures.predictions import Place, arrays_of, evenly

COLUMNS, TRIALS = 4, 16
SHOWN = ("eval_states", "neuron_labels", "neuron_similarity")
LEFT_MM, TOP_MM, RIGHT_MM, GAP_MM, BELOW_MM = 11.0, 12.0, 3.0, 10.0, 10.0
COLORS = ListedColormap([colormaps["tab20"](i) for i in (0, 2, 4, 6, 8, 10, 12, 14, 16, 18)])


def draw_structure(place: Place) -> Figure:
    """A column per model that shows any, and one for the truth if it is known: states over time, a row per trial; and
    neurons by neurons, ordered by the labels of the first column that has any."""
    columns = {"truth": place.target["true_structure"]} if "true_structure" in place.target else {}
    for model, path in place.predictions.items():
        if len(columns) < COLUMNS and (found := arrays_of(path, SHOWN)):
            columns[model] = found
    if not columns:
        return say(place.title, "No competing model here shows states, or labels or similarities of neurons.")
    rows = [draw for draw, names in ((_draw_states, SHOWN[:1]), (_draw_neurons, (*SHOWN[1:], "couplings")))
            if any({*names} & found.keys() for found in columns.values())]  # fmt: skip
    labels = next((found["neuron_labels"] for found in columns.values() if "neuron_labels" in found), None)
    each = (PAGE_MM - LEFT_MM - RIGHT_MM - GAP_MM * (COLUMNS - 1)) / COLUMNS
    figure = page(PAGE_MM, TOP_MM + len(rows) * (each + BELOW_MM), place.title)
    for column, (name, found) in enumerate(columns.items()):
        title = name
        for row, draw in enumerate(rows):
            axes = panel(figure, LEFT_MM + column * (each + GAP_MM), TOP_MM + row * (each + BELOW_MM), each, each)
            if draw(axes, found, place, labels):
                # above the first that the model shows
                axes.set_title(title)
                title = ""
            else:
                axes.set_axis_off()
    return figure


def _draw_states(axes, found: Mapping, place: Place, labels: np.ndarray | None) -> bool:
    if "eval_states" not in found:
        return False
    states = found["eval_states"]
    shown = evenly([*range(len(states))], TRIALS)
    edges = place.times[0] - place.bin_ms / 2, place.times[-1] + place.bin_ms / 2
    axes.imshow(
        by_occupancy(states)[shown] % COLORS.N, COLORS, aspect="auto", interpolation="nearest", vmin=0,
        vmax=COLORS.N - 1, extent=(*edges, len(shown), 0),
    )  # fmt: skip
    axes.set_xlabel("time from the event (ms)")
    axes.set_ylabel(f"evaluation trial ({len(shown)} of {len(states)})")
    return True


def _draw_neurons(axes, found: Mapping, place: Place, labels: np.ndarray | None) -> bool:
    matrix = neuron_matrix(found)
    if matrix is None:
        return False
    order = np.arange(len(matrix)) if labels is None else np.argsort(labels, kind="stable")
    axes.imshow(matrix[np.ix_(order, order)], aspect="auto", interpolation="nearest")
    sorted_by = "" if labels is None else ", by the first labels"
    axes.set_xlabel(f"neuron{sorted_by}\n{np.nanmin(matrix):.2g} (dark) to {np.nanmax(matrix):.2g} (bright)")
    axes.set_ylabel(f"neuron{sorted_by}")
    return True


def by_occupancy(states: np.ndarray) -> np.ndarray:
    """States (trials, bins) numbered from 0, the most frequent first, so that colours follow frequency."""
    _, named, counts = np.unique(states, return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), int)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return rank[named].reshape(np.shape(states))


def neuron_matrix(found: Mapping) -> np.ndarray | None:
    """(neurons, neurons) how alike or coupled they are, or else whether they share a label; None without either."""
    for name in ("neuron_similarity", "couplings"):
        if name in found:
            return np.asarray(found[name], float)
    labels = found.get("neuron_labels")
    return None if labels is None else (labels[:, None] == labels).astype(float)
