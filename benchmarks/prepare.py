"""Preparing a dataset: nlbflow beside nlb_tools 0.0.4, the benchmark's reference.

    python benchmarks/prepare.py           a session of MC_Maze_Large's size, both, and whether the tensors are equal
    python benchmarks/prepare.py --full    a session of MC_Maze's full size, nlbflow alone

Both make input and target tensors with PSTHs, 5 ms bins, phase val, from the same simulated files, in processes of
their own with one BLAS thread; nlb_tools smooths in a pool of one worker per core, as it does by default. "whole
process" is interpreter, imports, reading, tensors and writing them; "inside" is from opening the NWB files to tensors
in memory; "peak memory" is that of the largest process of a side. The files are in the page cache for both.
The last line is one JSON object.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from side_by_side import PYTHON, ROOT, measure, nlb_tools_python

# last, so that no rule's script hides a package
sys.path.append(str(ROOT / "scripts"))

BIN_MS, PHASE = 5, "val"
REPEATS = 3  # of nlbflow, for the median; nlb_tools takes most of a minute and runs once
TOLERANCE = 1e-10  # of behaviour (mm/s) and PSTHs (spikes per bin); everything else is to be identical
# The simulated files by the names under which nlb_tools finds the test session first, as the benchmark's own.
FILES = {"train": "nwb/sub-Sim_desc-train_behavior+ecephys.nwb", "test": "nwb/sub-Sim_desc-test_ecephys.nwb"}
# The sizes of the recordings (DANDI 000138 and 000128); `seconds` is the length of the train file.
SIZES = {
    "mc_maze_large": {
        "heldin": 122,
        "heldout": 40,
        "train_trials": 375,
        "val_trials": 125,
        "test_trials": 100,
        "conditions": 27,
        "seconds": 1560,
    },
    "mc_maze": {
        "heldin": 137,
        "heldout": 45,
        "train_trials": 1721,
        "val_trials": 574,
        "test_trials": 574,
        "conditions": 108,
        "seconds": 6952,
    },
}
RATE_HZ, RATE_LOG_SD = 3.5, 0.6  # a mean of 4.2 spikes/s, that of the published test files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="MC_Maze's full size, nlbflow alone")
    full = parser.parse_args().full
    if not PYTHON.exists():
        sys.exit(f"{PYTHON} does not exist; run `make demo` first, which makes the project's environment.")
    with tempfile.TemporaryDirectory() as folder:
        alone(Path(folder)) if full else compare(Path(folder))


def compare(folder: Path) -> None:
    """nlbflow and nlb_tools on a session of MC_Maze_Large's size."""
    other = nlb_tools_python()
    describe("mc_maze_large", folder)
    ours = run_ours("mc_maze_large", folder)
    reference = measure(other, __file__, "nlb_tools", "mc_maze_large", folder)
    report = json.loads(reference.output.splitlines()[-1])
    theirs = {
        "process_s": reference.seconds - report["copying_s"],
        "inner_s": report["inner_s"],
        "peak_mb": reference.peak_mb,
    }
    differences = json.loads(measure(PYTHON, __file__, "compare", "mc_maze_large", folder).output)
    equal = all(difference <= (TOLERANCE if is_real(name) else 0) for name, difference in differences.items())

    rows = [("whole process, s", "process_s"), ("inside, s", "inner_s"), ("peak memory, MB", "peak_mb")]
    print(f"\n{'':<18}{'nlb_tools':>12}{'nlbflow':>12}{'ratio':>9}")
    for label, key in rows:
        print(f"{label:<18}{theirs[key]:>12.2f}{ours[key]:>12.2f}{theirs[key] / ours[key]:>9.1f}")
    print(f"\n{'tensor':<32}{'largest difference':>20}")
    for name, difference in differences.items():
        print(f"{name:<32}{difference:>20.1e}" if difference else f"{name:<32}{'identical':>20}")
    print(f"The tensors are {'equal' if equal else 'NOT equal'} (spikes and indices identical, others to {TOLERANCE}).")
    result = {
        name: theirs[key] / ours[key]
        for name, key in (("process_speedup", "process_s"), ("inner_speedup", "inner_s"), ("memory_ratio", "peak_mb"))
    }
    print(json.dumps({**result, "equal": equal, "nlb_tools": theirs, "nlbflow": ours}))


def alone(folder: Path) -> None:
    """nlbflow on a session of MC_Maze's full size, for which nlb_tools needs tens of GB."""
    describe("mc_maze", folder)
    ours = run_ours("mc_maze", folder)
    print(
        f"\nnlbflow: whole process {ours['process_s']:.2f} s, inside {ours['inner_s']:.2f} s, {ours['peak_mb']:.0f} MB"
    )
    print(json.dumps({"size": "mc_maze", **ours}))


def describe(size: str, folder: Path) -> None:
    """Write the session and say what it is."""
    measure(PYTHON, __file__, "session", size, folder)
    os.sync()  # so that writing the files back does not burden who runs first
    numbers = SIZES[size]
    print(
        f"A simulated session of {size}'s size: {numbers['heldin'] + numbers['heldout']} units, "
        f"{numbers['train_trials']} + {numbers['val_trials']} + {numbers['test_trials']} trials, "
        f"{numbers['conditions']} conditions, {numbers['seconds']:,} s; {BIN_MS} ms bins, phase {PHASE}, one BLAS "
        "thread.",
        flush=True,
    )


def run_ours(size: str, folder: Path) -> dict[str, float]:
    """Medians over the repeats: process_s, inner_s, peak_mb."""
    runs = [measure(PYTHON, __file__, "nlbflow", size, folder) for _ in range(REPEATS)]
    return {
        "process_s": statistics.median(run.seconds for run in runs),
        "inner_s": statistics.median(json.loads(run.output)["inner_s"] for run in runs),
        "peak_mb": statistics.median(run.peak_mb for run in runs),
    }


def is_real(name: str) -> bool:
    """Whether a tensor holds real numbers rather than counts or indices."""
    return name.endswith("behavior") or name == "psth"


# The parts below run in processes of their own, each with the environment that it imports from.


def prepare_nlbflow(size: str, folder: Path) -> None:
    """nlbflow's tensors, written as the workflow's two files."""
    from nlbflow import job  # noqa: F401  (as in every script of a rule)
    from nlbflow.recordings.targets import make_target
    from nlbflow.recordings.tensors import make_input
    from nlbflow.running.files import write_arrays

    definition = read_definition(size)
    parts = {part: folder / file for part, file in FILES.items()}
    started = time.perf_counter()
    tensors, _ = make_input(parts, definition, BIN_MS, PHASE)
    target, _ = make_target(parts, definition, BIN_MS, PHASE)
    inner = time.perf_counter() - started
    write_arrays(folder / "input.h5", tensors, {})
    write_arrays(folder / "target.h5", target, {})
    print(json.dumps({"inner_s": inner}))


def prepare_nlb_tools(size: str, folder: Path) -> None:
    """nlb_tools' tensors with its own settings for the dataset, and a copy of them in full precision to compare."""
    import logging
    import warnings

    import numpy as np
    from nlb_tools import make_tensors as tools

    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    started = time.perf_counter()
    dataset = tools.NWBDataset(str(folder / "nwb"))
    dataset.resample(BIN_MS)
    keep = {"save_file": False}
    train = tools.make_train_input_tensors(
        dataset, size, "train", include_behavior=True, include_forward_pred=True, **keep
    )
    evaluated = tools.make_eval_input_tensors(dataset, size, PHASE, **keep)
    target = tools.make_eval_target_tensors(dataset, size, "train", PHASE, include_psth=True, **keep)
    inner = time.perf_counter() - started
    tools.save_to_h5({**train, **evaluated}, str(folder / "theirs_input.h5"), overwrite=True)
    tools.save_to_h5(target, str(folder / "theirs_target.h5"), overwrite=True)

    started = time.perf_counter()
    (answers,) = target.values()
    np.savez(folder / "theirs.npz", **{**train, **evaluated, **answers})
    print(json.dumps({"inner_s": inner, "copying_s": time.perf_counter() - started}))


def compare_tensors(size: str, folder: Path) -> None:
    """The largest absolute difference of each tensor, infinite where shape, missing values or names differ."""
    import numpy as np

    from nlbflow.running.files import read_arrays

    ours = {**read_arrays(folder / "input.h5")[0], **read_arrays(folder / "target.h5")[0]}
    del ours["train_condition"]  # nlbflow's own
    differences = {}
    with np.load(folder / "theirs.npz", allow_pickle=True) as theirs:
        for name in sorted(ours.keys() | theirs.keys()):
            if name not in ours or name not in theirs:
                differences[name] = float("inf")
                continue
            mine, other = ours[name], theirs[name]
            if other.dtype == object:
                mine, other = ([v.tolist() for v in vectors] for vectors in (mine, other))
                differences[name] = 0.0 if mine == other else float("inf")
            elif mine.shape != other.shape or not np.array_equal(np.isnan(mine), np.isnan(other)):
                differences[name] = float("inf")
            else:
                differences[name] = float(np.nanmax(np.abs(mine.astype(float) - other)))
    print(json.dumps(differences))


def read_definition(size: str) -> dict:
    import yaml

    return yaml.safe_load((ROOT / "resources/datasets.yaml").read_text())["datasets"][size]


def write_files(size: str, folder: Path) -> None:
    """A session in MC_Maze's layout: evenly spaced trials, Poisson spikes at constant rates, wavy kinematics.

    Its times are what matters here; nlbflow.recordings.simulator, whose session has dynamics, makes shorter trials.
    """
    import h5py
    import numpy as np

    from nlbflow.recordings.simulator.nwb import write_session
    from nlbflow.recordings.simulator.session import Part, Population, Session, Trials

    numbers = SIZES[size]
    rng = np.random.default_rng(2021)
    units = numbers["heldin"] + numbers["heldout"]
    rates = RATE_HZ * np.exp(RATE_LOG_SD * rng.standard_normal(units))
    targets = rng.normal(0, 80, (numbers["conditions"], 2)).round()

    def make_part(split: np.ndarray) -> Part:
        count = len(split)
        every_ms = numbers["seconds"] * 1000 / (numbers["train_trials"] + numbers["val_trials"])
        start = (np.arange(count + 1) * every_ms).astype(int) // 100 * 100  # on a grid, as in MC_Maze
        length = np.diff(start) - rng.integers(100, 400, count)
        onset = rng.integers(1400, 1900, count)
        condition = rng.permutation(np.resize(np.arange(numbers["conditions"]), count))
        trials = Trials(condition, start[:-1], rng.integers(50, 150, count), onset - 300, onset, length)
        spikes = []
        for ms in length:
            unit = np.repeat(np.arange(units), rng.poisson(rates * ms / 1000))
            spikes.append(np.stack([unit, rng.integers(0, 1000 * ms, len(unit))], axis=1))
        return Part(trials, split, np.zeros((count, 1, 0), np.float32), wave(length), wave(length), spikes)

    def wave(length: np.ndarray) -> np.ndarray:
        time_s = np.arange(length.max())[:, None] / 1000
        phase, hertz = rng.uniform(0, 2 * np.pi, (len(length), 1, 2)), rng.uniform(0.3, 1.5, (len(length), 1, 2))
        return 60 * np.sin(2 * np.pi * hertz * time_s + phase)

    order = rng.permutation(units)
    population = Population(
        np.sort(rng.choice(np.arange(1011, 2965), units, replace=False))[order],
        np.repeat([False, True], [numbers["heldin"], numbers["heldout"]]),
        np.zeros((0, units)),
        np.log(rates),
    )
    split = rng.permutation(np.repeat(["train", "val"], [numbers["train_trials"], numbers["val_trials"]]))
    session = Session(
        {"seed": 2021},
        population,
        targets,
        make_part(split),
        make_part(np.repeat(["test"], numbers["test_trials"])),
    )
    (folder / "nwb").mkdir()
    paths = {part: folder / file for part, file in FILES.items()}
    write_session(session, {**paths, "truth": folder / "truth.nwb", "rates": folder / "rates.h5"})

    # the recordings' sizes show that theirs are stored plain, each series with timestamps of its own
    with h5py.File(paths["train"], "r+") as file:
        for series in file["processing/behavior"].values():
            for name in ("data", "timestamps"):
                values, attributes = series[name][()], dict(series[name].attrs)
                del series[name]
                series.create_dataset(name, data=values).attrs.update(attributes)


STEPS = {
    "session": write_files,
    "nlbflow": prepare_nlbflow,
    "nlb_tools": prepare_nlb_tools,
    "compare": compare_tensors,
}

if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in STEPS:
        STEPS[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
    else:
        main()
