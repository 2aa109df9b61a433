"""The true rates, states and structure of a simulated session.

The rates file holds, in float64, `weights` (latents, neurons) and `bias` (neurons,) with neurons in ascending
`unit_id`, and in the groups `train` and `truth`, for the trials of that NWB file in table order, `latents`
(trials, ms from trial start, latents) in float32, NaN after `length_ms` (trials,). A rate in spikes/s is
exp(latents @ weights + bias), constant within each ms. Where the session has them there are also `labels` (neurons,),
the cluster of each neuron, `couplings` (neurons, neurons), 1 where the column's neuron drives the row's, and in both
groups `states` (trials, ms), the number of the state that the dynamics are in.
"""

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.running.files import open_h5


def rates_hz(latents: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Rates in spikes/s, (..., neurons), of latents (..., latents): exp(latents @ weights + bias)."""
    return np.exp(np.asarray(latents, float) @ weights + bias)


def true_rates(
    path: str | Path, part: str, trial_indices: np.ndarray, start_ms: np.ndarray, bins: int, bin_ms: int
) -> np.ndarray:
    """Expected spikes per bin, summed over the rates per ms that the spikes were drawn from.

    Args:
        path: a rates file.
        part: train or truth, the NWB file whose trials are meant.
        trial_indices: (trials,) rows of its table of trials.
        start_ms: (trials,) first ms of each trial's window, counted from the trial's start.
        bins: bins per window.
        bin_ms: bin width.

    Returns:
        (trials, bins, neurons), neurons in ascending unit id.

    Raises:
        NlbflowError: the file is not a rates file, or a window reaches beyond its trial.
    """
    with open_h5(path) as file:
        latents = _latents_per_ms(file, path, part, trial_indices, start_ms, bins * bin_ms)
        weights, bias = file["weights"][()], file["bias"][()]
    rates = np.empty((len(latents), bins, len(bias)))
    for row, trial in enumerate(latents):
        rates[row] = rates_hz(trial, weights, bias).reshape(bins, bin_ms, -1).sum(axis=1) / 1000
    return rates


def true_states(
    path: str | Path, part: str, trial_indices: np.ndarray, start_ms: np.ndarray, bins: int, bin_ms: int
) -> np.ndarray:
    """The latents that the true rates were made from, averaged over the ms of each bin: (trials, bins, latents).

    Arguments and errors as in `true_rates`.
    """
    with open_h5(path) as file:
        latents = _latents_per_ms(file, path, part, trial_indices, start_ms, bins * bin_ms)
    return latents.reshape(len(latents), bins, bin_ms, -1).mean(axis=2, dtype=float)


def true_structure(
    path: str | Path, parts: Mapping[str, tuple[str, np.ndarray, np.ndarray, int, int]], heldin: np.ndarray
) -> dict[str, np.ndarray]:
    """What else is true of a session, under the names by which a prediction shows it.

    Args:
        path: a rates file.
        parts: by train and eval the other arguments of `true_rates`.
        heldin: (neurons,) bool in ascending unit id: neurons come held-in first, as in a prediction.

    Returns:
        of `neuron_labels` (neurons,), `couplings` (neurons, neurons) and `{train,eval}_states` (trials, bins) those
        that the session has; a bin's state is that of its middle.
    """
    order = np.concatenate([np.flatnonzero(heldin), np.flatnonzero(~heldin)])
    names = {"labels": "neuron_labels", "couplings": "couplings"}
    with open_h5(path) as file:
        found = {name: file[key][()][np.ix_(*[order] * file[key].ndim)] for key, name in names.items() if key in file}
        for name, (part, trials, start_ms, bins, bin_ms) in parts.items():
            if f"{part}/states" in file:
                middle = np.asarray(start_ms)[:, None] + np.arange(bins) * bin_ms + bin_ms // 2
                found[f"{name}_states"] = file[f"{part}/states"][()][np.asarray(trials)[:, None], middle]
    return found


def _latents_per_ms(
    file: h5py.File, path: str | Path, part: str, trial_indices: np.ndarray, start_ms: np.ndarray, length_ms: int
) -> np.ndarray:
    """(trials, ms, latents) float32, of each trial's window."""
    if f"{part}/latents" not in file:
        raise NlbflowError(
            f"{path} has no /{part}/latents; expected the true rates of a simulated session: make it again."
        )
    latents, length = file[f"{part}/latents"][()], file[f"{part}/length_ms"][()]
    windows = np.empty((len(trial_indices), length_ms, latents.shape[2]), latents.dtype)
    for row, (trial, start) in enumerate(zip(trial_indices, np.broadcast_to(start_ms, len(windows)), strict=True)):
        stop = start + length_ms
        if start < 0 or stop > length[trial]:
            raise NlbflowError(
                f"{path}: the window from {start} to {stop} ms of trial {trial} reaches beyond the trial, which has "
                f"{length[trial]} ms; narrow window_ms or forward_ms in the dataset's stanza."
            )
        windows[row] = latents[trial, start:stop]
    return windows
