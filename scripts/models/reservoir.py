"""A random recurrent network that is never trained, and Poisson regressions that read rates from its states.

Echo state networks (Jaeger 2001, GMD report 148; Lukoševičius & Jaeger 2009, Computer Science Review 3:127-149,
https://doi.org/10.1016/j.cosrev.2009.03.005): square roots of held-in counts drive leaky units with time constants of
80 to 300 ms, once forwards and once backwards in time; the principal components of the states, whitened, are the
latents. Held-in neurons are read from the states before and after a step, which its own counts have not entered; the
forward window from the last step.

Assumes: nothing of the data: any fading memory of the counts will do.
Latents: principal components of random features; an axis means nothing by itself and is another for each seed.
Tells: how much of a trained network's score needs training at all.
Cost: seconds, no PyTorch.
Limits: the components hold what varies most in the reservoir, which is not what predicts best; it does best where its
  units are nearly linear, so it says nothing for nonlinear memory.
Reference code: none; written from the equations.
"""

import numpy as np
from nlbflow.errors import NlbflowError
from nlbflow.methods.readout import read_out
from nlbflow.methods.reservoir import both_ways, draw_reservoir, principal_axes
from nlbflow.methods.steps import Steps, bins_per_step

DEFAULTS = {
    # Length of a step in ms.
    "step_ms": 20,
    # Number of units, and of components of their states. What is below was chosen by co-bps in five folds of the
    # training trials of simulated_maze and of the MC_Maze_Large excerpt, which agreed: more components, shorter time
    # constants and stronger inputs, so that units are less linear, were all worse.
    "units": 300,
    "latents": 24,
    # Spectral radius of the recurrent weights: below 1 the network forgets how it began.
    "radius": 0.9,
    # Share of the recurrent weights that are not zero.
    "density": 0.1,
    # Standard deviation of what all inputs together bring to a unit.
    "input_scale": 0.1,
    # Shortest and longest time constant of a unit, in ms.
    "tau_ms": [80, 300],
    # Length of a step of the forward window in ms. Longer than the others: a trial has one row there, and a mean for
    # each neuron and step from few spikes costs more than its course is worth.
    "forward_step_ms": 100,
    # Penalties of the regressions to choose from, in folds of the training trials; and those of the forward window.
    "alphas": [0.003, 0.01, 0.03, 0.1],
    "forward_alphas": [1.0, 10.0, 100.0],
}
CHECK = {"units": 20, "latents": 5, "alphas": [0.01], "forward_alphas": [1.0]}


def predict(data, params: dict, seed: int) -> dict:
    """Rates in spikes per bin, (trials, time, neurons), of both windows, and latents (trials, time, latents).

    Args:
        data: all training spikes, eval_spikes_heldin and bin_ms are used.
        params: see DEFAULTS.
        seed: of the network's weights; nothing else is random.

    Raises:
        NlbflowError: a parameter is out of range.
    """
    _check(params)
    step_bins = bins_per_step(params["step_ms"], data.bin_ms)
    steps = Steps(data.train_spikes_heldin.shape[1], step_bins)
    roots = {part: np.sqrt(steps.sums(getattr(data, f"{part}_spikes_heldin"))) for part in ("train", "eval")}
    mean, sd = roots["train"].mean(axis=(0, 1)), roots["train"].std(axis=(0, 1))
    # one scale for all: a root's noise is much the same whatever the rate, so busy neurons, which tell more, drive more
    inputs = {part: (array - mean) / (np.sqrt((sd**2).mean()) or 1.0) for part, array in roots.items()}
    network = draw_reservoir(
        np.random.default_rng(seed), len(mean), params["units"], params["radius"], params["density"],
        params["input_scale"], tuple(params["tau_ms"]), step_bins * data.bin_ms,
    )  # fmt: skip
    found = {part: both_ways(network, array) for part, array in inputs.items()}
    rows = found["train"][0].reshape(-1, 2 * params["units"])
    centre, axes = principal_axes(rows, params["latents"])
    features, without_now = ({part: (pair[i] - centre) @ axes for part, pair in found.items()} for i in (0, 1))
    rates, facts = read_out(
        data, features, without_now, (params["step_ms"], params["forward_step_ms"]), params["alphas"],
        params["forward_alphas"],
    )  # fmt: skip
    latents = {f"{part}_latents": steps.values(array).astype(np.float32) for part, array in features.items()}
    return {**rates, **latents, "facts": facts}


def _check(params: dict) -> None:
    for name in ("units", "latents"):
        if not isinstance(params[name], int) or params[name] < 1:
            raise NlbflowError(f"reservoir needs a whole number >= 1 as {name}; found {params[name]}.")
    tau = params["tau_ms"]
    if len(tau) != 2 or not 0 < tau[0] <= tau[1] or not min(params["step_ms"], params["forward_step_ms"]) > 0:
        raise NlbflowError(
            "reservoir needs step_ms and forward_step_ms > 0, and tau_ms as [shortest, longest], both > 0; found "
            f"{params['step_ms']}, {params['forward_step_ms']} and {tau}."
        )
    if not (params["radius"] >= 0 and 0 < params["density"] <= 1 and params["input_scale"] > 0):
        raise NlbflowError(
            "reservoir needs radius >= 0, a density above 0 and at most 1, and input_scale > 0; found "
            f"{params['radius']}, {params['density']} and {params['input_scale']}."
        )
    if not params["alphas"] or not params["forward_alphas"] or min(*params["alphas"], *params["forward_alphas"]) < 0:
        raise NlbflowError(
            f"reservoir needs penalties >= 0 to choose from as alphas and forward_alphas; found {params['alphas']} and "
            f"{params['forward_alphas']}."
        )
