"""What the networks compute on: seeded and made reproducible, and how much memory it took."""

import os
import resource
import sys

import torch

from nlbflow.errors import NlbflowError


def prepare(seed: int, device: str) -> torch.device:
    """Seed torch and make its arithmetic reproducible, for this process; the device to work on.

    One thread whatever the machine: sums in another order give other last digits.

    Raises:
        NlbflowError: a GPU is asked for and there is none.
    """
    torch.set_num_threads(1)
    found = reproducible(device)
    torch.manual_seed(seed)
    return found


def reproducible(device: str) -> torch.device:
    """Make torch's arithmetic reproducible, for this process; the device to work on.

    Raises:
        NlbflowError: a GPU is asked for and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise NlbflowError("the parameter device is cuda, but torch finds no GPU here; use auto or cpu.")
    # cuBLAS asks for it where results are to be reproducible
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # it would fill all new memory, a launch each, though nothing here reads any that was not written
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    # cuDNN rounds to 11 bits unless told otherwise
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def memory_mb(device: torch.device) -> float:
    """Peak memory so far: of the GPU if that is what is used, else of this process."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
