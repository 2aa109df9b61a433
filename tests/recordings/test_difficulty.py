"""How hard the default dataset is, held fast: what can be had at most, by the condition mean, and by smoothing."""

from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from nlbflow.metrics.formulas import bits_per_spike, velocity_r2
from nlbflow.models.contract import load_model
from nlbflow.recordings.datasets import SIMULATED
from nlbflow.recordings.simulator.nwb import write_session
from nlbflow.recordings.simulator.session import condition_mean_rates, simulate
from nlbflow.recordings.targets import make_target
from nlbflow.recordings.tensors import make_input
from workflow import ROOT

BIN_MS = 5
STANZA = yaml.safe_load((ROOT / "resources/datasets.yaml").read_text())["datasets"]["simulated_maze"]
SEEDS = [STANZA["simulator"]["seed"], *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4))]


@pytest.mark.parametrize("seed", SEEDS)
def test_difficulty(seed, tmp_path):
    session = simulate({**STANZA["simulator"], "seed": seed})
    paths = {part: tmp_path / name for part, name in SIMULATED.items()}
    write_session(session, paths)
    definition = {**STANZA, "psth_kernel_ms": None}  # psth R2 is not asked for here and takes long
    condition_mean = condition_mean_rates(session.settings, BIN_MS)
    heldout = np.sort(session.population.unit_id)
    heldout = np.isin(heldout, session.population.unit_id[session.population.heldout])
    smoothing = load_model(ROOT / "scripts/models/smoothing.py")
    val = session.train.split == "val"
    for phase, condition in (("val", session.train.trials.condition[val]), ("test", session.truth.trials.condition)):
        data, _ = make_input(paths, definition, BIN_MS, phase)
        target, _ = make_target(paths, definition, BIN_MS, phase)
        spikes, true = target["eval_spikes_heldout"], target["true_rates"]
        prediction = smoothing.predict(SimpleNamespace(**data, bin_ms=BIN_MS), smoothing.DEFAULTS, 0)

        best = bits_per_spike(true["eval_rates_heldout"], spikes)
        averaged = bits_per_spike(condition_mean[condition][..., heldout], spikes) / best
        smoothed = bits_per_spike(prediction["eval_rates_heldout"], spikes) / best
        assert 0.25 < best < 0.45, phase
        assert averaged < 0.7, phase
        assert 0.2 < smoothed < 0.6, phase

        rates = [np.concatenate([true[f"{p}_rates_{h}"] for h in ("heldin", "heldout")], 2) for p in ("train", "eval")]
        decoded = velocity_r2(rates[0], target["train_behavior"], rates[1], target["eval_behavior"])
        assert decoded > 0.9, phase
        print(f"| {seed} | {phase} | {best:.3f} | {averaged:.2f} | {smoothed:.2f} | {decoded:.3f} |")
