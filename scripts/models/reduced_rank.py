"""Rates are log-linear in a few directions of the lagged held-in counts: no time constants, no recurrence.

Reduced-rank regression (Izenman 1975, J. Multivariate Analysis 5:248-264, https://doi.org/10.1016/0047-259X(75)90042-1)
of the held-out counts on the held-in counts of the steps around a moment gives the directions; a Poisson regression on
these gives the rates. Held-in neurons have directions of their own, in which the counts of the moment have no part; the
forward window is read from the last step.

Assumes: every neuron is a combination of the same few sums of lagged counts.
Latents: those sums for the held-out neurons, the most telling first, each of unit variance.
Tells: what linear methods can do with the same counts that networks see: one that does not beat it has found no
  dynamics.
Cost: seconds; features are (steps, lags x neurons) in memory, about 2.5 GB for MC_Maze.
Limits: a kernel for every neuron and direction has to be learnt, so it needs trials; it forecasts from the last step
  alone.
Reference code: none; written from the equations.
"""

import numpy as np
from nlbflow.errors import NlbflowError
from nlbflow.methods.lagged import lagged, reduced_rank
from nlbflow.methods.readout import read_out
from nlbflow.methods.steps import Steps, bins_per_step

DEFAULTS = {
    # Length of a step in ms.
    "step_ms": 20,
    # How far before and after a moment counts are looked at, in ms.
    "reach_ms": 160,
    # Number of directions: 8 by co-bps in five folds of the training trials of simulated_maze, as the two penalties.
    "rank": 8,
    # Penalty of the regression that finds them, in units of a standardised feature's variance.
    "ridge": 100.0,
    # Penalty of the Poisson regressions on them. They cannot choose it by themselves: the directions have seen the
    # counts of every training trial.
    "alpha": 0.01,
    # Length of a step of the forward window in ms. Longer than the others: a trial has one row there, and a mean for
    # each neuron and step from few spikes costs more than its course is worth.
    "forward_step_ms": 100,
    # Penalties of the regressions there to choose from, in folds of the training trials.
    "forward_alphas": [1.0, 10.0, 100.0],
}
SEEDED = False
CONTROL = True
CHECK = {"rank": 3}


def predict(data, params: dict, seed: int) -> dict:
    """Rates in spikes per bin, (trials, time, neurons), of both windows, and latents (trials, time, rank).

    Args:
        data: all training spikes, eval_spikes_heldin and bin_ms are used.
        params: see DEFAULTS.
        seed: unused, the model is deterministic.

    Raises:
        NlbflowError: a parameter is out of range.
    """
    _check(params)
    step_bins = bins_per_step(params["step_ms"], data.bin_ms)
    steps = Steps(data.train_spikes_heldin.shape[1], step_bins)
    reach = round(params["reach_ms"] / params["step_ms"])
    seen = {part: steps.sums(getattr(data, f"{part}_spikes_heldin")) for part in ("train", "eval")}
    # slow counts of many neurons are best told apart by their square roots
    windows = {part: lagged(np.sqrt(counts), range(-reach, reach + 1)) for part, counts in seen.items()}
    neurons = seen["train"].shape[2]
    now = slice(reach * neurons, (reach + 1) * neurons)
    around = {part: np.delete(array, now, axis=2) for part, array in windows.items()}
    features, without_now = (
        _project(array, steps.sums(targets), params["ridge"], params["rank"])
        for array, targets in ((windows, data.train_spikes_heldout), (around, data.train_spikes_heldin))
    )
    rates, facts = read_out(
        data, features, without_now, (params["step_ms"], params["forward_step_ms"]), [params["alpha"]],
        params["forward_alphas"],
    )  # fmt: skip
    facts["parameters"] += (windows["train"].shape[2] + around["train"].shape[2]) * params["rank"]
    latents = {f"{part}_latents": steps.values(array).astype(np.float32) for part, array in features.items()}
    return {**rates, **latents, "facts": facts}


def _project(windows: dict, counts: np.ndarray, penalty: float, rank: int) -> dict[str, np.ndarray]:
    """The features (trials, steps, rank) that counts (trials, steps, neurons) are best predicted from."""
    rows = windows["train"].reshape(-1, windows["train"].shape[2])
    directions = reduced_rank(rows, counts.reshape(len(rows), -1), penalty, rank)
    found = {part: (array - rows.mean(axis=0)) @ directions for part, array in windows.items()}
    scale = found["train"].std(axis=(0, 1))
    return {part: array / np.where(scale > 0, scale, 1.0) for part, array in found.items()}


def _check(params: dict) -> None:
    if not isinstance(params["rank"], int) or params["rank"] < 1 or min(params["alpha"], *params["forward_alphas"]) < 0:
        raise NlbflowError(
            f"reduced_rank needs a whole number >= 1 as rank, and penalties >= 0; found "
            f"{params['rank']}, {params['alpha']} and {params['forward_alphas']}."
        )
    if not (
        min(params["step_ms"], params["forward_step_ms"]) > 0
        and params["reach_ms"] >= params["step_ms"]
        and params["ridge"] > 0
    ):
        raise NlbflowError(
            "reduced_rank needs step_ms and forward_step_ms > 0, reach_ms of at least a step and ridge > 0; found "
            f"{params['step_ms']}, {params['forward_step_ms']}, {params['reach_ms']} and {params['ridge']}."
        )
