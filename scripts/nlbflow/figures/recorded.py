"""The data for the figure of a dataset: those tensors of one place that exist."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.figures.predictions import evenly
from nlbflow.recordings.datasets import window_ranges
from nlbflow.running.files import read_arrays

# The standard deviation of the Gaussian that smooths the drawn rates.
SMOOTHED_MS = 20.0


@dataclass
class Recorded:
    """One place of a dataset, as a model may see it.

    Attributes:
        part: the trials of `spikes`: train, or eval if there is no train file.
        spikes: (trials, bins, units) counts, forward bins after the observed ones, held-in units first; NaN where
            nothing was recorded.
        heldin: the number of held-in units.
        observed, forward: the two windows in ms from the event.
        evaluated: (trials, bins, units) counts of the held-in units in the evaluation trials, if `part` is train.
        behavior: (trials, bins, channels), (trials, columns) of the table of trials, or None.
        groups: the trials of each condition; [] without conditions.
        definition: the dataset's definition.
    """

    bin_ms: int
    part: str
    spikes: np.ndarray
    heldin: int
    observed: tuple[int, int]
    forward: tuple[int, int]
    evaluated: np.ndarray | None
    behavior: np.ndarray | None
    groups: list[np.ndarray]
    definition: dict

    @property
    def times(self) -> np.ndarray:
        """(bins,) the middle of each bin of `spikes`, in ms from the event."""
        return self.observed[0] + (np.arange(self.spikes.shape[1]) + 0.5) * self.bin_ms

    @property
    def end(self) -> int:
        """The end of `spikes`, in ms from the event."""
        return self.observed[0] + self.spikes.shape[1] * self.bin_ms

    def examples(self, most: int) -> np.ndarray:
        """At most `most` trials: the most completely recorded of evenly spread conditions, or evenly spread trials."""
        known = np.isfinite(self.spikes).mean(axis=(1, 2), dtype=np.float32)
        best = [int(trials[np.argmax(known[trials])]) for trials in self.groups]
        return np.unique(evenly(best or list(range(len(self.spikes))), most))

    def condition_of(self, trial: int) -> int | None:
        """The number of a trial's condition."""
        return next((number for number, trials in enumerate(self.groups) if trial in trials), None)


def read_recorded(path: str | Path) -> Recorded | None:
    """A place from its input.h5, or None if it has no trial.

    Raises:
        NlbflowError: the file lacks the dataset's definition.
    """
    arrays, about = read_arrays(path)
    if "definition" not in about:
        raise NlbflowError(f"{path} has no dataset definition in its attributes; delete it and run again.")
    bin_ms = int(about["bin_ms"])
    part = next((p for p in ("train", "eval") if len(arrays.get(f"{p}_spikes_heldin", ()))), None)
    if part is None:
        return None
    kinds = [kind for kind in ("heldin", "heldout") if f"{part}_spikes_{kind}" in arrays]
    windows = []
    for suffix in ("", "_forward"):
        found = [arrays[name] for kind in kinds if (name := f"{part}_spikes_{kind}{suffix}") in arrays]
        windows += [np.concatenate(found, axis=2)] if found else []
    condition = arrays.get("train_condition", np.zeros(0)) if part == "train" else np.zeros(0)
    observed, forward = window_ranges(about["definition"], bin_ms)
    return Recorded(
        bin_ms,
        part,
        np.concatenate(windows, axis=1),
        arrays[f"{part}_spikes_heldin"].shape[2],
        observed,
        forward,
        arrays.get("eval_spikes_heldin") if part == "train" else None,
        arrays.get("train_behavior") if part == "train" else None,
        [np.flatnonzero(condition == number) for number in np.unique(condition[condition >= 0])],
        about["definition"],
    )


def known_mean(values: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """The mean of the values that are not NaN; NaN if there are none."""
    known = np.isfinite(values)
    number = known.sum(axis=axis)
    total = np.where(known, values, 0).sum(axis=axis, dtype=np.float64)
    return np.divide(total, number, out=np.full(number.shape, np.nan), where=number > 0)


def smoothed(rates: np.ndarray, bin_ms: int) -> np.ndarray:
    """(..., bins) known rates smoothed with a Gaussian; NaN stays NaN and does not spread."""
    bins = np.arange(rates.shape[-1]) * bin_ms
    weights = np.exp(-(((bins[:, None] - bins) / SMOOTHED_MS) ** 2) / 2)
    known = np.isfinite(rates)
    total = np.where(known, rates, 0) @ weights
    return np.where(known, total / np.maximum(known @ weights, 1e-12), np.nan)
