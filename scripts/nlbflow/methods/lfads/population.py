"""The parts of LFADS's population-based training (AutoLFADS; Keshtkaran et al. 2022, Nature Methods 19:1572).

All members are trained at once, as one batched program: weights, gradients and Adam's moments are matrices (members,
parameters), hyperparameters columns (members,), so exploit and explore copy rows. Every member draws from streams of
its own (seed, member, generation), so it would become the same if trained alone. A population of one is plain LFADS.

Every choice is made on a part of the training trials, by the likelihood of their held-out neurons, which the encoders
never see.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from nlbflow.methods.lfads import net as lfads
from nlbflow.methods.lfads.net import Draws, Sizes

# The loss is scaled before gradients are clipped, with the published value.
LOSS_SCALE = 1e4
# The fields of a population that have a row for each member.
MEMBERS = ("weights", "average", "first", "second", "hyper")
# Purposes of a member's streams, and the member number for what concerns all.
WEIGHTS, EPOCHS, TOURNAMENT, PREDICTION = range(4)
EVERYONE = 1_000_000


@dataclass(frozen=True)
class Range:
    """Where a hyperparameter may lie, and how it is explored.

    Attributes:
        low, high: bounds, equal for a fixed value.
        explore: a perturbation multiplies by a number drawn from 1 - explore to 1 + explore.
        start: the first value; None: drawn from the range, on a logarithmic scale if low > 0.
    """

    low: float
    high: float
    explore: float = 0.0
    start: float | None = None


HYPERPARAMETERS = ("learning_rate", "dropout", "cd_rate", "kl_ic", "kl_input", "l2_generator", "l2_controller")


@dataclass(frozen=True)
class Trials:
    """Some trials: counts (bins + ahead, trials, neurons), held-in neurons first; known, of the same shape, is 1 where
    there is a count; elsewhere both are 0.
    """

    counts: Tensor
    known: Tensor


@dataclass(frozen=True)
class Schedule:
    """Settings of training beside hyperparameters: trials per batch; epochs over which KL and L2 penalties grow
    linearly from 0; decay per update of the running mean of the weights, which is validated and predicts (Izmailov et
    al. 2018, arXiv:1803.05407; 0: the weights themselves); epochs over which the learning rates fall to 0 along a
    cosine (Loshchilov & Hutter 2017, arXiv:1608.03983; 0: they stay).
    """

    batch: int
    ramp_epochs: int
    averaging: float
    decay_epochs: int = 0


@dataclass
class Population:
    """The state of a population in training; `history` has a row per generation and member, and `refitted` the state of
    the member that is trained once more on all trials.
    """

    weights: Tensor
    average: Tensor
    first: Tensor
    second: Tensor
    hyper: Tensor
    best: Tensor
    best_loss: float = math.inf
    best_generation: int = 0
    generation: int = 0
    updates: int = 0
    history: list = field(default_factory=list)
    refitted: dict = field(default_factory=dict)


def stream(seed: int, member: int, *purpose: int, device: str = "cpu") -> torch.Generator:
    """A random stream of one member and purpose."""
    return torch.Generator(device).manual_seed(seed_of(seed, member, *purpose))


def seed_of(seed: int, member: int, *purpose: int) -> int:
    """What such a stream begins with."""
    return int(np.random.SeedSequence([seed, member, *purpose]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def first_population(
    sizes: Sizes, trials: Trials, ranges: Mapping[str, Range], seed: int, members: list[int]
) -> Population:
    """Members before training; `members` are their numbers, which determine what they draw."""
    mean_counts = trials.counts.sum(dim=(0, 1)) / trials.known.sum(dim=(0, 1)).clamp_min(1)
    rows, hyper = [], []
    for member in members:
        rows.append(lfads.initial_weights(sizes, mean_counts.cpu(), stream(seed, member, WEIGHTS)))
        draw = np.random.default_rng([seed, member, WEIGHTS])
        hyper.append([_first_value(ranges[name], draw) for name in HYPERPARAMETERS])
    weights = torch.stack(rows).to(trials.counts.device)
    zeros = torch.zeros_like(weights)
    columns = torch.tensor(hyper, dtype=torch.float64)
    return Population(weights, weights.clone(), zeros, zeros.clone(), columns, weights[0].clone())


def training_loss(
    weights: Tensor, sizes: Sizes, trials: Trials, hyper: Mapping[str, Tensor], ramp: Tensor | float,
    streams: list,
) -> Tensor:  # fmt: skip
    """What each member minimises on its own batch, with random numbers from its own stream: (members,).

    Mean negative log-likelihood per entry, plus `ramp` times two penalties: the divergences (sums over dimensions and
    time, means over trials) and half the mean square of the recurrent weights, each times its weight.
    """
    seen = trials.counts[:, : sizes.bins, :, : sizes.heldin]
    dropped = _uniform(seen.shape, streams, seen) < hyper["cd_rate"].view(-1, 1, 1, 1)
    draws = draw(sizes, hyper["dropout"], seen, streams)
    named = lfads.unpack(weights, sizes)
    outcome = lfads.run(named, lfads.coordinated_dropout(seen, dropped, hyper["cd_rate"]), draws, sizes)
    learns = lfads.learning_entries(dropped, hyper["cd_rate"], trials.known)
    penalty = hyper["kl_ic"] * outcome.kl_ic.mean(dim=1) + hyper["kl_input"] * outcome.kl_input.mean(dim=1)
    for part in ("generator", "controller"):
        penalty = penalty + hyper[f"l2_{part}"] * lfads.mean_squares(named, part)
    return LOSS_SCALE * (lfads.reconstruction(outcome.log_rates, trials.counts, learns) + ramp * penalty)


def validation_loss(weights: Tensor, sizes: Sizes, trials: Trials) -> Tensor:
    """Mean Poisson negative log-likelihood of held-out neurons in the observed window, in nats per entry: (members,).

    Computed from the posterior's mean, without dropout; infinite if it is not a number.
    """
    counts = trials.counts.expand(len(weights), -1, -1, -1)
    seen = counts[:, : sizes.bins, :, : sizes.heldin]
    hidden = slice(None), slice(sizes.bins), slice(None), slice(sizes.heldin, None)
    with torch.no_grad():
        outcome = lfads.run(lfads.unpack(weights, sizes), seen, no_noise(sizes, seen), sizes)
        loss = lfads.reconstruction(outcome.log_rates[hidden], counts[hidden], counts.new_ones(()))
    return torch.nan_to_num(loss.double().cpu(), nan=math.inf, posinf=math.inf)


def exploit_and_explore(
    population: Population, losses: Tensor, ranges: Mapping[str, Range], seed: int, generation: int
) -> list[int]:
    """Binary tournament, in place: a member that loses to a random other becomes its copy (weights, average, moments
    and hyperparameters); then its hyperparameters are perturbed within their ranges.

    Returns:
        each member's parent, itself if it won.
    """
    members = len(losses)
    rng = np.random.default_rng([seed, EVERYONE, TOURNAMENT, generation])
    parents, factors = list(range(members)), np.ones((members, len(HYPERPARAMETERS)))
    for member in range(members):
        opponent = (member + 1 + int(rng.integers(max(1, members - 1)))) % members
        perturbation = [1 + ranges[name].explore * rng.uniform(-1, 1) for name in HYPERPARAMETERS]
        if losses[opponent] < losses[member]:
            parents[member], factors[member] = opponent, perturbation
    for name in MEMBERS:
        # in place, because a recorded update writes where they were
        rows = getattr(population, name)
        rows.copy_(rows[parents])
    bounds = torch.tensor([[ranges[n].low, ranges[n].high] for n in HYPERPARAMETERS], dtype=torch.float64)
    population.hyper = (population.hyper * torch.from_numpy(factors)).clamp(bounds[:, 0], bounds[:, 1])
    return parents


def draw(sizes: Sizes, dropout: Tensor | None, seen: Tensor, streams: list) -> Draws:
    """Noise for a batch `seen` (members, bins, trials, heldin), and dropout at the rates (members,), if any."""
    members, _, trials, _ = seen.shape
    noise = (
        _normal((members, trials, sizes.ic_dim), streams, seen),
        _normal((members, sizes.steps, trials, sizes.inferred_inputs), streams, seen),
    )
    if dropout is None:
        return Draws(*noise)
    return Draws(
        *noise,
        _keep((members, trials, 2 * sizes.ic_encoder), dropout, streams, seen),
        _keep((members, sizes.seen_steps, trials, 2 * sizes.ci_encoder), dropout, streams, seen),
        _keep((members, sizes.steps, trials, sizes.factors), dropout, streams, seen),
    )


def no_noise(sizes: Sizes, seen: Tensor) -> Draws:
    """The draws that give the posterior's mean."""
    members, _, trials, _ = seen.shape
    inputs = members, sizes.steps, trials, sizes.inferred_inputs
    return Draws(seen.new_zeros(members, trials, sizes.ic_dim), seen.new_zeros(inputs))


def _uniform(shape: tuple, streams: list, like: Tensor) -> Tensor:
    drawn = like.new_empty(shape)
    for row, generator in zip(drawn, streams, strict=True):
        row.uniform_(generator=generator)
    return drawn


def _normal(shape: tuple, streams: list, like: Tensor) -> Tensor:
    drawn = like.new_empty(shape)
    for row, generator in zip(drawn, streams, strict=True):
        row.normal_(generator=generator)
    return drawn


def _keep(shape: tuple, rate: Tensor, streams: list, like: Tensor) -> Tensor:
    """0 with probability `rate` (members,), otherwise 1 / (1 - rate)."""
    rate = rate.view(-1, *[1] * (len(shape) - 1))
    return (_uniform(shape, streams, like) >= rate) / (1 - rate)


def _first_value(within: Range, rng: np.random.Generator) -> float:
    share = rng.random()
    if within.start is not None:
        return within.start
    if within.low > 0:
        return within.low * (within.high / within.low) ** share
    return within.low + (within.high - within.low) * share
