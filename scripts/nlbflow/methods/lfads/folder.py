"""The folder in which a training of LFADS keeps its checkpoint and the history of its members."""

import csv
import hashlib
import io
import json
import logging
import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from nlbflow.methods.lfads.population import HYPERPARAMETERS, Population
from nlbflow.running.code import code_files

# The columns of the history, which has a row for each generation and member.
HISTORY = ("generation", "member", *HYPERPARAMETERS, "validation_loss", "parent")


class Folder:
    """Where a run keeps its checkpoint and history: `data.work`, if there is one."""

    def __init__(self, data, params: Mapping, ranges: Mapping, seeds: Sequence[int], device: str):
        self.work, self.seeds = getattr(data, "work", None), [*seeds]
        if self.work is not None:
            self.work = Path(self.work)
            made_of = hashlib.sha256(
                json.dumps([dict(params), repr(ranges), self.seeds, device, torch.__version__]).encode()
            )
            for name in ("train_spikes_heldin", "train_spikes_heldout"):
                for array in (getattr(data, name), getattr(data, f"{name}_forward")):
                    made_of.update(b"" if array is None else str(array.shape).encode() + array.tobytes())
            for file in code_files(Path(__file__).with_name("fit.py")):
                made_of.update(file.read_bytes())
            self.digest = made_of.hexdigest()

    def resume(self, device: str) -> list[Population] | None:
        """The populations of the last checkpoint, if that was made with this input, parameters and code."""
        path = self.work and self.work / "checkpoint.pt"
        if not path or not path.is_file():
            return None
        try:
            kept = torch.load(path, map_location=device, weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            logging.getLogger("nlbflow").info(f"LFADS: {path} cannot be read ({error}); training starts anew")
            return None
        if kept.pop("digest", None) != self.digest:
            logging.getLogger("nlbflow").info(f"LFADS: {path} belongs to another run; training starts anew")
            return None
        populations = [Population(**{**one, "hyper": one["hyper"].cpu()}) for one in kept["populations"]]
        generation = max(population.generation for population in populations)
        logging.getLogger("nlbflow").info(f"LFADS: continuing after generation {generation} of {path}")
        return populations

    def keep(self, populations: list[Population]) -> None:
        """Write the members' history and the checkpoint, each whole or not at all."""
        if self.work is None:
            return
        for seed, population in zip(self.seeds, populations, strict=True):
            table = io.StringIO()
            rows = csv.writer(table, lineterminator="\n")
            rows.writerow(HISTORY)
            rows.writerows(population.history)
            self._write("population.csv" if len(self.seeds) == 1 else f"seed_{seed}/population.csv", table.getvalue())
        content = io.BytesIO()
        torch.save({"digest": self.digest, "populations": [vars(each) for each in populations]}, content)
        self._write("checkpoint.pt", content.getvalue())

    def _write(self, name: str, content: str | bytes) -> None:
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
