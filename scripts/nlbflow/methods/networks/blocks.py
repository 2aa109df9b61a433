"""Layers of networks that go through time without recurrence: of neighbouring steps, and of each step alone."""

from torch import Tensor, nn

# Steps that a convolution reads: its own and one on each side, or the two before.
REACH = 3


class Neighbours(nn.Module):
    """Features (trials, steps, width) from the factors (trials, steps, factors) of each step and its neighbours."""

    def __init__(self, factors: int, width: int, causal: bool = False):
        super().__init__()
        self.convolution = nn.Conv1d(factors, width, REACH)
        self.padding = (REACH - 1, 0) if causal else (REACH // 2, REACH // 2)

    def forward(self, factors: Tensor) -> Tensor:
        padded = nn.functional.pad(factors.transpose(1, 2), self.padding)
        return nn.functional.gelu(self.convolution(padded)).transpose(1, 2)


def feed_forward(width: int, hidden: int, dropout: float) -> nn.Sequential:
    """A layer of each step alone, to be added to its input, which it scales to unit variance over features."""
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width),
        nn.Dropout(dropout),
    )  # fmt: skip
