"""The folder in which a job finds what its killed predecessor left."""

import numpy as np
import pytest

from nlbflow.models.contract import tiny_input
from nlbflow.running.work import CHECKPOINT, tidy_work, work_folder

OF = {"stamp": "0123", "params": {"width": 3}, "seed": 0}


@pytest.fixture
def left(tmp_path):
    """A folder with a checkpoint in it."""
    folder = work_folder(tmp_path / "prediction.h5", vars(tiny_input()), OF)
    (folder / CHECKPOINT).write_text("weights")
    (folder / "population").mkdir()
    return folder


def test_the_same_work_finds_it_again(tmp_path, left):
    assert left == tmp_path / "work"
    assert work_folder(tmp_path / "prediction.h5", vars(tiny_input()), dict(OF)) == left
    assert (left / CHECKPOINT).read_text() == "weights" and (left / "population").is_dir()


@pytest.mark.parametrize("key", ["stamp", "params", "seed", "input"])
def test_other_work_finds_an_empty_folder(tmp_path, left, key):
    data = tiny_input()
    if key == "input":
        data.train_spikes_heldout[0, 0, 0] += 1
    of = OF | {key: {"width": 4}}
    assert work_folder(tmp_path / "prediction.h5", vars(data), of if key != "input" else OF) == left
    assert [path.name for path in left.iterdir()] == ["digest"]
    # and once more the first work: nothing of it is left either
    work_folder(tmp_path / "prediction.h5", vars(tiny_input()), OF)
    assert [path.name for path in left.iterdir()] == ["digest"]


def test_a_folder_of_unknown_work_is_emptied(tmp_path, left):
    (left / "digest").unlink()  # killed while it was made
    work_folder(tmp_path / "prediction.h5", vars(tiny_input()), OF)
    assert not (left / CHECKPOINT).exists()


def test_shape_counts_too(tmp_path, left):
    """The same bytes in another shape are another input."""
    data = tiny_input()
    data.train_behavior = np.ascontiguousarray(data.train_behavior).reshape(*data.train_behavior.shape[:1], -1, 1)
    work_folder(tmp_path / "prediction.h5", vars(data), OF)
    assert not (left / CHECKPOINT).exists()


def test_tidying_keeps_what_is_worth_it(tmp_path, left):
    tidy_work(left)
    assert sorted(path.name for path in left.iterdir()) == ["digest", "population"]
    (left / "population").rmdir()
    tidy_work(left)
    assert not left.exists()
