"""Smoothing over time with a Gaussian kernel."""

import numpy as np


def gaussian_kernel(length: int, sd: float) -> np.ndarray:
    """A symmetric Gaussian of `length` bins and standard deviation `sd` bins, sum 1.

    A standard deviation of 0 gives a single bin, which changes nothing.
    """
    if sd == 0:
        return np.ones(1)
    offset = np.arange(length) - (length - 1) / 2
    kernel = np.exp(-0.5 * (offset / sd) ** 2)
    return kernel / kernel.sum()


def smoothing_matrix(kernel: np.ndarray, bins: int) -> np.ndarray:
    """(bins, bins) such that `matrix @ x` is x (..., bins, neurons) convolved with the kernel over time.

    x is zero outside the window. The rows of the full convolution from (len(kernel) - 1) // 2 on are kept, as in
    np.convolve's mode "same" for a kernel that is no longer than the window.
    """
    tap = np.arange(bins)[:, None] - np.arange(bins) + (len(kernel) - 1) // 2
    inside = (tap >= 0) & (tap < len(kernel))
    return np.where(inside, kernel[np.clip(tap, 0, len(kernel) - 1)], 0.0)
