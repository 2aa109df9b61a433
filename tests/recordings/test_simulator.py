"""The simulated session: MC_Maze's layout, the same bytes every time, and rates that are the spikes' own."""

import hashlib
import time
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from pynwb import NWBHDF5IO, validate

from nlbflow.errors import NlbflowError
from nlbflow.recordings.datasets import SIMULATED
from nlbflow.recordings.nwb import Recording
from nlbflow.recordings.session import Session
from nlbflow.recordings.simulator.nwb import write_session
from nlbflow.recordings.simulator.session import LAG_MS, TO_VELOCITY, condition_mean_rates, simulate
from nlbflow.recordings.simulator.truth import rates_hz, true_rates, true_states
from nlbflow.recordings.targets import make_target
from nlbflow.recordings.windows import bin_spikes, choose_trials, make_windows
from workflow import ROOT

SETTINGS = {
    "seed": 5,
    "conditions": 3,
    "train_trials": 12,
    "val_trials": 6,
    "test_trials": 6,
    "heldin": 12,
    "heldout": 6,
}
ALIGN = "move_onset_time"
STANZA = yaml.safe_load((ROOT / "resources/datasets.yaml").read_text())["datasets"]["simulated_maze"]


def write(folder: Path) -> dict[str, Path]:
    paths = {part: folder / name for part, name in SIMULATED.items()}
    folder.mkdir()
    write_session(simulate(SETTINGS), paths)
    return paths


@pytest.fixture(scope="module")
def session():
    return simulate(SETTINGS)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return write(tmp_path_factory.mktemp("simulated") / "first")


def digests(paths: dict[str, Path]) -> dict[str, str]:
    return {part: hashlib.sha256(path.read_bytes()).hexdigest() for part, path in paths.items()}


def test_same_bytes(paths, tmp_path):
    time.sleep(max(0.0, paths["rates"].stat().st_mtime + 1.1 - time.time()))  # HDF5 counts seconds
    assert digests(write(tmp_path / "second")) == digests(paths)


@pytest.mark.parametrize("part", ["train", "test", "truth"])
def test_layout(paths, part):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with NWBHDF5IO(paths[part], "r") as io:
            nwb = io.read()
            trials, units = nwb.trials.to_dataframe(), nwb.units.to_dataframe()
            series = set(nwb.processing["behavior"].data_interfaces) if nwb.processing else set()
            module = nwb.processing.get("behavior") if nwb.processing else None
            stamps = module["hand_vel"].timestamps[:] if module else None
            hand = [module[name].data[:] for name in ("hand_pos", "hand_vel")] if module else None
    assert not validate(path=str(paths[part]))
    ids = units.index.to_numpy()
    assert (np.diff(ids) < 0).any() and len(set(ids)) == len(ids)
    stretches = trials[["start_time", "stop_time"]].to_numpy()
    assert all(np.array_equal(intervals, stretches) for intervals in units["obs_intervals"])
    start, onset, stop = (np.round(trials[f"{name}_time"] * 1000, 6) for name in ("start", "move_onset", "stop"))
    assert (start % 100 == 0).all() and (onset % 1 == 0).all()
    assert (start.to_numpy()[1:] > stop.to_numpy()[:-1]).all()
    us = np.concatenate(units["spike_times"].to_numpy()) * 1e6
    assert np.allclose(us, np.round(us), rtol=0, atol=1e-3)
    if part == "test":
        assert list(trials.columns) == ["start_time", "stop_time", "move_onset_time", "split"] and not series
        assert len(units) == SETTINGS["heldin"] and not units["heldout"].any()
        assert (start == 800 * np.arange(len(trials))).all() and (onset - start == 250).all()
        assert np.allclose(stop - start, 700)
    else:
        assert series == {"cursor_pos", "eye_pos", "hand_pos", "hand_vel"}
        assert units["heldout"].sum() == SETTINGS["heldout"] and len(units) == 18
        assert (onset - start >= 300).all() and (stop - onset >= 700).all()
        ms = np.concatenate([np.arange(a, b) for a, b in zip(start, stop, strict=True)])
        assert np.array_equal(stamps, ms / 1000)
        first = int(stop[0] - start[0])
        assert np.array_equal(hand[1][:first], np.gradient(hand[0][:first], axis=0) * 1000)
        assert {len(t) for t in trials["target_pos"]} == {1, 3}
        assert all(len(b) == n for b, n in zip(trials["barrier_pos"], trials["num_barriers"], strict=True))
        assert len(trials.groupby(["trial_type", "trial_version"])) == SETTINGS["conditions"]
    if part == "train":
        assert trials["split"].value_counts().to_dict() == {"train": 12, "val": 6}
        assert (trials["split"].to_numpy()[1:] != trials["split"].to_numpy()[:-1]).sum() > 1
        assert len(set(onset % 20)) > 3
    else:
        assert (trials["split"] == "test").all()


@pytest.mark.parametrize("bin_ms", [5, 20])
def test_test_file_is_the_truth_seen_through_a_window(paths, bin_ms):
    tensors, rows = [], []
    for part in ("test", "truth"):
        session = Session([Recording(paths[part], {})])
        units = session.units(heldout=False)
        trials = choose_trials(session, ["test"], ALIGN)
        tensors.append(bin_spikes(units, make_windows(session, trials, ALIGN, (-250, 450), bin_ms)))
        rows.append(units.ids)
    assert tensors[0].shape == (6, 700 // bin_ms, 12) and tensors[0].sum() > 0
    np.testing.assert_array_equal(tensors[0], tensors[1])
    np.testing.assert_array_equal(*rows)


@pytest.mark.parametrize("part", ["train", "truth"])
def test_true_rates_are_those_the_spikes_were_drawn_from(session, paths, part):
    drawn, population = getattr(session, part), session.population
    recording = Session([Recording(paths[part], {})])
    trials = choose_trials(recording, ["train", "val", "test"], ALIGN)
    windows = make_windows(recording, trials, ALIGN, (-250, 650), 20)
    start = windows.starts * 20 - drawn.trials.start
    expected = true_rates(paths["rates"], part, trials, start, windows.bins, 20)

    order = np.argsort(population.unit_id)
    for k in trials:
        rates = rates_hz(drawn.latents[k], population.weights, population.bias)[start[k] : start[k] + 900, order]
        np.testing.assert_allclose(expected[k], rates.reshape(45, 20, -1).sum(1) / 1000, rtol=1e-12)
    heldout = population.heldout[order]
    counts = np.empty_like(expected)
    for group in (False, True):
        counts[:, :, heldout == group] = bin_spikes(recording.units(heldout=group), windows)
    # Poisson: a sum of counts has its expectation as variance, here in total, by neuron and by time
    for axes in ((0, 1, 2), (0, 1), (0, 2)):
        mean = expected.sum(axes)
        assert (np.abs(counts.sum(axes) - mean) < 4.5 * np.sqrt(mean)).all(), axes
    spread = ((counts - expected) ** 2 / expected).mean()
    assert abs(spread - 1) < 0.1
    assert np.isnan(drawn.latents[0, drawn.trials.length[0] :]).all()


@pytest.mark.parametrize("phase", ["val", "test"])
def test_true_states_of_a_target_are_the_means_of_each_bin_and_explain_its_rates(session, paths, phase):
    part = session.train if phase == "val" else session.truth
    split = np.flatnonzero(np.isin(part.split, ["val", "test"]))
    target, _ = make_target(paths, {**STANZA, "psth_kernel_ms": None}, 5, phase)
    assert set(target["true_states"]) == {"train_latents", "eval_latents"}
    states = target["true_states"]["eval_latents"]
    for k, trial in enumerate(split):
        # a window starts at the first bin of the file's grid that is not before onset - 250 ms
        begin = part.trials.start[trial] + part.trials.onset[trial] - 250
        begin = -(-begin // 5) * 5 - part.trials.start[trial]
        bins = part.latents[trial, begin : begin + 700].astype(float).reshape(140, 5, -1)
        np.testing.assert_allclose(states[k], bins.mean(axis=1), rtol=1e-6, atol=1e-7)

    population = session.population
    heldout = np.flatnonzero(population.heldout)
    heldout = heldout[np.argsort(population.unit_id[heldout])]
    for name in ("train", "eval"):
        states, rates = target["true_states"][f"{name}_latents"], target["true_rates"][f"{name}_rates_heldout"]
        assert states.shape[:2] == rates.shape[:2] and states.dtype == np.float32
        middle = rates_hz(states, population.weights[:, heldout], population.bias[heldout]) * 5 / 1000
        # the mean rate of a bin is nearly the rate of its mean state
        np.testing.assert_allclose(rates, middle, rtol=0.01)


def test_true_rates_refuse_what_they_do_not_have(paths):
    with pytest.raises(NlbflowError, match="from 5000 to 5700 ms of trial 0 reaches beyond"):
        true_rates(paths["rates"], "train", np.array([0]), np.array([5000]), 140, 5)
    with pytest.raises(NlbflowError, match="from -5 to 695 ms of trial 1"):
        true_rates(paths["rates"], "truth", np.array([1]), np.array([-5]), 140, 5)
    with pytest.raises(NlbflowError, match="has no /test/latents"):
        true_rates(paths["rates"], "test", np.array([0]), np.array([0]), 140, 5)
    with pytest.raises(NlbflowError, match="from 5000 to 5700 ms of trial 0 reaches beyond"):
        true_states(paths["rates"], "train", np.array([0]), np.array([5000]), 140, 5)


def test_hand_follows_latents_by_the_lag(session):
    part = session.train
    length = part.trials.length[0]
    velocity = np.diff(part.hand[0, :length], axis=0) * 1000
    planes = TO_VELOCITY.shape[1]
    driven = part.latents[0, :length, planes:-1] @ TO_VELOCITY.T
    np.testing.assert_allclose(velocity[LAG_MS:], driven[: length - LAG_MS - 1], rtol=0, atol=1e-3)
    assert (velocity[:LAG_MS] == 0).all()


def test_trial_counts_do_not_shift_other_draws(session):
    more = simulate({**SETTINGS, "test_trials": 8, "val_trials": 9})
    np.testing.assert_array_equal(more.population.weights, session.population.weights)
    first = session.truth.trials.length.min()
    same = np.flatnonzero(more.truth.trials.condition[:6] == session.truth.trials.condition)
    assert len(same)
    for k in same:
        np.testing.assert_array_equal(more.truth.latents[k, :first], session.truth.latents[k, :first])
        np.testing.assert_array_equal(more.truth.spikes_us[k], session.truth.spikes_us[k])
    np.testing.assert_array_equal(more.train.trials.onset[:18], session.train.trials.onset)


def test_condition_mean_is_the_mean_of_many_trials():
    settings = {**SETTINGS, "test_trials": 240}
    session = simulate(settings)
    part, population = session.truth, session.population
    order = np.argsort(population.unit_id)
    found = condition_mean_rates(settings, 20, repeats=80)
    assert found.shape == (3, 35, 18)
    for condition in range(3):
        rows = np.flatnonzero(part.trials.condition == condition)
        bins = part.trials.onset[rows][:, None] + np.arange(-250, 450)
        rates = rates_hz(part.latents[rows[:, None], bins], population.weights, population.bias)[..., order]
        expected = rates.reshape(len(rows), 35, 20, -1).sum(2).mean(0) / 1000
        assert np.corrcoef(found[condition].ravel(), expected.ravel())[0, 1] > 0.99
        assert abs(found[condition].mean() / expected.mean() - 1) < 0.05


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seed": -1}, "setting seed must be a whole number of at least 0, but found -1"),
        ({"heldout": 0}, "setting heldout must be a whole number of at least 1, but found 0"),
        ({"conditions": 2.5}, "setting conditions must be a whole number of at least 1, but found 2.5"),
        ({"test_trials": None}, "setting test_trials must be"),
        ({"heldin": 765}, "at most 768 units together, but found 771"),
    ],
)
def test_settings_are_checked(change, sentence):
    with pytest.raises(NlbflowError, match=sentence):
        simulate({**SETTINGS, **change})


def test_seeds_and_attributes(session, paths):
    assert not np.array_equal(simulate({**SETTINGS, "seed": 6}).truth.latents, session.truth.latents)
    with h5py.File(paths["rates"]) as file:
        assert (np.diff(file["unit_id"][()]) > 0).all()
        assert file["train/latents"].dtype == np.float32
    with h5py.File(paths["train"]) as file:
        ids = []
        file.visititems(lambda _, item: ids.append(item.attrs["object_id"]) if "object_id" in item.attrs else None)
    assert len(ids) == len(set(ids)) > 20
