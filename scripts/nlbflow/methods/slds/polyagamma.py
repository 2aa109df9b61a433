"""Pólya-Gamma random numbers: given them, a negative binomial's log mean is as if observed with Gaussian noise.

Exact, for whole shapes: PG(b, c) is the sum of b independent PG(1, c), and each of these is drawn by rejection, where
an alternating series decides (Devroye's method; Polson, Scott & Windle 2013, JASA 108:1339, arXiv:1205.0310).
"""

import numpy as np
from scipy.special import ndtr, ndtri

# Where the proposal changes from an inverse Gaussian to an exponential.
CUT = 0.64
# A uniform number below is accepted whatever the proposal: only the series' second term takes from the first, at most
# 3 exp(-4 / CUT) or 3 exp(-pi^2 CUT) of it.
SURE = 0.994
# Numbers proposed at once, whose arrays stay in a core's cache, and those whose refusals are drawn again together.
BLOCK, TOGETHER = 1 << 13, 1 << 20


def polya_gamma(shape: np.ndarray, tilt: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """PG(shape, tilt), one number for each pair.

    Args:
        shape: whole numbers, at least 1.
        tilt: any real numbers, as many.
        rng: draws them.
    """
    counts, z = shape.astype(np.int64).ravel(), np.abs(tilt).ravel() / 2
    found = np.empty(len(z))
    for near in (False, True):
        chosen = np.flatnonzero((z >= 1 / CUT) == near)
        each, start = counts[chosen], 0
        ends = np.cumsum(each)
        while start < len(chosen):
            done = ends[start] - each[start]
            stop = max(start + 1, int(np.searchsorted(ends, done + TOGETHER, side="right")))
            part = slice(start, stop)
            rows = np.repeat(np.arange(stop - start), each[part])
            sums = np.add.reduceat(_jacobi(z[chosen[part]], rows, near, rng), ends[part] - each[part] - done)
            found[chosen[part]], start = sums / 4, stop
    return found.reshape(tilt.shape)


def _jacobi(z: np.ndarray, rows: np.ndarray, near: bool, rng: np.random.Generator) -> np.ndarray:
    """4 PG(1, 2 z[row]) for each of `rows`; `near` says whether all z are at least 1 / CUT, or none is."""
    rate = np.pi**2 / 8 + z**2 / 2
    # masses of the proposal on both sides of the cut times exp(z), which keeps them finite; the left one's includes
    # what is refused at once
    above = np.pi / (2 * rate) * np.exp(z - rate * CUT)
    share = above / (above + (2.0 if near else 4 * ndtr(-1 / np.sqrt(CUT)) * np.exp(z)))
    propose = _near if near else _far
    found, left = np.empty(len(rows)), np.arange(len(rows))
    while len(left):
        refused = []
        for first in range(0, len(left), BLOCK):
            some = left[first : first + BLOCK]
            here = rows[some]
            right = np.flatnonzero(rng.random(len(some)) < share[here])
            x, kept = propose(z[here], rng)
            x[right] = CUT + rng.standard_exponential(len(right)) / rate[here[right]]
            kept[right] = True
            kept &= _accepted(x, rng)
            found[some] = x
            refused.append(some[~kept])
        left = np.concatenate(refused)
    return found


def _far(z: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Numbers below the cut, and which of them are inverse Gaussian of mean 1 / z and shape 1: without that tilt they
    are inverse squares of normal numbers."""
    root = ndtri((1 - rng.random(len(z))) * ndtr(-1 / np.sqrt(CUT)))
    x = 1 / (root * root)
    return x, rng.random(len(z)) <= np.exp(-0.5 * z * z * x)


def _near(z: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Inverse Gaussian numbers of mean 1 / z and shape 1, and which of them lie below the cut (Michael, Schucany & Haas
    1976, The American Statistician 30:88; NumPy's take twice as long)."""
    mean, normal = 1 / z, rng.standard_normal(len(z))
    half = 0.5 * mean * normal * normal
    x = mean * (1 + half - np.sqrt(half * (half + 2)))
    x = np.where(rng.random(len(z)) * (mean + x) <= mean, x, mean * mean / x)
    return x, x <= CUT


def _accepted(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Which proposals stand: those whose uniform number lies below the alternating series over its first term."""
    uniform = rng.random(len(x))
    accepted = uniform < SURE
    left = np.flatnonzero(~accepted)
    scale = np.where(x[left] <= CUT, 4 / x[left], np.pi**2 * x[left])
    total, n = np.ones(len(left)), 1
    while len(left):
        total += (-1) ** n * (2 * n + 1) * np.exp(-0.5 * n * (n + 1) * scale)
        if n % 2:
            decided = uniform[left] <= total
            accepted[left[decided]] = True
        else:
            decided = uniform[left] > total
        left, scale, total, n = left[~decided], scale[~decided], total[~decided], n + 1
    return accepted
