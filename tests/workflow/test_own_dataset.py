"""A user's own NWB file joins by a stanza: one file, no benchmark columns, held-out units and splits drawn."""

import shutil
from pathlib import Path

import h5py
import pandas as pd
import pytest
import yaml

from workflow import ROOT, run

STANZA = {
    "title": "My recording",
    "citation": "me",
    "license": "none",
    "source": "files",
    "version": "mine-1",
    "files": {"whole": {"path": "mine.nwb"}},
    "align": "move_onset_time",
    "window_ms": [-50, 250],
    "forward_ms": 200,
    "heldout": {"fraction": 0.25, "seed": 1},
    "split": {"val": 0.2, "test": 0.2, "seed": 1},
}
FULL = {
    "behavior": {"series": "hand_vel", "lag_ms": 120},
    "conditions": ["trial_type", "trial_version"],
    "psth_kernel_ms": 50,
}


@pytest.fixture
def recording(real_data, tmp_path) -> Path:
    """A real recording without anything that the benchmark adds to one."""
    excerpt = next((real_data / "mc_maze_large_excerpt").rglob("*train*.nwb"))
    path = tmp_path / "mine.nwb"
    shutil.copyfile(excerpt, path)
    with h5py.File(path, "a") as file:
        for name in ("units/heldout", "units/obs_intervals", "units/obs_intervals_index", "intervals/trials/split"):
            del file[name]
    return path


def config_for(recording: Path, stanza: dict, **selection) -> Path:
    config = {
        "run": {
            "datasets": ["mine"],
            "bin_ms": [10],
            "phases": ["val", "test"],
            "models": ["mean_rate", "smoothing", "condition_psth"],
            "seeds": [0],
            **selection,
        },
        "datasets": {"mine": stanza},
        "models": {"smoothing": {"params": {"kernel_sd_ms": 30, "alpha": 1.0}}},
        "data_folder": str(recording.parent),
    }
    path = recording.parent / "mine.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_scored_end_to_end(recording, tmp_path):
    work = tmp_path / "work"
    run(ROOT, work, "results/leaderboard.md", config=config_for(recording, STANZA | FULL))
    scores = pd.read_csv(work / "results/scores.csv", keep_default_na=False)
    smoothing = scores[scores["model"] == "smoothing"].set_index(["phase", "metric"])["value"]
    for phase in ("val", "test"):
        assert smoothing[phase, "co-bps"] > 0.03
        assert smoothing[phase, "vel R2"] > 0.3
    with h5py.File(work / "results/mine/10ms/test/input.h5") as file:
        assert file["train_spikes_heldout"].shape == (110, 30, 40)
        assert file["eval_spikes_heldin"].shape == (28, 30, 122)


def test_without_behaviour_and_conditions_their_metrics_are_absent(recording, tmp_path):
    work = tmp_path / "work"
    run(ROOT, work, "results/leaderboard.md", config=config_for(recording, STANZA, phases=["val"]))
    scores = pd.read_csv(work / "results/scores.csv", keep_default_na=False)
    assert set(scores["metric"]) == {"co-bps", "fp-bps", "Poisson D2"}
    board = (work / "results/leaderboard.md").read_text()
    assert "| condition_psth " in board and ": the dataset's definition names no conditions" in board


def test_held_out_units_by_list(recording, tmp_path):
    work = tmp_path / "work"
    with h5py.File(recording) as file:
        ids = file["units/id"][:5].tolist()
    stanza = STANZA | {"heldout": {"ids": ids}}
    run(ROOT, work, "results/mine/10ms/val/input.h5", config=config_for(recording, stanza))
    with h5py.File(work / "results/mine/10ms/val/input.h5") as file:
        assert file["train_spikes_heldout"].shape[2] == 5


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("intervals/trials", "has no /intervals/trials; expected a table of trials"),
        ("units", "has no /units/id; expected the ids of the units"),
    ],
)
def test_what_a_recording_must_have(recording, tmp_path, missing, sentence):
    with h5py.File(recording, "a") as file:
        del file[missing]
    output = run(ROOT, tmp_path / "work", config=config_for(recording, STANZA), fails=True)
    assert sentence in output and not list((tmp_path / "work").rglob("input.h5"))


def test_columns_that_are_not_there_are_named(recording, tmp_path):
    for change, sentence in (
        ({"heldout": {"column": "test_units"}}, "has no /units/test_units; expected a boolean column"),
        ({"split": {"column": "use"}}, "has no trial column 'use'; expected train, val, test or none"),
    ):
        config = config_for(recording, STANZA | change, phases=["val"])
        output = run(ROOT, tmp_path / "work", "results/mine/10ms/val/input.h5", config=config, fails=True)
        assert sentence in output
