"""What gpu_steps.py trains on: counts of MC_Maze_Large's size, and a network's parameters."""

import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# last, so that no rule's script hides a package
sys.path.append(str(ROOT / "scripts"))

import numpy as np
import yaml

from nlbflow.models.catalogue import resolve_params
from nlbflow.models.contract import load_model
from nlbflow.recordings.model_input import ModelInput


@dataclass(frozen=True)
class Told:
    """What gpu.py wants."""

    rehearse: bool
    limit: float
    seconds: float
    steps: list[str]

    @property
    def device(self) -> str:
        return "cpu" if self.rehearse else "cuda"


def made_up(told: Told) -> ModelInput:
    """Counts of MC_Maze_Large's size whose rates follow two oscillations with a phase of each trial's own."""
    trials, evaluated, bins, ahead, heldin, neurons = (24, 8, 20, 4, 10, 14) if told.rehearse else (
        375, 125, 140, 40, 122, 162
    )  # fmt: skip
    rng = np.random.default_rng(0)
    phase = rng.uniform(0, 2 * np.pi, (trials + evaluated, 1)) + np.linspace(0, 4, bins + ahead)
    drive = np.stack([np.sin(phase), np.cos(phase)], axis=2) @ rng.normal(0, 0.8, (2, neurons))
    spikes = rng.poisson((0.4 if told.rehearse else 0.05) * np.exp(drive)).astype(np.float32)
    train = spikes[:trials]
    return ModelInput(
        bin_ms=5,
        train_spikes_heldin=train[:, :bins, :heldin],
        train_spikes_heldout=train[:, :bins, heldin:],
        train_spikes_heldin_forward=train[:, bins:, :heldin],
        train_spikes_heldout_forward=train[:, bins:, heldin:],
        eval_spikes_heldin=spikes[trials:, :bins, :heldin],
    )


def params_of(network: str, told: Told, **changes) -> tuple:
    """(the model's file as a module, its parameters)."""
    stanza = yaml.safe_load((ROOT / "config.yaml").read_text())["models"][network]
    module = load_model(ROOT / "scripts/models" / stanza["file"])
    params = resolve_params(network, stanza, module.DEFAULTS, "mc_maze_large", 5)
    if told.rehearse:
        params |= module.CHECK | {"batch": 6}
    return module, params | {"device": told.device} | changes
