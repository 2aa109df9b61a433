"""Pólya-Gamma random numbers: given them, a negative binomial's log mean is as if observed with Gaussian noise.

Exact, for whole shapes: PG(b, c) is the sum of b independent PG(1, c), and each of these is drawn by rejection, where
an alternating series decides (Devroye's method; Polson, Scott & Windle 2013, JASA 108:1339, arXiv:1205.0310).
"""

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri

# Where the proposal changes from an inverse Gaussian to an exponential.
CUT = 0.64
# A uniform number below is accepted whatever the proposal: only the series' second term takes from the first, at most
# 3 exp(-4 / CUT) or 3 exp(-pi^2 CUT) of it.
SURE = 0.994
# Numbers drawn at once: the arrays of one block stay in a core's cache.
BLOCK = 1 << 13


def polya_gamma(shape: np.ndarray, tilt: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """PG(shape, tilt), one number for each pair.

    Args:
        shape: whole numbers, at least 1.
        tilt: any real numbers, as many.
        rng: draws them.
    """
    counts, z = shape.astype(np.int64).ravel(), np.abs(tilt).ravel() / 2
    found, ends = np.empty(len(z)), np.cumsum(counts)
    edges = np.searchsorted(ends, np.arange(BLOCK, ends[-1] + BLOCK, BLOCK)) if len(z) else []
    first = 0
    for last in np.unique(np.append(edges, len(z))):
        part = slice(first, int(last))
        if part.stop > part.start:
            each = counts[part]
            rows = np.repeat(np.arange(len(each)), each)
            found[part] = np.add.reduceat(_jacobi(z[part], rows, rng), np.cumsum(each) - each) / 4
        first = part.stop
    return found.reshape(tilt.shape)


def _jacobi(z: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """4 PG(1, 2 z[row]) for each of `rows`."""
    rate = np.pi**2 / 8 + z**2 / 2
    # both pieces times exp(z), which keeps them finite
    above = np.pi / (2 * rate) * np.exp(z - rate * CUT)
    below = 2 * (ndtr((CUT * z - 1) / np.sqrt(CUT)) + np.exp(2 * z + log_ndtr(-(CUT * z + 1) / np.sqrt(CUT))))
    share = (above / (above + below))[rows]
    z, rate = z[rows], rate[rows]
    found, left = np.empty(len(rows)), np.arange(len(rows))
    while len(left):
        right = rng.random(len(left)) < share[left]
        above, under = left[right], left[~right]
        found[above] = CUT + rng.standard_exponential(len(above)) / rate[above]
        found[under] = _below_cut(z[under], rng)
        left = left[~_accepted(found[left], rng)]
    return found


def _below_cut(z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Inverse Gaussian numbers of mean 1 / z and shape 1, given that they lie below the cut."""
    found, far = np.empty(len(z)), z < 1 / CUT
    left = np.flatnonzero(far)
    while len(left):
        # without the tilt these are the inverse squares of normal numbers
        root = ndtri((1 - rng.random(len(left))) * ndtr(-1 / np.sqrt(CUT)))
        x = 1 / (root * root)
        found[left] = x
        left = left[rng.random(len(left)) > np.exp(-0.5 * z[left] ** 2 * x)]
    left = np.flatnonzero(~far)
    while len(left):
        x = _inverse_gaussian(1 / z[left], rng)
        found[left] = x
        left = left[x > CUT]
    return found


def _inverse_gaussian(mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Inverse Gaussian numbers of shape 1 (Michael, Schucany & Haas 1976, The American Statistician 30:88), for means
    that are not large; NumPy's take twice as long."""
    half = 0.5 * mean * rng.standard_normal(len(mean)) ** 2
    x = mean * (1 + half - np.sqrt(half * (half + 2)))
    return np.where(rng.random(len(mean)) * (mean + x) <= mean, x, mean * mean / x)


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
