"""The one training loop of all networks: fit to training trials, validate on a part of them, keep the best weights.

The model defines the network and its loss on a batch. This module defines what is the same for every model: the order
of steps, when to stop, and how a killed job continues to the same result. Several networks that differ in their seeds
can be trained side by side, by the same loop.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from nlbflow.methods.networks.checkpoints import History, load_checkpoint, save_checkpoint
from nlbflow.methods.networks.common import prediction
from nlbflow.methods.networks.device import Streams, memory_mb
from nlbflow.methods.networks.graphs import beside
from nlbflow.methods.networks.memory import needed, tell
from nlbflow.methods.networks.settings import PRECISIONS, Settings, learning_rate, validation_trials
from nlbflow.methods.networks.updates import SideBySide, Updates
from nlbflow.recordings.model_input import ModelInput
from nlbflow.running.code import digest_of

SECONDS_BETWEEN_LINES = 5
# What a prediction keeps of each epoch: only what is reproducible.
CURVES = ("refitting", "epoch", "training_loss", "validation_loss", "learning_rate")
FITTING, REFITTING, DONE = "fitting", "refitting", "done"


def train(
    net: nn.Module,
    trials: dict[str, Tensor],
    training_loss: Callable[[nn.Module, dict[str, Tensor], Tensor | int], Tensor],
    validation_loss: Callable[[nn.Module, dict[str, Tensor]], Tensor],
    validation_facts: Callable[[nn.Module, dict[str, Tensor]], dict[str, float]],
    settings: Settings,
    work: Path | None = None,
    plan: Callable[[int, torch.Generator | None], list[float]] | None = None,
) -> tuple[dict, dict]:
    """Fit a network and leave it with the weights of the lowest validation loss; with `refit`, fit it again to all
    trials, for as many epochs as those weights took.

    Every random number comes from torch's own generators (see `prepare`), whose states are in the checkpoint.
    Validation draws from a generator that starts anew each time, so that its losses can be compared.

    Args:
        net: the network, on the device for training.
        trials: tensors with trials as first dimension, on the same device.
        training_loss: from the network, a batch (the same names as `trials`) and the numbers of `plan`, a tensor;
            without a plan, the epoch, counted from 0.
        validation_loss: from the network, in evaluation mode, and all validation trials.
        validation_facts: what is to be told of the network with the best weights, before `refit`, on all validation
            trials.
        settings: the settings.
        work: the job's own folder, for checkpoints and training.jsonl; its content was made with the same input,
            parameters, seed and code.
        plan: what the host draws for an update in an epoch, always as many numbers. Only with a plan are updates
            recorded on a GPU.

    Returns:
        facts: parameters, epochs, best_epoch, validation_loss, device, and validation_facts; and the history, CURVES
        over the epochs.
    """
    losses = training_loss, validation_loss, validation_facts
    return _train(_Run([net], [], trials, losses, settings, [work], plan, work))[0]


@dataclass(frozen=True)
class Task:
    """What a model gives to `train`, whose arguments these are; `losses` are its three functions. The network takes
    held-in counts and draws by `nlbflow.methods.networks.draws` alone, so it can be trained side by side with others.
    `show` adds to a prediction what the trained network shows beyond rates.
    """

    net: nn.Module
    trials: dict[str, Tensor]
    losses: tuple[Callable, Callable, Callable]
    settings: Settings
    plan: Callable[[int, torch.Generator | None], list[float]]
    show: Callable[[nn.Module, ModelInput, dict], None] | None = None

    def predict(self, data: ModelInput) -> dict:
        """Train the network and predict with it."""
        facts, history = train(self.net, self.trials, *self.losses, self.settings, data.work, self.plan)
        return self.predict_with(self.net, data, facts, history)

    def predict_with(self, net: nn.Module, data: ModelInput, facts: dict, history: dict) -> dict:
        """What a model's `predict` returns, with a trained network."""
        predicted = prediction(net, data, facts, history)
        if self.show:
            self.show(net, data, predicted)
        return predicted


def predict_side_by_side(
    task_of: Callable[[ModelInput, dict, int], Task], data: ModelInput, params: dict, seeds: Sequence[int]
) -> list[dict]:
    """Train the networks of several seeds as one program, and predict with each; it becomes what it would alone, but
    for the last digits.

    Args:
        task_of: makes the task of a seed, with which it seeds torch.
        data: its `work`, if it has one, gets the checkpoint of all, and a folder for each seed.
    """
    nets, streams = [], []
    for seed in seeds:
        task = task_of(data, params, seed)
        nets.append(task.net)
        streams.append(Streams.here(next(task.net.parameters()).device))
    works = [data.work and data.work / f"seed_{seed}" for seed in seeds]
    run = _Run(nets, streams, task.trials, task.losses, task.settings, works, task.plan, data.work)
    trained = _train(run)
    return [task.predict_with(net, data, *told) for net, told in zip(nets, trained, strict=True)]


def _train(run: "_Run") -> list[tuple[dict, dict]]:
    while run.progress["stage"] != DONE:
        run.stage()
        run.finish_stage()
    return run.finish()


class _Run:
    """A training of one network, or of several side by side; of several, `streams` are what each draws from. The
    checkpoint of all is in `work`, the history of each in one of `works`.

    `progress` is the stage and the epoch of all; `each` says of each network how many lines its history has, its best
    epoch and loss, and whether it has ended the present stage.
    """

    def __init__(
        self, nets: Sequence[nn.Module], streams: Sequence[Streams], trials: dict[str, Tensor], losses: tuple,
        settings: Settings, works: Sequence[Path | None], plan: Callable | None, work: Path | None,
    ):  # fmt: skip
        training_loss, self.validation_loss, self.validation_facts = losses
        self.nets, self.streams, self.settings, self.work, self.plan = nets, streams, settings, work, plan
        self.device = next(nets[0].parameters()).device
        count = len(next(iter(trials.values())))
        self.fitted, validated = validation_trials(count, settings.validation_every_trials)
        self.everything = torch.arange(count)
        self.validation = {name: tensor[validated.to(self.device)] for name, tensor in trials.items()}
        number_format = PRECISIONS[settings.precision]
        autocast = torch.autocast(self.device.type, dtype=number_format, enabled=number_format is not None)
        tf32 = settings.precision == "tf32"
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
        recorded = replace(settings, capture=settings.capture and plan is not None)
        if streams:
            generators = [stream.device for stream in streams]
            self.updates = SideBySide(nets, trials, training_loss, recorded, autocast, generators)
        else:
            self.updates = Updates(nets[0], trials, training_loss, recorded, autocast)
        if self.device.type == "cuda" and plan:
            tell(needed(nets[0], trials, training_loss, plan, settings.batch, len(nets)), self.device)
        # from which the host draws; None: torch's own
        self.hosts = [stream.host for stream in streams] or [None]
        self.starts = [{name: tensor.clone() for name, tensor in net.state_dict().items()} for net in nets]
        self.best = [self.updates.of(number) for number in range(len(nets))]
        self.progress = {"stage": FITTING, "epoch": 0}
        began = {"lines": 0, "best_epoch": 0, "facts": {}, "ended": False}
        self.each = [{**began, "best_loss": loss} for loss in self.validate()]
        # `auto` may find another device
        made_of = {**asdict(settings), "device": self.device.type}
        self.digest = digest_of({**made_of, "streams": [stream.digest() for stream in streams]} if streams else made_of)
        self.said = self.stored = time.monotonic()
        self.resume()
        self.histories = [History(work, one["lines"]) for work, one in zip(works, self.each, strict=True)]

    def resume(self) -> None:
        """Go on where a killed job stopped, if one did."""
        saved = load_checkpoint(self.work, self.digest, self.device)
        if not saved:
            return
        self.progress, self.each, self.best = saved["progress"], saved["each"], saved["best"]
        self.updates.load_state_dict(saved["updates"])
        for stream, state in zip(self.streams, saved["streams"], strict=True):
            stream.set_state(state)
        _log(f"continuing from epoch {self.progress['epoch']} ({self.progress['stage']}) of an earlier, killed job")

    def checkpoint(self) -> None:
        self.stored = time.monotonic()
        if self.work is not None:
            content = {"progress": self.progress, "each": self.each, "best": self.best}
            content |= {"updates": self.updates.state_dict(), "streams": [stream.state() for stream in self.streams]}
            save_checkpoint(self.work, content, self.digest, self.device)

    def fit_epoch(self, rows: Tensor, epoch: int) -> list[tuple[float, float]]:
        """One pass over the trials: of each network mean loss and largest norm of a gradient."""
        updates, plan = self.updates, self.plan
        updates.begin_epoch(learning_rate(epoch, self.settings))
        # drawn on the CPU, so that the order is the same on every device, and sent in one transfer
        order = updates.joined([rows[torch.randperm(len(rows), generator=host)] for host in self.hosts])
        found = []
        with beside(updates.stream):
            for some in order.to(self.device).split(self.settings.batch, dim=-1):
                drawn = epoch
                if plan:
                    numbers = [torch.tensor(plan(epoch, host), dtype=torch.float64) for host in self.hosts]
                    drawn = updates.joined(numbers).to(self.device, non_blocking=True)
                found.append(updates(some, drawn))
            losses, norms = map(torch.stack, zip(*found, strict=True))
            # the only point in an epoch that waits for the GPU
            together = torch.stack([losses.mean(dim=0), norms.amax(dim=0)]).reshape(2, -1).T.tolist()
        return [(loss, norm) for loss, norm in together]

    def validate(self) -> list[float]:
        """The validation loss of each network."""
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []), torch.no_grad():
            torch.manual_seed(0)
            return self.updates.validation_loss(self.validation_loss, self.validation).reshape(-1).tolist()

    def active(self) -> list[int]:
        return [number for number, one in enumerate(self.each) if not one["ended"]]

    def end(self, number: int) -> None:
        """End the stage of a network. Others may go on, and it with them, so what it has drawn is taken back later."""
        self.each[number] |= {"ended": True, "stream": self.streams[number].state() if self.streams else None}

    def stage(self) -> None:
        """Fit, or fit again to all trials, as far as each network goes."""
        settings, progress, each = self.settings, self.progress, self.each
        refitting = progress["stage"] == REFITTING
        rows = self.everything if refitting else self.fitted
        epochs = max(one["best_epoch"] for one in each) if refitting else settings.epochs
        begun, first = time.monotonic(), progress["epoch"]
        for epoch in range(first, epochs):
            for number in self.active():
                since = epoch - each[number]["best_epoch"]
                if refitting and since >= 0:
                    self.end(number)
                elif not refitting and since >= settings.patience:
                    _log(f"no better validation loss for {settings.patience} epochs: training ends at epoch {epoch}")
                    self.end(number)
            if not self.active():
                break
            found = self.fit_epoch(rows, epoch)
            for number in self.active():
                loss, norm = found[number]
                if not math.isfinite(loss + norm):
                    _log(f"loss {loss}, gradient {norm} in epoch {epoch + 1}: training ends; lower learning_rate")
                    self.end(number)
            if not self.active():
                break

            progress["epoch"] = epoch + 1
            due = not refitting and ((epoch + 1) % settings.validate_every == 0 or epoch + 1 == epochs)
            losses = self.validate() if due else None
            now = time.monotonic()
            for number in self.active():
                one, (loss, norm) = each[number], found[number]
                one["lines"] += 1
                line = {"refitting": int(refitting), "epoch": epoch + 1, "training_loss": loss}
                if due:
                    line["validation_loss"] = losses[number]
                    if losses[number] < one["best_loss"]:
                        one |= {"best_epoch": epoch + 1, "best_loss": losses[number]}
                        self.best[number] = self.updates.of(number)
                line |= {"learning_rate": learning_rate(epoch, settings), "gradient_norm": norm}
                line |= {"seconds": round(now - begun, 3), "memory_mb": memory_mb(self.device)}
                self.histories[number].write(line)
                if refitting and epoch + 1 == one["best_epoch"]:
                    self.best[number] = self.updates.of(number)

            if now - self.said >= SECONDS_BETWEEN_LINES:
                self.said, took = now, (now - begun) / (epoch + 1 - first)
                _log(
                    f"{progress['stage']}: epoch {epoch + 1} of {epochs} "
                    f"({100 * (epoch + 1) / epochs:.0f} %), {took:.3g} s each, {(epochs - epoch - 1) * took / 60:.1f} "
                    f"min left at most; loss {loss:.5f}, best validation {one['best_loss']:.5f} in epoch "
                    f"{one['best_epoch']}" + (f" (one of {len(each)} side by side)" if len(each) > 1 else "")
                )
            if now - self.stored >= 60 * settings.checkpoint_minutes:
                self.checkpoint()

    def finish_stage(self) -> None:
        """Tell of the best weights; then fit again, or be done."""
        refitting = self.progress["stage"] == REFITTING
        for number, (net, one) in enumerate(zip(self.nets, self.each, strict=True)):
            net.load_state_dict(self.best[number])
            net.eval()
            if not refitting:
                one["facts"] = self.validation_facts(net, self.validation)
        if refitting or not self.settings.refit:
            self.progress["stage"] = DONE
            return
        self.updates.restart(self.starts)
        for number, one in enumerate(self.each):
            if one["ended"] and self.streams:
                self.streams[number].set_state(one["stream"])
            one |= {"ended": False, "stream": None}
        self.progress |= {"stage": REFITTING, "epoch": 0}

    def finish(self) -> list[tuple[dict, dict]]:
        """Facts and history of each network."""
        # a kill before the prediction is written then loses nothing
        self.checkpoint()
        device = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"
        found = []
        for net, one, best, history in zip(self.nets, self.each, self.best, self.histories, strict=True):
            history.close()
            net.load_state_dict(best)
            net.eval()
            facts = {
                "parameters": sum(p.numel() for p in net.parameters()),
                "epochs": one["lines"],
                "best_epoch": one["best_epoch"],
                "validation_loss": one["best_loss"],
                **one["facts"],
                "device": device,
            }
            found.append((facts, history.columns(CURVES)))
        return found


def _log(line: str) -> None:
    logging.getLogger("nlbflow").info(line)
