"""What gpu_steps.py compares with: NDT as a user of torch would write it, and LFADS's updates with the same random
numbers on every device."""

import time
from statistics import median
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from nlbflow.methods.lfads import fit as lfads_fit
from nlbflow.methods.lfads import net as lfads
from nlbflow.methods.lfads import population
from nlbflow.methods.lfads.training import Training
from nlbflow.methods.networks.common import training_tensors
from nlbflow.recordings.model_input import ModelInput


class PlainNDT(nn.Module):
    """An encoder over time, of torch's own layers, a column for each neuron."""

    def __init__(self, steps: int, neurons: int, params: dict):
        super().__init__()
        heads = params["heads"]
        self.extra = -neurons % heads
        width = neurons + self.extra
        self.positions = nn.Embedding(steps, width)
        layer = nn.TransformerEncoderLayer(
            width, heads, params["hidden"], params["dropout"], batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, params["layers"], nn.LayerNorm(width), enable_nested_tensor=False)
        self.dropout = nn.Dropout(params["dropout_embedding"])
        self.readout = nn.Linear(width, neurons)
        at = torch.arange(steps)
        ahead = at[None, :] - at[:, None]
        self.register_buffer("hidden", (ahead < -params["context_backward"]) | (ahead > params["context_forward"]))
        self.register_buffer("at", at)

    def forward(self, counts: Tensor) -> Tensor:
        x = nn.functional.pad(counts, (0, self.extra)) * (counts.shape[2] + self.extra) ** 0.5
        x = self.dropout(x + self.positions(self.at))
        return self.readout(self.encoder(x, mask=self.hidden))


def plain_ndt(data: ModelInput, params: dict, device: str, seconds: float) -> float:
    """Updates per second of NDT in eager mode: masked counts in, Poisson loss of masked and hidden entries, Adam."""
    torch.use_deterministic_algorithms(False)
    trials = training_tensors(data, torch.device(device))
    counts, heldin = trials["counts"], trials["heldin"].shape[2]
    bins = trials["heldin"].shape[1]
    visible = torch.zeros_like(counts[:1], dtype=torch.bool)
    visible[:, :bins, :heldin] = True
    net = PlainNDT(counts.shape[1], counts.shape[2], params).to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=params["learning_rate"], weight_decay=params["weight_decay"])
    loss_of = nn.PoissonNLLLoss(log_input=True, reduction="none")
    times, began = [], time.perf_counter()
    while len(times) < 4 or time.perf_counter() - began < seconds:
        start, losses = time.perf_counter(), []
        chosen = torch.randperm(len(counts), device=device).split(params["batch"])
        for rows in chosen:
            batch = counts[rows]
            masked = torch.rand(batch.shape[:2], device=device).unsqueeze(2) < params["mask_ratio"]
            seen = batch.masked_fill(masked | ~visible, 0.0)
            loss = loss_of(net(seen), batch)[masked.expand_as(batch) | ~visible].mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), params["clip_norm"])
            optimizer.step()
            losses.append(loss.detach())
        torch.stack(losses).mean().item()
        times.append((time.perf_counter() - start) / len(chosen))
    return 1 / median(times[1:])


def compare_lfads(data: ModelInput, params: dict, device: str, updates: int = 3) -> np.ndarray:
    """Log rates of the posterior's mean of some trials, after updates whose random numbers are drawn on the CPU."""

    def on_cpu(draw):
        return lambda shape, streams, like: draw(shape, streams, like.new_empty(0, device="cpu")).to(like.device)

    torch.set_num_threads(8)
    trials = lfads_fit._to(lfads_fit._trials(data), device)
    sizes = lfads_fit._sizes(data, params)
    names = population.HYPERPARAMETERS
    ranges = {name: population.Range(params[name], params[name], start=params[name]) for name in names}
    group, streams = population.first_population(sizes, trials, ranges, 0, [0]), [population.stream(0, 0, 1)]
    schedule = population.Schedule(params["batch"], 100, 0.0)
    order = np.random.default_rng(0).permutation(trials.counts.shape[1])
    draws = {name: on_cpu(getattr(population, name)) for name in ("_uniform", "_normal")}
    training = Training(group, sizes, trials, schedule, streams)
    with patch.multiple(population, **draws):
        for rows in np.array_split(order, updates):
            chosen = torch.from_numpy(rows[: params["batch"]])[None].to(device)
            # at once, since a recorded update draws nothing on the CPU
            training._update(chosen, torch.tensor(training._numbers(1), dtype=torch.float32, device=device))
    seen = trials.counts[None, : sizes.bins, :40, : sizes.heldin]
    with torch.no_grad():
        outcome = lfads.run(lfads.unpack(group.weights, sizes), seen, population.no_noise(sizes, seen), sizes)
    torch.set_num_threads(1)
    return outcome.log_rates.cpu().numpy()
