"""The steps of gpu.py, in a process that it starts: each a function that returns what it found, as JSON takes it.

A network is trained by its own `predict`, with the parameters that config.yaml has for MC_Maze_Large (5 ms), but for
what a step says. On a CPU, in a rehearsal, it is small.
"""

import hashlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parent.parent
# last, so that no rule's script hides a package
sys.path.append(str(ROOT / "scripts"))

import numpy as np
import torch

from gpu import NETWORKS, SPOILED
from gpu_inputs import Told, made_up, params_of
from gpu_parts import compare_lfads, plain_ndt
from gpu_speed import (
    EnoughError,
    differences,
    eager,
    has,
    measured,
    populations,
    processes,
    short,
    smi,
    speed,
    together,
)
from nlbflow.methods.lfads import fit as lfads_fit
from nlbflow.methods.networks import training
from nlbflow.methods.networks.settings import PRECISIONS

# Nothing random but the weights and the order of trials: what is drawn on a GPU differs from what is drawn on a CPU.
QUIET = dict.fromkeys(("dropout", "dropout_rates", "dropout_embedding", "mask_ratio"), 0.0)
# 0 is refused; with this share no count is hidden
QUIET["input_dropout"] = 1e-12
FEW = {"warmup_epochs": 0, "learning_rate": 1e-3, "averaging": 0.0, "refit": False, "validate_every": 1}
KILLED_AFTER = 2


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
    holder, name = (lfads_fit.Folder, "keep") if network == "lfads" else (training, "save_checkpoint")
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


def fresh(told: Told) -> dict:
    """The same trainings in this, another process."""
    return {network: train_short(network, told) for network in NETWORKS}


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
