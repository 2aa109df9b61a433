"""Held-in spikes smoothed with a Gaussian, held-out rates by Poisson regression on the logarithm of that.

Pei et al. 2021, arXiv:2109.04463 ("Smoothing") with the details of nlb_tools' baseline: the kernel's length
and standard deviation are cut to whole bins, and the regression runs on the rates of the same bin. The regression is
solved to its optimum (`nlbflow.methods.glm`), where the baseline's solver stops earlier.

Assumes: rates change slowly, so that one kernel suits all neurons; the log rate of a held-out neuron is linear in those
  of the held-in neurons in the same bin.
Latents: none, the regression has the rates of all held-in neurons.
Tells: what a log-linear reading of smoothed spikes is worth, without dynamics and without a limit to its dimensions.
Cost: 1 s at MC_Maze_Small's size, 5 s at MC_Maze_Large's; no PyTorch.
Limits: no forecast. The rate of a held-in neuron follows from its own spikes alone. What is faster than the kernel is
  lost.
Reference code: nlb_tools (https://github.com/neurallatents/nlb_tools, MIT), whose settings and constants these are; no
  code of it is used.
"""

import numpy as np
from nlbflow.errors import NlbflowError
from nlbflow.methods.glm import fit_poisson
from nlbflow.methods.smoothing import gaussian_kernel, smoothing_matrix

DEFAULTS = {
    # Standard deviation of the kernel in ms; the benchmark's sweep was 30, 40, 50, 60.
    "kernel_sd_ms": 50,
    # Penalty of the regression; the benchmark's sweep was 0.001, 0.01, 0.1, 1.
    "alpha": 0.1,
}
SEEDED = False

# Added to the smoothed counts before the logarithm, and the range of predicted rates: nlb_tools' constants.
LOG_OFFSET = 1e-4
RATE_RANGE = 1e-9, 1e20


def predict(data, params: dict, seed: int) -> dict:
    """Rates in spikes per bin, (trials, time, neurons), without a forward window.

    Args:
        data: train_spikes_heldin, train_spikes_heldout, eval_spikes_heldin and bin_ms are used.
        params: `kernel_sd_ms` and `alpha`.
        seed: unused, the model is deterministic.

    Raises:
        NlbflowError: the kernel's standard deviation is not positive, or alpha is negative.
    """
    sd_ms, bin_ms = params["kernel_sd_ms"], data.bin_ms
    if sd_ms <= 0 or params["alpha"] < 0:
        raise NlbflowError(f"smoothing needs kernel_sd_ms > 0 and alpha >= 0; found {sd_ms} and {params['alpha']}.")
    kernel = gaussian_kernel(int(6 * sd_ms / bin_ms), int(sd_ms / bin_ms))
    matrix = smoothing_matrix(kernel, data.eval_spikes_heldin.shape[1])
    train, evaluated = matrix @ data.train_spikes_heldin, matrix @ data.eval_spikes_heldin
    counts = data.train_spikes_heldout.reshape(-1, data.train_spikes_heldout.shape[2])
    coef, intercept = fit_poisson(_log(train).reshape(len(counts), -1), counts, params["alpha"])
    prediction = {"facts": {"parameters": coef.size + intercept.size}}
    for part, smoothed in (("train", train), ("eval", evaluated)):
        # Bounding the logarithm as well keeps the exponential finite.
        log_rates = np.minimum(_log(smoothed) @ coef + intercept, np.log(RATE_RANGE[1]))
        prediction[f"{part}_rates_heldin"] = smoothed.astype(np.float32)
        prediction[f"{part}_rates_heldout"] = np.clip(np.exp(log_rates), *RATE_RANGE).astype(np.float32)
    return prediction


def _log(smoothed: np.ndarray) -> np.ndarray:
    return np.log(smoothed + LOG_OFFSET)
