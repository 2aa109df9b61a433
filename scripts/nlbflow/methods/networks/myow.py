"""Mine Your Own vieW: an embedding of single moments of population activity, learnt without labels.

Azabou et al. 2021, arXiv:2102.10106, in the variant for neural data of 2022. An online network learns to predict, from
one view of a moment, what a slowly following target network makes of another: of an augmented moment a little later,
and of a mined one, a moment of another trial that the target finds alike.
"""

import copy
import logging
import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from nlbflow.errors import NlbflowError

log = logging.getLogger("nlbflow")

# The augmentations: most of the neurons dropped, spikes/s of pepper and the shares of samples and entries that get it,
# spikes/s of noise and the share of samples.
DROPPED, PEPPER, PEPPERED, SPECKLED, NOISE, NOISY = 0.2, 1.5, 0.5, 0.3, 1.5, 0.5
# How far the target stays where it was at each update.
MOMENTUM = 0.98
HIDDEN, PROJECTION, WARMUP_UPDATES, MINING_EPOCHS = 256, 32, 100, 10
LOG_EVERY_S = 5.0


@dataclass
class Recipe:
    """How an encoder is trained; names and meanings are those of the model's parameters."""

    width: int
    embedding: int
    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float
    shift: int
    mining: float
    neighbours: int


class Scaled(nn.Module):
    """Rates (samples, inputs) in units of their standard deviation in training; zeros where they never vary."""

    def __init__(self, rates: Tensor):
        super().__init__()
        sd = rates.std(dim=0)
        self.register_buffer("mean", rates.mean(dim=0))
        self.register_buffer("scale", torch.where(sd > 0, 1 / sd.clamp(min=1e-12), 0.0))

    def forward(self, rates: Tensor) -> Tensor:
        return (rates - self.mean) * self.scale


class Networks(nn.Module):
    """Encoder and projector, of which the target has a copy; the two predictors are the online network's alone."""

    def __init__(self, inputs: int, recipe: Recipe):
        super().__init__()
        width, embedding = recipe.width, recipe.embedding
        layers = []
        for size in (inputs, width, width):
            layers += [nn.Linear(size, width), nn.BatchNorm1d(width), nn.PReLU()]
        self.encoder = nn.Sequential(*layers, nn.Linear(width, embedding))
        self.projector = _perceptron(embedding, PROJECTION)
        self.predictor = _perceptron(embedding, embedding)
        self.mined_predictor = _perceptron(PROJECTION, PROJECTION)


def _perceptron(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs)
    )


def augmented(rates: Tensor, neurons: int) -> Tensor:
    """Another view of rates in spikes/s (samples, boxes * neurons): neurons dropped, pepper, noise, in this order."""
    samples, inputs = rates.shape
    share = DROPPED * torch.rand(samples, 1, device=rates.device)
    kept = torch.rand(samples, neurons, device=rates.device) >= share
    rates = rates * kept.repeat(1, inputs // neurons)
    peppered = (torch.rand(samples, 1, device=rates.device) < PEPPERED) & (torch.rand_like(rates) < SPECKLED)
    noisy = torch.rand(samples, 1, device=rates.device) < NOISY
    return rates + PEPPER * peppered + NOISE * noisy * torch.randn_like(rates)


def neighbours(online: Tensor, target: Tensor, trials: Tensor, count: int) -> Tensor:
    """Of each sample the `count` of other trials whose target embeddings are nearest by cosine: (samples, count).

    Args:
        online, target: embeddings (samples, dims).
        trials: (samples,), the trial of each; there are as many of other trials, see `refuse_few_neighbours`.
    """
    others = trials[:, None] != trials
    alike = nn.functional.normalize(online, dim=1) @ nn.functional.normalize(target, dim=1).T
    return alike.masked_fill(~others, -torch.inf).topk(count, dim=1).indices


def refuse_few_neighbours(trials: Tensor, count: int) -> None:
    """Before `neighbours` are looked for, on the CPU, because a GPU's answer would have to be waited for.

    Raises:
        NlbflowError: a sample has fewer than `count` candidates, of other trials than its own in `trials` (samples,).
    """
    fewest = len(trials) - int(trials.bincount().max())
    if fewest < count:
        raise NlbflowError(
            f"myow needs {count} neighbours of other trials in each batch, but a sample has {fewest}; lower neighbours "
            "or raise batch."
        )


def distance(predicted: Tensor, wanted: Tensor) -> Tensor:
    """1 - cosine, averaged over samples: in [0, 2]. No gradient enters `wanted`."""
    return 1 - nn.functional.cosine_similarity(predicted, wanted.detach(), dim=1).mean()


def follow(target: nn.Module, online: nn.Module) -> None:
    """Move the target's parameters towards the online network's; statistics of batches stay its own."""
    with torch.no_grad():
        for old, new in zip(target.parameters(), online.parameters(), strict=True):
            old.lerp_(new, 1 - MOMENTUM)


def train_encoder(rates: np.ndarray, recipe: Recipe, device: torch.device, seed: int) -> tuple[nn.Module, list[float]]:
    """An encoder of rates in spikes/s (samples, boxes * neurons) to embeddings, in the mode for use.

    Args:
        rates: (trials, steps, boxes, neurons) of the training trials.
        recipe: see `Recipe`; with 0 epochs the encoder stays as it was drawn.
        device: to compute on; `prepare` has seeded torch.
        seed: of which neighbour is mined, apart from all else, so that mining changes no other draw.

    Returns:
        the encoder, and the mean loss of each epoch.
    """
    trials, steps, boxes, neurons = rates.shape
    flat = torch.tensor(rates.reshape(trials * steps, boxes * neurons), dtype=torch.float32, device=device)
    scaled, online = Scaled(flat), Networks(boxes * neurons, recipe).to(device)
    encoder = nn.Sequential(scaled, online.encoder)
    if recipe.epochs == 0:
        return encoder.eval(), []
    target = copy.deepcopy(online)
    # the last batch is dropped when it is short: its statistics would be poor
    batch = min(recipe.batch, len(flat))
    updates = len(flat) // batch
    optimiser = torch.optim.AdamW(online.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _warm_cosine(recipe.epochs * updates))
    picks = torch.Generator().manual_seed(seed)
    losses, began = [], time.monotonic()
    last = began
    for epoch in range(recipe.epochs):
        weight, found = recipe.mining * min(1.0, epoch / MINING_EPOCHS), []
        for order in torch.randperm(len(flat))[: updates * batch].split(batch):
            shift = torch.randint(-recipe.shift, recipe.shift + 1, (batch,))
            other = order - order % steps + (order % steps + shift).clamp(0, steps - 1)
            # in one transfer: the moments of both views, and of each its trial and which neighbour is mined
            told = [order, other, order // steps]
            if weight:
                refuse_few_neighbours(told[2], recipe.neighbours)
                told.append(torch.randint(recipe.neighbours, (batch,), generator=picks))
            one, later, trial, *pick = torch.stack(told).to(device, non_blocking=True)
            views = [scaled(augmented(flat[index], neurons)) for index in (one, later)]
            loss = _loss(online, target, views, trial, recipe, weight, *pick)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            follow(target, online)
            found.append(loss.detach())
        # the only point in an epoch that waits for a GPU
        total = sum(torch.stack(found).tolist())
        losses.append(total / updates)
        if not math.isfinite(total):
            raise NlbflowError(f"the loss of myow is {total} in epoch {epoch + 1}; lower learning_rate.")
        if time.monotonic() - last > LOG_EVERY_S or epoch + 1 == recipe.epochs:
            last = time.monotonic()
            left = (last - began) / (epoch + 1) * (recipe.epochs - epoch - 1)
            log.info(f"myow: epoch {epoch + 1} of {recipe.epochs}, loss {losses[-1]:.4f}, {left:.0f} s left")
    return encoder.eval(), losses


def _loss(
    online: Networks, target: Networks, views: list[Tensor], trials: Tensor, recipe: Recipe, weight: float,
    pick: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The loss of a batch: of augmented views and, where `weight` is not 0, of mined ones, of which `pick` (samples,)
    says which neighbour each is."""
    embedded = [online.encoder(view) for view in views]
    with torch.no_grad():
        wanted = [target.encoder(view) for view in views]
    predicted = [online.predictor(found) for found in embedded]
    loss = (distance(predicted[0], wanted[1]) + distance(predicted[1], wanted[0])) / 2
    if weight == 0:
        return loss
    near = neighbours(embedded[0].detach(), wanted[1], trials, recipe.neighbours)
    mined = wanted[1][near.gather(1, pick[:, None])[:, 0]]
    with torch.no_grad():
        mined = target.projector(mined)
    extra = distance(online.mined_predictor(online.projector(embedded[0])), mined)
    return (1 - weight) * loss + weight * extra


def _warm_cosine(updates: int):
    """The learning rate as a share of its highest: a linear rise, then half a cosine."""
    rise = min(WARMUP_UPDATES, updates // 10)

    def share(update: int) -> float:
        if update < rise:
            return (update + 1) / rise
        return 0.5 * (1 + np.cos(np.pi * (update - rise) / max(updates - rise, 1)))

    return share


def embed(encoder: nn.Module, rates: np.ndarray, device: torch.device) -> np.ndarray:
    """Embeddings (trials, steps, dims) of rates in spikes/s (trials, steps, boxes, neurons)."""
    flat = torch.tensor(rates.reshape(*rates.shape[:2], -1), dtype=torch.float32, device=device)
    with torch.no_grad():
        return np.stack([encoder(trial).double().cpu().numpy() for trial in flat])


def spread(embeddings: np.ndarray) -> float:
    """Standard deviation of normalised embeddings over samples, averaged over dimensions, in units of 1 / sqrt(dims):
    about 1 where they fill all directions, 0 where they have collapsed to one."""
    rows = embeddings.reshape(-1, embeddings.shape[-1])
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return float(rows.std(axis=0).mean() * np.sqrt(rows.shape[1]))
