"""How much GPU memory a training will need, computed before it begins: of tensors on torch's `meta` device, which have
shapes but no numbers."""

import copy
import logging
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

# Times what autograd keeps of an update: with gradients of activations and what a graph returns. A guess, beside which
# benchmarks/gpu.py puts the measured peak.
BESIDE = 1.5
# Of each weight: itself, its gradient, Adam's two moments, the running mean, the best, the first.
COPIES = 7


def needed(
    net: nn.Module, trials: dict[str, Tensor], training_loss: Callable, plan: Callable, batch: int, networks: int = 1
) -> int:
    """Bytes that updates of one network, or of several side by side, will need.

    Args:
        net, trials, training_loss, plan: as for `nlbflow.methods.networks.training.train`.
        batch: trials in an update.
    """
    shapes = copy.deepcopy(net).to("meta").train()
    some = {name: tensor[:batch].to("meta") for name, tensor in trials.items()}
    drawn = torch.tensor(plan(0, torch.Generator()), dtype=torch.float64, device="meta")
    each = COPIES * bytes_of(net.parameters()) + bytes_of(some.values())
    each += int(BESIDE * kept_bytes(lambda: training_loss(shapes, some, drawn)))
    # one may be a view of another
    storages = [tensor.untyped_storage() for tensor in trials.values()]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values()) + networks * each


def kept_bytes(loss: Callable[[], Tensor]) -> int:
    """What autograd keeps of a forward pass for the backward pass.

    Args:
        loss: computes it of tensors on `meta`.
    """
    storages = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        # held here too, because another may get the place of one that is freed
        storages[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        loss()
    return sum(storage.nbytes() for storage in storages.values())


def bytes_of(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def tell(needed: int, device: torch.device) -> None:
    """Say what a training on a GPU will need, and what is free."""
    free, log = torch.cuda.mem_get_info(device)[0], logging.getLogger("nlbflow")
    log.info(
        f"training will need about {needed / 2**20:,.0f} MB of the GPU's memory, of which {free / 2**20:,.0f} are free"
    )
    if needed > free:
        log.warning("the GPU may have too little memory; if it has, lower batch")
