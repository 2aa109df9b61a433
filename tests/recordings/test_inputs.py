"""What of a recording is pinned where it is streamed: all that tensors and answers depend on, and nothing else."""

import shutil
from pathlib import Path

import h5py
import pytest
import yaml

import layouts
from nlbflow.archive.pins import read_inputs, read_pins
from nlbflow.errors import NlbflowError
from nlbflow.recordings.inputs import checksums_of
from workflow import ROOT

DATASETS = yaml.safe_load((ROOT / "resources/datasets.yaml").read_text())["datasets"]
AREA2 = DATASETS["area2_bump"]


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    return layouts.write_area2(tmp_path_factory.mktemp("area2"), 0)["train"]


def set_first(name: str, value):
    def change(file: h5py.File) -> None:
        file[name][0] = value

    return change


@pytest.mark.parametrize(
    ("change", "item"),
    [
        (set_first("units/spike_times", 0.25), "units"),
        (set_first("units/obs_intervals", 0.001), "units"),
        (set_first("units/obs_intervals_index", 1), "units"),
        (set_first("units/id", 77), "units"),
        (lambda f: f["units/heldout"].__setitem__(..., ~f["units/heldout"][()]), "units"),
        (set_first("intervals/trials/split", "test"), "intervals/trials"),
        (set_first("intervals/trials/move_onset_time", 0.5), "intervals/trials"),
        (set_first("intervals/trials/cond_dir", 45.0), "intervals/trials"),
        (set_first("processing/behavior/hand_vel/data", 1.5), "processing/behavior/hand_vel"),
        (
            lambda f: f["processing/behavior/hand_vel/starting_time"].attrs.__setitem__("rate", 999.0),
            "processing/behavior/hand_vel",
        ),
        (
            lambda f: f["processing/behavior/hand_vel"].attrs.__setitem__("comments", "columns=[y,x]"),
            "processing/behavior/hand_vel",
        ),
        (set_first("processing/behavior/hand_pos/data", 1.5), None),
        (lambda f: f["general"].attrs.__setitem__("note", "not read"), None),
    ],
)
def test_what_changes_a_checksum(recording, tmp_path, change, item):
    before = checksums_of(recording, AREA2)
    assert [*before] == ["intervals/trials", "units", "processing/behavior/hand_vel"]
    shutil.copy(recording, tmp_path / "changed.nwb")
    with h5py.File(tmp_path / "changed.nwb", "r+") as file:
        change(file)
    after = checksums_of(tmp_path / "changed.nwb", AREA2)
    assert [name for name in before if before[name] != after[name]] == ([item] if item else [])


def test_another_layout_of_the_file_has_the_same_checksums(recording, tmp_path):
    with h5py.File(recording) as file, h5py.File(tmp_path / "packed.nwb", "w") as packed:
        for name in file:
            file.copy(name, packed)
        data = packed["processing/behavior/hand_vel/data"]
        values, attributes = data[()], dict(data.attrs)
        del packed["processing/behavior/hand_vel/data"]
        data = packed["processing/behavior/hand_vel"].create_dataset("data", data=values, compression="gzip")
        data.attrs.update(attributes)
    assert checksums_of(tmp_path / "packed.nwb", AREA2) == checksums_of(recording, AREA2)


def test_the_shipped_table_is_of_pinned_files():
    shipped = read_inputs(ROOT / "resources/inputs.tsv")
    pins = {pin.sha256 for parts in read_pins(ROOT / "resources/datasets.tsv").values() for pin in parts.values()}
    assert shipped and shipped.keys() <= pins


def test_the_shipped_table_is_of_the_official_test_files(real_data):
    shipped, pins = read_inputs(ROOT / "resources/inputs.tsv"), read_pins(ROOT / "resources/datasets.tsv")
    for name in ("mc_maze", "mc_maze_medium", "mc_maze_small"):
        pin = pins[name]["test"]
        assert checksums_of(real_data / "dandi" / pin.dandiset / pin.path, DATASETS[name]) == shipped[pin.sha256]


def test_a_table_with_a_fault_is_refused_and_none_is_empty(tmp_path):
    assert read_inputs(tmp_path / "none.tsv") == {}
    (tmp_path / "inputs.tsv").write_text("file_sha256\titem\tsha256\n" + "0" * 64 + "\tunits\tabc\n")
    with pytest.raises(NlbflowError, match=r"inputs.tsv: column sha256 must be 64 .* holds 'abc'"):
        read_inputs(tmp_path / "inputs.tsv")
