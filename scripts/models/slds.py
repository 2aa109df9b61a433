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
Cost: 25 s of CPU on the simulated session (5 ms); grows with the third power of latents. `slds_published` takes four
  times as long.
Limits: no recurrence: when a state ends does not depend on where the latents are. The posterior takes states and
  latents for independent. One state may really be best, as in folds of the excerpt of MC_Maze_Large; the fact
  `occupancy`, each state's share of the bins, then says so.
Reference code: ssm, in the fork that the benchmark's baseline calls (https://github.com/felixp8/ssm): not checked;
  nothing of it is used.
"""

from nlbflow.methods.slds.fit import fit
from nlbflow.methods.slds.prediction import Windows, check_params, occupancy

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
# Its states are drawn.
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
    check_params("slds", params, ("states", "latents"))
    windows = Windows(data, params["step_ms"])
    options = {name: params[name] for name in ("states", "latents", "l2_A", "l2_b", "iterations", "start_iterations")}
    model, posterior, _ = fit(windows.counts, windows.step_ms, **options, seed=seed)
    facts = {"parameters": model.parameters, "occupancy": occupancy(posterior.states)}
    return {**windows.predict(model, params["inference_iterations"]), "facts": facts}
