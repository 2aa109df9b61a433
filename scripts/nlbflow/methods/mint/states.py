"""Where a trial is on trajectories of rates: the states under which the spikes around each bin are likeliest.

Perkins, Amematsro, Cunningham, Wang & Churchland 2025, eLife 12:RP89421 (MINT), likelihood and interpolation. The
likelihood of every state of every trajectory is computed. Then neighbouring states of a trajectory, and after that the
best trajectories (two in the paper), are mixed so that the spikes are likeliest.
"""

import logging
import time
from dataclasses import dataclass

import numpy as np

# Bisections of a mixing weight: exact to 1/256, far finer than the noise of any rate.
BISECTIONS = 8
# With more than two trajectories, each share depends on the others, so all are mixed in again so many times. With six,
# less than 0.01 of log likelihood is then left to gain.
ROUNDS = 3
# Bins of a trial per matrix product of likelihoods; more would waste work on states out of reach.
BLOCK_BINS = 32
PROGRESS_S = 5.0

log = logging.getLogger("nlbflow")


@dataclass(frozen=True)
class Window:
    """Which spikes determine the state in a bin: those from `before` bins earlier to `after` bins later.

    On its trajectory a state may lie up to `shift` bins earlier or later than the bin in the trial, from bin `begin` to
    before bin `end`. All these numbers are in bins of the likelihood, each of which has `step` bins of the trial.
    """

    before: int
    after: int
    shift: int
    step: int = 1
    begin: float = -np.inf
    end: float = np.inf


@dataclass(frozen=True)
class States:
    """Where trials are in the library: mixtures of states, two neighbours on each of the likeliest trajectories.

    condition, index: (trials, bins, states) whole numbers: the trajectory and the bin on it. A bin beyond an end stands
        for that end. weight: (trials, bins, states), of sum 1.
    """

    condition: np.ndarray
    index: np.ndarray
    weight: np.ndarray


class StateFinder:
    """Finds the states of trials of one length on given trajectories."""

    def __init__(self, rates: np.ndarray, bins: int, window: Window, candidates: int = 2):
        """Keep what all trials need.

        Args:
            rates: (conditions, states, neurons) of the held-in neurons in spikes per bin, > 0.
            bins: length of the trials; bin 0 and state 0 are at the same time. Bins at the end that do not fill a bin
                of the likelihood are not used.
            candidates: how many of the likeliest trajectories are mixed.
        """
        self.window, self.length, self.bins, self.conditions = window, bins, bins // window.step, len(rates)
        self.candidates, step = candidates, window.step
        reached = np.arange(-window.shift * step, (self.bins + window.shift) * step)
        reached = rates[:, np.clip(reached, 0, rates.shape[1] - 1)].reshape(self.conditions, -1, step, rates.shape[2])
        # With time first, the states in reach of a block of bins are contiguous.
        self.rates = np.ascontiguousarray(reached.sum(axis=2).transpose(1, 0, 2))
        self.log_rates, self.totals = np.log(self.rates), self.rates.sum(axis=2)
        self.summed = np.concatenate([np.zeros((1, self.conditions)), self.totals.cumsum(axis=0)])
        here = np.arange(self.bins)
        self.first, self.last = np.maximum(here - window.before, 0), np.minimum(here + window.after + 1, self.bins)
        place = here[:, None] + np.arange(-window.shift, window.shift + 1)
        self.barred = (place < window.begin) | (place >= window.end)

    def log_likelihoods(self, spikes: np.ndarray) -> np.ndarray:
        """Poisson log likelihood of the spikes in the window around each bin, on each trajectory, at each shift.

        Bins of the window beyond the trial are left out. So is the term of the counts alone, -sum(log n!), which is
        the same for all states.

        Args:
            spikes: (bins, neurons) of one trial, in bins of the likelihood.

        Returns:
            (bins, 2 * shift + 1, conditions); at index `shift`, in the middle, the state is at the bin's own time. -inf
            where no state may lie.
        """
        reach = 2 * self.window.shift + 1
        spikes = spikes.astype(np.float64)
        summed = np.zeros((self.bins + 1, reach, self.conditions))
        for start in range(0, self.bins, BLOCK_BINS):
            stop = min(start + BLOCK_BINS, self.bins)
            near = slice(start, stop + reach - 1)
            pairs = spikes[start:stop] @ self.log_rates[near].reshape(-1, spikes.shape[1]).T
            pairs = pairs.reshape(stop - start, -1, self.conditions) - self.totals[near]
            for row, pair in enumerate(pairs):
                summed[start + row + 1] = pair[row : row + reach]
        np.cumsum(summed, axis=0, out=summed)
        likelihood = summed[self.last] - summed[self.first]
        likelihood[self.barred] = -np.inf
        return likelihood

    def find(self, spikes: np.ndarray) -> States:
        """The states of one trial (bins, neurons): the best on each candidate, mixed with a neighbour, then all mixed.

        Returns:
            states of one trial, (1, bins, 2 * candidates), twice as many if `step` > 1. With fewer conditions than
            candidates the last trajectory is repeated.
        """
        here, shift, step = np.arange(self.bins), self.window.shift, self.window.step
        spikes = spikes[: self.bins * step].reshape(self.bins, step, -1).sum(axis=1)
        likelihood = self.log_likelihoods(spikes)
        best = np.argsort(-likelihood.max(axis=1), axis=1, kind="stable")
        chosen = best[:, np.minimum(np.arange(self.candidates), self.conditions - 1)]
        along = likelihood[here[:, None], :, chosen]
        at = along.argmax(axis=2)
        index = here[:, None] + at - shift
        beside = index + _better_side(along, at)

        # Every count is listed once for each window that contains it.
        bin_of, neuron = np.nonzero(spikes)
        begin, end = np.searchsorted(bin_of, self.first), np.searchsorted(bin_of, self.last)
        windows = np.repeat(here, end - begin)
        entry = np.arange(len(windows)) - np.repeat(np.cumsum(end - begin) - end, end - begin)
        bin_of, neuron = bin_of[entry], neuron[entry]
        counts = spikes[bin_of, neuron].astype(np.float64)

        def follow(condition: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            """Rates at the counts, and the sum of all rates in each window, as the states move along trajectories."""
            ahead = index - here + shift
            rates = self.rates[bin_of + ahead[windows], condition[windows], neuron]
            return rates, self.summed[self.last + ahead, condition] - self.summed[self.first + ahead, condition]

        def mix(ours: tuple, theirs: tuple) -> tuple[np.ndarray, tuple]:
            change, total = theirs[0] - ours[0], theirs[1] - ours[1]
            share = mixing_weight(counts, ours[0], change, total, windows)
            return share, (ours[0] + share[windows] * change, ours[1] + share * total)

        mixed = [
            mix(follow(condition, own), follow(condition, near))
            for condition, own, near in zip(chosen.T, index.T, beside.T, strict=True)
        ]
        later, alone = np.stack([share for share, _ in mixed], axis=1), [one for _, one in mixed]
        share = np.zeros(chosen.shape)
        share[:, 0] = 1
        again = ROUNDS if self.candidates > 2 else 0
        for one in [*range(1, self.candidates), *again * list(range(self.candidates))]:
            # mixed again with the mixture of the others; a trajectory that has the whole share stays as it is
            others = share.copy()
            others[:, one] = others.sum(axis=1) == others[:, one]
            others /= others.sum(axis=1, keepdims=True)
            rates = sum(part[windows] * each for part, (each, _) in zip(others.T, alone, strict=True))
            total = sum(part * each for part, (_, each) in zip(others.T, alone, strict=True))
            added, _ = mix((rates, total), alone[one])
            share = others * (1 - added[:, None])
            share[:, one] += added
        shape = (1, self.bins, 2 * self.candidates)
        found = States(
            np.repeat(chosen, 2, axis=1)[None],
            np.stack([index, beside], axis=2).reshape(shape),
            np.stack([share * (1 - later), share * later], axis=2).reshape(shape),
        )
        return found if step == 1 else between_bins(found, self.length, step)

    def find_all(self, spikes: np.ndarray, what: str) -> States:
        """The states of trials (trials, bins, neurons); logs the progress, naming the trials `what`."""
        found, begun = [], time.monotonic()
        told = begun
        for trial in spikes:
            found.append(self.find(trial))
            if (now := time.monotonic()) - told > PROGRESS_S:
                told, pace = now, len(found) / (now - begun)
                left = (len(spikes) - len(found)) / pace
                log.info(f"{what}: {len(found)} of {len(spikes)} trials, {pace:.1f} per s, {left:.0f} s to go")
        names = ("condition", "index", "weight")
        return States(*(np.concatenate([getattr(one, name) for one in found]) for name in names))


def _better_side(along: np.ndarray, at: np.ndarray) -> np.ndarray:
    """1 or -1 for the likelier neighbour of `at` in `along` (bins, trajectories, shifts); 0 if there is none."""
    padded = np.pad(along, ((0, 0), (0, 0), (1, 1)), constant_values=-np.inf)
    earlier, later = (np.take_along_axis(padded, at[..., None] + step, 2)[..., 0] for step in (0, 2))
    return np.where(later > earlier, 1, -1) * (np.maximum(earlier, later) > -np.inf)


def between_bins(states: States, bins: int, step: int) -> States:
    """States for the `bins` of a trial, from states found in bins of the likelihood of `step` bins each.

    States move along their trajectories. Between the middles of two bins of the likelihood, the states of both are
    mixed, weighted by nearness; before the first middle and after the last, one bin's states are used alone.
    """
    here, last = np.arange(bins), states.index.shape[1] - 1
    time = np.clip((here + 0.5) / step - 0.5, 0, last)
    left = time.astype(int)
    right, share = np.minimum(left + 1, last), (time - left)[:, None]
    moved = states.index - np.arange(last + 1)[:, None]
    return States(
        np.concatenate([states.condition[:, left], states.condition[:, right]], axis=2),
        here[:, None] + step * np.concatenate([moved[:, left], moved[:, right]], axis=2),
        np.concatenate([(1 - share) * states.weight[:, left], share * states.weight[:, right]], axis=2),
    )


def mixing_weight(
    counts: np.ndarray, rates: np.ndarray, change: np.ndarray, total: np.ndarray, windows: np.ndarray
) -> np.ndarray:
    """For each window the weight w in [0, 1] at which rates + w * change make its counts likeliest.

    The log likelihood is concave in w. The zero of its slope is bisected and the lower bracket is taken. The likelihood
    rises up to there, so it is never below that of w = 0.

    Args:
        counts, rates, change: (entries,) the counts above 0, their rates > 0, and the changes of these rates.
        total: (windows,) the sum of the changes over all counts of a window, including counts of 0.
        windows: (entries,) the window of each entry.
    """
    weighed = counts * change

    def rises(weight: np.ndarray) -> np.ndarray:
        return np.bincount(windows, weighed / (rates + weight[windows] * change), len(total)) >= total

    low, high = np.zeros(len(total)), np.ones(len(total))
    low[rises(high)] = 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        up = rises(middle)
        low, high = np.where(up, middle, low), np.where(up, high, middle)
    return low


def read_out(states: States, values: np.ndarray, ahead: int = 0) -> np.ndarray:
    """The values along the trajectories at the states: rates of all neurons, or behaviour.

    Args:
        values: (conditions, bins, channels) along the trajectories.
        ahead: how many bins after the states to read.

    Returns:
        (trials, bins, channels).
    """
    index = np.clip(states.index + ahead, 0, values.shape[1] - 1)
    read = np.zeros((*states.index.shape[:2], values.shape[2]))
    for one in range(states.index.shape[2]):
        read += states.weight[..., one, None] * values[states.condition[..., one], index[..., one]]
    return read
