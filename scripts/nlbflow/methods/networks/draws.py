"""Random numbers inside a network and its loss: from torch's own generator or, of networks that are trained side by
side, for each from a generator of its own, so that it draws what it would draw alone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

# A generator for each of the networks that are computed side by side at this moment; None: there is one network.
_generators: Sequence[torch.Generator] | None = None


@contextmanager
def side_by_side(generators: Sequence[torch.Generator]) -> Iterator[None]:
    """Inside, `torch.func.vmap` goes over networks, which draw from these generators."""
    global _generators
    _generators = generators
    try:
        yield
    finally:
        _generators = None


def alone() -> bool:
    """Whether there is one network."""
    return _generators is None


def uniform(like: Tensor, *shape: int) -> Tensor:
    """Numbers in [0, 1) of some shape, that of `like` if none is given, and of its type and device."""

    def draw(one: Tensor, generator: torch.Generator | None) -> Tensor:
        return torch.rand(shape or one.shape, generator=generator, dtype=one.dtype, device=one.device)

    return draw(like, None) if alone() else _Drawn.apply(like, draw)


class Dropout(nn.Dropout):
    """torch's, in the operations that it has on a CPU; its kernel for GPUs takes no generator."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p in (0, 1):
            return super().forward(x)

        def draw(one: Tensor, generator: torch.Generator | None) -> Tensor:
            return torch.empty_like(one).bernoulli_(1 - self.p, generator=generator).div_(1 - self.p)

        return x * (draw(x, None) if alone() else _Drawn.apply(x, draw))


class _Drawn(torch.autograd.Function):
    """What each network draws; without a gradient."""

    @staticmethod
    def forward(like: Tensor, draw: Callable[[Tensor, torch.Generator | None], Tensor]) -> Tensor:
        # of a tensor that all networks share, as in validation
        return draw(like, None)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx, *gradients):
        return None, None

    @staticmethod
    def vmap(info, in_dims: tuple, like: Tensor, draw: Callable) -> tuple[Tensor, int]:
        each = zip(like.unbind(in_dims[0]), _generators, strict=True)
        return torch.stack([draw(one, generator) for one, generator in each]), 0
