"""The device that networks compute on: seeds, reproducible arithmetic, and the memory used."""

import hashlib
import os
import resource
import sys
from dataclasses import dataclass

import torch
from torch import Tensor

from nlbflow.errors import NlbflowError


def prepare(seed: int, device: str) -> torch.device:
    """Seed torch, make its arithmetic reproducible for this process, and return the device to work on.

    One thread on every machine, because sums in another order give other last digits.

    Raises:
        NlbflowError: a GPU is asked for and there is none.
    """
    torch.set_num_threads(1)
    found = reproducible(device)
    torch.manual_seed(seed)
    return found


def reproducible(device: str) -> torch.device:
    """Make torch's arithmetic reproducible for this process, and return the device to work on.

    Raises:
        NlbflowError: a GPU is asked for and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise NlbflowError("the parameter device is cuda, but torch finds no GPU here; use auto or cpu.")
    # cuBLAS needs this for reproducible results
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # otherwise torch fills all new memory, with a launch each, though nothing here reads memory before writing it
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    # by default, cuDNN rounds to 11 bits
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Streams:
    """What one of several networks draws from: `host` in the order of trials and such, `device` in the network and its
    loss; on a CPU they are the same."""

    host: torch.Generator
    device: torch.Generator

    @classmethod
    def here(cls, device: torch.device) -> "Streams":
        """Streams that draw what torch's own generators would draw next, `prepare` having seeded them."""
        host = torch.Generator()
        host.set_state(torch.get_rng_state())
        if device.type != "cuda":
            return cls(host, host)
        on_device = torch.Generator(device)
        on_device.set_state(torch.cuda.get_rng_state(device))
        return cls(host, on_device)

    def state(self) -> list[Tensor]:
        return [self.host.get_state(), self.device.get_state()]

    def set_state(self, state: list[Tensor]) -> None:
        for generator, told in zip((self.host, self.device), state, strict=True):
            generator.set_state(told)

    def digest(self) -> str:
        return hashlib.sha256(b"".join(state.numpy().tobytes() for state in self.state())).hexdigest()


def memory_mb(device: torch.device) -> float:
    """Peak memory so far: the GPU's if one is used, otherwise this process's."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
