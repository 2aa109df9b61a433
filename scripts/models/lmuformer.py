"""LMUFormer: convolution, Legendre memories and feed-forward networks, from held-in counts to the rates of all neurons.

Liu, Datta, Li & Beerel 2024, ICLR, arXiv:2402.04882; its memory: Voelker, Kajić & Eliasmith 2019, NeurIPS, all steps of
which are one product (Chilkuri & Eliasmith 2021, arXiv:2102.11417; `nlbflow.methods.networks.lmu`). Time passes through
fixed memories alone, each of a channel and of the last `theta` steps, and everything learnt is the same at every step.
The original reads speech or pixels, with one memory of a single channel; here it is as wide as `gru`, has a memory for
each of a few channels, one more of what is to come, layer norm for batch norm, and no spiking variant. Read-in,
readout, loss with coordinated dropout (Keshtkaran & Pandarinath 2019, arXiv:1908.07896) and training are those of
`gru`.

Assumes: log rates are linear in a few numbers, each a function of the counts of a step and its neighbours and of a few
  signals' courses before and after, as smooth as `order` polynomials over `theta` steps can be.
Latents: those numbers, up to an invertible linear map: an axis means nothing by itself and is another for each seed.
Tells: what a learnt recurrence is worth, since here it is fixed.
Cost: 34 s of CPU on the excerpt of MC_Maze_Large (5 ms); needs PyTorch.
Limits: made for memories of a thousand steps, of which a trial has two dozen. With `causal` a step depends on none
  after it, but rates between two steps still follow the later one.
Reference code: https://github.com/zeyuliu1037/LMUFormer (MIT); nothing of it is used, this is written from a
  description.
"""

from nlbflow.errors import NlbflowError
from nlbflow.methods.networks.coordinated import task_of
from nlbflow.methods.networks.lmu import LMUFormer
from nlbflow.methods.networks.training import predict_side_by_side

DEFAULTS = {
    # Dimensions of the linear layer that reads the counts in; with few of them the network cannot learn a small data
    # set by heart.
    "factors": 8,
    # Features of each step, and units of the feed-forward networks.
    "width": 64,
    "hidden": 128,
    "blocks": 1,
    # Signals that each have memories of their own, polynomials of a memory, and its length in steps. This length, the
    # blocks and the learning rate were chosen by the validation score on simulated_maze and the MC_Maze_Large excerpt.
    "channels": 16,
    "order": 6,
    "theta": 8,
    # Memories of what came before alone, and a convolution that does not look ahead.
    "causal": False,
    # Dimensions of the layer from which rates are read out.
    "latents": 16,
    # Length of the network's time steps in ms; the bin's width if that is longer.
    "step_ms": 40,
    # Share of held-in entries hidden from the network at each update, and then predicted.
    "input_dropout": 0.7,
    # Share of units dropped within and after blocks and before the latents.
    "dropout": 0.4,
    # Training; see nlbflow.methods.networks.training.Settings. float32, tf32 or bfloat16; auto, cpu or cuda.
    "epochs": 240,
    "batch": 32,
    "learning_rate": 0.01,
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
CHECK = {"width": 6, "hidden": 8, "channels": 3, "order": 3, "latents": 3, "epochs": 2, "device": "cpu"}


def task(data, params: dict, seed: int):
    """The network as it begins, and how it is fitted, from what `predict` is given."""
    if params["order"] < 1 or not params["theta"] > 0:
        raise NlbflowError(f"lmuformer needs order >= 1 and theta > 0; found {params['order']} and {params['theta']}.")
    return task_of(data, params, seed, LMUFormer)


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
