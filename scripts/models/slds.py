"""A switching linear dynamical system with Poisson counts and softplus rates.

Linderman et al. 2017, AISTATS ("Bayesian learning and inference in recurrent switching linear dynamical systems", here
without recurrence), as the baseline of Pei et al. 2021, arXiv:2109.04463 ("SLDS"): trained on all neurons over observed
and forward bins; at evaluation only the observed bins of held-in neurons are seen, and held-out neurons and forward
bins follow from the posterior of the latents. `nlbflow.methods.slds.fit` says how it is fitted. Differences from the
baseline: it works on steps of `step_ms`, with logarithms of rates linear between their middles; rates are expectations
over the posterior instead of rates at its mean; forecasts carry on the latents' moments given each state; and rates of
training trials are inferred from held-in neurons alone, so that a decoder meets the same kind of rates in training and
evaluation. `slds_published` has the baseline's settings, whose penalty on A leaves one state in use (docs/models.md).

Assumes: latents follow linear dynamics, which switch between a few states as a Markov chain does; counts are Poisson.
Latents: the posterior mean, up to an invertible linear map: an axis means nothing by itself.
Tells: the state of each bin (`eval_states`), and each state's dynamics (in what `nlbflow.methods.slds.fit` returns).
Cost: 17 s of CPU on the simulated session (5 ms); grows with the third power of latents. `slds_published` takes four
  times as long.
Limits: no recurrence: when a state ends does not depend on where the latents are. The posterior takes states and
  latents for independent. One state may really be best, as in folds of the excerpt of MC_Maze_Large; the fact
  `occupancy`, each state's share of the bins, then says so.
Reference code: ssm, in the fork that the benchmark's baseline calls: not checked; nothing of it is used.
"""

import logging

import numpy as np
from nlbflow.errors import NlbflowError
from nlbflow.methods.slds.fit import Posterior, fit, infer
from nlbflow.methods.slds.forecast import forecast
from nlbflow.methods.steps import Steps, bins_per_step

DEFAULTS = {
    # Number of discrete states; the benchmark's search was 3 to 6 (4 to 9 for MC_RTT, 5 to 9 for DMFC_RSG).
    "states": 5,
    # Number of continuous latents.
    "latents": 15,
    # Length of a time step of the dynamics in ms, at least a bin: shorter ones take longer and tell states less apart.
    "step_ms": 20,
    # Penalty on the distance of the dynamics' matrices from the identity. The benchmark's search was 10**3.25 to
    # 10**4.25, which leaves states unused here.
    "l2_A": 100.0,
    # Penalty on the dynamics' offsets; the search was 1e-8 to 1e-4.
    "l2_b": 1.22e-8,
    # Iterations of expectation-maximisation.
    "iterations": 30,
    # Iterations of the autoregressive hidden Markov model that the dynamics start from.
    "start_iterations": 50,
    # Updates of the posterior of evaluation trials, at most.
    "inference_iterations": 50,
}
# Its states or couplings are drawn.
STRUCTURE = True
CHECK = {"states": 2, "latents": 3, "iterations": 5, "start_iterations": 5}
# A share of the bins above which one state is as good as a model with one.
ALONE = 0.99

log = logging.getLogger("nlbflow")


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
    heldin = data.train_spikes_heldin.shape[2]
    length = bins_per_step(params["step_ms"], data.bin_ms)
    windows = [_all_neurons(data, "")]
    if data.train_spikes_heldin_forward is not None:
        windows.append(_all_neurons(data, "_forward"))
    steps = [Steps(window.shape[1], length) for window in windows]
    counts = np.concatenate([s.sums(window) for s, window in zip(steps, windows, strict=True)], axis=1)
    options = {name: params[name] for name in ("states", "latents", "l2_A", "l2_b", "iterations", "start_iterations")}
    model, fitted, _ = fit(counts, length * data.bin_ms, **options, seed=seed)
    prediction = {"facts": {"parameters": model.parameters, **_occupancy(fitted)}}
    for part in ("train", "eval"):
        seen = steps[0].sums(getattr(data, f"{part}_spikes_heldin"))
        unseen = np.full((*seen.shape[:2], counts.shape[2] - heldin), np.nan)
        posterior = infer(model, np.concatenate([seen, unseen], axis=2), params["inference_iterations"])[0]
        found = [model.emission.rates(posterior.latents)]
        if part == "eval":
            found += [forecast(model, posterior, s.count) for s in steps[1:]]
        for suffix, s, rates in zip(("", "_forward"), steps, found, strict=False):
            rates = s.rates(np.log(np.maximum(rates, np.finfo(float).tiny))).astype(np.float32)
            prediction[f"{part}_rates_heldin{suffix}"] = rates[:, :, :heldin]
            prediction[f"{part}_rates_heldout{suffix}"] = rates[:, :, heldin:]
        prediction[f"{part}_latents"] = steps[0].values(posterior.latents.mean).astype(np.float32)
        prediction[f"{part}_states"] = steps[0].held(posterior.states.argmax(axis=2))
    return prediction


def _check(params: dict) -> None:
    for name in ("states", "latents", "iterations", "start_iterations", "inference_iterations"):
        if not isinstance(params[name], int):
            raise NlbflowError(f"slds needs a whole number as {name}; found {params[name]}.")
    if params["inference_iterations"] < 1 or not params["step_ms"] > 0:
        raise NlbflowError(
            f"slds needs inference_iterations >= 1 and step_ms > 0; found {params['inference_iterations']} and "
            f"{params['step_ms']}."
        )


def _all_neurons(data, suffix: str) -> np.ndarray:
    """(trials, bins, held-in and held-out neurons) of a window of the training trials; a missing one is NaN."""
    groups = [getattr(data, f"train_spikes_{group}{suffix}") for group in ("heldin", "heldout")]
    return np.concatenate(groups, axis=2).astype(float)


def _occupancy(posterior: Posterior) -> dict[str, str]:
    """A fact: each state's share of the training trials' bins, the largest first."""
    shares = np.sort(posterior.states.mean(axis=(0, 1)))[::-1]
    if len(shares) > 1 and shares[0] > ALONE:
        log.warning(
            f"slds: one of {len(shares)} states holds {100 * shares[0]:.1f} % of the bins, so these dynamics do not "
            "switch; a smaller l2_A tells states apart, states: 1 is the same model for less."
        )
    return {"occupancy": ", ".join(f"{share:.3f}" for share in shares)}
