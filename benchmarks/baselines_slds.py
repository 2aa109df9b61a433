"""The part of baselines.py that sets the SLDS beside ssm 0.0.1: 75 trials, 180 bins, 142 units, 5 states, 15 latents.

Both fit the same simulated counts, in turn, in processes of their own with one BLAS thread; starting is not timed, and
the best of the rounds counts. An iteration of ssm runs Newton's method to convergence, draws one sample of the latents
and fits the emission to it with up to 100 steps of L-BFGS; one of nlbflow takes one Newton step of the latents and one
of the emission, averaged over the posterior. So both also tell how far their rates are from the true ones afterwards,
and from how many iterations.
"""

import json
import sys
import time
from pathlib import Path

from side_by_side import PYTHON, ROOT, measure, ssm_python

TRIALS, BINS, NEURONS, STATES, LATENTS = 75, 180, 142, 5, 15
MEAN_RATE = 0.1  # spikes per bin
ITERATIONS = {"nlbflow": 20, "ssm": 2}
ROUNDS = 2
PENALTIES = {"l2_A": 5837.9, "l2_b": 1.22e-8}


def compare_slds(folder: Path) -> dict[str, float | dict]:
    """An EM iteration beside ssm's."""
    pythons = {"nlbflow": PYTHON, "ssm": ssm_python()}
    found = {side: [] for side in pythons}
    measure(PYTHON, __file__, "simulate", folder)
    print(f"\nSLDS, {TRIALS} trials x {BINS} bins x {NEURONS} neurons, {STATES} states, {LATENTS} latents")
    for _ in range(ROUNDS):
        for side, python in pythons.items():
            output = measure(python, __file__, side, folder).output
            found[side].append(json.loads(output.splitlines()[-1]))
            print(f"{side}: {found[side][-1]}", flush=True)
    seconds = {side: min(result["seconds"] for result in results) for side, results in found.items()}
    return {
        "slds_speedup": seconds["ssm"] / seconds["nlbflow"],
        "slds_seconds_per_iteration": seconds["nlbflow"],
        "slds_seconds_per_iteration_ssm": seconds["ssm"],
        "slds_nats_per_spike_from_truth": {side: r[0]["distance"] for side, r in found.items()},
        "slds_iterations": ITERATIONS,
    }


# The parts below run in processes of their own, each with the environment that it imports from.


def _simulate(folder: Path) -> dict:
    """Write counts.npy and rates.npy (trials, bins, neurons): switching slow rotations, softplus rates."""
    import numpy as np

    rng = np.random.default_rng(0)
    speeds = rng.uniform(-0.1, 0.1, (STATES, LATENTS // 2))
    dynamics = np.tile(0.99 * np.eye(LATENTS), (STATES, 1, 1))
    for k, pair in np.ndindex(speeds.shape):
        cos, sin = 0.99 * np.cos(speeds[k, pair]), 0.99 * np.sin(speeds[k, pair])
        dynamics[k, 2 * pair : 2 * pair + 2, 2 * pair : 2 * pair + 2] = [[cos, -sin], [sin, cos]]
    state = rng.integers(0, STATES, TRIALS)
    latents = np.empty((TRIALS, BINS, LATENTS))
    latents[:, 0] = rng.standard_normal((TRIALS, LATENTS))
    for t in range(1, BINS):
        state = np.where(rng.random(TRIALS) < 0.02, rng.integers(0, STATES, TRIALS), state)
        noise = 0.14 * rng.standard_normal((TRIALS, LATENTS))
        latents[:, t] = np.einsum("nij,nj->ni", dynamics[state], latents[:, t - 1]) + noise
    weights = rng.normal(0, 0.2, (NEURONS, LATENTS))
    rates = np.logaddexp(0, latents @ weights.T + np.log(np.expm1(MEAN_RATE)))
    np.save(folder / "rates.npy", rates)
    np.save(folder / "counts.npy", rng.poisson(rates))
    return {"mean_rate": rates.mean()}


def _distance(folder: Path, rates) -> float:
    """Kullback-Leibler divergence of the fitted from the true rates, nats per spike."""
    import numpy as np

    true = np.load(folder / "rates.npy")
    return float(np.sum(true * np.log(true / rates) - true + rates) / true.sum())


def _nlbflow(folder: Path) -> dict:
    import numpy as np

    sys.path.append(str(ROOT / "scripts"))
    from nlbflow.methods.slds.fit import fit

    counts = np.load(folder / "counts.npy").astype(float)
    seconds = {}
    for iterations in (1, 1 + ITERATIONS["nlbflow"]):
        began = time.perf_counter()
        model, posterior, _ = fit(
            counts, 5, STATES, LATENTS, **PENALTIES, iterations=iterations, start_iterations=10, seed=0
        )
        seconds[iterations] = time.perf_counter() - began
    each = (max(seconds.values()) - min(seconds.values())) / ITERATIONS["nlbflow"]
    return {"seconds": each, "distance": _distance(folder, model.emission.rates(posterior.latents))}


def _ssm(folder: Path) -> dict:
    import numpy as np
    from ssm.lds import SLDS

    np.random.seed(0)
    counts = list(np.load(folder / "counts.npy").astype(int))
    model = SLDS(NEURONS, STATES, LATENTS, emissions="poisson", emission_kwargs={"link": "softplus"})
    model.initialize(counts, num_em_iters=10)
    began = time.perf_counter()
    _, posterior = model.fit(counts, method="laplace_em", initialize=False, num_iters=ITERATIONS["ssm"], alpha=0.2)
    each = (time.perf_counter() - began) / ITERATIONS["ssm"]
    means = posterior.mean_continuous_states
    rates = np.stack([model.smooth(mean, trial) for mean, trial in zip(means, counts, strict=True)])
    return {"seconds": each, "distance": _distance(folder, np.maximum(rates, 1e-9))}


if __name__ == "__main__":
    part = {"simulate": _simulate, "nlbflow": _nlbflow, "ssm": _ssm}[sys.argv[1]]
    print(json.dumps(part(Path(sys.argv[2]))))
