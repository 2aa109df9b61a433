"""Layers of networks that go through time: of neighbouring steps, of each step alone, and from step to step."""

import torch
from torch import Tensor, nn

from nlbflow.methods.networks.draws import Dropout, alone

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
        nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), Dropout(dropout), nn.Linear(hidden, width),
        Dropout(dropout),
    )  # fmt: skip


class BidirectionalGRU(nn.GRU):
    """A layer of gated recurrent units in both directions of time: (trials, steps, in) to (trials, steps, 2 units).

    Side by side with others it goes from step to step in plain operations, because torch's own has no weights for
    several networks.
    """

    def __init__(self, inputs: int, units: int):
        super().__init__(inputs, units, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        if alone():
            return super().forward(x)[0]
        names = "weight_ih_l0", "bias_ih_l0", "weight_hh_l0", "bias_hh_l0"
        weight, bias, own, own_bias = (
            torch.stack([getattr(self, name), getattr(self, f"{name}_reverse")]) for name in names
        )
        # (2, trials, steps, 3 units): reset gate, update gate, candidate
        given = torch.stack([x, x.flip(1)]) @ weight.mT.unsqueeze(1) + bias[:, None, None]
        units = self.hidden_size
        state, states = given.new_zeros(2, len(x), units), []
        for gates in given.unbind(2):
            hidden = state @ own.mT + own_bias.unsqueeze(1)
            reset, update = torch.sigmoid(gates[..., : 2 * units] + hidden[..., : 2 * units]).chunk(2, dim=-1)
            candidate = torch.tanh(gates[..., 2 * units :] + reset * hidden[..., 2 * units :])
            state = candidate + update * (state - candidate)
            states.append(state)
        ahead, behind = torch.stack(states).unbind(1)
        return torch.cat([ahead, behind.flip(0)], dim=-1).transpose(0, 1)
