"""A perceptron from all held-in counts of a trial to the rates of all neurons: a network that assumes nothing of time.

The control for `gru` and its like (multilayer perceptron: Rumelhart, Hinton & Williams 1986, Nature 323:533-536; GELU:
Hendrycks & Gimpel 2016, arXiv:1606.08415). The counts of all steps and neurons are one long input, and each latent of
each step is an output of its own; loss, coordinated dropout (Keshtkaran & Pandarinath 2019, arXiv:1908.07896), training
and the readout from latents to neurons are those of `gru`. If steps changed their places in all trials, nothing would
change but the names of inputs and outputs, and what lies between two steps.

Assumes: log rates are linear in a few numbers for each step, which any function of the trial's held-in counts may give;
  between steps of `step_ms` they are linear.
Latents: those numbers, up to an invertible linear map: an axis means nothing by itself and is another for each seed.
Tells: what it is worth to a network to know that time has an order and that all of it is alike; with few trials, much.
Cost: about 30 s of CPU on the excerpt of MC_Maze_Large (5 ms); needs PyTorch.
Limits: it has as many weights as there are steps and neurons to read, and learns small data sets by heart. Trials must
  be alike in time. It cannot run online.
Reference code: none; written from the description above.
"""

from itertools import pairwise

from nlbflow.methods.networks.common import TimeSteps
from nlbflow.methods.networks.coordinated import Readout, task_of
from nlbflow.methods.networks.draws import Dropout
from nlbflow.methods.networks.training import predict_side_by_side
from torch import nn

DEFAULTS = {
    # Units of each hidden layer, and their number.
    "width": 256,
    "layers": 2,
    # Dimensions, at each step, from which rates are read out.
    "latents": 16,
    # Length of a time step in ms; the bin's width if that is longer.
    "step_ms": 40,
    # Share of held-in entries hidden from the network at each update, and then predicted.
    "input_dropout": 0.7,
    # Share of units dropped after each hidden layer.
    "dropout": 0.5,
    # The learning rate (of this and 0.003) and the epochs (of 120 and these) were chosen by the validation score on
    # simulated_maze and the MC_Maze_Large excerpt.
    # Training; see nlbflow.methods.networks.training.Settings. float32, tf32 or bfloat16; auto, cpu or cuda.
    "epochs": 240,
    "batch": 32,
    "learning_rate": 0.001,
    "warmup_epochs": 5,
    "weight_decay": 0.01,
    "averaging": 0.95,
    "clip_norm": 1.0,
    "patience": 120,
    "refit": True,
    "device": "auto",
    "precision": "float32",
}
HISTORY = True
CHECK = {"width": 6, "latents": 3, "epochs": 2, "device": "cpu"}


class Perceptron(nn.Module):
    """Log rates (trials, bins + ahead, neurons) and latents of held-in counts (trials, bins, heldin)."""

    def __init__(self, steps: TimeSteps, heldin: int, neurons: int, params: dict):
        super().__init__()
        self.steps = steps
        # the steps that have counts; the others lie ahead
        self.seen = -(-steps.bins // steps.length)
        width, latents, dropout = params["width"], params["latents"], params["dropout"]
        sizes = [self.seen * heldin, *[width] * params["layers"]]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        self.dropout = Dropout(dropout)
        self.readout = Readout(steps, nn.Linear(sizes[-1], steps.steps * latents), latents, neurons, dropout)

    def forward(self, heldin):
        units = self.steps.sums(heldin)[:, : self.seen].flatten(1)
        for number, layer in enumerate(self.layers):
            units = nn.functional.gelu(layer(self.dropout(units) if number else units))
        return self.readout(units)


def task(data, params: dict, seed: int):
    """The network as it begins, and how it is fitted, from what `predict` is given."""
    return task_of(data, params, seed, Perceptron)


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
