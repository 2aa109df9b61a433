"""What a killed training continues from: checkpoints, and the lines of training.jsonl."""

import json
import logging
import os
from pathlib import Path

import numpy as np
import torch

from nlbflow.running.work import CHECKPOINT

HISTORY = "training.jsonl"


class History:
    """A line for each epoch, in training.jsonl too. What a killed job wrote after its last checkpoint is cut off.

    Args:
        work: the job's own folder; without one nothing is written.
        lines: how many of those that are there to keep.
    """

    def __init__(self, work: Path | None, lines: int):
        self.file, self.lines = None, []
        if work is not None:
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
        """Some numbers of every line, (lines,) each; NaN where a line has none."""
        return {name: np.array([line.get(name, np.nan) for line in self.lines], np.float64) for name in names}

    def close(self) -> None:
        if self.file:
            self.file.close()


def save_checkpoint(work: Path, content: dict, digest: str, device: torch.device) -> None:
    """Write what training goes on from, and the states of torch's generators, whole or not at all.

    Args:
        content: tensors, numbers and strings, in dicts.
        digest: of all that must be the same for training to go on.
    """
    on_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    random = {"cpu": torch.get_rng_state(), "device": on_device}
    temporary = work / f".{CHECKPOINT}"
    torch.save({**content, "digest": digest, "random": random}, temporary)
    os.replace(temporary, work / CHECKPOINT)


def load_checkpoint(work: Path | None, digest: str, device: torch.device) -> dict | None:
    """What a killed job left, the states of the generators set to what they were; None where there is nothing of that
    digest to go on from."""
    path = work / CHECKPOINT if work is not None else None
    if path is None or not path.is_file():
        return None
    log = logging.getLogger("nlbflow")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes the reader raise
        log.info(f"{path} cannot be read ({error}); training starts anew")
        return None
    if saved["digest"] != digest:
        log.info(f"{path} was made with other settings; training starts anew")
        return None
    torch.set_rng_state(saved["random"]["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(saved["random"]["device"], device)
    return saved
