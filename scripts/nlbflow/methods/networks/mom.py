"""A mixture of memories: a router sends each step to one of several linear-attention memories, the others stay.

Du, Sun, Lan, Hu & Cheng 2025, arXiv:2502.13685. A memory is a matrix S in each head. A step that is sent to it with
weight g writes S = a^g S + g k v^T and reads g q^T S, where q and k are of unit length, and a in (0, 1), what is kept,
follows the step as they do. Trials have few steps, so all reads are computed at once, as in attention: of a step s
before it, step t reads g_t g_s (q_t^T k_s) v_s times what is kept in between.
"""

import torch
from torch import Tensor, nn

from nlbflow.methods.networks.blocks import Neighbours, feed_forward
from nlbflow.methods.networks.common import TimeSteps
from nlbflow.methods.networks.coordinated import Readout
from nlbflow.methods.networks.draws import Dropout

# Steps whose mean the router sees.
SMOOTHED = 3


def route(logits: Tensor, chosen: int) -> tuple[Tensor, Tensor]:
    """Weights of memories, which add up to 1 over the `chosen` likeliest and are 0 elsewhere, and all probabilities.

    A single chosen weight is 1 whatever its probability, so the gradient of the weights is that of the probabilities
    (straight-through; Bengio, Léonard & Courville 2013, arXiv:1308.3432).

    Args:
        logits: (..., memories).
    """
    shares = logits.softmax(dim=-1)
    likeliest = shares.topk(chosen, dim=-1).indices[..., None]
    kept = shares * (likeliest == torch.arange(shares.shape[-1], device=shares.device)).any(dim=-2)
    weights = kept / kept.sum(dim=-1, keepdim=True)
    return weights.detach() + (shares - shares.detach()), shares


def imbalance(weights: Tensor, shares: Tensor) -> Tensor:
    """The Switch transformer's loss (Fedus, Zoph & Shazeer 2022, arXiv:2101.03961): memories times the sum of each
    one's share of the steps and its mean probability; lowest, the number of chosen ones, where all are used alike."""
    memories = shares.shape[-1]
    used = (weights > 0).float().reshape(-1, memories).mean(dim=0)
    return memories * (used * shares.reshape(-1, memories).mean(dim=0)).sum()


class Memories(nn.Module):
    """Memories over time, and what each step reads from those that it is sent to: (trials, steps, width) to the same.

    Args:
        memories: their number.
        reverse: from the last step to the first.
    """

    def __init__(self, width: int, memories: int, heads: int, dims: int, reverse: bool = False):
        super().__init__()
        self.sizes, self.reverse = (memories, heads, dims), reverse
        self.queries = nn.Linear(width, heads * dims)
        self.keys_values = nn.Linear(width, 2 * memories * heads * dims)
        self.keep = nn.Linear(width, memories * heads)
        # of a memory's content, from 0.5 to 0.95 is kept at first, so that heads remember differently long
        self.keep.bias.data = torch.linspace(0.5, 0.95, heads).logit().repeat(memories)
        self.norm = nn.LayerNorm(dims)
        self.gate = nn.Linear(width, heads * dims)
        self.out = nn.Linear(heads * dims, width)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        if self.reverse:
            x, weights = x.flip(1), weights.flip(1)
        read = self.norm(self.read(x, weights)).flatten(2)
        out = self.out(read * torch.sigmoid(self.gate(x)))
        return out.flip(1) if self.reverse else out

    def read(self, x: Tensor, weights: Tensor) -> Tensor:
        """What each step reads, (trials, steps, heads, dims), once it has written.

        Args:
            weights: (trials, steps, memories).
        """
        trials, steps = x.shape[:2]
        memories, heads, dims = self.sizes
        # as (trials, memories, heads, steps, dims)
        queries = self.queries(x).reshape(trials, steps, 1, heads, dims).permute(0, 2, 3, 1, 4)
        keys, values = self.keys_values(x).reshape(trials, steps, 2, memories, heads, dims).permute(2, 0, 3, 4, 1, 5)
        queries, keys = (nn.functional.normalize(array, dim=4) for array in (queries, keys))
        weights = weights.permute(0, 2, 1)[:, :, None, :, None]
        before = torch.ones(steps, steps, dtype=torch.bool, device=x.device).tril()
        kept = nn.functional.logsigmoid(self.keep(x)).reshape(trials, steps, memories, heads).permute(0, 2, 3, 1)
        # a product, because a cumulative sum is not reproducible on GPUs
        kept = before.float() @ (weights * kept[..., None])
        kept = (kept - kept.transpose(3, 4)).masked_fill(~before, float("-inf")).exp()
        read = weights * ((queries @ keys.transpose(3, 4) * kept) @ (weights * values))
        return read.sum(dim=1).transpose(1, 2)


class MixtureOfMemories(nn.Module):
    """Log rates (trials, bins + ahead, neurons) and latents of held-in counts (trials, bins, heldin).

    Args:
        params: see DEFAULTS of scripts/models/mom.py.
    """

    def __init__(self, steps: TimeSteps, heldin: int, neurons: int, params: dict):
        super().__init__()
        self.steps, self.chosen, self.shared = steps, params["chosen"], params["shared"]
        width, latents, dropout = params["width"], params["latents"], params["dropout"]
        self.read_in = nn.Linear(heldin, params["factors"])
        self.router = nn.Linear(params["factors"], params["memories"])
        self.neighbours = Neighbours(params["factors"], width)
        self.norm = nn.LayerNorm(width)
        sizes = width, params["memories"] + self.shared, params["heads"], params["dims"]
        self.memories = nn.ModuleList(Memories(*sizes, reverse) for reverse in (False, True))
        self.feed_forward = feed_forward(width, params["hidden"], dropout)
        self.dropout = Dropout(dropout)
        self.readout = Readout(steps, nn.Linear(width, latents), latents, neurons, dropout)

    def routed(self, factors: Tensor) -> tuple[Tensor, Tensor]:
        """Weights and probabilities (trials, steps, memories) of `route`, of the factors around each step."""
        smooth = nn.functional.avg_pool1d(
            factors.transpose(1, 2), SMOOTHED, stride=1, padding=SMOOTHED // 2, count_include_pad=False
        )
        return route(self.router(smooth.transpose(1, 2)), self.chosen)

    def factors(self, heldin: Tensor) -> Tensor:
        return self.read_in(self.steps.sums(heldin))

    def forward(self, heldin: Tensor) -> tuple[Tensor, Tensor]:
        factors = self.factors(heldin)
        weights = self.routed(factors)[0]
        # a memory that every step writes to and reads
        weights = nn.functional.pad(weights, (0, int(self.shared)), value=1.0)
        x = self.neighbours(factors)
        features = self.norm(x)
        x = x + self.dropout(sum(memories(features, weights) for memories in self.memories))
        return self.readout(x + self.feed_forward(x))

    def segments(self, heldin: Tensor) -> Tensor:
        """The likeliest memory of each observed bin, (trials, bins)."""
        with torch.no_grad():
            likeliest = self.routed(self.factors(heldin))[1].argmax(dim=2)
        return likeliest.repeat_interleave(self.steps.length, dim=1)[:, : self.steps.bins]
