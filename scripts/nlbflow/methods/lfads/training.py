"""Updates of a population of LFADS, all members as one batched program; on a GPU recorded and replayed."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nlbflow.methods.lfads.net import Sizes, time_steps
from nlbflow.methods.lfads.population import HYPERPARAMETERS, Population, Schedule, Trials, training_loss
from nlbflow.methods.networks.graphs import Recorder, beside, side_stream
from nlbflow.methods.networks.memory import BESIDE, COPIES, bytes_of, kept_bytes

# Gradients are clipped by each member's norm, with the published value, at the scale of `population.LOSS_SCALE`.
CLIP_NORM = 200.0
ADAM_DECAYS, ADAM_EPSILON = (0.9, 0.999), 1e-8
# Members per batched program on a CPU, whose caches hold no more. It runs such programs one after the other, and in
# several processes (see nlbflow.methods.lfads.members). On a GPU, one program has all members.
CPU_MEMBERS = 1
# The number of updates after which the running mean of the weights may keep half of its old value.
AVERAGING_START = 10


class Training:
    """Updates of all members of a population, in place; on a GPU recorded and replayed.

    Args:
        population: its tensors stay where they are in memory.
        streams: a random stream per member.
    """

    def __init__(self, population: Population, sizes: Sizes, trials: Trials, schedule: Schedule, streams: list):
        self.population, self.sizes, self.trials, self.schedule = population, sizes, trials, schedule
        self.streams, self.device = streams, trials.counts.device
        self.hyper = population.hyper.to(self.device, trials.counts.dtype)
        members = len(population.weights)
        together = CPU_MEMBERS if self.device.type == "cpu" else members
        self.blocks = [slice(start, start + together) for start in range(0, members, together)]
        # an update finds them on its device, where none may be sent while it is recorded
        time_steps(sizes, trials.counts.dtype, self.device)
        self.stream = side_stream(self.device)
        self.update = Recorder(self._update, streams) if self.stream else self._update

    def epochs(self, epochs: int) -> None:
        """Train every member for some epochs; an epoch leaves out trials that do not fill a batch."""
        count = self.trials.counts.shape[1]
        batches = max(1, count // self.schedule.batch)
        size = count // batches
        self.hyper.copy_(self.population.hyper)
        with beside(self.stream):
            for _ in range(epochs):
                order = torch.stack([torch.randperm(count, generator=s, device=self.device) for s in self.streams])
                chosen = order[:, : size * batches].split(size, dim=1)
                # in one transfer, since a GPU that is given numbers one by one waits for each
                numbers = torch.tensor([self._numbers(batches) for _ in chosen], dtype=self.hyper.dtype)
                for rows, told in zip(chosen, numbers.to(self.device), strict=True):
                    self.update(rows, told)

    def _numbers(self, batches: int) -> tuple[float, ...]:
        """What differs between updates but for trials and draws: the ramp, the share of the learning rate, the decay of
        the running mean, and Adam's two corrections of means that began at 0."""
        population, schedule = self.population, self.schedule
        ramp_updates = schedule.ramp_epochs * batches
        ramp = min(1.0, population.updates / ramp_updates) if ramp_updates else 1.0
        share = _cosine(population.updates, schedule.decay_epochs * batches)
        population.updates += 1
        # a short memory at first, when there is little to average
        decay = min(schedule.averaging, population.updates / (population.updates + AVERAGING_START))
        return ramp, share, decay, *(1 - kept**population.updates for kept in ADAM_DECAYS)

    def _update(self, chosen: Tensor, numbers: Tensor) -> tuple[Tensor, ...]:
        population, (ramp, share, decay, *corrections) = self.population, numbers.unbind()
        for rows in self.blocks:
            hyper = dict(zip(HYPERPARAMETERS, self.hyper[rows].unbind(1), strict=True))
            weights = population.weights[rows].clone().requires_grad_()
            batch = take(self.trials, chosen[rows])
            loss = training_loss(weights, self.sizes, batch, hyper, ramp, self.streams[rows])
            gradient = torch.autograd.grad(loss.sum(), weights)[0]
            adam_update(population, rows, gradient, share * hyper["learning_rate"], corrections)
            average = population.average[rows]
            torch.lerp(population.weights[rows], average, decay, out=average)
        return ()


def _cosine(updates: int, last: int) -> float:
    """From 1 to 0 at the last update; always 1 if that is 0."""
    return 0.5 * (1 + math.cos(math.pi * min(1.0, updates / last))) if last else 1.0


def take(trials: Trials, chosen: Tensor) -> Trials:
    """The trials `chosen` (members, trials) for each member: (members, bins + ahead, trials, neurons)."""
    time = torch.arange(len(trials.counts), device=chosen.device)[None, :, None]
    return Trials(trials.counts[time, chosen.unsqueeze(1)], trials.known[time, chosen.unsqueeze(1)])


def adam_update(
    population: Population, rows: slice, gradient: Tensor, learning_rate: Tensor, corrections: Sequence[Tensor]
) -> None:
    """An update of some rows by Adam (Kingma & Ba 2015, arXiv:1412.6980), in place: each row clips the norm of its own
    gradient and has its own learning rate.

    Args:
        corrections: 1 - decay^updates of the first and of the second moment.
    """
    gradient = gradient * (CLIP_NORM / gradient.norm(dim=1, keepdim=True)).clamp_max(1)
    slow, fast = ADAM_DECAYS
    first, second = population.first[rows], population.second[rows]
    torch.lerp(gradient, first, slow, out=first)
    torch.lerp(gradient.square(), second, fast, out=second)
    mean = first / corrections[0]
    spread = (second / corrections[1]).sqrt_().add_(ADAM_EPSILON)
    population.weights[rows].sub_(learning_rate.unsqueeze(1) * mean / spread)


def needed(population: Population, sizes: Sizes, trials: Trials, batch: int) -> int:
    """Bytes of a GPU's memory that updates of all members will need; see `nlbflow.methods.networks.memory`."""
    shapes, hyper = population.weights[:1].to("meta").requires_grad_(), population.hyper[:1].to("meta")
    some = Trials(*(part[None, :, :batch].to("meta") for part in (trials.counts, trials.known)))
    values = dict(zip(HYPERPARAMETERS, hyper.to(shapes.dtype).unbind(1), strict=True))
    kept = kept_bytes(lambda: training_loss(shapes, sizes, some, values, 1.0, [None]))
    each = COPIES * bytes_of([shapes]) + int(BESIDE * kept) + bytes_of([some.counts, some.known])
    return bytes_of([trials.counts, trials.known]) + len(population.weights) * each
