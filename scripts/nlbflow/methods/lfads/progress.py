"""Lines that tell how far the training of a population is."""

import logging
import math
import time

import torch
from torch import Tensor

from nlbflow.methods.lfads.net import Sizes
from nlbflow.methods.lfads.population import Trials

# Seconds between two lines of progress.
LOG_EVERY = 5.0


class Progress:
    """Logs how far the training is, at most every few seconds."""

    def __init__(self, validation: Trials, sizes: Sizes, epochs: int, done: int):
        counts = validation.counts[: sizes.bins, :, sizes.heldin :].double()
        rates = counts.mean(dim=(0, 1))
        self.null = float((rates - torch.xlogy(rates, rates)).mean())
        self.nats_per_bit = float(counts.mean()) * math.log(2)
        self.epochs, self.done, self.trained = epochs, done, 0
        self.began = self.logged = time.monotonic()

    def log(self, epochs: int, losses: Tensor) -> None:
        """Count `epochs` more epochs; `losses` are the members' validation losses."""
        self.trained += epochs
        now = time.monotonic()
        if now - self.logged < LOG_EVERY:
            return
        self.logged, each = now, (now - self.began) / self.trained
        epoch = self.done + self.trained
        bits = (self.null - float(losses.min())) / self.nats_per_bit if self.nats_per_bit else math.nan
        logging.getLogger("nlbflow").info(
            f"LFADS: epoch {epoch} of at most {self.epochs}, {len(losses)} members, best validation {bits:.4f} "
            f"bits/spike, {each:.2f} s an epoch, at most {each * (self.epochs - epoch):.0f} s to go"
        )
