"""Simulated clusters and couplings: the truth that is told is what the spikes were drawn from."""

import hashlib
import time

import h5py
import numpy as np
import pytest
from pynwb import validate

from nlbflow.errors import NlbflowError
from nlbflow.recordings.datasets import SIMULATED
from nlbflow.recordings.simulator.clusters import DECAY, DIMS, STEP_MS, simulate_clusters
from nlbflow.recordings.simulator.coupled import simulate_coupled
from nlbflow.recordings.simulator.kinds import simulate
from nlbflow.recordings.simulator.nwb import write_session
from nlbflow.recordings.targets import make_target
from nlbflow.recordings.tensors import cut_input
from nlbflow.scoring.structure import coupling_auc

TRIALS = {"seed": 3, "train_trials": 30, "val_trials": 5, "test_trials": 4}
SETTINGS = {
    "clusters": {"kind": "clusters", "clusters": 3, "states": 3, "coupling": 0.1, "heldin": 9, "heldout": 6, **TRIALS},
    "coupled": {"kind": "coupled", "hubs": 2, "targets": 4, "heldin": 12, "heldout": 4, **TRIALS},
}
DEFINITION = {"align": "start_time", "window_ms": [0, 700], "forward_ms": 200}


def write(kind, folder):
    folder.mkdir()
    paths = {part: folder / name for part, name in SIMULATED.items()}
    write_session(simulate(SETTINGS[kind]), paths)
    return paths


@pytest.fixture(scope="module", params=[*SETTINGS])
def simulated(request, tmp_path_factory):
    return request.param, write(request.param, tmp_path_factory.mktemp(request.param) / "first")


def test_same_bytes_and_valid_files(simulated, tmp_path):
    kind, paths = simulated
    time.sleep(max(0.0, paths["rates"].stat().st_mtime + 1.1 - time.time()))  # HDF5 counts seconds
    again = write(kind, tmp_path / "second")
    for part, path in paths.items():
        assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(again[part].read_bytes()).digest()
        assert part == "rates" or not validate(path=str(path))


@pytest.mark.parametrize("phase", ["val", "test"])
def test_spikes_are_those_of_the_true_rates_and_structure_has_the_shapes_of_a_prediction(simulated, phase):
    kind, paths = simulated
    settings = SETTINGS[kind]
    arrays, _, _ = cut_input({k: paths[k] for k in ("train", "test")}, DEFINITION, 20, phase)
    parts = {k: p for k, p in paths.items() if k != "truth" or phase == "test"}
    target, absent = make_target(parts, DEFINITION, 20, phase)
    assert set(absent) == {"behavior", "psth"}
    for group in ("heldin", "heldout"):
        spikes, rates = arrays[f"train_spikes_{group}"], target["true_rates"][f"train_rates_{group}"]
        assert spikes.shape == rates.shape
        off = (spikes.sum((0, 1)) - rates.sum((0, 1))) / np.sqrt(rates.sum((0, 1)))
        assert np.abs(off).max() < 4.5 and off.std() < 2
    structure, neurons = target["true_structure"], settings["heldin"] + settings["heldout"]
    if kind == "clusters":
        assert set(structure) == {"neuron_labels", "train_states", "eval_states"}
        assert structure["neuron_labels"].shape == (neurons,)
        for part in ("train", "eval"):
            assert structure[f"{part}_states"].shape == target["true_rates"][f"{part}_rates_heldin"].shape[:2]
    else:
        assert set(structure) == {"couplings"} and structure["couplings"].shape == (neurons, neurons)
        # hubs are held in, and their targets are the rows
        assert structure["couplings"][:, settings["heldin"] :].sum() == 0
        assert sorted(structure["couplings"].sum(axis=0))[-2:] == [4, 4]
    assert "true_structure" not in arrays and "couplings" not in arrays


def test_neurons_load_on_their_own_cluster_and_states_are_those_of_the_dynamics():
    session = simulate_clusters(SETTINGS["clusters"])
    labels, weights = session.structure["labels"], session.population.weights
    assert np.bincount(labels).tolist() == [5, 5, 5]
    own = np.repeat(np.arange(3), DIMS)[:, None] == labels
    assert np.all((weights != 0) == own)
    steps, states = session.train.latents[:, ::STEP_MS].astype(float), session.train.states[:, ::STEP_MS]
    # of the first cluster, which no other pushes: a decay leaves unit noise exactly where the state says so
    rest = steps[:, 1:, :DIMS] - DECAY * steps[:, :-1, :DIMS]
    spread = {state: rest[states[:, 1:] == state].std() for state in range(3)}
    assert spread[1] == pytest.approx(1, abs=0.05) and min(spread[0], spread[2]) > 1.3


def test_a_hub_is_followed_by_its_targets_and_not_the_other_way_round():
    session = simulate_coupled({**SETTINGS["coupled"], "train_trials": 80})
    neurons = len(session.population.heldout)
    counts = np.zeros((len(session.train.split), 100, neurons))
    for trial, spikes in zip(counts, session.train.spikes_us, strict=True):
        np.add.at(trial, (spikes[:, 1] // 10_000, spikes[:, 0]), 1)
    counts -= counts.mean(axis=1, keepdims=True)
    lagged = np.einsum("rti,rtj->ij", counts[:, 1:], counts[:, :-1])  # row after column
    couplings = session.structure["couplings"]
    assert coupling_auc(couplings, lagged) > 0.9
    assert coupling_auc(couplings, lagged.T) < 0.75


def test_truth_is_beside_the_recording(simulated):
    with h5py.File(simulated[1]["train"]) as file:
        assert set(file["units"]) >= {"spike_times", "heldout"} and "labels" not in file["units"]
        assert set(file["intervals/trials"]) == {"id", "start_time", "stop_time", "split"}


@pytest.mark.parametrize(
    ("kind", "change", "sentence"),
    [
        ("clusters", {"states": 4}, "2 or 3 states"),
        ("clusters", {"coupling": "strong"}, "a coupling from 0 to 1"),
        ("clusters", {"clusters": 0}, "clusters must be a whole number of at least 1"),
        ("coupled", {"targets": 15}, "targets among the others"),
        ("coupled", {"hubs": 13}, "hubs must be among the 12 held-in units"),
        ("coupled", {"kind": "network"}, "expected one of maze, clusters, coupled"),
    ],
)
def test_settings_out_of_range(kind, change, sentence):
    with pytest.raises(NlbflowError, match=sentence):
        simulate({**SETTINGS[kind], **change})
