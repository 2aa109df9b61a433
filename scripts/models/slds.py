"""A switching linear dynamical system with Poisson counts and softplus rates.

Linderman et al. 2017, AISTATS ("Bayesian learning and inference in recurrent switching linear dynamical systems", here
without recurrence), as the baseline of Pei et al. 2021, arXiv:2109.04463 ("SLDS"): trained on all neurons over observed
and forward bins; at evaluation only the observed bins of held-in neurons are seen, and held-out neurons and forward
bins follow from the posterior of the latents. `nlbflow.methods.slds.fit` says how it is fitted. Differences from the
baseline: rates are expectations over the posterior instead of rates at its mean, and those of training trials are
inferred from held-in neurons alone, so that a decoder meets the same kind of rates in training and evaluation.
"""

import numpy as np
from nlbflow.errors import NlbflowError
from nlbflow.methods.slds.fit import fit, infer

# The baseline's for MC_Maze_Small, the size of the default dataset.
DEFAULTS = {
    # Number of discrete states; the benchmark's search was 3 to 6 (4 to 9 for MC_RTT, 5 to 9 for DMFC_RSG).
    "states": 5,
    # Number of continuous latents.
    "latents": 15,
    # Penalty on the distance of the dynamics' matrices from the identity; the search was 10**3.25 to 10**4.25.
    "l2_A": 5837.9,
    # Penalty on the dynamics' offsets; the search was 1e-8 to 1e-4.
    "l2_b": 1.22e-8,
    # Iterations of expectation-maximisation.
    "iterations": 50,
    # Iterations of the autoregressive hidden Markov model that the dynamics start from.
    "start_iterations": 50,
    # Updates of the posterior of evaluation trials, at most.
    "inference_iterations": 50,
}
# Its states or couplings are drawn.
STRUCTURE = True
CHECK = {"states": 2, "latents": 3, "iterations": 5, "start_iterations": 5}


def predict(data, params: dict, seed: int) -> dict:
    """Rates in spikes per bin, (trials, time, neurons), of both windows; of the observed one also the mean latents and
    the likeliest state of each bin.

    Args:
        data: all training spikes, eval_spikes_heldin and bin_ms are used.
        params: as in DEFAULTS.
        seed: of the clusters that the dynamics start from.

    Raises:
        NlbflowError: a parameter is out of range, or there are fewer firing neurons than latents.
    """
    _check(params)
    counts = _training_counts(data)
    options = {name: params[name] for name in ("states", "latents", "l2_A", "l2_b", "iterations", "start_iterations")}
    model, _, _ = fit(counts, data.bin_ms, **options, seed=seed)
    _, observed, heldin = data.train_spikes_heldin.shape
    prediction = {"facts": {"parameters": model.parameters}}
    for part in ("train", "eval"):
        seen = getattr(data, f"{part}_spikes_heldin")
        masked = np.full((len(seen), *counts.shape[1:]), np.nan)
        masked[:, :observed, :heldin] = seen
        posterior = infer(model, masked, params["inference_iterations"])[0]
        latents = posterior.latents
        rates = model.emission.rates(latents).astype(np.float32)
        for group, neurons in (("heldin", slice(0, heldin)), ("heldout", slice(heldin, None))):
            prediction[f"{part}_rates_{group}"] = rates[:, :observed, neurons]
            if part == "eval" and counts.shape[1] > observed:
                prediction[f"eval_rates_{group}_forward"] = rates[:, observed:, neurons]
        prediction[f"{part}_latents"] = latents.mean[:, :observed].astype(np.float32)
        prediction[f"{part}_states"] = posterior.states[:, :observed].argmax(axis=2)
    return prediction


def _check(params: dict) -> None:
    for name in ("states", "latents", "iterations", "start_iterations", "inference_iterations"):
        if not isinstance(params[name], int):
            raise NlbflowError(f"slds needs a whole number as {name}; found {params[name]}.")
    if params["inference_iterations"] < 1:
        raise NlbflowError(f"slds needs inference_iterations >= 1; found {params['inference_iterations']}.")


def _training_counts(data) -> np.ndarray:
    """(trials, observed and forward bins, held-in and held-out neurons); a missing forward window is NaN."""
    windows = [
        np.concatenate([getattr(data, f"train_spikes_{group}{suffix}") for group in ("heldin", "heldout")], axis=2)
        for suffix in ("", "_forward")
        if getattr(data, f"train_spikes_heldin{suffix}") is not None
    ]
    return np.concatenate(windows, axis=1).astype(float)
