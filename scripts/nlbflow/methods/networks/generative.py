"""The generative part of Neuroformer: the spikes of whole steps, their likelihood, and what they attended to."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nlbflow.methods.networks.common import TimeSteps
from nlbflow.methods.networks.neuroformer import Neuroformer, token_losses
from nlbflow.methods.networks.tokens import Tokens, tokens_of

# Steps with more spikes than this share of them are cut, because one burst would make all sequences as long.
CUT_ABOVE = 0.999
# Weights of the losses by neuron and by bin, as published.
BY_NEURON, BY_BIN = 3 / 5, 2 / 5
# Windows, and pairs of tokens within them, at once. They are padded to the longest of a group, which is less than twice
# as long as the others; up to so many tokens none is told apart.
WINDOWS, PAIRS, SHORT = 512, 2**21, 64


@dataclass(frozen=True)
class Windows:
    """The spikes of all neurons in whole steps, recorded to their end: `at` (2, windows) trial and step of each."""

    tokens: Tokens
    at: Tensor

    def select(self, rows: Tensor) -> "Windows":
        tokens = self.tokens
        longest = max(1, int(tokens.before[rows, -1].max()))
        return Windows(
            Tokens(tokens.neurons[rows], tokens.bins[rows], tokens.before[rows]).cut(longest), self.at[:, rows]
        )


def windows_of(counts: Tensor, steps: TimeSteps) -> Windows:
    """Windows of counts (trials, bins + forward bins, neurons); NaN where nothing was recorded."""
    whole = counts.shape[1] // steps.length
    each = counts[:, : whole * steps.length].reshape(len(counts) * whole, steps.length, -1)
    known = each.isfinite().all(dim=(1, 2)).nonzero()[:, 0]
    return Windows(tokens_of(each[known]), torch.stack([known // whole, known % whole]))


def longest_sequence(windows: Windows) -> int:
    """The number of tokens that all but a few windows (CUT_ABOVE) do not exceed."""
    return max(1, int(torch.quantile(windows.tokens.before[:, -1].float(), CUT_ABOVE, interpolation="higher")))


def log_shares(tokens: Tokens, neurons: int) -> Tensor:
    """Logs of the shares of each neuron's tokens and, last, of ends among all, (neurons + 1,); half a token bounds
    them."""
    counts = torch.bincount(tokens.neurons[tokens.present], minlength=neurons)
    counts = torch.cat([counts, counts.new_tensor([len(tokens.before)])]) + 0.5
    return torch.log(counts / counts.sum())


def generative_loss(net: Neuroformer, heldin: Tensor, windows: Windows, longest: int) -> Tensor:
    """The weighted mean of the losses by neuron and by bin over all tokens of the windows.

    Args:
        heldin: counts (trials, bins, held-in neurons) of the windows' trials.
        longest: tokens after which a window is cut.
    """
    windows = Windows(windows.tokens.cut(longest), windows.at)
    told = windows.tokens.present.sum().clamp(min=1)
    loss = 0
    for _, given, some in parts_of(heldin, windows):
        tokens = some.tokens
        by_neuron, by_bin = token_losses(net.next_logits(given, tokens, some.at), tokens, net.canonical)
        loss += BY_NEURON * by_neuron.sum() / (told + len(windows.at[0])) + BY_BIN * by_bin.sum() / told
    return loss


def parts_of(heldin: Tensor, windows: Windows) -> Iterator[tuple[Tensor, Tensor, Windows]]:
    """Some windows at a time that are of like length, since one burst would make all as long as itself.

    Yields:
        rows of the windows; the held-in counts of their own trials only, because keys and values for all spikes of all
        trials take gigabytes; and the windows of these trials.
    """
    for rows in torch.arange(len(windows.at[0]), device=heldin.device).split(WINDOWS):
        for same in alike(windows.tokens.present[rows].sum(dim=1)):
            some = windows.select(rows[same])
            trials, trial = some.at[0].unique(return_inverse=True)
            yield rows[same], heldin[trials], Windows(some.tokens, torch.stack([trial, some.at[1]]))


def alike(sizes: Tensor) -> Iterator[Tensor]:
    """Rows of sequences in groups of like length, the longest first.

    Args:
        sizes: (sequences,), tokens of each.
    """
    sizes = sizes.clamp(min=SHORT)
    halvings = torch.log2(sizes.max() / sizes).long()
    for halving in halvings.unique():
        rows = (halvings == halving).nonzero()[:, 0]
        yield from rows.split(max(1, PAIRS // int(sizes[rows].max() + 1) ** 2))


def log_likelihoods(net: Neuroformer, heldin: Tensor, windows: Windows) -> Tensor:
    """Log probabilities (windows,) of the counts in each window, given the held-in spikes before it."""
    found = torch.zeros(len(windows.at[0]), device=heldin.device)
    with torch.no_grad():
        for rows, given, some in parts_of(heldin, windows):
            losses = token_losses(net.next_logits(given, some.tokens, some.at), some.tokens, net.canonical)
            found[rows] = -(losses[0] + losses[1]).sum(dim=1)
    return found


def poisson_log_likelihoods(log_rates: Tensor, windows: Windows, counts: Tensor, steps: TimeSteps) -> Tensor:
    """The same by independent Poisson counts with log rates that extend to (trials, bins + forward bins, neurons)."""
    each = counts * log_rates - log_rates.exp() - torch.lgamma(counts + 1)
    whole = counts.shape[1] // steps.length
    sums = each[:, : whole * steps.length].unflatten(1, (whole, steps.length)).sum(dim=(2, 3))
    return sums[tuple(windows.at)]


def attention_map(net: Neuroformer, heldin: Tensor, windows: Windows) -> Tensor:
    """(neurons, neurons) how much the row's neuron attended to a spike of the column's as a spike of its own was to be
    told: attention weights in units of even attention to all that could be seen, averaged over layers, heads and such
    pairs of spikes. 1 where it paid no heed; 0 where there was no pair.

    Args:
        net: in evaluation mode.
        heldin: counts (trials, bins, held-in neurons) of the windows' trials.
    """
    weights, pairs = torch.zeros(2, net.neurons, net.neurons, device=heldin.device)
    for _, given, some in parts_of(heldin, windows):
        with torch.no_grad(), attention_weights(net) as (own, cross):
            net.next_logits(given, some.tokens, some.at)
        # what is told at each position, and what can be seen: the tokens up to there, those before the window
        told = nn.functional.pad(one_hot(some.tokens.neurons, some.tokens.present, net.neurons), (0, 0, 0, 1))
        earlier = told.roll(1, dims=1)
        tokens = tokens_of(given)
        places, there = net.before_steps(tokens, some.at)
        seen = one_hot(tokens.neurons[some.at[0][:, None], places], there, net.neurons)
        # how many could be seen: up to each position, and before each window with the constant token
        reach = torch.arange(1, told.shape[1] + 1, device=heldin.device)[:, None]
        for each in own:
            weights += torch.einsum("wpn,wpm->nm", told, each * reach @ earlier)
        size = there.sum(dim=1)[:, None, None] + 1
        for each in cross:
            weights += torch.einsum("wpn,wpm->nm", told, each[:, :, :-1] * size @ seen)
        # of whole numbers, because sums of others along an axis are refused on GPUs as not reproducible
        so_far = earlier.long().cumsum(dim=1).float()
        pairs += len(own) * torch.einsum("wpn,wpm->nm", told, so_far)
        pairs += len(cross) * torch.einsum("wn,wm->nm", told.sum(dim=1), seen.sum(dim=1))
    return weights / pairs.clamp(min=1)


def one_hot(neurons: Tensor, present: Tensor, count: int) -> Tensor:
    """(windows, tokens, neurons) 1 at the neuron of each token that is present, 0 elsewhere."""
    return nn.functional.one_hot(neurons, count).float() * present[..., None]


@contextmanager
def attention_weights(net: Neuroformer) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Lists that a pass through the network fills with attention weights (windows, positions, tokens), averaged over
    heads: those within the window, and those to the tokens before it."""
    own, cross = [], []
    modules = [(layer.attention.dropout, own) for layer in (*net.within, *(block.layer for block in net.blocks))]
    modules += [(block.cross.weights, cross) for block in net.blocks]
    hooks = [
        module.register_forward_hook(lambda _, given, __, found=found: found.append(given[0].mean(dim=1)))
        for module, found in modules
    ]
    try:
        yield own, cross
    finally:
        for hook in hooks:
            hook.remove()
