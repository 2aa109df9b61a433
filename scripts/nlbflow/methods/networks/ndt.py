"""Neural Data Transformers, with attention over time or over time and neurons, and how they are fitted.

scripts/models/ndt.py names the sources.
"""

import torch
from torch import Tensor, nn

from nlbflow.methods.networks.common import (
    TimeSteps,
    coordinated_dropout,
    log_mean_rates,
    poisson_loss,
    scored_entries,
    training_tensors,
    validation_facts,
)
from nlbflow.methods.networks.device import prepare
from nlbflow.methods.networks.draws import Dropout
from nlbflow.methods.networks.training import Settings, Task
from nlbflow.methods.networks.transformer import (
    Layer,
    SpatialLayer,
    context_mask,
    contrast,
    corrupt,
    mask_spans,
    span_of,
)
from nlbflow.recordings.model_input import ModelInput


class NDT(nn.Module):
    """Log rates (trials, bins + ahead, neurons) and the encoder's output, the latents, of held-in counts.

    Args:
        steps: the time steps.
        neurons: the number of all neurons, held-in first.
        largest: the highest count for which a table of `count_columns` has a row.
        params: see DEFAULTS.
    """

    def __init__(self, steps: TimeSteps, neurons: int, largest: int, params: dict):
        super().__init__()
        self.steps, self.neurons = steps, neurons
        columns = params["count_columns"]
        self.table = nn.Embedding(largest + 1, columns) if columns and not params["width"] else None
        factors = params["factors"] or neurons
        self.embedding = (
            nn.Sequential(nn.Linear(neurons, factors), nn.Linear(factors, params["width"])) if params["width"] else None
        )
        width = params["width"] or neurons * max(1, columns)
        self.width = width + -width % params["heads"]
        self.positions = nn.Embedding(steps.steps, self.width)
        self.layers = nn.ModuleList(self.make_layer(params) for _ in range(params["layers"]))
        for layer in self.layers:
            layer.t_fixup(params["layers"])
        self.norm = nn.LayerNorm(self.width)
        self.dropout_embedding = Dropout(params["dropout_embedding"])
        self.dropout_rates = Dropout(params["dropout_rates"])
        self.bottleneck = nn.Linear(self.width, params["latents"]) if params["latents"] else nn.Identity()
        self.readout = nn.Linear(params["latents"] or self.width, neurons)
        nn.init.uniform_(self.readout.weight, -0.1, 0.1)
        allowed = context_mask(steps.steps, params["context_backward"], params["context_forward"])
        self.register_buffer("allowed", allowed, persistent=False)

    def make_layer(self, params: dict) -> Layer:
        sizes = params["heads"], params["hidden"], params["dropout"]
        return SpatialLayer(self.width, self.steps.steps, *sizes) if params["spatial"] else Layer(self.width, *sizes)

    def forward(self, heldin: Tensor) -> tuple[Tensor, Tensor]:
        x = nn.functional.pad(self.steps.sums(heldin), (0, self.neurons - heldin.shape[2]))
        if self.table is not None:
            x = self.table(x.long().clamp(max=self.table.num_embeddings - 1)).flatten(2)
        elif self.embedding is not None:
            x = self.embedding(x)
        x = nn.functional.pad(x, (0, self.width - x.shape[2])) * self.width**0.5
        x = self.dropout_embedding(x + self.positions.weight)
        for layer in self.layers:
            x = layer(x, self.allowed)
        latents = self.steps.interpolate(self.bottleneck(self.dropout_rates(self.norm(x))))
        return self.readout(latents), latents


def task_of(data: ModelInput, params: dict, seed: int) -> Task:
    """A network as it begins, and how it is fitted to masked counts.

    Args:
        params: see DEFAULTS of scripts/models/ndt.py.
        seed: seed of weights, order of trials, masks and dropout.

    Raises:
        NlbflowError: a parameter is out of range, or there is no such device.
    """
    settings = Settings.of(params)
    device = prepare(seed, params["device"])
    trials = training_tensors(data, device)
    bins = data.train_spikes_heldin.shape[1]
    total, neurons = trials["counts"].shape[1:]
    steps = TimeSteps(bins, total - bins, params["step_ms"] // data.bin_ms)
    # three more than the largest in training, as published
    largest = int(steps.sums(trials["heldin"].cpu()).max()) + 3
    net = NDT(steps, neurons, largest, params)
    net.readout.bias.data = log_mean_rates(trials["counts"].cpu())
    net.to(device)
    ramp, longest = (params["span_ramp_start"], params["span_ramp_end"]), params["max_span"]

    def masked_view(net: nn.Module, batch: dict, span: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of a randomly masked view of the trials, and its latents."""
        heldin = batch["heldin"]
        masked = mask_spans(heldin, steps.steps, params["mask_ratio"], span, longest)
        masked = masked.repeat_interleave(steps.length, dim=1)[:, :bins, None].expand_as(heldin)
        seen, dropped = coordinated_dropout(heldin, params["input_dropout"])
        log_rates, latents = net(corrupt(seen, masked, params["mask_zero_ratio"], params["mask_random_ratio"]))
        return poisson_loss(log_rates, batch["counts"], scored_entries(batch["counts"], masked | dropped)), latents

    def plan(epoch, generator):
        return [span_of(epoch, ramp, longest, generator)]

    def training_loss(net, batch, numbers):
        (span,) = numbers
        loss, latents = masked_view(net, batch, span)
        if params["contrast_weight"]:
            # a second, differently masked view of each trial
            other, others = masked_view(net, batch, span)
            loss = (loss + other) / 2 + params["contrast_weight"] * contrast(latents.mean(dim=1), others.mean(dim=1))
        return loss

    def validation_loss(net, batch):
        # masked as in training, as published, but without spans
        return masked_view(net, batch, torch.ones((), device=batch["heldin"].device))[0]

    return Task(net, trials, (training_loss, validation_loss, validation_facts), settings, plan)
