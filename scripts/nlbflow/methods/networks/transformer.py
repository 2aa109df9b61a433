"""Parts of the Neural Data Transformers: attention within a context, pre-norm layers, masked counts.

Ye & Pandarinath 2021, "Representation learning for neural population activity with Neural Data Transformers",
doi:10.51628/001c.27358; layers: Vaswani et al. 2017, arXiv:1706.03762; T-Fixup: Huang et al. 2020, ICML.
"""

import torch
from torch import Tensor, nn

from nlbflow.methods.networks.draws import Dropout, uniform


def context_mask(steps: int, backward: int, forward: int) -> Tensor:
    """Booleans (steps, steps), True where step t (row) may attend to step s: t - backward <= s <= t + forward.

    Args:
        backward, forward: steps; negative means without limit.
    """
    at = torch.arange(steps)
    ahead = at[None, :] - at[:, None]
    backward, forward = (steps if reach < 0 else reach for reach in (backward, forward))
    return (ahead >= -backward) & (ahead <= forward)


def attend(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    allowed: Tensor | None,
    dropout: nn.Module,
    preferred: Tensor | None = None,
) -> Tensor:
    """Mixtures (trials, heads, positions, dims) of the values of tokens, with dropout of the attention weights.

    Written out, because the fused kernels are not reproducible on GPUs.

    Args:
        queries: (trials, heads, positions, dims).
        keys, values: (trials, heads, tokens, dims).
        allowed: booleans and `preferred`: what is added to the scores; both extend to (trials, heads, positions,
            tokens).
    """
    scores = queries @ keys.transpose(2, 3) / queries.shape[3] ** 0.5
    if preferred is not None:
        scores = scores + preferred
    if allowed is not None:
        scores = scores.masked_fill(~allowed, float("-inf"))
    return dropout(scores.softmax(dim=3)) @ values


class Attention(nn.Module):
    """Multi-head self-attention with dropout of the attention weights."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.dropout = Dropout(dropout)
        nn.init.xavier_uniform_(self.queries_keys_values.weight)
        nn.init.zeros_(self.queries_keys_values.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, allowed: Tensor | None) -> Tensor:
        """(trials, tokens, width) to the same shape; `allowed` (tokens, tokens) as from `context_mask`."""
        trials, tokens, width = x.shape
        parts = self.queries_keys_values(x).reshape(trials, tokens, 3, self.heads, width // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        mixed = attend(queries, keys, values, allowed, self.dropout)
        return self.out(mixed.transpose(1, 2).reshape(trials, tokens, width))


class Layer(nn.Module):
    """A pre-norm encoder layer: attention, then a feed-forward network with ReLU, each added to its input."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float):
        super().__init__()
        self.attention = Attention(width, heads, dropout)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), Dropout(dropout), nn.Linear(hidden, width)
        )
        self.before_attention, self.before_feed_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, allowed: Tensor | None) -> Tensor:
        """(trials, tokens, width) to the same shape; `allowed` as in `Attention`."""
        x = x + self.dropout(self.attention(self.before_attention(x), allowed))
        return x + self.dropout(self.feed_forward(self.before_feed_forward(x)))

    def t_fixup(self, layers: int) -> None:
        """Shrink the weights that write into the residual stream by 0.67 layers^(-1/4), as Ye & Pandarinath do."""
        for linear in (self.feed_forward[0], self.feed_forward[3], self.attention.out):
            linear.weight.data *= 0.67 * layers**-0.25


class SpatialLayer(Layer):
    """A layer with attention over time and between columns; each column is a token that holds its values over time.

    Of the attention between columns only the weights are used: they mix the result of the attention over time (Le &
    Shlizerman 2022, arXiv:2206.04727, section 3).
    """

    def __init__(self, width: int, steps: int, heads: int, hidden: int, dropout: float):
        super().__init__(width, heads, hidden, dropout)
        self.positions = nn.Parameter(0.02 * torch.randn(width, steps))
        self.before_spatial = nn.LayerNorm(steps)
        self.queries_keys = nn.Linear(steps, 2 * steps)

    def forward(self, x: Tensor, allowed: Tensor | None) -> Tensor:
        columns = self.before_spatial(x.transpose(1, 2) + self.positions)
        queries, keys = self.queries_keys(columns).chunk(2, dim=2)
        weights = (queries @ keys.transpose(1, 2) / queries.shape[2] ** 0.5).softmax(dim=2)
        mixed = self.attention(self.before_attention(x), allowed) @ weights.transpose(1, 2)
        x = x + self.dropout(mixed)
        return x + self.dropout(self.feed_forward(self.before_feed_forward(x)))


def contrast(one: Tensor, other: Tensor, temperature: float = 0.1) -> Tensor:
    """NT-Xent loss of two views of the same trials (Chen et al. 2020, arXiv:2002.05709, equation 1).

    Args:
        one, other: (trials, dims).
    """
    views = nn.functional.normalize(torch.cat([one, other]), dim=1)
    similar = views @ views.T / temperature
    itself = torch.eye(len(views), dtype=torch.bool, device=views.device)
    log_share = similar.masked_fill(itself, float("-inf")).log_softmax(dim=1)
    trials = len(one)
    return -(log_share[:trials, trials:].diagonal().mean() + log_share[trials:, :trials].diagonal().mean()) / 2


def mask_spans(counts: Tensor, steps: int, ratio: float, span: Tensor, longest: int) -> Tensor:
    """Booleans (trials, steps), True where masked: spans of `span` steps start with probability ratio / span.

    Spans may overlap, so a little less than `ratio` of the steps is masked.

    Args:
        counts: of the trials, on whose device the masks are drawn.
        span: a whole number from 1 to `longest`, as a tensor, so that the operations are the same for each.
    """
    starts = uniform(counts, len(counts), steps) < ratio / span
    masked = starts.clone()
    for shift in range(1, longest):
        masked[:, shift:] |= starts[:, :-shift] & (span > shift)
    return masked


def span_of(epoch: int, ramp: tuple[int, int], longest: int, generator: torch.Generator | None = None) -> int:
    """The length of an update's spans: 1, or, with a probability that climbs from 0 to 1 over the ramp, drawn from 1 to
    `longest`.

    Args:
        ramp: first and last epoch of the climb.
    """
    start, end = ramp
    climbed = min(1.0, max(0.0, (epoch - start) / max(1, end - start)))
    if longest > 1 and torch.rand((), generator=generator).item() < climbed:
        return int(torch.randint(1, longest + 1, (), generator=generator).item())
    return 1


def corrupt(counts: Tensor, masked: Tensor, zero_ratio: float, random_ratio: float) -> Tensor:
    """Counts with masked entries replaced: with probability `zero_ratio` by zero; the others, with probability
    `random_ratio`, by a random whole number below the largest count of the batch. The rest stay as they are.

    Args:
        counts: (trials, bins, neurons).
        masked: booleans of the same shape.
    """
    zero = masked & (uniform(counts) < zero_ratio)
    random = masked & ~zero & (uniform(counts) < random_ratio)
    noise = torch.floor(uniform(counts) * counts.max().clamp(min=1))
    return torch.where(random, noise, counts.masked_fill(zero, 0.0))
