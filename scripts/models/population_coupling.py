"""Each neuron's rate follows the summed activity of the others: one number of the population at each moment.

Population coupling (Okun et al. 2015, Nature 521:511-515, https://doi.org/10.1038/nature14273) as a model of rates: the
log rate of a neuron is linear in the logarithm of the smoothed sum of the held-in counts, its own left out. What a
better model adds to this is what it knows of a population beyond how active it is as a whole.

Assumes: one gain that all neurons share, in proportions of their own.
Latents: one, that log sum, standardised.
Tells: how much of a score is global activity alone.
Cost: seconds, no PyTorch.
Limits: no forecast; neurons of different tuning cancel in the sum, so it may be worse than the mean rate.
Reference code: none; written from the paper.
"""

import numpy as np
from nlbflow.errors import NlbflowError
from nlbflow.methods.glm import fit_poisson
from nlbflow.methods.smoothing import gaussian_kernel, smoothing_matrix

DEFAULTS = {
    # Standard deviation of the kernel that smooths the sum, in ms.
    "kernel_sd_ms": 30,
    # Penalty of the regressions on the standardised sum.
    "alpha": 0.0001,
}
SEEDED = False
CONTROL = True

# Added to the smoothed sum before the logarithm, in spikes per bin and neuron.
LOG_OFFSET = 1e-3
FLOOR = 1e-5


def predict(data, params: dict, seed: int) -> dict:
    """Rates in spikes per bin, (trials, time, neurons), and the latent (trials, time, 1); no forward window.

    Args:
        data: train_spikes_heldin, train_spikes_heldout, eval_spikes_heldin and bin_ms are used.
        params: see DEFAULTS.
        seed: unused, the model is deterministic.

    Raises:
        NlbflowError: the kernel's standard deviation is not positive, or alpha is negative.
    """
    sd = params["kernel_sd_ms"] / data.bin_ms
    if not 0 < sd < np.inf or not 0 <= params["alpha"] < np.inf:
        raise NlbflowError(
            f"population_coupling needs kernel_sd_ms > 0 and alpha >= 0, both finite; found {params['kernel_sd_ms']} "
            f"and {params['alpha']}."
        )
    train, evaluated = data.train_spikes_heldin, data.eval_spikes_heldin
    matrix = smoothing_matrix(gaussian_kernel(2 * int(np.ceil(3 * sd)) + 1, sd), train.shape[1])
    smoothed = {"train": matrix @ train.astype(float), "eval": matrix @ evaluated.astype(float)}
    neurons = train.shape[2]
    total = {part: counts.sum(axis=2) for part, counts in smoothed.items()}
    latent = {part: np.log(sums / neurons + LOG_OFFSET) for part, sums in total.items()}
    prediction = _fit(latent, data.train_spikes_heldout, params["alpha"], "heldout")
    others = max(neurons - 1, 1)
    own = []
    for neuron in range(neurons):
        rest = {
            part: np.log((sums - smoothed[part][..., neuron]) / others + LOG_OFFSET) for part, sums in total.items()
        }
        own.append(_fit(rest, train[..., neuron : neuron + 1], params["alpha"], "heldin"))
    for part in ("train", "eval"):
        name = f"{part}_rates_heldin"
        prediction[name] = np.concatenate([one[name] for one in own], axis=2)
        centred = latent[part] - latent["train"].mean()
        prediction[f"{part}_latents"] = (centred / (latent["train"].std() or 1.0))[..., None].astype(np.float32)
    return {**prediction, "facts": {"parameters": 2 * (neurons + data.train_spikes_heldout.shape[2])}}


def _fit(latent: dict[str, np.ndarray], counts: np.ndarray, alpha: float, group: str) -> dict[str, np.ndarray]:
    """Rates of neurons (trials, time, neurons) that are regressed on one latent (trials, time)."""
    centre, scale = latent["train"].mean(), latent["train"].std() or 1.0
    x = {part: ((array - centre) / scale)[..., None] for part, array in latent.items()}
    coef, constant = fit_poisson(x["train"].reshape(-1, 1), counts.reshape(-1, counts.shape[2]), alpha)
    seen = x["train"].min(), x["train"].max()
    return {
        # inside the range of training, beyond which nothing was learnt
        f"{part}_rates_{group}": np.maximum(np.exp(np.clip(z, *seen) @ coef + constant), FLOOR).astype(np.float32)
        for part, z in x.items()
    }
