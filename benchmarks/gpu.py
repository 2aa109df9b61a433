"""The networks on a GPU: are their results right and reproducible there, and how fast are they?

    .venv/bin/python benchmarks/gpu.py --out gpu.json [--steps ndt lfads.speed ...] [--minutes 8]
    .venv/bin/python benchmarks/gpu.py --out gpu.json --rehearse

Nothing but numpy, scipy, PyYAML and torch is needed, and nothing is fetched; any interpreter that has them will do. The
steps (see gpu_steps.py) run on made-up counts of MC_Maze_Large's size. Each network has a process of its own, since a
fault on a GPU spoils all that its process does later; a step that fails or takes too long is recorded, and the next
one begins. After each step all results so far are printed and written, as one JSON object. --rehearse does the same
on a CPU, with small networks, in less than a minute.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from itertools import groupby
from pathlib import Path
from threading import Timer

import yaml

HERE = Path(__file__).resolve().parent
NETWORKS = ("gru", "ndt", "stndt", "lfads")
# A name's first part is the process that it runs in. In the order of their worth, if time should end.
STEPS = (
    "device.versions",
    *(f"{network}.{step}" for network in NETWORKS for step in ("agreement", "repeat", "speed")),
    "plain_ndt.speed",
    "autolfads.speed",
    "fresh.repeat",
    *(f"{network}.captured" for network in NETWORKS),
    "autolfads.captured",
    *(f"{network}.together" for network in NETWORKS),
    "autolfads.processes",
    *(f"{network}.{mode}" for mode in ("tf32", "bfloat16") for network in NETWORKS[:3]),
    *(f"precision.{network}" for network in NETWORKS[:3]),
)
# What comes in a second round: what would be nice to know, after what must be known.
LATER = ("captured", "together", "processes", "tf32", "bfloat16")
# A process says by this status that a fault on the GPU has spoiled it, and that the other steps want another one.
SPOILED = 77
# Seconds that a process may take to end after a step's limit, and to begin.
GRACE, START = 15, 60
# Training trials in phase val, bins of 5 ms with the forward window's (see train.py).
DATASETS = {
    "mc_maze": (1721, 180),
    "mc_rtt": (810, 160),
    "area2_bump": (272, 160),
    "dmfc_rsg": (741, 340),
    "mc_maze_large": (375, 180),
    "mc_maze_medium": (188, 180),
    "mc_maze_small": (75, 180),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="The networks on a GPU: results and speed.")
    parser.add_argument("--out", type=Path, required=True, help="JSON file, written after each step")
    parser.add_argument("--steps", nargs="+", default=[], metavar="NAME", help="a step's name, or its first part")
    parser.add_argument("--minutes", type=float, default=8, help="after which no step begins")
    parser.add_argument("--limit", type=float, default=40, help="seconds of a step")
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement")
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, with small networks")
    arguments = parser.parse_args()
    if arguments.rehearse:
        arguments.seconds = min(arguments.seconds, 0.05)
    chosen = [step for step in STEPS if not arguments.steps or {step, step.split(".")[0]} & set(arguments.steps)]
    if not chosen:
        parser.error(f"there is no such step; there are {', '.join(STEPS)}")
    run = Run(arguments, time.monotonic() + 60 * arguments.minutes)

    def process_of(step: str) -> tuple:
        # a process takes long to begin, and a rehearsal spoils none
        name = step.split(".")[0]
        return (name == "fresh",) if arguments.rehearse else (name, later(step))

    for _, steps in groupby(sorted(chosen, key=order), key=process_of):
        pending = list(steps)
        while pending:
            pending = run.process(pending)
    run.finish()


def later(step: str) -> bool:
    return step.split(".")[1] in LATER


def order(step: str) -> tuple[bool, int, int]:
    """Steps of a process side by side, the second round last."""
    first = next(i for i, other in enumerate(STEPS) if other.split(".")[0] == step.split(".")[0])
    return later(step), first, STEPS.index(step)


class Run:
    """All results, and where they are written."""

    def __init__(self, arguments: argparse.Namespace, deadline: float):
        self.arguments, self.deadline, self.results = arguments, deadline, {}
        self.began = time.monotonic()

    def process(self, steps: list[str]) -> list[str]:
        """Run steps in a process of their own, as far as it gets; what is left to do in another one."""
        if time.monotonic() >= self.deadline:
            for step in steps:
                self.record(step, {"skipped": f"{self.arguments.minutes} minutes are over"})
            return []
        told = {name: getattr(self.arguments, name) for name in ("rehearse", "limit", "seconds")}
        command = [sys.executable, "-u", str(HERE / "gpu_steps.py"), json.dumps({**told, "steps": steps})]
        # read by cuBLAS, which gives reproducible results with it
        environment = {**os.environ, "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        with process.stdout:
            while steps:
                watch = Timer(self.arguments.limit + GRACE + START, process.kill)
                watch.start()
                # what libraries print is passed over
                line = next((line for line in process.stdout if line.startswith('{"step": ')), None)
                watch.cancel()
                if line is None:
                    break
                found = json.loads(line)
                self.record(found.pop("step"), found)
                steps = steps[1:]
                if time.monotonic() >= self.deadline:
                    process.kill()
        status = process.wait()
        if steps and status and time.monotonic() < self.deadline and status != SPOILED:
            self.record(steps[0], {"failed": f"the process ended with status {status}"})
            steps = steps[1:]
        return steps

    def record(self, step: str, found: dict) -> None:
        self.results[step] = found
        print(json.dumps({step: found}), flush=True)
        self.write()

    def write(self) -> dict:
        seconds = round(time.monotonic() - self.began, 1)
        whole = {"seconds": seconds, "steps": self.results, "summary": summary(self.results)}
        temporary = self.arguments.out.with_suffix(".partial")
        temporary.write_text(json.dumps(whole, indent=1) + "\n")
        os.replace(temporary, self.arguments.out)
        return whole

    def finish(self) -> None:
        whole = self.write()
        for step, found in self.results.items():
            if "failed" in found or "skipped" in found:
                print(f"{step}: {(found.get('failed') or found['skipped']).strip().splitlines()[-1]}")
        print(json.dumps(whole["summary"]))


def summary(results: dict) -> dict:
    """What the steps say together; None where one is missing."""

    def found(step: str, *names: str) -> float | None:
        value = results.get(step, {})
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    def ratio(one: float | None, other: float | None) -> float | None:
        return one / other if one and other else None

    def best(network: str) -> float | None:
        """Seconds of an update in float32, eager or captured."""
        both = [found(f"{network}.{mode}", "seconds_per_update") for mode in ("speed", "captured")]
        return min(filter(None, both), default=None)

    plain = found("plain_ndt.speed", "updates_per_second")
    alone, many = ([found(f"autolfads.{mode}", n) for mode in ("speed", "captured")] for n in ("one", "twenty"))
    processes = found("autolfads.processes", "seconds_per_update")
    return {
        "card": found("device.versions", "device"),
        "same_twice": {network: found(f"{network}.repeat", "same_twice") for network in NETWORKS},
        "same_after_kill": {network: found(f"{network}.repeat", "same_after_kill") for network in NETWORKS},
        "same_in_another_process": {
            network: found("fresh.repeat", network)
            and found("fresh.repeat", network) == found(f"{network}.repeat", "sha256")
            for network in NETWORKS
        },
        "largest_difference_of_rates": {network: found(f"{network}.agreement", "largest") for network in NETWORKS},
        "ndt_over_plain": {
            mode: ratio(found(f"ndt.{mode}", "updates_per_second"), plain)
            for mode in ("speed", "captured", "tf32", "bfloat16")
        },
        "population20_over_one": {
            mode: ratio(*(case and case["seconds_per_update"] for case in (twenty, one)))
            for mode, one, twenty in zip(("speed", "captured"), alone, many, strict=True)
        },
        "population20_over_20_processes": ratio(least(many), processes),
        "recorded_over_eager": {
            network: ratio(*(found(f"{network}.{mode}", "updates_per_second") for mode in ("captured", "speed")))
            for network in NETWORKS
        },
        # times as many updates of all networks as one after the other
        "side_by_side": {
            network: {
                number: ratio(
                    case["updates_per_second"] * int(number), found(f"{network}.captured", "updates_per_second")
                )
                for number, case in (found(f"{network}.together", "networks") or {}).items()
            }
            for network in NETWORKS
        },
        "largest_difference_side_by_side": {network: found(f"{network}.together", "largest") for network in NETWORKS},
        "hours_of_nlb21_at_most": {network: hours(network, best(network)) for network in ("gru", "ndt", "stndt")}
        | {"lfads": hours("lfads", best("lfads")), "autolfads": hours("lfads", least(many))},
    }


def least(cases: list[dict | None]) -> float | None:
    return min((case["seconds_per_update"] for case in cases if case), default=None)


def hours(network: str, seconds: float | None) -> dict | None:
    """Hours of one training on each dataset at its settings in config.yaml, to the last epoch, by the time of an update
    on MC_Maze_Large; of LFADS, whose updates go from bin to bin, times the bins."""
    if seconds is None:
        return None
    sys.path.append(str(HERE.parent / "scripts"))
    from nlbflow.models.catalogue import read_declaration, resolve_params

    stanza = yaml.safe_load((HERE.parent / "config.yaml").read_text())["models"][network]
    defaults = read_declaration(HERE.parent / "scripts/models" / stanza["file"])["DEFAULTS"]
    found = {}
    for dataset, (trials, bins) in DATASETS.items():
        params = resolve_params(network, stanza, defaults, dataset, 5)
        fitted = trials - -(-trials // 5)
        if "max_epochs" in params:
            updates = params["max_epochs"] * max(1, fitted // params["batch"]) * bins / DATASETS["mc_maze_large"][1]
        else:
            updates = params["epochs"] * -(-fitted // params["batch"])
        found[dataset] = round(updates * seconds / 3600, 3)
    return {**found, "all": round(sum(found.values()), 2)}


if __name__ == "__main__":
    main()
