"""Latent trajectories: principal components of each model's latents, averaged by condition."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from nlbflow.figures.canvas import GREY, MM_PER_INCH, PAGE_MM, page, panel, say, write
from nlbflow.figures.predictions import Place, color_meaning, evenly, group_colors, latents, rates

MODELS, SINGLE_TRIALS = 4, 24
LEFT_MM, TOP_MM, RIGHT_MM, GAP_MM, BELOW_MM, KEY_MM = 15.0, 12.0, 3.0, 14.5, 9.0, 5.0
# As a share of the mean squares; a smaller variance is float32 rounding.
LEAST_VARIANCE = 1e-12
# How far the axis label stands left of its panel.
LABEL_MM = 10.5


def draw_latents(place: Place) -> Figure:
    """A column per model, and one for the true states of simulated data; PC 2 and PC 3 against PC 1.

    If a model's averages do not vary, its column says so.
    """
    columns = {}
    if "true_states" in place.target:
        columns["true states"] = place.target["true_states"]["eval_latents"]
    for model, path in place.best(MODELS - len(columns)).items():
        found = latents(path)
        columns[model if found is not None else f"{model} (rates)"] = rates(path, "eval") if found is None else found
    if not columns:
        return say(place.title, "No competing model has made a prediction here.")
    groups = place.groups() or [
        np.array([i]) for i in evenly([*range(len(next(iter(columns.values()))))], SINGLE_TRIALS)
    ]
    colors = group_colors(place.target, groups)
    each = (PAGE_MM - LEFT_MM - RIGHT_MM - GAP_MM * (MODELS - 1)) / MODELS
    components = {name: principal_components(found, groups) for name, found in columns.items()}
    rows = max(min(len(shares), 3) for _, shares in components.values()) - 1
    figure = page(PAGE_MM, TOP_MM + max(rows, 1) * (each + BELOW_MM) + KEY_MM, place.title)
    for column, (name, (paths, shares)) in enumerate(components.items()):
        left = LEFT_MM + column * (each + GAP_MM)
        if not shares.any():
            write(figure, left, TOP_MM - 4, f"{name}\n\nthe same at all times\nand in all conditions", color=GREY)
            continue
        for row in range(max(min(len(shares), 3) - 1, 1)):
            axes = panel(figure, left, TOP_MM + row * (each + BELOW_MM), each, each)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MaxNLocator(nbins=4, min_n_ticks=2))
            second = row + 1 if len(shares) > 1 else 0
            for color, path in zip(colors, paths, strict=True):
                axes.plot(path[:, 0], path[:, second], color=color, linewidth=0.6)
                axes.plot(path[0, 0], path[0, second], "o", color=color, markersize=2)
            axes.set_xlabel(f"PC 1 ({shares[0]:.0%})")
            axes.set_ylabel(f"PC {second + 1} ({shares[second]:.0%})")
            axes.yaxis.set_label_coords(-LABEL_MM / each, 0.5)
            if row == 0:
                axes.set_title(name)
    marks = [
        Line2D([], [], color=GREY, marker="o", markersize=2, linestyle="none", label="start of the window"),
        Line2D([], [], color=GREY, linewidth=0.6, label=color_meaning(place.target)),
    ]
    width, height = figure.get_size_inches() * MM_PER_INCH
    figure.legend(handles=marks, loc="lower left", bbox_to_anchor=(1.5 / width, 1.0 / height), ncols=2)
    return figure


def principal_components(found: np.ndarray, groups: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Averages of latents (trials, bins, dimensions) over groups of trials, on their principal axes.

    Returns:
        (groups, bins, components) at most three components, whose axes have a positive largest weight; and their shares
        of the averages' variance.
    """
    means = np.stack([found[trials].mean(axis=0, dtype=float) for trials in groups])
    flat = means.reshape(-1, means.shape[2])
    flat = flat - flat.mean(axis=0)
    values, axes = np.linalg.eigh(flat.T @ flat)
    axes, values = axes[:, ::-1][:, :3], np.maximum(values[::-1], 0)
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    total = values.sum()
    # constant latents leave rounding alone
    varies = total > LEAST_VARIANCE * np.square(means, dtype=float).sum()
    return (flat @ axes).reshape(*means.shape[:2], -1), values[: axes.shape[1]] * varies / (total or 1.0)
