"""Legendre memories: the last steps of a signal as coefficients of Legendre polynomials, without a loop over time.

Voelker, Kajić & Eliasmith 2019, NeurIPS ("Legendre memory units"). A memory m follows m' = A m + B u, in which a signal
u of the last theta steps is, nearly, u(t - s) = sum over i of P_i(s / theta) m_i(t), with shifted Legendre polynomials
P_i. It is linear and nothing in it is learnt, so its states at all steps are one product of the signal with H_k = A^k B
(Chilkuri & Eliasmith 2021, arXiv:2102.11417).
"""

import numpy as np
import torch
from scipy.linalg import expm
from torch import Tensor, nn

from nlbflow.methods.networks.blocks import Neighbours, feed_forward
from nlbflow.methods.networks.common import TimeSteps
from nlbflow.methods.networks.coordinated import Readout
from nlbflow.methods.networks.draws import Dropout


def memory_matrices(order: int, theta: float) -> tuple[np.ndarray, np.ndarray]:
    """The memory's A (order, order) and B (order,) for a signal that is held during each step (zero-order hold)."""
    i, j = np.indices((order, order))
    slopes = (2 * i + 1) / theta * np.where(i < j, -1.0, (-1.0) ** (i - j + 1))
    drive = (2 * i[:, 0] + 1) * (-1.0) ** i[:, 0] / theta
    both = np.zeros((order + 1, order + 1))
    both[:order, :order], both[:order, order] = slopes, drive
    held = expm(both)
    return held[:order, :order], held[:order, order]


def responses(order: int, theta: float, steps: int) -> np.ndarray:
    """H_k = A^k B (steps, order): what the memory holds k steps after a pulse of 1."""
    a, b = memory_matrices(order, theta)
    found = [b]
    for _ in range(steps - 1):
        found.append(a @ found[-1])
    return np.stack(found)


class LegendreMemory(nn.Module):
    """Memories (trials, steps, order x channels) of signals (trials, steps, channels), each of its channel alone.

    Args:
        order: the number of polynomials.
        theta: the length of the memory, in steps.
        steps: the number of time steps.
        reverse: the memory of what comes after a step, instead of before; the step itself is in both.
    """

    def __init__(self, order: int, theta: float, steps: int, reverse: bool = False):
        super().__init__()
        after = np.arange(steps)[:, None] - np.arange(steps)
        held = responses(order, theta, steps)[abs(after)] * (after >= 0)[..., None]
        # (steps of the memory, order, steps of the signal)
        product = (held.swapaxes(0, 1) if reverse else held).swapaxes(1, 2)
        self.register_buffer("product", torch.tensor(product, dtype=torch.float32), persistent=False)

    def forward(self, signals: Tensor) -> Tensor:
        steps = signals.shape[1]
        return (self.product.flatten(0, 1) @ signals).reshape(len(signals), steps, -1)


class Block(nn.Module):
    """Memories of a few channels mixed into the features, then a feed-forward network, each added to its input."""

    def __init__(self, steps: int, params: dict):
        super().__init__()
        width, channels, dropout = params["width"], params["channels"], params["dropout"]
        self.channels = nn.Linear(width, channels)
        self.memories = nn.ModuleList(
            LegendreMemory(params["order"], params["theta"], steps, reverse)
            for reverse in ((False,) if params["causal"] else (False, True))
        )
        self.mix = nn.Linear(len(self.memories) * params["order"] * channels + width, width)
        self.feed_forward = feed_forward(width, params["hidden"], dropout)
        # over features, in the place of the original's batch norm, which is noisy in small batches
        self.norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(trials, steps, width) to the same shape."""
        features = self.norm(x)
        signals = self.channels(features)
        held = [memory(signals) for memory in self.memories]
        x = x + self.dropout(nn.functional.gelu(self.mix(torch.cat([*held, features], dim=2))))
        return x + self.feed_forward(x)


class LMUFormer(nn.Module):
    """Log rates (trials, bins + ahead, neurons) and latents of held-in counts (trials, bins, heldin).

    Args:
        params: see DEFAULTS of scripts/models/lmuformer.py.
    """

    def __init__(self, steps: TimeSteps, heldin: int, neurons: int, params: dict):
        super().__init__()
        self.steps = steps
        width, latents = params["width"], params["latents"]
        self.read_in = nn.Linear(heldin, params["factors"])
        self.neighbours = Neighbours(params["factors"], width, params["causal"])
        self.blocks = nn.Sequential(*(Block(steps.steps, params) for _ in range(params["blocks"])))
        self.readout = Readout(steps, nn.Linear(width, latents), latents, neurons, params["dropout"])

    def forward(self, heldin: Tensor) -> tuple[Tensor, Tensor]:
        return self.readout(self.blocks(self.neighbours(self.read_in(self.steps.sums(heldin)))))
