"""The one training loop of all networks: fit to training trials, validate on a part of them, keep the best weights.

The model defines the network and its loss on a batch. This module defines what is the same for every model: the order
of steps, the learning rate, when to stop, and how a killed job continues to the same result.
"""

import copy
import logging
import math
import time
from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from nlbflow.errors import NlbflowError
from nlbflow.methods.networks.checkpoints import History, load_checkpoint, save_checkpoint
from nlbflow.methods.networks.device import memory_mb
from nlbflow.methods.networks.updates import Updates
from nlbflow.running.code import digest_of

SECONDS_BETWEEN_LINES = 5
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = {"float32": None, "tf32": None, "bfloat16": torch.bfloat16}
SCHEDULES = ("cosine", "constant")
# What a prediction keeps of each epoch: only what is reproducible.
CURVES = ("refitting", "epoch", "training_loss", "validation_loss", "learning_rate")


@dataclass(frozen=True)
class Settings:
    """The settings of training. A model's DEFAULTS name those that users may change; the others keep these values."""

    # most passes over the training trials; the cosine schedule ends there
    epochs: int
    # trials per update
    batch: int
    # highest learning rate of AdamW
    learning_rate: float
    # epochs over which the rate climbs to its highest, because Adam's first updates are large and badly aimed
    warmup_epochs: int = 0
    # after that, cosine falls to 0 at the last epoch and constant stays
    schedule: str = "cosine"
    # decoupled weight decay (Loshchilov & Hutter 2019) of every parameter
    weight_decay: float = 0.0
    # decay per update of the running mean of the weights, which is validated and kept; 0: the weights themselves.
    # Averaged weights need no schedule that ends at the right moment, and are better than any that enter the average
    # (Izmailov et al. 2018, arXiv:1803.05407)
    averaging: float = 0.0
    # largest norm of a gradient: a rare steep batch moves the weights no further than this
    clip_norm: float = 200.0
    # one in so many training trials is for validation, starting with the first
    validation_every_trials: int = 5
    # epochs between two validations
    validate_every: int = 1
    # epochs without a better validation loss after which training ends
    patience: int = 1_000_000
    # train again from the start, on all trials, for the best number of epochs, because small data miss the validation
    # trials
    refit: bool = False
    # auto takes a GPU if there is one
    device: str = "auto"
    # bfloat16 halves time and memory on recent GPUs; weights, losses and optimiser stay in float32. tf32, on GPUs only,
    # rounds the factors of products to 11 bits
    precision: str = "float32"
    # on a GPU, record and replay updates (updates.py); only for a model with a plan of what its host draws
    capture: bool = True
    # the most that a killed job loses
    checkpoint_minutes: float = 3.0

    @classmethod
    def of(cls, params: dict) -> "Settings":
        """The settings among a model's parameters.

        Raises:
            NlbflowError: a setting is out of range.
        """
        settings = cls(**{field.name: params[field.name] for field in fields(cls) if field.name in params})
        for name in ("epochs", "batch", "validate_every", "patience"):
            if getattr(settings, name) < 1:
                raise NlbflowError(f"the parameter {name} is {getattr(settings, name)}; expected at least 1.")
        for name, known in (("device", DEVICES), ("precision", PRECISIONS), ("schedule", SCHEDULES)):
            if getattr(settings, name) not in known:
                raise NlbflowError(
                    f"the parameter {name} is {getattr(settings, name)!r}; expected one of {', '.join(known)}."
                )
        return settings


def validation_trials(trials: int, every: int) -> tuple[Tensor, Tensor]:
    """Rows of the trials to fit to, and of every n-th trial, starting with the first, to validate on. They are the same
    for every seed and model, so that validation scores can be compared.

    Raises:
        NlbflowError: one of the two would be empty.
    """
    rows = torch.arange(trials)
    if every < 2 or trials < 2:
        raise NlbflowError(
            f"expected 2 or more training trials and validation_every_trials >= 2, but found {trials} and {every}."
        )
    return rows[rows % every != 0], rows[rows % every == 0]


def learning_rate(epoch: int, settings: Settings) -> float:
    """The rate in an epoch (from 0): linear warm-up, then cosine to 0 (Loshchilov & Hutter 2017) or constant."""
    if epoch < settings.warmup_epochs:
        return settings.learning_rate * (epoch + 1) / settings.warmup_epochs
    if settings.schedule == "constant":
        return settings.learning_rate
    done = (epoch - settings.warmup_epochs) / max(1, settings.epochs - settings.warmup_epochs)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def train(
    net: nn.Module,
    trials: dict[str, Tensor],
    training_loss: Callable[[nn.Module, dict[str, Tensor], Hashable], Tensor],
    validation_loss: Callable[[nn.Module, dict[str, Tensor]], Tensor],
    validation_facts: Callable[[nn.Module, dict[str, Tensor]], dict[str, float]],
    settings: Settings,
    work: Path | None = None,
    plan: Callable[[int], Hashable] | None = None,
) -> tuple[dict, dict]:
    """Fit a network and leave it with the weights of the lowest validation loss; with `refit`, fit it again to all
    trials, for as many epochs as those weights took.

    Every random number comes from torch's own generators (see `prepare`), whose states are in the checkpoint.
    Validation draws from a generator that starts anew each time, so that its losses can be compared.

    Args:
        net: the network, on the device for training.
        trials: tensors with trials as first dimension, on the same device.
        training_loss: from the network, a batch (the same names as `trials`) and its plan.
        validation_loss: from the network, in evaluation mode, and all validation trials.
        validation_facts: what is to be told of the network with the best weights, before `refit`, on all validation
            trials.
        settings: the settings.
        work: the job's own folder, for checkpoints and training.jsonl; its content was made with the same input,
            parameters, seed and code.
        plan: gives, for an epoch counted from 0, what the host draws for an update, one of few values. Without it the
            epoch itself is the plan, and updates are not recorded on a GPU.

    Returns:
        facts: parameters, epochs, best_epoch, validation_loss, device, and validation_facts; and the history, CURVES
        over the epochs.
    """
    device = next(net.parameters()).device
    fitted, validated = validation_trials(len(next(iter(trials.values()))), settings.validation_every_trials)
    everything = torch.arange(len(fitted) + len(validated))
    validation = {name: tensor[validated.to(device)] for name, tensor in trials.items()}
    autocast = torch.autocast(
        device.type, dtype=PRECISIONS[settings.precision], enabled=PRECISIONS[settings.precision] is not None
    )
    tf32 = settings.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    # what is validated and kept: the network itself, or its running mean
    kept = copy.deepcopy(net) if settings.averaging else net

    def new_updates() -> Updates:
        recorded = replace(settings, capture=settings.capture and plan is not None)
        return Updates(net, kept, trials, training_loss, recorded, autocast)

    def fit_epoch(rows: Tensor, epoch: int) -> tuple[float, float]:
        """One pass over the trials: mean loss and largest norm of a gradient."""
        net.train()
        updates.set_rate(learning_rate(epoch, settings))
        # drawn on the CPU, so that the order is the same on every device, and sent in one transfer
        batches = rows[torch.randperm(len(rows))].to(device).split(settings.batch)
        with updates.beside():
            found = [updates(some, plan(epoch) if plan else epoch) for some in batches]
            losses, norms = map(torch.stack, zip(*found, strict=True))
            # the only point in an epoch that waits for the GPU
            loss, norm = torch.stack([losses.mean(), norms.max()]).tolist()
        return loss, norm

    def validate() -> float:
        kept.eval()
        with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad(), autocast:
            torch.manual_seed(0)
            return validation_loss(kept, validation).item()

    start, updates = _copy(net.state_dict()), new_updates()
    best = _copy(kept.state_dict())
    progress = {"stage": "fitting", "epoch": 0, "lines": 0, "best_epoch": 0, "best_loss": validate(), "facts": {}}
    # `auto` may find another device
    digest = digest_of({**asdict(settings), "device": device.type})
    saved = load_checkpoint(work, digest, device)
    if saved:
        progress, best = saved["progress"], saved["best"]
        net.load_state_dict(saved["net"])
        kept.load_state_dict(saved["kept"])
        updates.optimizer.load_state_dict(saved["optimizer"])
        _log(f"continuing from epoch {progress['epoch']} ({progress['stage']}) of an earlier, killed job")

    def checkpoint() -> None:
        modules = {"net": net, "kept": kept, "optimizer": updates.optimizer}
        states = {name: module.state_dict() for name, module in modules.items()}
        save_checkpoint(work, {**states, "best": best, "progress": progress}, digest, device)

    history = History(work, progress["lines"])
    said = stored = time.monotonic()

    while progress["stage"] != "done":
        refitting = progress["stage"] == "refitting"
        rows, epochs = (everything, progress["best_epoch"]) if refitting else (fitted, settings.epochs)
        begun, first = time.monotonic(), progress["epoch"]

        for epoch in range(first, epochs):
            if not refitting and epoch - progress["best_epoch"] >= settings.patience:
                _log(f"no better validation loss for {settings.patience} epochs: training ends at epoch {epoch}")
                break
            loss, norm = fit_epoch(rows, epoch)
            if not math.isfinite(loss + norm):
                _log(f"loss {loss}, gradient {norm} in epoch {epoch + 1}: training ends; lower learning_rate")
                break

            progress |= {"epoch": epoch + 1, "lines": progress["lines"] + 1}
            line = {"refitting": int(refitting), "epoch": epoch + 1, "training_loss": loss}
            if not refitting and ((epoch + 1) % settings.validate_every == 0 or epoch + 1 == epochs):
                line["validation_loss"] = validate()
                if line["validation_loss"] < progress["best_loss"]:
                    progress |= {"best_epoch": epoch + 1, "best_loss": line["validation_loss"]}
                    best = _copy(kept.state_dict())
            now = time.monotonic()
            line |= {"learning_rate": learning_rate(epoch, settings), "gradient_norm": norm}
            history.write(line | {"seconds": round(now - begun, 3), "memory_mb": memory_mb(device)})

            if now - said >= SECONDS_BETWEEN_LINES:
                said, each = now, (now - begun) / (epoch + 1 - first)
                _log(
                    f"{progress['stage']}: epoch {epoch + 1} of {epochs} "
                    f"({100 * (epoch + 1) / epochs:.0f} %), {each:.3g} s each, {(epochs - epoch - 1) * each / 60:.1f} "
                    f"min left at most; loss {loss:.5f}, best validation {progress['best_loss']:.5f} in epoch "
                    f"{progress['best_epoch']}"
                )
            if work is not None and now - stored >= 60 * settings.checkpoint_minutes:
                stored = now
                checkpoint()

        if not refitting:
            kept.load_state_dict(best)
            kept.eval()
            progress["facts"] = validation_facts(kept, validation)
        elif progress["epoch"] == epochs:
            best = _copy(kept.state_dict())
        if refitting or not settings.refit:
            progress["stage"] = "done"
        else:
            net.load_state_dict(start)
            kept.load_state_dict(start)
            updates = new_updates()
            progress |= {"stage": "refitting", "epoch": 0}

    history.close()
    if work is not None:
        # a kill before the prediction is written then loses nothing
        checkpoint()
    net.load_state_dict(best)
    net.eval()
    facts = {
        "parameters": sum(p.numel() for p in net.parameters()),
        "epochs": progress["lines"],
        "best_epoch": progress["best_epoch"],
        "validation_loss": progress["best_loss"],
        **progress["facts"],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
    }
    return facts, history.columns(CURVES)


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def _log(line: str) -> None:
    logging.getLogger("nlbflow").info(line)
