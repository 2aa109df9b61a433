"""Spikes as tokens: one for each spike, in the order of bins and then of neurons, so that counts have one sequence."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """The spikes of trials (or of any stretches of time) as sequences, padded to the longest.

    Attributes:
        neurons, bins: (trials, tokens) of each spike; 0 where `before[:, -1]` says that there is none.
        before: (trials, bins + 1), the number of tokens before each bin; the last is that of all.
    """

    neurons: Tensor
    bins: Tensor
    before: Tensor

    @property
    def present(self) -> Tensor:
        """(trials, tokens) True where there is a spike."""
        return torch.arange(self.neurons.shape[1], device=self.before.device) < self.before[:, -1:]

    def cut(self, tokens: int) -> "Tokens":
        """The first tokens of each trial; `before` still counts all."""
        return Tokens(self.neurons[:, :tokens], self.bins[:, :tokens], self.before)


def tokens_of(counts: Tensor) -> Tokens:
    """The spikes in counts (trials, bins, neurons), whole numbers; n spikes of a bin and neuron are n equal tokens."""
    counts = counts.long()
    before = torch.nn.functional.pad(counts.sum(dim=2).cumsum(dim=1), (1, 0))
    longest = max(1, int(before[:, -1].max()))
    at = counts.nonzero()
    at = at.repeat_interleave(counts[tuple(at.T)], dim=0)
    first = torch.nn.functional.pad(before[:, -1].cumsum(dim=0), (1, 0))
    place = torch.arange(len(at), device=counts.device) - first[at[:, 0]]
    found = counts.new_zeros(2, len(counts), longest)
    found[:, at[:, 0], place] = at[:, [2, 1]].T
    return Tokens(found[0], found[1], before)


def reach(tokens: Tokens, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Which tokens lie in stretches of bins.

    Args:
        first, last: (stretches,), the bin where each begins, and the one where it has ended; any whole numbers.

    Returns:
        (trials, stretches, longest) places of the tokens, and whether there is one.
    """
    bins = tokens.before.shape[1] - 1
    begin, end = tokens.before[:, first.clamp(0, bins)], tokens.before[:, last.clamp(0, bins)]
    longest = max(1, int((end - begin).max()))
    place = begin[:, :, None] + torch.arange(longest, device=begin.device)
    return place.clamp(max=tokens.neurons.shape[1] - 1), place < end[:, :, None]
