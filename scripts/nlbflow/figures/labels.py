"""Names beside points that do not cover each other."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes

from nlbflow.figures.canvas import GREY, MM_PER_INCH, POINTS_PER_MM

# The size of a letter, as a fraction of the font size.
LETTER_WIDTH, LETTER_HEIGHT = 0.64, 1.05
RADII_MM = (1.0, 1.6, 2.4, 3.4, 4.6, 6.0, 8.0, 10.5, 13.5)
DIRECTIONS = 16
STEP_MM = 0.4


def label_points(
    axes: Axes,
    x: np.ndarray,
    y: np.ndarray,
    names: Sequence[str],
    path: tuple[np.ndarray, np.ndarray],
    fontsize: float = 5.5,
) -> None:
    """Write each point's name at the nearest free place around it; a thin line joins them if the name is not close.

    Earlier points choose first. Set the limits and scales of the axes before the call.

    Args:
        x, y: (points,) in the axes' data units.
        names: the points' names, in the same order.
        path: x and y of the corners of a line that no name should cover.
    """
    per_mm = axes.figure.dpi / MM_PER_INCH
    points = axes.transData.transform(np.column_stack([x, y])) / per_mm
    frame = axes.get_window_extent().extents / per_mm
    height = fontsize * LETTER_HEIGHT / POINTS_PER_MM
    marks = np.column_stack([points - 0.55, points + 0.55])
    corners = axes.transData.transform(np.column_stack(path)) / per_mm
    taken = np.concatenate([marks, _along(corners)])
    to_data = axes.transData.inverted()
    for point, name in zip(points, names, strict=True):
        width = fontsize * LETTER_WIDTH * len(name) / POINTS_PER_MM
        box, radius = _free_place(point, width, height, taken, frame)
        taken = np.vstack([taken, box])
        centre = np.array([box[0] + box[2], box[1] + box[3]]) / 2
        if radius > 2:
            near = np.clip(point, box[:2], box[2:])
            ends = to_data.transform(np.array([point, near]) * per_mm)
            axes.plot(*ends.T, color=GREY, linewidth=0.3, zorder=1)
        axes.text(*to_data.transform(centre * per_mm), name, fontsize=fontsize, ha="center", va="center", zorder=5)


def _along(corners: np.ndarray) -> np.ndarray:
    """Small boxes (left, bottom, right, top) along the line from corner to corner, (corners, 2) in mm."""
    ways = [
        start + np.linspace(0, 1, 2 + int(np.linalg.norm(end - start) / STEP_MM))[:, None] * (end - start)
        for start, end in pairwise(corners)
    ]
    steps = np.concatenate([np.zeros((0, 2)), *ways])
    return np.column_stack([steps - STEP_MM / 2, steps + STEP_MM / 2])


def _free_place(
    point: np.ndarray, width: float, height: float, taken: np.ndarray, frame: np.ndarray
) -> tuple[np.ndarray, float]:
    """The box (left, bottom, right, top) that covers least of `taken`, the nearest such box, and its distance."""
    boxes, radii, half = [], [], np.array([width, height]) / 2
    for radius in RADII_MM:
        for angle in np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS:
            away = np.array([np.cos(angle), np.sin(angle)])
            # `radius` is the distance to the box's edge, not to its centre
            centre = point + away * (radius + half)
            boxes.append([*(centre - half), *(centre + half)])
            radii.append(radius)
    boxes = np.array(boxes)
    low, high = np.maximum(boxes[:, None, :2], taken[:, :2]), np.minimum(boxes[:, None, 2:], taken[:, 2:])
    covered = np.prod(np.clip(high - low, 0, None), axis=2).sum(axis=1)
    outside = (boxes[:, :2] < frame[:2]).any(axis=1) | (boxes[:, 2:] > frame[2:]).any(axis=1)
    best = np.argmin(covered + 100.0 * outside)
    return boxes[best], radii[best]


def spread_out(heights: np.ndarray, gap: float) -> np.ndarray:
    """Heights moved apart until neighbours are at least `gap` apart, in the same order, about the same middle."""
    order = np.argsort(heights, kind="stable")
    moved = heights[order].astype(float)
    for _ in range(200):
        close = gap - np.diff(moved)
        if (close <= 1e-9).all():
            break
        push = np.where(close > 0, close / 2, 0)
        moved[:-1] -= push
        moved[1:] += push
    result = np.empty_like(moved)
    result[order] = moved
    return result
