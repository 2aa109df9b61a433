"""What tests of LFADS share: a small model, counts for it, and members before training."""

import torch

from nlbflow.methods.lfads.net import Sizes
from nlbflow.methods.lfads.population import HYPERPARAMETERS, Population, Range, Trials, first_population

torch.set_num_threads(1)
SIZES = Sizes(6, 9, 7, 3, ic_encoder=4, ci_encoder=3, controller=3, inferred_inputs=2, ic_dim=3, generator=5, factors=2)
RANGES = {
    "learning_rate": Range(1e-3, 1e-1, 0.3),
    "dropout": Range(0.0, 0.6, 0.3),
    "cd_rate": Range(0.1, 0.7, 0.3),
    "kl_ic": Range(1e-4, 1e-2, 0.8),
    "kl_input": Range(1e-4, 1e-2, 0.8),
    "l2_generator": Range(1e-2, 1.0, 0.8),
    "l2_controller": Range(1e-2, 1.0, 0.8),
}


def doubles(*shape, scale=0.5, seed=0) -> torch.Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def trials(count=8, dtype=torch.float64) -> Trials:
    rate = 0.3 + 0.2 * doubles(SIZES.bins + SIZES.ahead, count, SIZES.neurons).sin()
    counts = torch.poisson(rate, generator=torch.Generator().manual_seed(1)).to(dtype)
    return Trials(counts, torch.ones_like(counts))


def population(members, data=None) -> Population:
    return first_population(SIZES, data or trials(), RANGES, 3, members)


def hyper(**values) -> dict[str, torch.Tensor]:
    """Of one member; 0 but for those named."""
    return {name: torch.tensor([values.get(name, 0.0)]).double() for name in HYPERPARAMETERS}
