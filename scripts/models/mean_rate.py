"""Every neuron fires at its mean training rate in every bin: the least that a model has to beat.

The means of the benchmark's null model (Pei et al. 2021, arXiv:2109.04463) are those of the evaluation
trials; this one sees training trials only, so it scores at or slightly below 0 bits per spike.

Assumes: a neuron's rate never changes, neither within a trial nor from trial to trial.
Latents: none, a mean is all there is.
Tells: how far mean counts differ between training and evaluation trials, which is all that it loses to the null model.
Cost: 1 s at MC_Maze_Large's size, no PyTorch.
Limits: nothing that changes over time or from trial to trial is in its rates, so no behaviour can be decoded from them.
Reference code: none; written from the paper.
"""

import numpy as np

DEFAULTS = {
    # Lowest rate in spikes per bin: a neuron that is silent in training may fire in evaluation.
    "floor": 1e-5,
}
SEEDED = False
CONTROL = True


def predict(data, params: dict, seed: int) -> dict:
    """Rates in spikes per bin, (trials, time, neurons); the forward window has means of its own."""
    trials = len(data.eval_spikes_heldin)
    prediction = {}
    for group in ("heldin", "heldout"):
        train = getattr(data, f"train_spikes_{group}")
        rates = _mean_rates(train, params["floor"])
        prediction[f"train_rates_{group}"] = np.broadcast_to(rates, train.shape)
        prediction[f"eval_rates_{group}"] = np.broadcast_to(rates, (trials, *train.shape[1:]))
        forward = getattr(data, f"train_spikes_{group}_forward")
        if forward is not None:
            rates = _mean_rates(forward, params["floor"])
            prediction[f"eval_rates_{group}_forward"] = np.broadcast_to(rates, (trials, *forward.shape[1:]))
    means = [rates for name, rates in prediction.items() if name.startswith("eval")]
    return {**prediction, "facts": {"parameters": sum(rates.shape[2] for rates in means)}}


def _mean_rates(spikes: np.ndarray, floor: float) -> np.ndarray:
    """(neurons,) mean over trials and bins; missing forward windows (NaN) do not count."""
    return np.fmax(np.nanmean(spikes, axis=(0, 1), dtype=np.float64), floor)
