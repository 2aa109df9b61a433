"""Whether states switch: the SLDS beside ssm 0.0.1 from its own start, on the same counts.

    python benchmarks/slds_states.py                        the simulated session (5 ms, phase val)
    python benchmarks/slds_states.py --excerpt FOLDER       also the excerpt of MC_Maze_Large that lies in a folder
    python benchmarks/slds_states.py --only slds ssm_20ms   some of the cases

Each case fits all neurons of the training trials in both windows, in a process of its own with one BLAS thread, and
then infers the latents of evaluation trials from held-in counts. ssm starts as it does by itself: principal components
of the counts, then an autoregressive hidden Markov model; and is fitted as the benchmark's baseline was (laplace_em, a
structured mean field, 50 iterations of each, alpha 0.2). Its rates are those at the posterior's mean. The last line is
one JSON object: by dataset and case the states' shares of the training trials' bins, the largest first, at the end and
(of ssm) after the first iteration; co-bps; the bound, iterations and seconds of fitting.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from side_by_side import PYTHON, ROOT, measure, ssm_python

# last, so that no rule's script hides a package
sys.path.append(str(ROOT / "scripts"))

STATES, LATENTS, ITERATIONS, INFERENCE_ITERATIONS = 5, 15, 50, 25
# Ours with the settings of `slds` and `slds_published`; ssm without a penalty on A, since its own, unlike ours and the
# benchmark's, draws A to zero, in steps of both lengths.
CASES = {
    "slds": {"step_ms": 20, "l2_A": 100.0, "iterations": 30},
    "slds_published": {"step_ms": 5, "l2_A": 5837.9, "iterations": ITERATIONS},
    "ssm_20ms": {"step_ms": 20},
    "ssm_5ms": {"step_ms": 5},
}
L2_B = 1.22e-8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--excerpt", type=Path, help="a folder below which the excerpt of MC_Maze_Large lies")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--minutes", type=float, default=60, help="after which a fit of ssm ends (default 60)")
    asked = parser.parse_args()
    ssm, found = ssm_python(), {}
    with tempfile.TemporaryDirectory() as temporary:
        for dataset in ["simulated_maze", *(["mc_maze_large_excerpt"] if asked.excerpt else [])]:
            folder, found[dataset] = Path(temporary, dataset), {}
            folder.mkdir()
            for case in asked.only:
                measure(PYTHON, __file__, "prepare", folder, case, *([asked.excerpt] if asked.excerpt else []))
                python = ssm if case.startswith("ssm") else PYTHON
                output = measure(python, __file__, "fit", folder, case, asked.minutes).output.splitlines()[-1]
                scored = measure(PYTHON, __file__, "score", folder, case).output.splitlines()[-1]
                found[dataset][case] = json.loads(output) | json.loads(scored)
                print(f"{dataset}, {case}: {found[dataset][case]}", flush=True)
    print(json.dumps(found))


# The parts below run in processes of their own, each with the environment that it imports from.


def load(folder: Path, excerpt: Path | None):
    """The dataset that has the folder's name, as of `nlbflow.load`."""
    import yaml

    import nlbflow

    if folder.name == "simulated_maze":
        return nlbflow.load("simulated_maze", folder=folder)
    stanza = yaml.safe_load((ROOT / "configs/mc_maze_large_excerpt.yaml").read_text())["datasets"][folder.name]
    files = {part: excerpt / file["path"] for part, file in stanza["files"].items()}
    return nlbflow.load(files, stanza=stanza)


def prepare(folder: Path, case: str, excerpt: str | None = None) -> None:
    """Write counts.npz: counts of the fit (trials, steps, neurons), of evaluation trials with NaN for what
    is not seen, and held-out counts of these (trials, bins, neurons)."""
    import numpy as np

    from nlbflow.methods.slds.prediction import Windows

    data = load(folder, Path(excerpt) if excerpt else None)
    windows = Windows(data, CASES[case]["step_ms"])
    np.savez(
        folder / "counts.npz", train=windows.counts, seen=windows.seen("eval"),
        answers=data.answers["eval_spikes_heldout"], step_ms=windows.step_ms, bin_ms=data.bin_ms,
    )  # fmt: skip


def fit(folder: Path, case: str, minutes: str) -> dict:
    import numpy as np

    with np.load(folder / "counts.npz") as file:
        train, seen, step_ms = file["train"], file["seen"], float(file["step_ms"])
    began = time.perf_counter()
    side = fit_ssm if case.startswith("ssm") else fit_nlbflow
    shares, rates, bounds = side(train, seen, step_ms, CASES[case], float(minutes))
    np.save(folder / "rates.npy", rates)
    first, last = ([round(float(share), 4) for share in np.sort(found)[::-1]] for found in (shares[0], shares[-1]))
    seconds = round(time.perf_counter() - began, 1)
    return {"shares": last, "first_shares": first, "bound": bounds[-1], "iterations": len(bounds), "seconds": seconds}


def fit_nlbflow(train, seen, step_ms: float, settings: dict, _: float):
    """Shares of the states (after each iteration, or only the last), expected counts per step of the evaluation
    trials, and the bounds."""
    from nlbflow.methods.slds.fit import fit as fit_slds
    from nlbflow.methods.slds.fit import infer

    penalties = {"l2_A": settings["l2_A"], "l2_b": L2_B}
    model, posterior, bounds = fit_slds(
        train, step_ms, STATES, LATENTS, **penalties, iterations=settings["iterations"], start_iterations=50, seed=0
    )
    found = infer(model, seen, 50)[0]
    return [posterior.states.mean(axis=(0, 1))], model.emission.rates(found.latents), bounds[1:]


def fit_ssm(train, seen, _: float, __: dict, minutes: float):
    """The same with ssm, one iteration after the other until it is done or so many minutes are over."""
    import copy

    import numpy as np
    from ssm.lds import SLDS
    from ssm.variational import SLDSStructuredMeanFieldVariationalPosterior

    np.random.seed(0)
    counts, neurons = list(np.rint(train).astype(int)), train.shape[2]
    heldin = np.isfinite(seen).all(axis=(0, 1))
    shape = {"emissions": "poisson", "emission_kwargs": {"link": "softplus"}}
    model = SLDS(neurons, STATES, LATENTS, **shape)
    model.initialize(counts, num_em_iters=ITERATIONS)
    posterior = SLDSStructuredMeanFieldVariationalPosterior(model, counts)
    began, shares, bounds = time.perf_counter(), [], []
    while len(shares) < ITERATIONS and time.perf_counter() - began < 60 * minutes:
        found = model.fit(counts, variational_posterior=posterior, initialize=False, num_iters=1, alpha=0.2)[0]
        bounds.append(float(found[-1]))
        shares.append(np.concatenate([expected[0] for expected in posterior.mean_discrete_states]).mean(axis=0))
    # the same model of held-in neurons alone, since its Poisson counts cannot be masked
    part = SLDS(int(heldin.sum()), STATES, LATENTS, **shape)
    for name in ("init_state_distn", "transitions", "dynamics"):
        setattr(part, name, copy.deepcopy(getattr(model, name)))
    emissions = model.emissions
    part.emissions.Cs, part.emissions.Fs = emissions.Cs[:, heldin], emissions.Fs[:, heldin]
    part.emissions.ds = emissions.ds[:, heldin]
    trials = list(np.rint(seen[..., heldin]).astype(int))
    posterior = SLDSStructuredMeanFieldVariationalPosterior(part, trials)
    part.approximate_posterior(trials, variational_posterior=posterior, num_iters=INFERENCE_ITERATIONS)
    means = np.stack(posterior.mean_continuous_states)
    return shares, np.logaddexp(0, means @ emissions.Cs[0].T + emissions.ds[0]), bounds


def score(folder: Path, case: str) -> dict:
    """co-bps of the evaluation trials' held-out neurons."""
    import numpy as np

    from nlbflow.methods.steps import Steps, bins_per_step
    from nlbflow.metrics.formulas import bits_per_spike

    with np.load(folder / "counts.npz") as file:
        answers, step_ms, bin_ms = file["answers"], file["step_ms"], int(file["bin_ms"])
    steps = Steps(answers.shape[1], bins_per_step(step_ms, bin_ms))
    rates = steps.rates(np.log(np.maximum(np.load(folder / "rates.npy"), 1e-9)))[..., -answers.shape[2] :]
    return {"co_bps": round(float(bits_per_spike(rates, answers)), 4)}


if __name__ == "__main__":
    parts = {"prepare": prepare, "fit": fit, "score": score}
    if sys.argv[1:2] and sys.argv[1] in parts:
        print(json.dumps(parts[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])))
    else:
        main()
