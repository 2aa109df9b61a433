"""A bidirectional GRU from held-in counts to the rates of all neurons, observed and forecast.

After the Makin lab's RNNf on the benchmark's leaderboard (two bidirectional layers and a feed-forward readout, about
0.15 million parameters); GRU: Cho et al. 2014, arXiv:1406.1078. The network cannot copy its input: held-in entries are
predicted only where coordinated dropout (Keshtkaran & Pandarinath 2019, arXiv:1908.07896) hid them, held-out neurons
and the forward window always. Its steps may be longer than a bin, with rates that are log-linear between them: fewer
steps to learn over, and smooth rates.

Assumes: log rates are linear in a few numbers, which any function of the trial's held-in counts may give; between steps
  of `step_ms` they are linear.
Latents: those numbers, up to an invertible linear map: an axis means nothing by itself and is another for each seed.
Tells: what recurrence reaches without a model of the data; the structure of another network is worth what it adds.
Cost: 33 s on one CPU core on the simulated session, with its defaults (0.5 GB); needs PyTorch.
Limits: what it has learnt cannot be read as dynamics. Small data sets are learnt by heart unless the read-in is narrow.
  Rates follow from later spikes too, so it cannot run online.
Reference code: the Makin lab's, not checked; nothing of it is used.
"""

from nlbflow.methods.networks.blocks import BidirectionalGRU
from nlbflow.methods.networks.common import TimeSteps
from nlbflow.methods.networks.coordinated import Readout, task_of
from nlbflow.methods.networks.draws import Dropout
from nlbflow.methods.networks.training import predict_side_by_side
from torch import nn

DEFAULTS = {
    # Units of each direction of each layer.
    "width": 64,
    "layers": 2,
    # Dimensions of the linear layer that reads the counts in; with few of them the network cannot learn a small data
    # set by heart.
    "factors": 8,
    # Dimensions of the layer from which rates are read out.
    "latents": 16,
    # Length of the network's time steps in ms; the bin's width if that is longer.
    "step_ms": 40,
    # Share of held-in entries hidden from the network at each update, and then predicted.
    "input_dropout": 0.7,
    # Share of units dropped between layers and before the latents.
    "dropout": 0.4,
    # Training; see nlbflow.methods.networks.training.Settings. float32, tf32 or bfloat16; auto, cpu or cuda.
    "epochs": 120,
    "batch": 32,
    "learning_rate": 0.006,
    "warmup_epochs": 5,
    "weight_decay": 0.01,
    "averaging": 0.95,
    "clip_norm": 1.0,
    "patience": 60,
    "refit": True,
    "device": "auto",
    "precision": "float32",
}
HISTORY = True
CHECK = {"width": 6, "layers": 1, "latents": 3, "epochs": 2, "device": "cpu"}


class Network(nn.Module):
    """Log rates (trials, bins + ahead, neurons) and latents of held-in counts (trials, bins, heldin)."""

    def __init__(self, steps: TimeSteps, heldin: int, neurons: int, params: dict):
        super().__init__()
        self.steps = steps
        width, latents = params["width"], params["latents"]
        self.read_in = nn.Linear(heldin, params["factors"])
        # layer by layer, with our own dropout between them: cuDNN's has a state that no checkpoint can hold
        self.recurrent = nn.ModuleList(
            BidirectionalGRU(2 * width if layer else params["factors"], width) for layer in range(params["layers"])
        )
        self.dropout = Dropout(params["dropout"])
        self.readout = Readout(steps, nn.Linear(2 * width, latents), latents, neurons, params["dropout"])

    def forward(self, heldin):
        states = self.read_in(self.steps.sums(heldin))
        for number, layer in enumerate(self.recurrent):
            states = layer(self.dropout(states) if number else states)
        return self.readout(states)


def task(data, params: dict, seed: int):
    """The network as it begins, and how it is fitted, from what `predict` is given."""
    return task_of(data, params, seed, Network)


def predict(data, params: dict, seed: int) -> dict:
    """Rates in spikes per bin, (trials, time, neurons), and latents, (trials, time, latents).

    Args:
        data: all spikes of it are used, and bin_ms.
        params: see DEFAULTS.
        seed: the seed of weights, order of trials and dropout.

    Raises:
        NlbflowError: a parameter is out of range, or there is no such device.
    """
    return task(data, params, seed).predict(data)


def predict_seeds(data, params: dict, seeds) -> list[dict]:
    """What `predict` returns for each of several seeds, trained side by side."""
    return predict_side_by_side(task, data, params, seeds)
