"""The steps of gpu.py, in a process that it starts: each a function that returns what it found, as JSON takes it.

A network is trained by its own `predict`, with the parameters that config.yaml has for MC_Maze_Large (5 ms), but for
what a step says. On a CPU, in a rehearsal, it is small.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from types import SimpleNamespace
from unittest.mock import patch

ROOT = Path(__file__).resolve().parent.parent
# last, so that no rule's script hides a package
sys.path.append(str(ROOT / "scripts"))

import numpy as np
import torch

from gpu import NETWORKS, SPOILED
from gpu_inputs import Told, made_up, params_of
from gpu_parts import compare_lfads, plain_ndt
from nlbflow.methods.lfads import fit as lfads_fit
from nlbflow.methods.lfads import training as lfads_training
from nlbflow.methods.networks import training, updates
from nlbflow.methods.networks.memory import needed
from nlbflow.methods.networks.settings import PRECISIONS

LFADS = ("lfads", "autolfads")
# Nothing random but the weights and the order of trials: what is drawn on a GPU differs from what is drawn on a CPU.
QUIET = dict.fromkeys(("dropout", "dropout_rates", "dropout_embedding", "input_dropout", "mask_ratio"), 0.0)
FEW = {"warmup_epochs": 0, "learning_rate": 1e-3, "averaging": 0.0, "refit": False, "validate_every": 1}
KILLED_AFTER = 2


class EnoughError(Exception):
    """Raised out of a training that has been measured, or that is to be killed."""


def has(setting: str) -> bool:
    """Whether training has such a setting."""
    return setting in {field.name for field in fields(training.Settings)}


def sha256(prediction: dict) -> str:
    """Of all arrays of a prediction."""
    digest = hashlib.sha256()
    for name in sorted(prediction):
        if name not in ("facts", "history"):
            digest.update(np.ascontiguousarray(prediction[name]).tobytes())
    return digest.hexdigest()[:16]


def versions(told: Told) -> dict:
    found = {"python": sys.version.split()[0], "torch": torch.__version__, "numpy": np.__version__}
    if told.rehearse:
        return {**found, "device": "cpu"}
    card = torch.cuda.get_device_properties(0)
    return {
        **found,
        "device": card.name,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "memory_gb": card.total_memory / 1e9,
        "processors": card.multi_processor_count,
        "cpus": os.cpu_count(),
        "smi": (smi("driver_version,clocks.max.sm,power.limit") or [""])[0],
    }


def agreement(network: str, told: Told) -> dict:
    """Rates after the same few updates, on a CPU and on the GPU: difference of their logarithms."""
    if network == "lfads":
        _, params = params_of(network, told)
        on_cpu, on_gpu = (compare_lfads(made_up(told), params, device) for device in ("cpu", told.device))
        return differences(on_cpu, on_gpu) | {"updates": 3}
    module, params = params_of(network, told, epochs=1)
    params |= {name: value for name, value in (QUIET | FEW).items() if name in params or has(name)}
    rates, facts = [], []
    for device in ("cpu", told.device):
        found = module.predict(made_up(told), params | {"device": device}, 0)
        rates.append(np.log(np.concatenate([found["eval_rates_heldin"], found["eval_rates_heldout"]], axis=2)))
        facts.append(found["facts"])
    updates = -(-(len(made_up(told).train_spikes_heldin) * 4 // 5) // params["batch"])
    losses = {"validation_loss_" + where: f["validation_loss"] for where, f in zip(("cpu", "gpu"), facts, strict=True)}
    # 0 where no update was better than none
    return differences(*rates) | losses | {"updates": updates, "best_epoch": facts[1]["best_epoch"]}


def differences(one: np.ndarray, other: np.ndarray) -> dict:
    apart = abs(one.astype(float) - other)
    return {"largest": float(apart.max()), "mean": float(apart.mean()), "spread_of_log_rates": float(one.std())}


def short(network: str) -> dict:
    """Parameters of a training of a few epochs, with everything in it that is random."""
    if network == "lfads":
        return {"max_epochs": 3, "generation_epochs": 1, "validate_epochs": 1, "samples": 4, "batch": 60}
    return {"epochs": 4, "warmup_epochs": 1, "checkpoint_minutes": 0.0, "validate_every": 1}


def train_short(network: str, told: Told, work: Path | None = None, **changes) -> str:
    module, params = params_of(network, told)
    data = made_up(told)
    data.work = work
    batch = {"batch": 6} if told.rehearse else {}
    return sha256(module.predict(data, params | short(network) | batch | changes, 0))


def repeat(network: str, told: Told) -> dict:
    """The same training twice, once killed after its second checkpoint and taken up again, and once with no update
    recorded."""
    first, second = train_short(network, told), train_short(network, told)
    holder, name = (lfads_fit._Folder, "keep") if network == "lfads" else (training, "save_checkpoint")
    original, calls = getattr(holder, name), []

    def dies(*arguments) -> None:
        original(*arguments)
        calls.append(1)
        if len(calls) == KILLED_AFTER:
            raise EnoughError

    with tempfile.TemporaryDirectory() as folder:
        try:
            with patch.object(holder, name, dies):
                train_short(network, told, Path(folder))
        except EnoughError:
            resumed = train_short(network, told, Path(folder))
    with eager():
        called = train_short(network, told)
    return {
        "sha256": first,
        "same_twice": first == second,
        "same_after_kill": first == resumed,
        "same_eager": first == called,
    }


@contextmanager
def eager():
    """No update is recorded."""
    with patch.object(updates, "Recorder", lambda update, _: update):
        with patch.object(lfads_training, "Recorder", lambda update, _: update):
            yield


def fresh(told: Told) -> dict:
    """The same trainings in this, another process."""
    return {network: train_short(network, told) for network in NETWORKS}


def speed(network: str, told: Told, networks: int = 1, **changes) -> dict:
    """Seconds of an epoch and an update, validation included, peak memory and utilisation of the GPU.

    Args:
        networks: trained side by side.
    """
    # so long that it is ended from here
    endless = {"epochs": 10**6, "max_epochs": 10**6, "patience": 10**6, "refit": False}
    if network in LFADS:
        portion = 1 if told.rehearse else 5
        endless |= {"generation_epochs": portion, "validate_epochs": portion}
    module, params = params_of(network, told)
    params |= {name: value for name, value in endless.items() if name in params or has(name)} | changes
    data, moments = made_up(told), [time.perf_counter()]
    fitted = len(data.train_spikes_heldin) - -(-len(data.train_spikes_heldin) // 5)

    writes = 0

    def passed() -> None:
        if told.device == "cuda":
            torch.cuda.synchronize()
        moments.append(time.perf_counter())
        if len(moments) > 4 and moments[-1] - moments[2] >= told.seconds:
            raise EnoughError

    if network in LFADS:
        holder, name, epochs = lfads_fit.Workers, "train", portion
        updates = epochs * max(1, fitted // params["batch"])
    else:
        holder, name, epochs = training.History, "write", 1
        updates = -(-fitted // params["batch"])
    original = getattr(holder, name)

    def timed(*arguments, **named) -> None:
        nonlocal writes
        original(*arguments, **named)
        writes += 1
        if writes % networks == 0:
            passed()

    def train() -> None:
        if networks == 1:
            module.predict(data, params, 0)
        else:
            seeds = range(networks)
            training.predict_side_by_side(lambda seed: module.task(data, params, seed), data, seeds, [None] * networks)

    with measured(told) as found, patch.object(holder, name, timed), suppress(EnoughError):
        train()
    # the first one loads code and chooses algorithms, the second may still record
    each = median(later - earlier for earlier, later in pairwise(moments[2:]))
    return {
        "seconds_per_epoch": each / epochs,
        "seconds_per_update": each / updates,
        "updates_per_second": updates / each,
        "first_epoch_seconds": moments[1] - moments[0],
        "batch": params["batch"],
        "needed_mb": None if network in LFADS else needed_mb(module.task(data, params, 0), networks),
        **vars(found),
    }


def needed_mb(task: training.Task, networks: int) -> float:
    """What is said before a training."""
    return needed(task.net, task.trials, task.losses[0], task.plan, task.settings.batch, networks) / 1e6


def together(network: str, told: Told) -> dict:
    """Networks of several seeds as one program: their speed, and how far they are from what each is alone."""
    module, params = params_of(network, told)
    params |= short(network) | ({"batch": 6} if told.rehearse else {})
    data, seeds = made_up(told), (0, 1)
    beside = training.predict_side_by_side(lambda seed: module.task(data, params, seed), data, seeds, [None] * 2)
    apart = [
        differences(*(np.log(one["eval_rates_heldout"]) for one in (found, module.predict(data, params, seed))))
        for seed, found in zip(seeds, beside, strict=True)
    ]
    numbers = (2,) if told.rehearse else (8, 32)
    return {
        "largest": max(one["largest"] for one in apart),
        "networks": {str(number): speed(network, told, number) for number in numbers},
    }


def processes(told: Told) -> dict:
    """LFADS in as many processes at once as a population has members: the mean of their seconds per update."""
    many = 1 if told.rehearse else 20
    step = {"rehearse": told.rehearse, "limit": told.limit, "seconds": 3 * told.seconds, "steps": ["lfads.captured"]}
    command = [sys.executable, "-u", __file__, json.dumps(step)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(many)]
    try:
        told_by = [process.communicate()[0].splitlines()[-1] for process in started]
    finally:
        for process in started:
            process.kill()
    return {"processes": many, "seconds_per_update": mean(json.loads(line)["seconds_per_update"] for line in told_by)}


def populations(told: Told, **changes) -> dict:
    """AutoLFADS: one member, and twenty."""
    many = 2 if told.rehearse else 20
    return {
        name: speed("autolfads", told, population=size, threads=1, **changes)
        for name, size in (("one", 1), ("twenty", many))
    }


def precision(network: str, told: Told) -> dict:
    """Bits per spike of validation trials after the same training in other number formats."""
    module, params = params_of(network, told)
    epochs = 4 if told.rehearse else 60
    ramp = {"epochs": epochs, "warmup_epochs": 5, "refit": False, "validate_every": 2, "averaging": 0.0}
    found = {}
    for name in PRECISIONS:
        facts = module.predict(made_up(told), params | ramp | {"precision": name}, 0)["facts"]
        found[name] = {key: facts[key] for key in ("validation_co_bps", "validation_loss", "best_epoch")}
    return found


@contextmanager
def measured(told: Told):
    """Peak memory of the GPU and, by its driver, the share of the time in which it was at work."""
    found = SimpleNamespace(memory_mb=None, utilisation_percent=None)
    if told.device == "cpu":
        yield found
        return
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "250"]
    try:
        watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    except OSError:
        watch = None
    try:
        yield found
    finally:
        found.memory_mb = torch.cuda.max_memory_allocated() / 1e6
        if watch:
            watch.kill()
            seen = [int(line) for line in watch.communicate()[0].split("\n")[:-1] if line.strip().isdigit()]
            # the beginning is no training yet
            found.utilisation_percent = mean(seen[len(seen) // 2 :]) if seen else None


def smi(query: str) -> list[str]:
    try:
        command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.splitlines()
    except (OSError, subprocess.TimeoutExpired):
        return []


def take(step: str, told: Told) -> dict:
    network, kind = step.split(".")
    if network == "device":
        return versions(told)
    if network == "fresh":
        return fresh(told)
    if network == "precision":
        return precision(kind, told)
    if network == "plain_ndt":
        _, params = params_of("ndt", told)
        with measured(told) as found:
            updates = plain_ndt(made_up(told), params, told.device, told.seconds)
        return {"updates_per_second": updates, "batch": params["batch"], **vars(found)}
    if kind == "agreement":
        return agreement(network, told)
    if kind == "repeat":
        return repeat(network, told)
    if kind == "together":
        return together(network, told)
    if kind == "processes":
        return processes(told)
    changes = {} if kind in ("speed", "captured") else {"precision": kind}
    with eager() if kind == "speed" else nullcontext():
        return populations(told) if network == "autolfads" else speed(network, told, **changes)


def main(told: Told) -> None:
    def expire(*_) -> None:
        raise TimeoutError(f"the step did not end within {told.limit:g} s")

    signal.signal(signal.SIGALRM, expire)
    for step in told.steps:
        began, spoiled = time.perf_counter(), False
        signal.setitimer(signal.ITIMER_REAL, told.limit)
        try:
            found = take(step, told)
        except Exception as error:
            found = {"failed": traceback.format_exc()}
            spoiled = "CUDA" in str(error)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps({"step": step, **found, "step_seconds": round(time.perf_counter() - began, 2)}), flush=True)
        if spoiled:
            os._exit(SPOILED)


if __name__ == "__main__":
    main(Told(**json.loads(sys.argv[1])))
