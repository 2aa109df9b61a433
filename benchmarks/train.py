"""Training of the deep models: updates per second and memory by dataset, and a population beside one member.

    .venv/bin/python benchmarks/train.py

Each case is a process of its own that trains on random counts, in single precision, at published sizes: on a GPU if
there is one, otherwise on one CPU thread. Times are the best of several updates after a first one, memory is the
device's peak (on a CPU, the process's). An update of AutoLFADS's population is one of each member. On a CPU the
population is timed at the sizes and trials of the simulated dataset as well, where the published ones take minutes.
The last line is one JSON object.
"""

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable

from side_by_side import ROOT, measure

# last, so that no rule's script hides a package
sys.path.append(str(ROOT / "scripts"))

# As in phase val at 5 ms (DANDI 000128 to 000140): training trials, held-in and held-out neurons, bins, forward bins.
SHAPES = {
    "mc_maze": (1721, 137, 45, 140, 40),
    "mc_maze_large": (375, 122, 40, 140, 40),
    "mc_maze_medium": (188, 114, 38, 140, 40),
    "mc_maze_small": (75, 107, 35, 140, 40),
    "mc_rtt": (810, 98, 32, 120, 40),
    "area2_bump": (272, 49, 16, 120, 40),
    "dmfc_rsg": (741, 40, 14, 300, 40),
}
# Where the population is compared with one member, and how large it is.
POPULATION_SHAPE, POPULATION = "mc_maze_small", 20
SMALL_SIZES = {
    "ic_encoder": 32,
    "ci_encoder": 24,
    "controller": 24,
    "ic_dim": 24,
    "generator": 48,
    "factors": 12,
}
UPDATES = 4
VALIDATION_SHARE = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--datasets", nargs="+", choices=SHAPES, default=list(SHAPES))
    chosen = parser.parse_args().datasets
    found: dict[str, dict] = {}
    print(f"{'model':<32}{'dataset':<18}{'updates/s':>10}{'memory MB':>11}", flush=True)
    for dataset in chosen:
        found[f"lfads {dataset}"] = report("lfads", dataset, 1, "published")
    sizes = "published" if found[f"lfads {chosen[0]}"]["device"] != "cpu" else "small"
    one, many = (report("autolfads", POPULATION_SHAPE, members, sizes) for members in (1, POPULATION))
    ratio = one["updates_per_second"] / many["updates_per_second"]
    print(f"a population of {POPULATION} takes {ratio:.1f} times as long as one member ({sizes} sizes)")
    result = {
        "device": one["device"],
        "population20_over_one": ratio,
        "population_sizes": sizes,
        "population20_memory_mb": many["memory_mb"],
        "steps_per_second": {case: values["updates_per_second"] for case, values in found.items()},
        "memory_mb": {case: values["memory_mb"] for case, values in found.items()},
    }
    print(json.dumps(result))


def report(model: str, dataset: str, members: int, sizes: str) -> dict:
    """Measure one case in a process of its own, and print it."""
    case = [model, dataset, str(members), sizes]
    found = json.loads(measure(sys.executable, __file__, "case", *case).output.splitlines()[-1])
    name = model if members == 1 else f"{model}, {members} members"
    line = f"{name + ', ' + sizes:<32}{dataset:<18}{found['updates_per_second']:>10.2f}{found['memory_mb']:>11.0f}"
    print(line, flush=True)
    return found


# The part below runs in the process of a case.


def take_case(model: str, dataset: str, members: int, sizes: str) -> dict:
    """Updates per second, peak memory in MB (10^6 bytes) and device."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as nlbflow.lfads_fit does

    import torch

    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    update = {"lfads": lfads_update, "autolfads": lfads_update}[model](model, dataset, members, sizes, device)
    times = []
    for _ in range(1 + UPDATES):
        started = time.perf_counter()
        update()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    on_gpu = device == "cuda"
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    name = torch.cuda.get_device_name() if on_gpu else "cpu"
    return {"updates_per_second": 1 / min(times[1:]), "memory_mb": peak / 1e6, "device": name}


def lfads_update(model: str, dataset: str, members: int, sizes: str, device: str) -> Callable[[], None]:
    """One update of LFADS, of each member, on batches of the default size or of all training trials."""
    import torch

    from nlbflow.lfads import sizes_of
    from nlbflow.models import load_model
    from nlbflow.population import HYPERPARAMETERS, Range, Schedule, Trials, first_population, stream, train_epochs

    params = load_model(ROOT / f"scripts/models/{model}.py").DEFAULTS | (SMALL_SIZES if sizes == "small" else {})
    trials, heldin, heldout, bins, ahead = SHAPES[dataset]
    batch = min(params["batch"], int(trials * (1 - VALIDATION_SHARE)))
    shape = bins + ahead, batch, heldin + heldout
    counts = torch.poisson(torch.full(shape, 0.05), generator=torch.Generator().manual_seed(0)).to(device)
    data = Trials(counts, torch.ones_like(counts))
    values = {"learning_rate": 0.004, "dropout": 0.3, "cd_rate": 0.5}
    ranges = {name: Range(v, v, start=v) for name in HYPERPARAMETERS for v in [values.get(name, 1e-5)]}
    layout = sizes_of(params, heldin, heldin + heldout, bins, ahead)
    population = first_population(layout, data, ranges, 0, list(range(members)))
    streams = [stream(0, member, 1, device=device) for member in range(members)]
    return lambda: train_epochs(population, layout, data, Schedule(batch, 80, 0.98), streams, 1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["case"]:
        model, dataset, members, sizes = sys.argv[2:]
        print(json.dumps(take_case(model, dataset, int(members), sizes)))
    else:
        main()
