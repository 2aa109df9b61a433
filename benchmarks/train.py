"""Training of the networks: updates per second and memory of each model at each dataset's shape, and a population of
20 beside one member.

    .venv/bin/python benchmarks/train.py [--datasets mc_maze_small ...] [--models gru ...] [--seconds 5]

Each case is a process of its own in which the model itself is trained, with the parameters that config.yaml has for
the dataset (5 ms, phase val), on made-up counts of its shape: on a GPU if there is one, otherwise on the CPU, with as
many threads as the model's parameters say. It ends after so many seconds, and three updates at least. A time is that of
the fastest update after the first, memory the device's peak until then (on a CPU, the process's). An update of
AutoLFADS is one of each member. The last line is one JSON object; all cases take about half an hour on two cores.
"""

import argparse
import json
import resource
import sys
import time
from itertools import pairwise

import yaml

from side_by_side import ROOT, measure

# last, so that no rule's script hides a package
sys.path.append(str(ROOT / "scripts"))

# Training trials, held-in and held-out neurons, bins, forward bins in phase val (DANDI 000127 to 000140, and as
# resources/datasets.yaml simulates it).
SHAPES = {
    "simulated_maze": (75, 107, 35, 140, 40),
    "mc_maze": (1721, 137, 45, 140, 40),
    "mc_maze_large": (375, 122, 40, 140, 40),
    "mc_maze_medium": (188, 114, 38, 140, 40),
    "mc_maze_small": (75, 107, 35, 140, 40),
    "mc_rtt": (810, 98, 32, 120, 40),
    "area2_bump": (272, 49, 16, 120, 40),
    "dmfc_rsg": (741, 40, 14, 300, 40),
}
BIN_MS, MEAN_COUNT = 5, 0.05
MODELS = ("gru", "ndt", "stndt", "lfads", "autolfads")
# Where the population is compared with one member, and how large it is.
POPULATION_SHAPE, POPULATION = "mc_maze_small", 20
LEAST_UPDATES = 3


def main() -> None:
    parser = argparse.ArgumentParser(description="Updates per second and memory of the networks' training.")
    parser.add_argument("--datasets", nargs="+", choices=SHAPES, default=list(SHAPES), metavar="NAME")
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS), metavar="NAME")
    parser.add_argument("--seconds", type=float, default=5.0, help="of updates in each case")
    arguments = parser.parse_args()
    print(f"{'model':<38}{'dataset':<16}{'updates/s':>10}{'memory MB':>11}", flush=True)
    found = {
        model: {dataset: report(model, dataset, arguments.seconds) for dataset in arguments.datasets}
        for model in arguments.models
    }
    one, wide = (report("autolfads", POPULATION_SHAPE, arguments.seconds, population=1, threads=n) for n in (1, 2))
    many = report("autolfads", POPULATION_SHAPE, arguments.seconds, population=POPULATION)
    ratio, wide_ratio = (alone["updates_per_second"] / many["updates_per_second"] for alone in (one, wide))
    print(
        f"An epoch of {POPULATION} members takes {ratio:.1f} times as long as one member's ({wide_ratio:.1f} times "
        "that of one which has two CPU threads for itself)"
    )
    result = {
        "device": one["device"],
        "population20_over_one": ratio,
        "population20_over_one_on_two_threads": wide_ratio,
        "population20_memory_mb": many["memory_mb"],
        "steps_per_second": table(found, "updates_per_second"),
        "memory_mb": table(found, "memory_mb"),
    }
    print(json.dumps(result))


def table(found: dict, figure: str) -> dict:
    """One figure by model and dataset."""
    return {model: {name: case[figure] for name, case in cases.items()} for model, cases in found.items()}


def report(model: str, dataset: str, seconds: float, **changes: int) -> dict:
    """Measure one case, with some parameters changed, in a process of its own, and print it."""
    case = json.dumps([model, dataset, seconds, changes])
    found = json.loads(measure(sys.executable, __file__, "case", case).output.splitlines()[-1])
    name = ", ".join([model, *(f"{key} {value}" for key, value in changes.items())])
    print(f"{name:<38}{dataset:<16}{found['updates_per_second']:>10.2f}{found['memory_mb']:>11.0f}", flush=True)
    return found


# The part below runs in the process of a case.


class EnoughError(Exception):
    """Raised out of the training, when it has been measured."""


def take_case(model: str, dataset: str, seconds: float, changes: dict) -> dict:
    """Updates per second, peak memory in MB (10^6 bytes) and device."""
    from nlbflow.catalogue import resolve_params
    from nlbflow.models import load_model

    stanza = yaml.safe_load((ROOT / "config.yaml").read_text())["models"][model]
    module = load_model(ROOT / "scripts/models" / stanza["file"])
    params = resolve_params(model, stanza, module.DEFAULTS, dataset, BIN_MS) | changes

    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from nlbflow import population

    on_gpu = torch.cuda.is_available()
    moments = []

    def updated(*_) -> None:
        if on_gpu:
            torch.cuda.synchronize()
        moments.append(time.perf_counter())
        if len(moments) >= LEAST_UPDATES and moments[-1] - moments[0] >= seconds:
            raise EnoughError

    def update(*arguments, original=population.update) -> None:
        original(*arguments)
        updated()

    # the two places where networks are updated: torch's optimisers, and LFADS's own for a population
    register_optimizer_step_post_hook(updated)
    population.update = update
    try:
        module.predict(made_up(dataset), params, 0)
    except EnoughError:
        pass
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    fastest = min(later - earlier for earlier, later in pairwise(moments))
    device = torch.cuda.get_device_name() if on_gpu else "cpu"
    return {"updates_per_second": 1 / fastest, "memory_mb": peak / 1e6, "device": device}


def made_up(dataset: str):
    """A model's input of the dataset's shape; one evaluation trial, since nothing is predicted."""
    import numpy as np

    from nlbflow.models import ModelInput

    trials, heldin, heldout, bins, ahead = SHAPES[dataset]
    draw = np.random.default_rng(0)

    def counts(*shape: int) -> np.ndarray:
        return draw.poisson(MEAN_COUNT, shape).astype(np.float32)

    return ModelInput(
        bin_ms=BIN_MS,
        train_spikes_heldin=counts(trials, bins, heldin),
        train_spikes_heldout=counts(trials, bins, heldout),
        train_spikes_heldin_forward=counts(trials, ahead, heldin),
        train_spikes_heldout_forward=counts(trials, ahead, heldout),
        eval_spikes_heldin=counts(1, bins, heldin),
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["case"]:
        print(json.dumps(take_case(*json.loads(sys.argv[2]))))
    else:
        main()
