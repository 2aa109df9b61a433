"""Stretches of time: arrays (n, 2) of [first, end), by default in rows of 1 ms."""

import numpy as np


def covered(times: np.ndarray, intervals: np.ndarray) -> np.ndarray:
    """(times,) whether each time lies in one of the intervals (n, 2), both in s."""
    if len(intervals) == 0:
        return np.zeros(len(times), bool)
    starts, ends = intervals[np.argsort(intervals[:, 0])].T
    which = np.searchsorted(starts, times, "right") - 1
    return (which >= 0) & (times <= np.maximum.accumulate(ends)[which])


def inside(stretches: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The number of the stretch that holds each 1 ms row, or -1."""
    if len(stretches) == 0:
        return np.full(np.shape(rows), -1)
    which = np.searchsorted(stretches[:, 0], rows, "right") - 1
    return np.where((which >= 0) & (rows < stretches[which, 1]), which, -1)


def merge_stretches(stretches: np.ndarray) -> np.ndarray:
    """Sorted, disjoint, non-empty stretches (n, 2) that cover the same rows."""
    merged: list[list[int]] = []
    for start, end in stretches[np.argsort(stretches[:, 0], kind="stable")].tolist():
        if end <= start:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return np.array(merged, np.int64).reshape(-1, 2)


def common(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The rows that lie in stretches of both `a` and `b`, as stretches (n, 2); those of `b` are sorted and disjoint."""
    first, end = np.searchsorted(b[:, 1], a[:, 0], "right"), np.searchsorted(b[:, 0], a[:, 1], "left")
    counts = np.maximum(end - first, 0)
    of_a = np.repeat(np.arange(len(a)), counts)
    of_b = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts - first, counts)
    low, high = np.maximum(a[of_a, 0], b[of_b, 0]), np.minimum(a[of_a, 1], b[of_b, 1])
    return merge_stretches(np.stack([low, high], axis=1))


def without(stretches: np.ndarray, holes: np.ndarray) -> np.ndarray:
    """The stretches without the holes, both sorted and disjoint (n, 2)."""
    if len(holes) == 0:
        return stretches
    edges = np.concatenate([[np.iinfo(np.int64).min], holes.ravel(), [np.iinfo(np.int64).max]])
    return common(stretches, edges.reshape(-1, 2))
