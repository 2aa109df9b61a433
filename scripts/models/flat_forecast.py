"""Every neuron continues at its latest rate: the forecast to beat before one claims to have found dynamics.

In the forward window a held-in neuron keeps the rate that it had in the last `history_ms` of that trial. A held-out
neuron, which is not observed, keeps its mean rate at that time in training ("persistence" in forecasting: Hyndman &
Athanasopoulos 2021, Forecasting, section 5.2). A Gamma prior weighs a trial's few spikes against the training mean, so
that silence in one trial does not mean a rate of 0. In the observed window every neuron has its training mean.

Assumes: after the observed window a neuron goes on at the rate of the window's end; within it rates are constant.
Latents: none, it has the latest counts alone.
Tells: how much of a forecast is the latest rate going on.
Cost: 1 s at MC_Maze_Large's size, no PyTorch.
Limits: held-out neurons get their training mean of that time, so they are the same in every trial. Where rates return
  to their mean it may be worse than the mean rate, as on the simulated session.
Reference code: none; written from the definition.
"""

import numpy as np

from nlbflow.errors import NlbflowError

DEFAULTS = {
    # The end of the observed window that counts as now, in ms.
    "history_ms": 200,
    # How long a neuron would have to be watched for its own count to weigh as much as the training mean, in ms.
    "prior_ms": 200,
    # Lowest rate in spikes per bin: a neuron that is silent in training may fire in evaluation.
    "floor": 1e-5,
}
SEEDED = False
CONTROL = True


def predict(data, params: dict, seed: int) -> dict:
    """Rates in spikes per bin, (trials, time, neurons).

    Args:
        data: the spikes of both groups and bin_ms are used; without forward spikes nothing is forecast.
        params: `history_ms`, `prior_ms` and `floor`.
        seed: unused, the model is deterministic.

    Raises:
        NlbflowError: a parameter is not positive and finite, or the history is shorter than a bin.
    """
    if not all(0 < value < np.inf for value in params.values()) or params["history_ms"] < data.bin_ms:
        raise NlbflowError(
            f"flat_forecast needs prior_ms and floor > 0, and history_ms of at least one bin of {data.bin_ms} ms, all "
            f"finite; found {params}."
        )
    recent = min(int(params["history_ms"] / data.bin_ms), data.eval_spikes_heldin.shape[1])
    prior = params["prior_ms"] / data.bin_ms
    trials, prediction, parameters = len(data.eval_spikes_heldin), {}, 0
    for group in ("heldin", "heldout"):
        train = getattr(data, f"train_spikes_{group}")
        mean = np.maximum(train.mean(axis=(0, 1), dtype=np.float64), params["floor"])
        prediction[f"train_rates_{group}"] = np.broadcast_to(mean, train.shape)
        prediction[f"eval_rates_{group}"] = np.broadcast_to(mean, (trials, *train.shape[1:]))
        latest = np.maximum(train[:, -recent:].mean(axis=(0, 1), dtype=np.float64), params["floor"])
        parameters += mean.size + latest.size
        forward = getattr(data, f"train_spikes_{group}_forward")
        if forward is not None:
            now = np.broadcast_to(latest, (trials, len(latest)))
            if group == "heldin":
                now = (data.eval_spikes_heldin[:, -recent:].sum(axis=1) + prior * latest) / (recent + prior)
            prediction[f"eval_rates_{group}_forward"] = np.repeat(now[:, None], forward.shape[1], axis=1)
    return {**prediction, "facts": {"parameters": parameters}}
