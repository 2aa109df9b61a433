"""Speed and memory of training, for gpu_steps.py: eager and recorded, alone, side by side and as a population."""

import json
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import torch

from gpu_inputs import Told, made_up, params_of
from nlbflow.methods.lfads import fit as lfads_fit
from nlbflow.methods.lfads import training as lfads_training
from nlbflow.methods.networks import training, updates
from nlbflow.methods.networks.memory import needed

LFADS = ("lfads", "autolfads")
STEPS = Path(__file__).with_name("gpu_steps.py")


class EnoughError(Exception):
    """Raised out of a training that has been measured, or that is to be killed."""


def has(setting: str) -> bool:
    """Whether training has such a setting."""
    return setting in {field.name for field in fields(training.Settings)}


def short(network: str) -> dict:
    """Parameters of a training of a few epochs, with everything in it that is random."""
    if network == "lfads":
        return {"max_epochs": 3, "generation_epochs": 1, "validate_epochs": 1, "samples": 4, "batch": 60}
    return {"epochs": 4, "warmup_epochs": 1, "checkpoint_minutes": 0.0, "validate_every": 1}


@contextmanager
def eager():
    """No update is recorded."""
    with patch.object(updates, "Recorder", lambda update, _: update):
        with patch.object(lfads_training, "Recorder", lambda update, _: update):
            yield


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
        holder, name, epochs, beside = lfads_fit.Workers, "train", portion, 1
        updates = epochs * max(1, fitted // params["batch"])
    else:
        holder, name, epochs, beside = training.History, "write", 1, networks
        updates = -(-fitted // params["batch"])
    original = getattr(holder, name)

    def timed(*arguments, **named) -> None:
        nonlocal writes
        original(*arguments, **named)
        writes += 1
        if writes % beside == 0:
            passed()

    def train() -> None:
        if networks == 1:
            module.predict(data, params, 0)
        else:
            module.predict_seeds(data, params, range(networks))

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
    beside = module.predict_seeds(data, params, seeds)
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
    command = [sys.executable, "-u", str(STEPS), json.dumps(step)]
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


def differences(one: np.ndarray, other: np.ndarray) -> dict:
    apart = abs(one.astype(float) - other)
    return {"largest": float(apart.max()), "mean": float(apart.mean()), "spread_of_log_rates": float(one.std())}


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
