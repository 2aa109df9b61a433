"""Counts are linear in the counts of the steps before: the vector autoregression of textbooks, by ridge regression.

Every neuron's expected count is a weighted sum of the held-in counts of the last steps (Hastie, Tibshirani & Friedman
2009, Elements of Statistical Learning, section 3.4.1, https://hastie.su.domains/ElemStatLearn); that of a held-out
neuron also of those at the same moment. In the forward window the held-in neurons' own forecasts take the place of
their counts, step by step.

Assumes: linear, stationary dynamics of the counts themselves, without a hidden state.
Latents: none, the counts are its only state.
Tells: whether a forecast is more than a linear filter of the past; its weights are couplings from neuron to neuron.
Cost: seconds, no PyTorch.
Limits: it looks back only; with as many weights as neurons x neurons x lags the penalty decides, and the noise of
  single counts is fed back; a linear rate can be negative and is cut at a floor.
Reference code: none; written from the equations.
"""

import numpy as np
from nlbflow.errors import NlbflowError
from nlbflow.methods.lagged import lagged, ridge
from nlbflow.methods.steps import Steps, bins_per_step

DEFAULTS = {
    # Length of a step in ms.
    "step_ms": 20,
    # How far back counts are looked at, in ms; with more lags there are more weights than the trials can tell. By
    # co-bps in five folds of the training trials of simulated_maze, as the penalty.
    "history_ms": 100,
    # Penalty in units of a standardised feature's variance.
    "ridge": 10.0,
    # Lowest rate, as a share of the neuron's mean: a linear rate falls below 0 where a neuron is quiet.
    "floor": 0.2,
}
# Its states or couplings are drawn.
STRUCTURE = True
SEEDED = False
CONTROL = True

# Lowest rate in spikes per bin: a neuron that is silent in training may fire in evaluation.
FLOOR = 1e-5


def predict(data, params: dict, seed: int) -> dict:
    """Rates in spikes per bin, (trials, time, neurons), of both windows, and who acts on whom (`_couplings`).

    Args:
        data: all training spikes but the held-in forward ones, eval_spikes_heldin and bin_ms are used.
        params: see DEFAULTS.
        seed: unused, the model is deterministic.

    Raises:
        NlbflowError: a parameter is out of range.
    """
    if not (params["step_ms"] > 0 and params["history_ms"] >= params["step_ms"] and params["ridge"] > 0):
        raise NlbflowError(
            "ridge_autoregression needs step_ms > 0, history_ms of at least a step and ridge > 0; found "
            f"{params['step_ms']}, {params['history_ms']} and {params['ridge']}."
        )
    if not 0 < params["floor"] <= 1:
        raise NlbflowError(f"ridge_autoregression needs a floor above 0 and at most 1; found {params['floor']}.")
    step_bins = bins_per_step(params["step_ms"], data.bin_ms)
    steps = Steps(data.train_spikes_heldin.shape[1], step_bins)
    lags = max(1, round(params["history_ms"] / params["step_ms"]))
    seen = {part: steps.sums(getattr(data, f"{part}_spikes_heldin")) for part in ("train", "eval")}
    first = {"heldin": 1, "heldout": 0}
    fits, lowest, prediction = {}, {}, {}
    for group, lag in first.items():
        counts = steps.sums(getattr(data, f"train_spikes_{group}"))
        # steps whose past lies before the window would teach that a past without spikes is usual
        whole = slice(min(lags, steps.count - 1), None)
        features = lagged(seen["train"], range(lag, lags + 1))[:, whole]
        fits[group] = ridge(_rows(features), _rows(counts[:, whole]), params["ridge"])
        lowest[group] = np.maximum(params["floor"] * counts.mean(axis=(0, 1)), FLOOR * step_bins)
    for part, past in seen.items():
        mean = np.broadcast_to(seen["train"].mean(axis=(0, 1)), (len(past), lags, past.shape[2]))
        # before the window every neuron has its mean rate
        padded = np.concatenate([mean, past], axis=1)
        for group, lag in first.items():
            found = _apply(lagged(padded, range(lag, lags + 1))[:, lags:], fits[group], lowest[group])
            prediction[f"{part}_rates_{group}"] = steps.rates(np.log(found)).astype(np.float32)
    if data.train_spikes_heldin_forward is not None:
        later = Steps(data.train_spikes_heldin_forward.shape[1], step_bins)
        for group, found in _forecast(padded[:, -lags:], later.count, fits, lowest).items():
            prediction[f"eval_rates_{group}_forward"] = later.rates(np.log(found)).astype(np.float32)
    prediction["neuron_similarity"] = _couplings(data, steps, fits, lags)
    weights = sum(coef.size + constant.size for coef, constant in fits.values())
    return {**prediction, "facts": {"parameters": weights}}


def _couplings(data, steps: Steps, fits: dict, lags: int) -> np.ndarray:
    """(neurons, neurons) what a spike of the column's neuron adds to the row's later, summed over lags, both in units
    of their counts' standard deviation; 0 from held-out neurons, of which nothing is predicted."""
    groups = ("heldin", "heldout")
    sd = [steps.sums(getattr(data, f"train_spikes_{group}")).std(axis=(0, 1)) for group in groups]
    heldin, rows = len(sd[0]), []
    for group, own in zip(groups, sd, strict=True):
        summed = fits[group][0].reshape(-1, heldin, len(own))[-lags:].sum(axis=0).T
        rows.append(summed * sd[0] / np.where(own > 0, own, np.inf)[:, None])
    found = np.concatenate(rows)
    return np.pad(found, ((0, 0), (0, len(found) - heldin))).astype(np.float32)


def _forecast(past: np.ndarray, steps: int, fits: dict, lowest: dict) -> dict[str, np.ndarray]:
    """Expected counts (trials, steps, neurons) of both groups after the last counts (trials, lags, held-in neurons)."""
    lags, found = past.shape[1], {"heldin": [], "heldout": []}
    for _ in range(steps):
        before = lagged(past, range(0, lags))[:, -1:]
        expected = _apply(before, fits["heldin"], lowest["heldin"])
        past = np.concatenate([past, expected], axis=1)
        now = lagged(past, range(0, lags + 1))[:, -1:]
        found["heldin"].append(expected)
        found["heldout"].append(_apply(now, fits["heldout"], lowest["heldout"]))
        past = past[:, 1:]
    return {group: np.concatenate(each, axis=1) for group, each in found.items()}


def _apply(features: np.ndarray, fit: tuple[np.ndarray, np.ndarray], lowest: np.ndarray) -> np.ndarray:
    return np.maximum(features @ fit[0] + fit[1], lowest)


def _rows(array: np.ndarray) -> np.ndarray:
    """(trials, steps, n) as rows."""
    return array.reshape(-1, array.shape[2])
