"""Neuroformer for co-smoothing: queries of time steps attend to the tokens of single spikes.

scripts/models/neuroformer.py names the sources and says what is ours.
"""

import math

import torch
from torch import Tensor, nn

from nlbflow.methods.networks.common import TimeSteps
from nlbflow.methods.networks.coordinated import Readout
from nlbflow.methods.networks.draws import Dropout
from nlbflow.methods.networks.tokens import Tokens, reach, tokens_of
from nlbflow.methods.networks.transformer import Layer, attend, context_mask


class CrossAttention(nn.Module):
    """Attention from some positions to the tokens of a context, with a learned preference for each offset in time."""

    def __init__(self, width: int, heads: int, offsets: int):
        super().__init__()
        self.heads = heads
        self.queries, self.keys_values = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.preference = nn.Embedding(offsets, heads)
        self.out = nn.Linear(width, width)
        # its weights are not dropped, as tokens are; it is where they can be seen
        self.weights = nn.Identity()
        for linear in (self.queries, self.keys_values):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        nn.init.zeros_(self.preference.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, keys_values: Tensor, preferred: Tensor, allowed: Tensor) -> Tensor:
        """(groups, positions, width) to the same shape.

        Args:
            keys_values: (groups, tokens, 2 width), made by the layer of that name.
            preferred: (groups, positions or 1, tokens, heads), made by the table of preferences.
            allowed: booleans (groups, positions or 1, tokens).
        """

        def by_head(values: Tensor) -> Tensor:
            return values.unflatten(2, (self.heads, -1)).transpose(1, 2)

        keys, values = keys_values.chunk(2, dim=2)
        preferred = preferred.movedim(3, 1)
        parts = by_head(self.queries(x)), by_head(keys), by_head(values)
        mixed = attend(*parts, allowed[:, None], self.weights, preferred)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention to a context, then a layer of self-attention and feed-forward network; pre-norm."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, offsets: int):
        super().__init__()
        self.cross, self.layer = CrossAttention(width, heads, offsets), Layer(width, heads, hidden, dropout)
        self.before_cross, self.before_context = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def keys_values(self, context: Tensor) -> Tensor:
        return self.cross.keys_values(self.before_context(context))

    def forward(
        self, x: Tensor, keys_values: Tensor, preferred: Tensor, reached: Tensor, allowed: Tensor | None
    ) -> Tensor:
        """(groups, positions, width) to the same shape; `allowed` between positions, the others as for the context."""
        x = x + self.dropout(self.cross(self.before_cross(x), keys_values, preferred, reached))
        return self.layer(x, allowed)


class Neuroformer(nn.Module):
    """Log rates (trials, bins + ahead, neurons) and latents of held-in counts; and, of the same weights, the
    probabilities of the spikes of a step given those before it.

    Args:
        steps: the time steps.
        neurons: the number of all neurons, held-in first.
        bin_ms: bin width.
        params: see DEFAULTS of scripts/models/neuroformer.py.
    """

    def __init__(self, steps: TimeSteps, neurons: int, bin_ms: int, params: dict):
        super().__init__()
        width, heads, dropout = params["width"], params["heads"], params["dropout"]
        self.steps, self.neurons, self.canonical = steps, neurons, params["canonical"]
        # in bins; without limit: the length of both windows, because the last forward step is so far from the first bin
        unlimited = params["context_ms"] < 0
        self.before = steps.steps * steps.length if unlimited else round(params["context_ms"] / bin_ms)
        self.after = 0 if params["causal"] else self.before
        self.embedding = nn.Embedding(neurons, width)
        # a window's start, with which its step asks; what is attended to where there is no spike; the hidden share
        self.start, self.constant, self.hidden_share = (nn.Parameter(torch.zeros(width)) for _ in range(3))
        self.register_buffer("time", time_codes(steps.steps * steps.length, width), persistent=False)
        sizes = width, heads, params["hidden"], dropout
        self.within = nn.ModuleList(Layer(*sizes) for _ in range(params["generative_layers"]))
        self.blocks = nn.ModuleList(
            Block(*sizes, self.before + steps.length + self.after + 1) for _ in range(params["blocks"])
        )
        self.dropout, self.norm = Dropout(dropout), nn.LayerNorm(width)
        # without dropout, of which the blocks have enough
        self.readout = Readout(steps, nn.Linear(width, params["latents"]), params["latents"], neurons, dropout=0)
        # of the next token: its neuron or that none is left, and its bin in the step
        self.next_neuron, self.next_bin = nn.Linear(width, neurons + 1), nn.Linear(width, steps.length)
        allowed = context_mask(steps.steps, -1, 0 if params["causal"] else -1)
        self.register_buffer("allowed", allowed, persistent=False)
        self.register_buffer("first", torch.arange(steps.steps) * steps.length, persistent=False)
        # of a token at each bin, and last of the constant token: rows of the preferences of each step, and which steps
        # may attend to it
        rows = torch.arange(steps.bins)[:, None] - self.first + self.before
        reached = self.before + steps.length + self.after
        near = nn.functional.pad((rows >= 0) & (rows < reached), (0, 0, 0, 1), value=True)
        rows = nn.functional.pad(rows.clamp(0, reached - 1), (0, 0, 0, 1), value=reached)
        self.register_buffer("preferences", rows, persistent=False)
        self.register_buffer("near", near, persistent=False)

    def forward(self, heldin: Tensor, hidden: float = 0.0) -> tuple[Tensor, Tensor]:
        """Of held-in counts (trials, bins, held-in neurons), a share of which was hidden (set to 0)."""
        tokens = tokens_of(heldin)
        x = (self.start + self.time[self.first]).expand(len(heldin), -1, -1)
        x = self.dropout(x + math.log1p(-hidden) * self.hidden_share)
        bins = self._bins(tokens)
        allowed = (self.near[bins] & nn.functional.pad(tokens.present, (0, 1), value=True)[..., None]).transpose(1, 2)
        for block, keys_values in zip(self.blocks, self.contexts(tokens), strict=True):
            # all steps in one row, because many short ones are slow to add up
            table = block.cross.preference(self.preferences).flatten(1)
            preferred = nn.functional.embedding(bins, table).unflatten(2, (self.steps.steps, -1)).transpose(1, 2)
            x = block(x, keys_values, preferred, allowed, self.allowed)
        return self.readout(self.norm(x))

    def contexts(self, tokens: Tokens) -> list[Tensor]:
        """Keys and values (trials, tokens + 1, 2 width) for each block; the constant token is the last."""
        embedded = self.embedding(tokens.neurons) + self.time[tokens.bins]
        embedded = torch.cat([embedded, self.constant.expand(len(embedded), 1, -1)], dim=1)
        return [block.keys_values(embedded) for block in self.blocks]

    def next_logits(self, heldin: Tensor, windows: Tokens, at: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (windows, tokens + 1, neurons + 1) of the next neuron, the last: none is left; and of the next bin in
        the step (windows, tokens + 1, bins); each from the tokens before it in the step and the held-in ones before
        the step.

        Args:
            heldin: (trials, bins, held-in neurons).
            windows: the tokens of some steps, of all neurons, with bins counted from the step's first.
            at: (2, windows), the trial and the step of each.
        """
        tokens, (trial, step) = tokens_of(heldin), at
        places, there = self.before_steps(tokens, at)
        # the constant token comes last
        constant = tokens.neurons.shape[1]
        places = nn.functional.pad(places, (0, 1), value=constant)
        there = nn.functional.pad(there, (0, 1), value=True)[:, None]
        preferences = self.preferences[self._bins(tokens)[trial[:, None], places], step[:, None]]
        rows = places + (constant + 1) * trial[:, None]
        first = self.first[step][:, None]
        x = self.embedding(windows.neurons) + self.time[first + windows.bins]
        x = self.dropout(torch.cat([self.start + self.time[first], x], dim=1))
        causal = context_mask(x.shape[1], -1, 0).to(x.device)
        for layer in self.within:
            x = layer(x, causal)
        for block, keys_values in zip(self.blocks, self.contexts(tokens), strict=True):
            near = nn.functional.embedding(rows, keys_values.flatten(0, 1))
            preferred = block.cross.preference(preferences)[:, None]
            x = block(x, near, preferred, there, causal)
        x = self.norm(x)
        # the rest, sums of many exponentials, in full precision
        return self.next_neuron(x).float(), self.next_bin(x).float()

    def before_steps(self, tokens: Tokens, at: Tensor) -> tuple[Tensor, Tensor]:
        """(windows, most tokens) places of the tokens before each step that it may attend to, and whether there is
        one."""
        places, there = (found[tuple(at)] for found in reach(tokens, self.first - self.before, self.first))
        longest = max(1, int(there.sum(dim=1).max()))
        return places[:, :longest], there[:, :longest]

    def _bins(self, tokens: Tokens) -> Tensor:
        """(trials, tokens + 1) the bin of each; one after the last is that of the constant token."""
        return nn.functional.pad(tokens.bins, (0, 1), value=self.steps.bins)


def time_codes(bins: int, width: int) -> Tensor:
    """(bins, width) sines and cosines of time with periods from 4 bins to 4 times the whole, in equal ratios."""
    periods = 4 * torch.logspace(0, math.log10(max(bins, 2)), width // 2)
    angles = 2 * math.pi * torch.arange(bins)[:, None] / periods
    return nn.functional.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, width % 2))


def token_losses(logits: tuple[Tensor, Tensor], windows: Tokens, canonical: bool) -> tuple[Tensor, Tensor]:
    """Negative log probabilities (windows, tokens + 1) of each next neuron, or that none is left, and of each next bin;
    0 where there is nothing to tell.

    With `canonical`, what would break the order of tokens has no probability: first the bin is drawn from those not
    before the last token's, then the neuron from those not before the last one's in the same bin. So the product over
    all tokens is a distribution over counts, and the sum of both losses of a window minus the log of its probability.
    Otherwise the losses are the published ones.

    Args:
        logits: as from `Neuroformer.next_logits`.
        windows: cut or whole; after the last token of a cut window nothing is told.
    """
    neuron_logits, bin_logits = logits
    present, neurons = windows.present, neuron_logits.shape[2] - 1
    # behind the last token: none is left
    going = nn.functional.pad(present, (0, 1))
    ending = nn.functional.pad(present, (1, 0), value=True) & ~going
    ending &= windows.before[:, -1:] <= present.shape[1]
    target, last = (nn.functional.pad(windows.neurons, pad) for pad in ((0, 1), (1, 0)))
    target_bin, last_bin = (nn.functional.pad(windows.bins, pad) for pad in ((0, 1), (1, 0)))
    some, all_ = neuron_logits[..., :-1].logsumexp(2), neuron_logits.logsumexp(2)
    if canonical:
        earlier = torch.arange(bin_logits.shape[2], device=present.device) < last_bin[..., None]
        bin_logits = bin_logits.masked_fill(earlier, float("-inf"))
        out_of_order = torch.arange(neurons, device=present.device) < last[..., None]
        out_of_order &= (target_bin == last_bin)[..., None]
        kept = neuron_logits[..., :-1].masked_fill(out_of_order, float("-inf")).logsumexp(2)
    else:
        kept = some
    chosen = neuron_logits.gather(2, target[..., None])[..., 0]
    go_on = all_ - some + kept - chosen
    end = all_ - neuron_logits[..., -1]
    zero = torch.zeros_like(all_)
    by_neuron = torch.where(going, go_on, torch.where(ending, end, zero))
    chosen_bin = bin_logits.gather(2, target_bin[..., None])[..., 0]
    return by_neuron, torch.where(going, bin_logits.logsumexp(2) - chosen_bin, zero)
