"""A mixture of memories: linear attention with several states, to one of which a router sends each step.

Du, Sun, Lan, Hu & Cheng 2025, arXiv:2502.13685 (`nlbflow.methods.networks.mom`). Each memory adds up what the steps
that are sent to it have in common, and stays as it is while others are written to; one more is shared by all steps. The
original is a language model; here one layer of it reads a trial in both directions, its router sees the mean of three
steps, and read-in, readout, loss with coordinated dropout (Keshtkaran & Pandarinath 2019, arXiv:1908.07896) and
training are those of `gru`.

Assumes: log rates are linear in a few numbers for each step, and moments fall into a few kinds, of which each is
  remembered apart.
Latents: those numbers, up to an invertible linear map: an axis means nothing by itself and is another for each seed.
Tells: the memory that each step is sent to (`eval_states`), a segmentation that was learnt for prediction alone.
Cost: about a minute of CPU on the excerpt of MC_Maze_Large (5 ms); needs PyTorch.
Limits: nothing asks memories to be what states of dynamics are. Rates follow from later spikes too, so it cannot run
  online.
Reference code: https://github.com/OpenSparseLLMs/MoM (Apache-2.0); nothing of it is used, this is written from a
  description.
"""

from dataclasses import replace

import numpy as np
import torch
from nlbflow.errors import NlbflowError
from nlbflow.methods.networks.coordinated import task_of
from nlbflow.methods.networks.mom import MixtureOfMemories, imbalance
from nlbflow.methods.networks.training import predict_side_by_side

DEFAULTS = {
    # Dimensions of the linear layer that reads the counts in; with few of them the network cannot learn a small data
    # set by heart.
    "factors": 8,
    # Features of each step, and units of the feed-forward network.
    "width": 64,
    "hidden": 128,
    # Memories to choose from, how many of them a step is sent to, and whether there is one more for all steps.
    "memories": 4,
    "chosen": 1,
    "shared": True,
    # A memory is a square matrix of so many dimensions in each head.
    "heads": 2,
    "dims": 16,
    # Weight of the loss that draws memories towards being used alike, without which one may take all steps.
    "balance": 0.01,
    # Dimensions of the layer from which rates are read out.
    "latents": 16,
    # Length of the network's time steps in ms; the bin's width if that is longer.
    "step_ms": 40,
    # Share of held-in entries hidden from the network at each update, and then predicted.
    "input_dropout": 0.7,
    # Share of units dropped within and after layers and before the latents.
    "dropout": 0.4,
    # Training; see nlbflow.methods.networks.training.Settings. float32, tf32 or bfloat16; auto, cpu or cuda.
    "epochs": 240,
    "batch": 32,
    "learning_rate": 0.006,
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
# Its segmentation is drawn.
STRUCTURE = True
CHECK = {"width": 6, "hidden": 8, "dims": 4, "latents": 3, "epochs": 2, "device": "cpu"}


def task(data, params: dict, seed: int):
    """The network as it begins, and how it is fitted, from what `predict` is given."""
    if not 1 <= params["chosen"] <= params["memories"]:
        raise NlbflowError(f"mom needs 1 to memories ({params['memories']}) as chosen; found {params['chosen']}.")

    def penalty(net, seen):
        return params["balance"] * imbalance(*net.routed(net.factors(seen)))

    return replace(task_of(data, params, seed, MixtureOfMemories, penalty), show=show_segments)


def show_segments(net, data, predicted: dict) -> None:
    """Add the memory that each bin is sent to, and how often each one is used."""
    device = next(net.parameters()).device
    for part in ("train", "eval"):
        counts = torch.from_numpy(getattr(data, f"{part}_spikes_heldin")).to(device)
        predicted[f"{part}_states"] = net.segments(counts).cpu().numpy()
    used = np.bincount(predicted["train_states"].ravel(), minlength=net.router.out_features)
    predicted["facts"]["occupancy"] = ", ".join(f"{share:.3f}" for share in np.sort(used / used.sum())[::-1])


def predict(data, params: dict, seed: int) -> dict:
    """Rates in spikes per bin, (trials, time, neurons), latents, (trials, time, latents), and the memory that each bin
    is sent to, (trials, time).

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
