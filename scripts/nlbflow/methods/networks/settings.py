"""The settings of training, the learning rate of an epoch, and which trials are for validation."""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from nlbflow.errors import NlbflowError

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = {"float32": None, "tf32": None, "bfloat16": torch.bfloat16}
SCHEDULES = ("cosine", "constant")


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
    # on a GPU, record and replay updates (graphs.py); only for a model with a plan of what its host draws
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
