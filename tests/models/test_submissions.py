"""Submissions that are read, and our own, which the reference reads and scores as we do."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from hostile_files import fifo
from nlbflow.errors import NlbflowError
from nlbflow.metrics.formulas import score
from nlbflow.models.submission_writing import write_submission
from nlbflow.models.submissions import read_submission
from nlbflow.recordings.datasets import group_name
from submission_files import GROUP, NAME, REQUIRED, SHAPES, SIZES, rates, read, write


@pytest.mark.parametrize(
    "packing",
    [
        {},
        {"dtype": np.float64},
        {"dtype": np.float16},
        {"dtype": ">f4"},
        {"compression": "gzip"},
        {"compression": "gzip", "shuffle": True},
        {"compression": "gzip", "shuffle": True, "fletcher32": True, "dtype": np.float64},
        {"maxshape": (None, None, None)},
        {"chunks": (2, 4, 2)},
        {"chunks": (2, 4, 2), "libver": "latest"},
        {"chunks": (2, 4, 2), "libver": "latest", "compression": "gzip", "maxshape": (None, None, 99)},
    ],
    ids=str,
)
@pytest.mark.parametrize("group", [GROUP, None])
def test_good_submission_is_read(tmp_path, packing, group):
    write(tmp_path / "theirs.h5", group=group, **packing)
    found = read(tmp_path / "theirs.h5", group=group)
    assert set(found) == set(SHAPES)
    for name, array in found.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, rates(SHAPES[name], packing.get("dtype", "f4")).astype("f4"))


def test_what_is_not_asked_for_is_ignored(tmp_path):
    path = tmp_path / "theirs.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        group = file.create_group(GROUP)
        group.attrs.update({f"note {i}": "x" * 1000 for i in range(200)})
        for name in REQUIRED:
            group[name] = rates(SHAPES[name])
        # two names of one dataset are no link that leads anywhere, nor is a group within itself
        group["again"], group["itself"], file["mc_rtt"] = group[NAME], group, file
        group["latents"] = h5py.ExternalLink(fifo(group), "x")
        file["mc_maze"] = h5py.ExternalLink(fifo(group), "x")
        for _ in range(2000):
            group = group.create_group("deeper")
    os.truncate(path, 2**40)
    assert list(read(path)) == REQUIRED


def test_names_that_are_not_read_are_told(tmp_path):
    write(tmp_path / "theirs.h5", names=REQUIRED)
    with h5py.File(tmp_path / "theirs.h5", "a") as file:
        file[GROUP]["eval_latents"] = np.zeros(3)
        file[GROUP].create_group("caf\u00e9 more")
    _, ignored = read_submission(tmp_path / "theirs.h5", SHAPES, REQUIRED, 0.1, 5, GROUP)
    assert ignored == [r"'caf\xe9 more'", "'eval_latents'"]


def test_a_misspelt_name_is_not_passed_over(tmp_path):
    write(tmp_path / "theirs.h5")
    with h5py.File(tmp_path / "theirs.h5", "a") as file:
        for units in ("heldin", "heldout"):
            file[GROUP].move(f"eval_rates_{units}_forward", f"eval_rates_{units}_foward")
    with pytest.raises(NlbflowError, match=r"did you mean eval_rates_heldin_forward\?\); rename"):
        read(tmp_path / "theirs.h5")


def test_train_rates_may_be_left_out_where_not_required(tmp_path):
    names = [name for name in REQUIRED if name.startswith("eval")]
    write(tmp_path / "theirs.h5", names=names)
    assert list(read(tmp_path / "theirs.h5", required=names)) == names


def test_per_second_depends_on_the_bin(tmp_path):
    write(tmp_path / "theirs.h5")
    with pytest.raises(NlbflowError, match=r"5\d times .* divide by 50 for spikes per bin of 20 ms"):
        read(tmp_path / "theirs.h5", spikes_mean=0.1 / 52, bin_ms=20)
    assert read(tmp_path / "theirs.h5", spikes_mean=0.1 / 52)


def test_real_size_is_read_in_little_memory(tmp_path):
    """float64 rates of MC_Maze's size, in chunks as large as are allowed."""
    shape, step, name = (2295, 140, 137), 430, "train_rates_heldin"
    with h5py.File(tmp_path / "theirs.h5", "w") as file:
        data = file.create_dataset(name, shape, "f8", chunks=(step, *shape[1:]), compression="gzip", compression_opts=1)
        for start in range(0, len(data), step):
            data[start : start + step] = np.full((min(step, len(data) - start), *shape[1:]), 0.1)
    # in a process of its own, since the peak is that of all that a process has ever started
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path / "theirs.h5"), name, *map(str, shape)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    right, peak_kb = done.stdout.split()
    assert right == "True" and int(peak_kb) < 10**9 / 1024


MEASURED = """
import resource, sys
import numpy as np
from submission_files import read
path, name, *shape = sys.argv[1:]
shape = tuple(map(int, shape))
found = read(path, shapes={name: shape}, required=[name], group=None)[name]
right = found.shape == shape and (found == np.float32(0.1)).all()
print(right, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def truth(draw: np.random.Generator, forward: bool = True) -> tuple[dict, dict]:
    """Random answers and rates of the layout of mc_maze_small."""
    predicted = {name: draw.gamma(2, 0.1, shape).astype(np.float32) for name, shape in SHAPES_SCORED.items()}
    counts = {name.replace("rates", "spikes"): draw.poisson(array) for name, array in predicted.items()}
    kept = ("eval_spikes_heldout", "eval_spikes_heldin_forward", "eval_spikes_heldout_forward")
    target = {name: counts[name].astype(np.float16) for name in kept}
    trials = {part: SHAPES_SCORED[f"{part}_rates_heldin"][:2] for part in SIZES}
    target |= {f"{part}_behavior": draw.normal(size=(*shape, 2)) for part, shape in trials.items()}
    target["psth"] = draw.gamma(2, 0.1, (3, trials["eval"][1], 12))
    for part, (count, _) in trials.items():
        target[f"{part}_cond_idx"] = [np.arange(count)[c::3] for c in range(3)]
    return target, predicted


SHAPES_SCORED = {name: (4 * trials, bins, neurons) for name, (trials, bins, neurons) in SHAPES.items()}


def test_nlb_tools_accepts_our_submission(tmp_path, nlb_tools):
    draw = np.random.default_rng(3)
    cases = {(name, bin_ms): truth(draw) for name in ("mc_maze_small", "mc_maze_large") for bin_ms in (5, 20)}
    path = tmp_path / "submission.h5"
    latents = {"eval_latents": np.zeros((3, 3, 3))}
    write_submission(path, ((*place, predicted | latents) for place, (_, predicted) in cases.items()))
    with h5py.File(path) as file:
        assert set(file) == {"mc_maze_small", "mc_maze_small_20", "mc_maze_large", "mc_maze_large_20"}
        assert set(file["mc_maze_small"]) == set(SHAPES)
    # nlb_tools asks for arrays of objects
    targets = {
        group_name(*place): target
        | {name: np.array([*rows, None], object)[:-1] for name, rows in target.items() if isinstance(rows, list)}
        for place, (target, _) in cases.items()
    }
    results = {}
    for result in nlb_tools.evaluation.evaluate(targets, str(path)):
        results |= result
    for (name, bin_ms), (target, _) in cases.items():
        split = results[f"mc_maze_scaling{'' if bin_ms == 5 else '_20'}_split"]
        mark = "[100] " if name == "mc_maze_small" else "[500] "
        group = group_name(name, bin_ms)
        found = score(target, read(path, shapes=SHAPES_SCORED, group=group, bin_ms=bin_ms))
        assert set(found) == {"co-bps", "vel R2", "psth R2", "fp-bps"}
        for metric, value in found.items():
            assert split[mark + metric] == pytest.approx(value, abs=1e-9), metric


def test_the_same_predictions_give_the_same_bytes(tmp_path):
    predicted = {name: rates(shape) for name, shape in SHAPES.items()}
    for name in ("one.h5", "two.h5"):
        write_submission(tmp_path / name, [("mc_rtt", 20, predicted)])
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
