"""A small Neuroformer and counts for it, with weights and spikes drawn at random. Needs torch."""

from pathlib import Path

import torch

from nlbflow.methods.networks.common import TimeSteps
from nlbflow.methods.networks.neuroformer import Neuroformer
from nlbflow.models.contract import load_model

PATH = Path(__file__).parents[2] / "scripts/models/neuroformer.py"
MODEL = load_model(PATH)
HELDIN, NEURONS, BINS, AHEAD, LENGTH = 4, 6, 16, 4, 4


def network(neurons=NEURONS, length=LENGTH, bins=BINS, ahead=AHEAD, **changed) -> Neuroformer:
    """A network at bins of 5 ms whose weights are all drawn, in evaluation mode."""
    torch.manual_seed(0)
    params = {**MODEL.DEFAULTS, **MODEL.CHECK, "blocks": 2, "context_ms": 30, **changed}
    net = Neuroformer(TimeSteps(bins, ahead, length), neurons, 5, params).eval()
    for weight in net.parameters():
        weight.data.copy_(torch.randn_like(weight) * 0.3)
    return net


def drawn_counts() -> torch.Tensor:
    """(5 trials, bins + forward bins, neurons)."""
    torch.manual_seed(1)
    return torch.poisson(torch.full((5, BINS + AHEAD, NEURONS), 0.6))
