"""The benchmark's baselines: nlbflow's methods beside the software that the reference baselines run on.

    python benchmarks/baselines.py                 all comparisons
    python benchmarks/baselines.py --only gpfa     one: gpfa, glm, slds

- gpfa: `nlbflow.methods.gpfa.fit` beside elephant 1.2.1 on 75 trials x 140 bins x 107 neurons, 18 latents.
  `gpfa_speedup` is elephant's time for its 500 EM iterations over ours to the log-likelihood it has then, both with
  their start by factor analysis; `gpfa_loglik_difference` the largest relative difference of the log-likelihoods of
  plain EM from one start, 10 iterations.
- glm: `nlbflow.methods.glm.fit_poisson` beside a loop of scikit-learn's PoissonRegressor(alpha=0.1, max_iter=500) on
  10,500 rows x 107 features -> 35 neurons. `glm_speedup` is their time by the clock over ours, each with the threads
  it has as users run it (all cores; nlbflow's jobs have one), `glm_speedup_one_thread` with one for both;
  `glm_worst_excess` is the largest amount by which our objective exceeds theirs for any neuron (negative: ours is
  lower for all).
- slds: an EM iteration of `nlbflow.methods.slds.fit` beside ssm 0.0.1: see baselines_slds.py. `slds_speedup`, and
  `slds_seconds_per_iteration` of ours.

Each side runs in a process of its own, with one BLAS thread but for what is said above. Times are from data in memory
to parameters, without imports; those of gpfa are CPU times, which other work on the machine does not disturb. The last
line is one JSON object.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from baselines_slds import compare_slds
from side_by_side import PYTHON, ROOT, elephant_python, measure

# last, so that no rule's script hides a package
sys.path.append(str(ROOT / "scripts"))

TRIALS, BINS, HELDIN, HELDOUT, BIN_MS = 75, 140, 107, 35, 5
LATENTS, ITERATIONS, SAME_START_ITERATIONS = 18, 500, 10
ALPHA = 0.1
REPEATS = 3  # of what takes seconds, for the median; what takes a minute runs once
MOST_STEPS = 400  # of our EM, when looking for elephant's log-likelihood


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=COMPARISONS, help="run one comparison")
    only = parser.parse_args().only
    if not PYTHON.exists():
        sys.exit(f"{PYTHON} does not exist; run `make demo` first, which makes the project's environment.")
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        step(PYTHON, "data", Path(folder))
        for name in [only] if only else COMPARISONS:
            figures |= COMPARISONS[name](Path(folder))
    print(json.dumps(figures))


def compare_gpfa(folder: Path) -> dict[str, float]:
    """GPFA beside elephant's."""
    theirs = step(elephant_python(), "gpfa_elephant", folder)
    ours = step(PYTHON, "gpfa_nlbflow", folder)
    print(
        f"\nGPFA, {TRIALS} trials x {BINS} bins x {HELDIN} neurons, {LATENTS} latents; goal {theirs['goal']:.2f} nats"
    )
    print(f"{'':<12}{'seconds':>10}{'EM steps':>10}{'s a step':>10}{'log-likelihood':>18}")
    for name, side in (("elephant", theirs), ("nlbflow", ours)):
        pace = side["seconds"] / side["steps"]
        print(f"{name:<12}{side['seconds']:>10.2f}{side['steps']:>10}{pace:>10.4f}{side['reached']:>18.2f}")
    reached = ours["reached"] >= theirs["goal"]
    if not reached:
        print(f"nlbflow did not reach the goal in {MOST_STEPS} steps.")
    return {
        "gpfa_speedup": theirs["seconds"] / ours["seconds"] if reached else 0.0,
        "gpfa_loglik_difference": ours["difference"],
        "gpfa_elephant_s": theirs["seconds"],
        "gpfa_nlbflow_s": ours["seconds"],
        "gpfa_nlbflow_steps": ours["steps"],
        "gpfa_nlbflow_plain_step_s": ours["plain_step_s"],
    }


def compare_glm(folder: Path) -> dict[str, float]:
    """Poisson regression beside scikit-learn's, alternating."""
    elephant = elephant_python()
    as_usual = step(elephant, "glm_sklearn", folder, one_thread=False)["seconds"]
    runs = [
        {
            "scikit-learn, one thread": step(elephant, "glm_sklearn", folder),
            "nlbflow": step(PYTHON, "glm_nlbflow", folder),
        }
        for _ in range(REPEATS)
    ]
    seconds = {side: statistics.median(run[side]["seconds"] for run in runs) for side in runs[0]}
    seconds = {"scikit-learn": as_usual, **seconds}
    excess = runs[-1]["nlbflow"]["excess"]
    print(f"\nPoisson regression, {TRIALS * BINS:,} x {HELDIN} -> {HELDOUT}, alpha {ALPHA}; seconds by side:")
    print(f"{seconds}; our objective minus theirs is at most {excess:.1e}")
    theirs, theirs_alone, ours = seconds.values()
    return {
        "glm_speedup": theirs / ours,
        "glm_speedup_one_thread": theirs_alone / ours,
        "glm_worst_excess": excess,
        "glm_sklearn_s": theirs,
        "glm_sklearn_one_thread_s": theirs_alone,
        "glm_nlbflow_s": ours,
    }


# A comparison gets the folder with the data and returns its figures; its sides are among STEPS.
COMPARISONS = {"gpfa": compare_gpfa, "glm": compare_glm, "slds": compare_slds}


def step(python: Path, name: str, folder: Path, one_thread: bool = True) -> dict:
    """Run one of STEPS in a process of its own: the JSON object that it prints last."""
    return json.loads(measure(python, __file__, name, folder, one_thread=one_thread).output.splitlines()[-1])


# The parts below run in processes of their own, each with the environment that it imports from.


def write_data(folder: Path) -> None:
    """Poisson counts driven by six Gaussian processes of 30 to 200 ms, mean rates about 4 spikes/s."""
    import numpy as np

    from nlbflow.methods.gpfa.fit import cut_segments, initial_model
    from nlbflow.methods.smoothing import gaussian_kernel, smoothing_matrix

    draw = np.random.default_rng(2009)
    bins, latents = np.arange(BINS), []
    for timescale in np.geomspace(30, 200, 6) / BIN_MS:
        covariance = np.exp(-0.5 * ((bins[:, None] - bins) / timescale) ** 2) + 1e-6 * np.eye(BINS)
        latents.append(draw.standard_normal((TRIALS, BINS)) @ np.linalg.cholesky(covariance).T)
    neurons = HELDIN + HELDOUT
    log_rates = np.log(0.02) + 0.6 * draw.standard_normal(neurons)
    log_rates = log_rates + np.stack(latents, axis=2) @ draw.normal(0, 0.5, (6, neurons))
    counts = draw.poisson(np.exp(log_rates))
    heldin, heldout = counts[..., :HELDIN], counts[..., HELDIN:]
    smooth = smoothing_matrix(gaussian_kernel(60, 10), BINS) @ heldin
    segments = cut_segments(np.sqrt(heldin), 20)
    start = initial_model(segments, LATENTS, 100 / BIN_MS)
    np.savez(
        folder / "data.npz",
        trials=np.sqrt(heldin),
        segments=segments,
        features=np.log(smooth + 1e-4).reshape(-1, HELDIN),
        counts=heldout.reshape(-1, HELDOUT),
        **{f"start_{name}": value for name, value in vars(start).items()},
    )
    print(json.dumps({"spikes_per_bin": counts.mean()}))


def gpfa_elephant(folder: Path) -> None:
    """elephant's fit with its defaults, and its plain EM from our start."""
    import contextlib
    import io

    import numpy as np
    from elephant.gpfa import gpfa_core

    data = np.load(folder / "data.npz")

    def sequences(y: np.ndarray) -> np.ndarray:
        return np.array([(len(trial), trial.T.copy()) for trial in y], dtype=[("T", int), ("y", object)])

    trials, segments = sequences(data["trials"]), sequences(data["segments"])
    with contextlib.redirect_stdout(io.StringIO()):
        begin = time.process_time()
        _, info = gpfa_core.fit(trials, x_dim=LATENTS, bin_width=float(BIN_MS), em_max_iters=ITERATIONS)
        seconds = time.process_time() - begin
        start = {
            "covType": "rbf",
            "gamma": data["start_timescale"] ** -2.0,
            "eps": np.full(LATENTS, 1e-3),
            "C": data["start_loadings"],
            "d": data["start_offset"],
            "R": np.diag(data["start_noise"]),
            "notes": {"learnKernelParams": True, "learnGPNoise": False, "RforceDiagonal": True},
        }
        _, _, values, _ = gpfa_core.em(start, segments, max_iters=SAME_START_ITERATIONS, freq_ll=1)
    goal = info["log_likelihoods"][-1]
    np.savez(folder / "elephant.npz", goal=goal, values=values)
    steps = len(info["log_likelihoods"])
    print(json.dumps({"seconds": seconds, "steps": steps, "reached": goal, "goal": goal}))


def gpfa_nlbflow(folder: Path) -> None:
    """Our fit up to elephant's log-likelihood, and our plain EM from the same start."""
    import numpy as np

    from nlbflow.methods.gpfa.fit import cut_segments, em_step, fit_gpfa, initial_model
    from nlbflow.methods.gpfa.inference import Gpfa

    with np.load(folder / "data.npz") as file:
        data = dict(file)
    elephant = np.load(folder / "elephant.npz")

    def fit(steps: int) -> list[float]:
        segments = cut_segments(data["trials"], 20)
        return fit_gpfa(segments, initial_model(segments, LATENTS, 100 / BIN_MS), steps)[1]

    values = np.array(fit(MOST_STEPS))
    steps = int(np.argmax(values >= elephant["goal"])) + 1 if values[-1] >= elephant["goal"] else MOST_STEPS
    seconds = []
    for _ in range(REPEATS):
        begin = time.process_time()
        reached = fit(steps)[-1]
        seconds.append(time.process_time() - begin)

    model = Gpfa(*(data[f"start_{name}"] for name in ("loadings", "offset", "noise", "timescale")))
    plain, paces = [], []
    for _ in range(SAME_START_ITERATIONS):
        begin = time.process_time()
        model, value = em_step(data["segments"], model)
        paces.append(time.process_time() - begin)
        plain.append(value)
    difference = np.abs(np.array(plain) / elephant["values"] - 1).max()
    report = {"seconds": statistics.median(seconds), "steps": steps, "reached": reached, "difference": difference}
    print(json.dumps({**report, "plain_step_s": statistics.median(paces)}))


def glm_sklearn(folder: Path) -> None:
    """One PoissonRegressor a neuron."""
    import numpy as np
    from sklearn.linear_model import PoissonRegressor

    with np.load(folder / "data.npz") as data:
        features, counts = data["features"], data["counts"]
    begin = time.perf_counter()
    fits = [PoissonRegressor(alpha=ALPHA, max_iter=500).fit(features, y) for y in counts.T]
    seconds = time.perf_counter() - begin
    np.savez(folder / "sklearn.npz", coef=np.array([f.coef_ for f in fits]).T, intercept=[f.intercept_ for f in fits])
    print(json.dumps({"seconds": seconds}))


def glm_nlbflow(folder: Path) -> None:
    """All neurons at once, and whether any objective is worse than scikit-learn's."""
    import numpy as np

    from nlbflow.methods.glm import fit_poisson

    with np.load(folder / "data.npz") as data:
        features, counts = data["features"], data["counts"]
    begin = time.perf_counter()
    coef, intercept = fit_poisson(features, counts, ALPHA)
    seconds = time.perf_counter() - begin

    def objective(coef: np.ndarray, intercept: np.ndarray) -> np.ndarray:
        eta = features @ coef + intercept
        return (np.exp(eta) - counts * eta).mean(axis=0) + ALPHA / 2 * (coef**2).sum(axis=0)

    theirs = np.load(folder / "sklearn.npz")
    excess = objective(coef, intercept) - objective(theirs["coef"], theirs["intercept"])
    print(json.dumps({"seconds": seconds, "excess": excess.max()}))


STEPS = {
    "data": write_data,
    "gpfa_elephant": gpfa_elephant,
    "gpfa_nlbflow": gpfa_nlbflow,
    "glm_sklearn": glm_sklearn,
    "glm_nlbflow": glm_nlbflow,
}

if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in STEPS:
        STEPS[sys.argv[1]](Path(sys.argv[2]))
    else:
        main()
