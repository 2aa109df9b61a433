"""Training of the networks: updates per second and memory of each model at each dataset's shape, and a population of
20 beside one member.

    .venv/bin/python benchmarks/train.py [--datasets mc_maze_small ...] [--models gru ...] [--seconds 5]

Each case is a process of its own in which the model itself is trained, with the parameters that config.yaml has for
the dataset (5 ms, phase val), on made-up counts of its shape: on a GPU if there is one, otherwise on the CPU, with as
many threads as the model's parameters say. It ends after so many seconds. A time is the median of the updates after
the first (of LFADS, of means between two validations), memory the device's peak until then (on a CPU, the process's and
its children's; of LFADS with the trials of one batch alone). An update of AutoLFADS is one of each member. The last
line is one JSON object; all cases take about half an hour on two cores.
"""

import argparse
import json
import os
import re
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

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
LEAST_INTERVALS = 2


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
    from nlbflow.models.catalogue import resolve_params
    from nlbflow.models.contract import load_model

    stanza = yaml.safe_load((ROOT / "config.yaml").read_text())["models"][model]
    module = load_model(ROOT / "scripts/models" / stanza["file"])
    params = resolve_params(model, stanza, module.DEFAULTS, dataset, BIN_MS) | changes

    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from nlbflow.methods.lfads.members import Workers

    on_gpu = torch.cuda.is_available()
    moments, memory = [(time.perf_counter(), 0)], [0.0]

    def updated(updates: int, *helpers: int) -> None:
        if on_gpu:
            torch.cuda.synchronize()
            memory[0] = torch.cuda.max_memory_allocated()
        else:
            memory[0] = sum(map(peak_of, (os.getpid(), *helpers)))
        moments.append((time.perf_counter(), updates))
        # the first interval is not counted
        if len(moments) > LEAST_INTERVALS + 1 and moments[-1][0] - moments[1][0] >= seconds:
            raise EnoughError

    def train(workers, population, *arguments, original=Workers.train) -> None:
        original(workers, population, *arguments)
        updated(population.updates, *(process.pid for process in workers.processes))

    # the two places where networks are updated: torch's optimisers, and LFADS's own for a population
    register_optimizer_step_post_hook(lambda *_: updated(moments[-1][1] + 1))
    Workers.train = train
    try:
        # of a population so many trials that an epoch is one update, which costs the same as one of many
        most = 5 * params["batch"] // 4 if "population" in params else None
        module.predict(made_up(dataset, most), params, 0)
    except EnoughError:
        pass
    usual = median((later - earlier) / (n - m) for (earlier, m), (later, n) in pairwise(moments[1:]))
    device = torch.cuda.get_device_name() if on_gpu else "cpu"
    return {"updates_per_second": 1 / usual, "memory_mb": memory[0] / 1e6, "device": device}


def peak_of(pid: int) -> float:
    """The most memory that a process has had, in bytes (Linux)."""
    status = Path("/proc", str(pid), "status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


def made_up(dataset: str, most: int | None = None):
    """A model's input of the dataset's shape, with so many trials at most; one evaluation trial, since nothing is
    predicted.
    """
    import numpy as np

    from nlbflow.models.contract import ModelInput

    trials, heldin, heldout, bins, ahead = SHAPES[dataset]
    trials = min(trials, most or trials)
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
