"""MINT's library: a trajectory of rates for each condition, averaged over trials and denoised.

Perkins, Amematsro, Cunningham, Wang & Churchland 2025, eLife 12:RP89421. `states` finds where a trial is on the
trajectories; rates of other neurons and later bins, and behavior, are then read there.
"""

from dataclasses import dataclass

import numpy as np

from nlbflow.methods.mint.states import StateFinder, States, Window, read_out
from nlbflow.methods.smoothing import gaussian_kernel, smoothing_matrix

# In spikes per bin; not 0, because a neuron that is silent in training may fire in evaluation.
LOWEST_RATE = 1e-5


@dataclass(frozen=True)
class Library:
    """Trajectories of conditions: `rates` (conditions, bins, neurons) in spikes per bin, held-in neurons first.

    axes: (neurons, components) of the rates. members: the trials that each trajectory averages. moved: (trials,) bins
        by which each trial was moved later in time before averaging.
    """

    rates: np.ndarray
    axes: np.ndarray
    members: list[np.ndarray]
    moved: np.ndarray


def build_library(
    spikes: np.ndarray,
    condition: np.ndarray,
    *,
    sd_bins: float,
    neural_rank: int,
    condition_rank: int,
    floor: float,
    lowest: float = 0.0,
    align_rounds: int = 0,
    shift: int = 0,
) -> Library:
    """The trajectories of the conditions. Each round moves trials in time to fit the trajectories of the previous one.

    Args:
        spikes: (trials, bins, neurons), NaN where unknown, the bins of the forward window last.
        condition: (trials,) whole numbers; a trial with a negative number is left out.
        sd_bins: standard deviation of the Gaussian over time, in bins.
        neural_rank, condition_rank: components kept; 0, or more than there are, keeps all.
        floor: lowest rate of a neuron as a share of its mean rate.
        lowest: lowest rate of any neuron in spikes per bin; no rate is below 1e-5.
        align_rounds: the number of rounds in which each trial is moved to where it is likeliest, by up to `shift` bins.
    """
    members = [np.flatnonzero(condition == one) for one in np.unique(condition[condition >= 0])]
    moved = np.zeros(len(spikes), int)
    for again in range(align_rounds, -1, -1):
        averages = average_conditions(move(spikes, moved), members, sd_bins)
        denoised, axes = reduce_rank(averages, neural_rank, condition_rank)
        rates = np.maximum(denoised, np.maximum(floor * averages.mean(axis=(0, 1)), max(lowest, LOWEST_RATE)))
        if again:
            moved = _likeliest_moves(spikes, members, rates, shift)
    return Library(rates, axes, members, moved)


def average_conditions(values: np.ndarray, members: list[np.ndarray], sd_bins: float) -> np.ndarray:
    """Mean over the trials of each condition, smoothed over time.

    Args:
        values: (trials, bins, channels), spikes per bin or behaviour, NaN where unknown.
        members: the trials of each condition, none empty.
        sd_bins: standard deviation of the Gaussian in bins; 0 does not smooth.

    Returns:
        (conditions, bins, channels). Only known values have weights, so the edges do not fall off. A bin without a
        known value in reach has the last value before it, or the first after it; a channel that is never known is NaN.
    """
    bins = values.shape[1]
    matrix = smoothing_matrix(gaussian_kernel(2 * int(np.ceil(3 * sd_bins)) + 1, sd_bins), bins)
    averages = np.empty((len(members), bins, values.shape[2]))
    for row, trials in enumerate(members):
        known = ~np.isnan(values[trials])
        total = matrix @ np.where(known, values[trials], 0.0).sum(axis=0, dtype=np.float64)
        weight = matrix @ known.sum(axis=0, dtype=np.float64)
        there = weight > 0
        mean = np.divide(total, weight, out=np.full_like(total, np.nan), where=there)
        last = np.maximum.accumulate(np.where(there, np.arange(bins)[:, None], -1), axis=0)
        averages[row] = np.take_along_axis(mean, np.where(last < 0, there.argmax(axis=0), last), axis=0)
    return averages


def reduce_rank(rates: np.ndarray, neural_rank: int, condition_rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Trajectories denoised by what neurons share and by what conditions share.

    Principal components are kept first across neurons, then across conditions, where they describe the differences
    between conditions (Perkins et al. 2025, Methods). Neurons are first divided by the square root of their mean rate,
    which makes the noise of Poisson counts equal; the paper normalises them by their range.

    Returns:
        rates in the given shape (conditions, bins, neurons), and axes (neurons, components kept), which turn
        differences of rates into differences of the components.
    """
    mean = rates.mean(axis=(0, 1))
    scale = np.sqrt(np.where(mean > 0, mean, 1.0))
    rows = ((rates - mean) / scale).reshape(-1, rates.shape[2])
    axes = np.linalg.svd(rows, full_matrices=False)[2][: neural_rank or None].T
    latents = (rows @ axes).reshape(len(rates), -1)
    shared = latents.mean(axis=0)
    left, size, right = np.linalg.svd(latents - shared, full_matrices=False)
    kept = slice(condition_rank or None)
    latents = shared + (left[:, kept] * size[kept]) @ right[kept]
    denoised = mean + scale * (latents.reshape(-1, axes.shape[1]) @ axes.T)
    return denoised.reshape(rates.shape), axes / scale[:, None]


def move(values: np.ndarray, later: np.ndarray) -> np.ndarray:
    """Values (trials, bins, channels) with trials moved later by `later` (trials,) bins; NaN where nothing moves in."""
    if not later.any():
        return values
    source = np.arange(values.shape[1]) - later[:, None]
    outside = (source < 0) | (source >= values.shape[1])
    taken = np.take_along_axis(values, np.clip(source, 0, values.shape[1] - 1)[..., None], axis=1)
    return np.where(outside[..., None], np.nan, taken)


def _likeliest_moves(spikes: np.ndarray, members: list[np.ndarray], rates: np.ndarray, shift: int) -> np.ndarray:
    """(trials,) bins by which to move trials to where they are likeliest; their mean on a trajectory is about 0."""
    moves = np.zeros(len(spikes), int)
    # A trial that is moved further might leave the trajectory entirely.
    shift = min(shift, spikes.shape[1] // 2)
    for one, trials in enumerate(members):
        for trial in trials:
            unknown = np.isnan(spikes[trial]).any(axis=1)
            seen = spikes[trial, : unknown.argmax() if unknown.any() else None]
            finder = StateFinder(rates[one : one + 1], len(seen), Window(len(seen), len(seen), shift))
            moves[trial] = finder.log_likelihoods(seen)[0, :, 0].argmax() - shift
        moves[trials] -= round(moves[trials].mean())
    return moves


def read_behavior(states: States, behavior: np.ndarray, library: Library) -> np.ndarray:
    """Behaviour along the trajectories: its averages over conditions, mixed as the states are.

    Args:
        behavior: (trials, bins, channels) of the trials that the library was built from, NaN where unknown.

    Returns:
        (trials, bins, channels); constant beyond the ends of the averages, NaN in a condition without known behaviour.
    """
    return read_out(states, average_conditions(move(behavior, library.moved), library.members, 0))
