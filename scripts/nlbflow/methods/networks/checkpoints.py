"""Checkpoints, from which a killed training continues, and the lines of training.jsonl."""

import json
import logging
import os
from pathlib import Path

import numpy as np
import torch

from nlbflow.running.work import CHECKPOINT

HISTORY = "training.jsonl"


class History:
    """A line for each epoch, in training.jsonl too. Lines that a killed job wrote after its checkpoint are cut off.

    Args:
        work: the job's own folder; without one nothing is written.
        lines: how many existing lines to keep.
    """

    def __init__(self, work: Path | None, lines: int):
        self.file, self.lines = None, []
        if work is not None:
            work.mkdir(parents=True, exist_ok=True)
            path = work / HISTORY
            kept = path.read_text().splitlines(keepends=True)[:lines] if path.is_file() else []
            self.lines = [json.loads(line) for line in kept]
            path.write_text("".join(kept))
            self.file = open(path, "a", buffering=1)

    def write(self, line: dict) -> None:
        self.lines.append(line)
        if self.file:
            self.file.write(json.dumps(line) + "\n")

    def columns(self, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """The named numbers of every line, (lines,) each; NaN where a line lacks one."""
        return {name: np.array([line.get(name, np.nan) for line in self.lines], np.float64) for name in names}

    def close(self) -> None:
        if self.file:
            self.file.close()


def save_checkpoint(work: Path, content: dict, digest: str, device: torch.device) -> None:
    """Write the state of training and of torch's generators, whole or not at all.

    Args:
        content: tensors, numbers and strings, in dicts.
        digest: the digest of all that must be the same for training to continue.
    """
    on_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    random = {"cpu": torch.get_rng_state(), "device": on_device}
    temporary = work / f".{CHECKPOINT}"
    torch.save({**content, "digest": digest, "random": random}, temporary)
    os.replace(temporary, work / CHECKPOINT)


def load_checkpoint(work: Path | None, digest: str, device: torch.device) -> dict | None:
    """The state that a killed job left; also restores the generators. None if there is no checkpoint with that
    digest."""
    path = work / CHECKPOINT if work is not None else None
    if path is None or not path.is_file():
        return None
    log = logging.getLogger("nlbflow")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise anything
        log.info(f"{path} cannot be read ({error}); training starts anew")
        return None
    if saved["digest"] != digest:
        log.info(f"{path} was made with other settings; training starts anew")
        return None
    torch.set_rng_state(saved["random"]["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(saved["random"]["device"], device)
    return saved
