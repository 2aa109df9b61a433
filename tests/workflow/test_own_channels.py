"""Recordings of a lab's own whose behaviour is no hand's velocity in two channels: scored, told and drawn."""

import datetime
import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from scipy.ndimage import gaussian_filter1d

from fake_page import block
from workflow import ROOT, run

# by series, the number of channels; of emg the channel 2 stands still, of lever all do
SERIES = {"torque": 1, "hand_vel": 2, "hand3d": 3, "emg": 4, "lever": 2}
# drawn by another job each: one channel, three, and one that stands still
DRAWN = ("torque", "hand3d", "emg")
TRIAL_MS, TRIALS, UNITS, STILL = 1000, 60, 12, 2


def write_recording(path: Path, trials: int = TRIALS, units: int = UNITS, seed: int = 0) -> None:
    """An NWB file at 1 kHz: smooth latents drive Poisson units, and every series of SERIES 100 ms later."""
    rng = np.random.default_rng(seed)
    samples = trials * TRIAL_MS
    latents = gaussian_filter1d(rng.standard_normal((samples, 4)), 60, axis=0)
    latents /= latents.std(axis=0)
    rates = 0.02 * np.exp(0.6 * latents @ rng.standard_normal((4, units)))
    nwb = NWBFile("a session", "own", datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
    for unit in range(units):
        spikes = np.flatnonzero(rng.random(samples) < rates[:, unit])
        nwb.add_unit(spike_times=spikes / 1000, obs_intervals=np.array([[0.0, samples / 1000]]))
    nwb.add_trial_column("move_onset_time", "onset of the movement in s")
    for trial in range(trials):
        start = trial * TRIAL_MS / 1000
        nwb.add_trial(start_time=start, stop_time=start + TRIAL_MS / 1000, move_onset_time=start + 0.4)
    module = nwb.create_processing_module("behavior", "what the animal does")
    for name, channels in SERIES.items():
        values = np.roll(latents, 100, axis=0) @ rng.standard_normal((4, channels))
        values += 0.2 * rng.standard_normal(values.shape)
        if name == "emg":
            values[:, STILL] = 0.1
            # a gap in one channel alone
            values[5000:5200, 0] = np.nan
        if name == "lever":
            values[:] = [0.3, -7.0]
        data = values[:, 0] if channels == 1 else values
        module.add(TimeSeries(name=name, data=data, unit="a.u.", rate=1000.0, starting_time=0.0))
    with NWBHDF5IO(path, "w") as io:
        io.write(nwb)


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """The results of a run over all series, with a page and figures."""
    folder = tmp_path_factory.mktemp("own")
    write_recording(folder / "mine.nwb")
    stanza = {
        "citation": "me",
        "license": "none",
        "source": "files",
        "version": "1",
        "files": {"whole": {"path": "mine.nwb"}},
        "align": "move_onset_time",
        "window_ms": [-200, 300],
        "forward_ms": 100,
        "heldout": {"fraction": 0.25, "seed": 0},
        "split": {"val": 0.3, "test": 0.1, "seed": 0},
    }
    config = {
        "run": {"datasets": [f"of_{s}" for s in SERIES], "bin_ms": [20], "phases": ["val"], "seeds": [0],
                "models": ["mean_rate", "smoothing"]},
        "datasets": {f"of_{s}": {**stanza, "title": f"Own {s}", "behavior": {"series": s, "lag_ms": 100}}
                     for s in SERIES},
        "models": {"smoothing": {"params": {"kernel_sd_ms": 40, "alpha": 1.0}}},
        "data_folder": str(folder),
    }  # fmt: skip
    (folder / "mine.yaml").write_text(yaml.safe_dump(config))
    read = ["scores.csv", "notes.csv", "leaderboard.md", "leaderboard.html", "tables/all-datasets_20ms_val.html"]
    read += [f"figures/of_{series}_20ms_val_{kind}.png" for series in DRAWN for kind in ("trials", "scores")]
    run(ROOT, folder / "work", *(f"results/{name}" for name in read), config=folder / "mine.yaml")
    return folder / "work/results"


def metric_of(series: str) -> str:
    return "vel R2" if series == "hand_vel" else f"{series} R2"


@pytest.mark.parametrize("series", SERIES)
def test_scored_under_its_name(results, series):
    scores = pd.read_csv(results / "scores.csv", keep_default_na=False)
    scores = scores[(scores["dataset"] == f"of_{series}") & (scores["model"] != "null")]
    decoded = scores[scores["metric"].str.endswith(" R2")]
    if series == "lever":
        assert decoded.empty
        return
    assert set(decoded["metric"]) == {metric_of(series)}
    value = decoded.set_index("model")["value"]
    assert value["smoothing"] > 0.3 and value["mean_rate"] < 0.02
    assert (decoded["low"].astype(float) < decoded["value"]).all()
    ranks = pd.read_csv(results / "ranks.csv", keep_default_na=False)
    ranked = ranks[(ranks["dataset"] == f"of_{series}") & (ranks["metric"] == metric_of(series))]
    assert set(ranked["model"]) == {"mean_rate", "smoothing"}


def test_answers_have_the_channels(results):
    for series, channels in SERIES.items():
        with h5py.File(results / f"of_{series}/20ms/val/target.h5") as file:
            assert file["eval_behavior"].shape[1:] == (25, channels)


def test_what_is_left_out_is_told_below_the_table_and_on_the_page(results):
    left_out = "emg R2 leaves out channel 2 of the 4 of emg (counted from 0)"
    absent = "There is no lever R2: no channel of lever varies both in the training and in the evaluation trials."
    page = (results / "leaderboard.html").read_text()
    for text in (
        (results / "leaderboard.md").read_text(),
        (results / "tables/of_emg_20ms_val.md").read_text() + (results / "tables/of_lever_20ms_val.md").read_text(),
        " ".join(note for place in block(page, "scores")["places"] for note in place["notes"]),
    ):
        assert left_out in text and absent in text
    places = block(page, "scores")["places"]
    (emg,) = {place["dataset"] for place in places if any(note.startswith(left_out) for note in place["notes"])}
    assert emg == "of_emg"
    assert "see the notes under the tables of" in (results / "tables/all-datasets_20ms_val.html").read_text()
    assert set(pd.read_csv(results / "notes.csv")["dataset"]) == {"of_emg", "of_lever"}


def test_tables_and_page_have_the_columns(results):
    board = (results / "leaderboard.md").read_text()
    for series in SERIES:
        lines = board.split(f"## of_{series}, 20 ms")[1].splitlines()
        header = next(line for line in lines if line.startswith("| rank"))
        assert (f" {metric_of(series)} " in header) == (series != "lever")
    metrics = {m["name"]: m for m in block((results / "leaderboard.html").read_text(), "scores")["metrics"]}
    assert [*metrics][:2] == ["co-bps", "vel R2"] and metrics["emg R2"]["benchmark"]
    rows = block((results / "leaderboard.html").read_text(), "scores")["rows"]
    (row,) = [r for r in rows if r["dataset"] == "of_lever" and r["model"] == "smoothing"]
    assert row["reasons"]["emg R2"].startswith("no channel of lever varies")


def test_figures_are_drawn(results):
    for series in DRAWN:
        for kind in ("trials", "latents", "scores"):
            assert list((results / "figures").glob(f"of_{series}_20ms_val_{kind}.png")), (series, kind)
    entry = json.loads((results / "of_emg/20ms/val/smoothing/0/scores.json").read_text())
    assert entry["absent"].get("behavior") is None and len(entry["notes"]) == 1
