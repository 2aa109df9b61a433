"""What the networks share: counts as tensors, time steps and bins, masks, the Poisson loss, rates as arrays."""

import numpy as np
import torch
from torch import Tensor, nn

from nlbflow.methods.networks.draws import uniform
from nlbflow.metrics.formulas import bits_per_spike
from nlbflow.recordings.model_input import ModelInput

# Log rates (per bin) are clipped to this range, beyond which they mean nothing more; the exponential stays finite.
LOG_RATE_RANGE = -20.0, 6.0
# Trials per batch in prediction.
BATCH = 64


def training_tensors(data: ModelInput, device: torch.device) -> dict[str, Tensor]:
    """The training trials of a model.

    Returns:
        `heldin`: counts (trials, bins, held-in neurons) that the network sees. `counts`: counts that it predicts,
        (trials, bins + forward bins, neurons), held-in first.
    """
    counts = np.concatenate([data.train_spikes_heldin, data.train_spikes_heldout], axis=2)
    if data.train_spikes_heldin_forward is not None:
        ahead = np.concatenate([data.train_spikes_heldin_forward, data.train_spikes_heldout_forward], axis=2)
        counts = np.concatenate([counts, ahead], axis=1)
    on_device = torch.from_numpy(counts).to(device)
    bins, heldin = data.train_spikes_heldin.shape[1:]
    # a view, so that all trials lie in memory once
    return {"heldin": on_device[:, :bins, :heldin], "counts": on_device}


def log_mean_rates(counts: Tensor) -> Tensor:
    """Log of each neuron's mean count per bin, (neurons,), where a readout's bias starts; half a spike bounds it."""
    known = counts.isfinite().sum(dim=(0, 1))
    return torch.log((counts.nansum(dim=(0, 1)) + 0.5) / known.clamp(min=1))


def poisson_loss(log_rates: Tensor, counts: Tensor, scored: Tensor) -> Tensor:
    """Mean negative Poisson log likelihood per scored entry, without the log n! of the counts.

    Args:
        log_rates, counts: (trials, time, neurons); NaN counts, in a forward window that was not recorded, are not
            scored.
        scored: booleans of the same shape.
    """
    log_rates, scored = log_rates.float(), scored & counts.isfinite()
    counts = counts.nan_to_num()
    losses = torch.exp(log_rates) - counts * log_rates
    # a product, because an index is not reproducible on GPUs
    return (losses * scored).sum() / scored.sum()


def scored_entries(counts: Tensor, hidden: Tensor) -> Tensor:
    """Which entries enter a loss: all of the held-out neurons and of the forward window, which the network never sees,
    and the held-in ones that were hidden from it.

    Args:
        counts: (trials, bins + forward bins, neurons).
        hidden: (trials, bins, held-in neurons), True where the network did not see the count.
    """
    scored = torch.ones_like(counts, dtype=torch.bool)
    scored[:, : hidden.shape[1], : hidden.shape[2]] = hidden
    return scored


def coordinated_dropout(counts: Tensor, rate: float) -> tuple[Tensor, Tensor]:
    """Counts with entries dropped at random and the rest scaled up, and which were dropped.

    A network that is scored by the dropped entries alone cannot learn to copy its input (Keshtkaran & Pandarinath 2019,
    arXiv:1908.07896).

    Args:
        rate: the probability that an entry is dropped, below 1.
    """
    dropped = uniform(counts) < rate
    return counts * ~dropped / (1 - rate), dropped


class TimeSteps(nn.Module):
    """A network's time steps, one or several bins long, over the window and the forward window.

    Args:
        bins, ahead: bins of the window and of the forward window.
        length: bins per step. With 1, `sums` only appends the forward window and `interpolate` changes nothing.
    """

    def __init__(self, bins: int, ahead: int, length: int):
        super().__init__()
        self.bins, self.ahead, self.length = bins, ahead, max(1, length)
        self.steps = -(-(bins + ahead) // self.length)
        # linear between the middles of steps, constant before the first and after the last
        place = (np.arange(bins + ahead) + 0.5) / self.length - 0.5
        hats = np.maximum(0, 1 - abs(np.clip(place, 0, self.steps - 1)[:, None] - np.arange(self.steps)))
        self.register_buffer("weights", torch.tensor(hats, dtype=torch.float32), persistent=False)

    def sums(self, counts: Tensor) -> Tensor:
        """Counts (trials, bins, n) summed over each step, zeros in the forward window: (trials, steps, n)."""
        padded = nn.functional.pad(counts, (0, 0, 0, self.steps * self.length - self.bins))
        return padded.reshape(len(counts), self.steps, self.length, -1).sum(dim=2)

    def interpolate(self, values: Tensor) -> Tensor:
        """Values (trials, steps, n) at each bin, linear between the middles of steps: (trials, bins + ahead, n)."""
        return values if self.length == 1 else self.weights @ values


def predict_in_batches(net: nn.Module, heldin: np.ndarray, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Rates (trials, bins + forward bins, neurons) in spikes per bin and latents (trials, bins + forward bins, dims).

    Args:
        net: in evaluation mode; returns log rates and latents for held-in counts (trials, bins, held-in neurons).
    """
    device = next(net.parameters()).device
    rates, latents = [], []
    with torch.no_grad():
        for counts in torch.from_numpy(heldin).split(batch):
            log_rates, states = net(counts.to(device))
            rates.append(torch.exp(log_rates.clamp(*LOG_RATE_RANGE)).cpu().numpy())
            latents.append(states.cpu().numpy())
    return np.concatenate(rates), np.concatenate(latents)


def validation_facts(net: nn.Module, batch: dict[str, Tensor]) -> dict[str, float]:
    """`validation_co_bps`, the bits per spike of the held-out neurons from all of the held-in counts, which can be
    compared between models."""
    bins, heldin = batch["heldin"].shape[1:]
    rates, _ = predict_in_batches(net, batch["heldin"].cpu().numpy(), BATCH)
    heldout = batch["counts"][:, :bins, heldin:].cpu().numpy()
    return {"validation_co_bps": float(bits_per_spike(rates[:, :bins, heldin:], heldout))}


def prediction(net: nn.Module, data: ModelInput, facts: dict, history: dict) -> dict:
    """What a model's `predict` returns: facts, history, and rates and latents of training and evaluation trials, from
    all of the held-in counts."""
    bins, heldin = data.train_spikes_heldin.shape[1:]
    predicted = {"facts": facts, "history": history}
    for part in ("train", "eval"):
        rates, latents = predict_in_batches(net, getattr(data, f"{part}_spikes_heldin"), BATCH)
        predicted[f"{part}_rates_heldin"] = rates[:, :bins, :heldin]
        predicted[f"{part}_rates_heldout"] = rates[:, :bins, heldin:]
        predicted[f"{part}_latents"] = latents[:, :bins]
    if data.train_spikes_heldin_forward is not None:
        predicted["eval_rates_heldin_forward"] = rates[:, bins:, :heldin]
        predicted["eval_rates_heldout_forward"] = rates[:, bins:, heldin:]
    return predicted
