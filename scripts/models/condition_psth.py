"""Oracle: an evaluation trial gets the smoothed average of the training trials of its condition.

The condition of an evaluation trial is part of the answers, so this is no competitor: it shows what a perfect guess of
the condition is worth. The averages are the PSTHs of Pei et al. 2021, arXiv:2109.04463, made from
binned spikes and from training trials alone.

Assumes: every trial of a condition goes like its average.
Latents: none, it has averages of counts alone.
Tells: what a perfect guess of the condition is worth; a model that beats it infers something about single trials.
Cost: 1 s at MC_Maze_Large's size, no PyTorch.
Limits: it has seen the answers. A dataset without conditions, such as MC_RTT, has no averages; those of few trials are
  noisy, which is why a share of the mean rate is mixed in.
Reference code: none; written from the paper.
"""

import numpy as np
from nlbflow.errors import NlbflowError
from nlbflow.methods.smoothing import gaussian_kernel, smoothing_matrix

DEFAULTS = {
    # Standard deviation of the kernel in ms; None takes that of the dataset's PSTHs.
    "kernel_sd_ms": None,
    # Share of the condition's average; the rest is the neuron's mean rate, as averages of few trials are noisy.
    "share": 0.85,
    # Lowest rate in spikes per bin: a neuron that is silent in training may fire in evaluation.
    "floor": 1e-5,
}
SEEDED = False
ORACLE = True
NEEDS = ["conditions"]


def predict(data, params: dict, seed: int) -> dict:
    """Rates in spikes per bin, (trials, time, neurons), also of the forward window where the dataset has one.

    A trial without a condition, or of one without training trials, gets the neurons' mean rates.

    Raises:
        NlbflowError: the dataset has no conditions or no kernel.
    """
    sd_ms = params["kernel_sd_ms"] or data.psth_kernel_ms
    if "eval_cond_idx" not in data.answers or not sd_ms:
        raise NlbflowError(
            "condition_psth expects conditions and psth_kernel_ms in the dataset's definition, but found "
            f"{'no kernel' if 'eval_cond_idx' in data.answers else 'no conditions'}; add them or take condition_psth "
            "out of the models that run on this dataset."
        )
    sd = sd_ms / data.bin_ms
    kernel = gaussian_kernel(2 * int(np.ceil(3 * sd)) + 1, sd)
    train_trials, eval_trials = data.answers["train_cond_idx"], data.answers["eval_cond_idx"]
    trials, fitted = len(data.eval_spikes_heldin), 0
    # Windows of jittered trials begin later; conditions are averaged on the clock of the event itself.
    shift = {
        part: data.answers.get(f"{part}_jitter", np.zeros(count, int))
        for part, count in (("train", len(data.train_spikes_heldin)), ("eval", trials))
    }
    most = max(shift[part].max(initial=0) for part in shift)
    prediction = {}
    for group in ("heldin", "heldout"):
        windows = [getattr(data, f"train_spikes_{group}"), getattr(data, f"train_spikes_{group}_forward")]
        windows = [window for window in windows if window is not None]
        spikes = np.concatenate(windows, axis=1)
        bins = windows[0].shape[1]
        means = np.concatenate([np.broadcast_to(np.nanmean(w, axis=(0, 1)), w.shape[1:]) for w in windows])
        clock = np.arange(len(means))
        late = np.concatenate([means, np.broadcast_to(means[-1], (most, means.shape[1]))])
        on_event = np.full((len(spikes), *late.shape), np.nan)
        on_event[np.arange(len(spikes))[:, None], shift["train"][:, None] + clock] = spikes
        matrix = smoothing_matrix(kernel, len(late))
        train_rates = np.tile(means, (len(spikes), 1, 1))
        eval_rates = np.tile(means, (trials, 1, 1))
        fitted += len(windows) * means.shape[1]
        for train, evaluated in zip(train_trials, eval_trials, strict=True):
            average = _smooth_average(on_event[train], matrix, late)
            mixed = params["share"] * average + (1 - params["share"]) * late
            train_rates[train] = mixed[shift["train"][train][:, None] + clock]
            eval_rates[evaluated] = mixed[shift["eval"][evaluated][:, None] + clock]
            fitted += average.size
        # fmax also replaces the mean of a forward window that no trial has.
        prediction[f"train_rates_{group}"] = np.fmax(train_rates[:, :bins], params["floor"])
        prediction[f"eval_rates_{group}"] = np.fmax(eval_rates[:, :bins], params["floor"])
        if len(windows) == 2:
            prediction[f"eval_rates_{group}_forward"] = np.fmax(eval_rates[:, bins:], params["floor"])
    return {**prediction, "facts": {"parameters": fitted}}


def _smooth_average(spikes: np.ndarray, matrix: np.ndarray, means: np.ndarray) -> np.ndarray:
    """(bins, neurons) kernel-weighted mean of the known counts around each bin; `means` where there are none.

    Dividing by the weight of what is known keeps the average from falling off at the edges of the window.
    """
    known = ~np.isnan(spikes)
    total, weight = matrix @ np.where(known, spikes, 0.0).sum(axis=0), matrix @ known.sum(axis=0)
    return np.divide(total, weight, out=np.array(means, dtype=np.float64), where=weight > 0)
