"""The Python face: the workflow's tensors and scores in ten lines, in a checkout and from a wheel."""

import csv
import hashlib
import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml

import install
import layouts
import nlbflow
from nlbflow import api, cli
from nlbflow.models.submission_writing import write_submission
from nlbflow.recordings.targets import make_target
from nlbflow.recordings.tensors import make_input
from nlbflow.running.files import read_arrays
from nlbflow.scoring.trial_statistics import score_intervals
from own_recordings import STANZA, write_recording
from scored_arrays import reference
from workflow import ROOT, SMALL

PINNED = ("dataset", "dandiset", "version", "part", "path", "bytes", "sha256")


@pytest.fixture(scope="module")
def maze(tmp_path_factory):
    """(folder, parts): a small session in MC_Maze's layout, somewhere below a folder, and pins of its files."""
    folder = tmp_path_factory.mktemp("maze")
    (folder / "made").mkdir()
    made = layouts.write_maze(folder / "made", 0)
    parts = {}
    with open(folder / "datasets.tsv", "w", newline="") as file:
        table = csv.writer(file, delimiter="\t")
        table.writerow(PINNED)
        for part in ("train", "test"):
            parts[part] = folder / "nwb/deep" / Path(made[part]).name
            parts[part].parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(made[part], parts[part])
            content = parts[part].read_bytes()
            path = f"sub-Small/{parts[part].name}"
            table.writerow(["mc_maze_small", "000140", "0.220113.0408", part, path, len(content),
                            hashlib.sha256(content).hexdigest()])  # fmt: skip
    shutil.copy(ROOT / "resources/datasets.yaml", folder)
    return folder, parts


@pytest.fixture
def data(maze, monkeypatch):
    monkeypatch.setattr(api, "resource", lambda name: maze[0] / name)
    return nlbflow.load("mc_maze_small", folder=maze[0] / "nwb")


def predicted(data) -> dict[str, np.ndarray]:
    """Rates drawn at random, of the right mean."""
    rng = np.random.default_rng(0)
    return {name: rng.gamma(2.0, data.train_spikes_heldin.mean() / 2, shape) for name, shape in data.shapes().items()}


def test_tensors_and_answers_are_the_workflows(data, maze):
    arrays, _ = make_input(maze[1], data.definition, 5, "val")
    for name, array in arrays.items():
        np.testing.assert_array_equal(getattr(data, name), array)
    assert data.train_spikes_heldin.dtype == np.float32
    for name, array in make_target(maze[1], data.definition, 5, "val")[0].items():
        np.testing.assert_equal(data.answers[name], array)
    # nothing of the answers is among what is loaded
    assert not {name for name, array in data.arrays().items() if array is not None} & set(data.answers) - {
        "train_behavior"
    }
    assert data.summary["units"] == "8 held-in, 4 held-out"


def test_scores_are_nlb_tools_and_the_workflows(data, nlb_tools):
    rates = predicted(data)
    found = nlbflow.evaluate(rates, data)
    expected = reference(nlb_tools, "mc_maze_small", dict(data.answers), rates)
    assert list(found.columns) == ["value"] and set(found.index) == set(expected)
    for metric, value in expected.items():
        assert found.loc[metric, "value"] == pytest.approx(value, abs=1e-9)
    with_intervals = nlbflow.evaluate(rates, data, intervals=True, draws=200)
    for metric, interval in score_intervals(data.answers, rates, 200, 0).items():
        low, high = interval or (np.nan, np.nan)
        np.testing.assert_allclose(with_intervals.loc[metric, ["low", "high"]].to_numpy(float), [low, high], 1e-12)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda r: {**r, "eval_rates_heldout": r["eval_rates_heldout"] * 200}, "in spikes per second; divide by 200"),
        (lambda r: {**r, "eval_rates_heldout": np.log(r["eval_rates_heldout"])}, "exponentiate if these are log rates"),
        (lambda r: {**r, "eval_rates_heldin": r["eval_rates_heldin"][:, 1:]}, r"expected \(trials, bins, neurons\)"),
        (lambda r: {k: v for k, v in r.items() if k != "eval_rates_heldin"}, r"missing \['eval_rates_heldin'\]"),
        (lambda r: {**r, "rates": r["eval_rates_heldin"]}, r"unknown \['rates'\]"),
    ],
)
def test_what_are_no_rates_is_refused(data, tmp_path, spoil, sentence):
    wrong = spoil(predicted(data))
    with pytest.raises(nlbflow.NlbflowError, match=sentence):
        nlbflow.evaluate(wrong, data)
    with pytest.raises(nlbflow.NlbflowError, match=sentence):
        nlbflow.save_submission(wrong, tmp_path / "mine.h5", data)
    assert not list(tmp_path.iterdir())


def test_submissions_grow_and_are_scored_from_the_shell(data, maze, tmp_path, capsys, monkeypatch):
    rates, path = predicted(data), tmp_path / "mine.h5"
    nlbflow.save_submission(rates, path, data)
    at_20 = nlbflow.load("mc_maze_small", 20, folder=maze[0] / "nwb")
    nlbflow.save_submission(predicted(at_20), path, at_20)
    nlbflow.save_submission(rates, path, data)
    with h5py.File(path) as file:
        assert sorted(file) == ["mc_maze_small", "mc_maze_small_20"]
    monkeypatch.setattr(cli, "datasets", lambda: ["mc_maze_small"])
    cli.main(["score", str(path), "--folder", str(maze[0] / "nwb"), "--intervals"])
    told = capsys.readouterr().out
    assert "mc_maze_small, 5 ms, val" in told and "mc_maze_small, 20 ms, val" in told
    assert f"{nlbflow.evaluate(rates, data).loc['co-bps', 'value']:.4f}" in told
    path.write_text("not HDF5")
    with pytest.raises(SystemExit, match="nlbflow: "):
        cli.main(["score", str(path)])


def test_tensors_from_the_shell(data, maze, tmp_path, capsys):
    out = tmp_path / "tensors.h5"
    cli.main(["tensors", "mc_maze_small", "--folder", str(maze[0] / "nwb"), "--out", str(out)])
    with h5py.File(out) as file:
        np.testing.assert_array_equal(file["eval_spikes_heldin"], data.eval_spikes_heldin)
        assert "eval_spikes_heldout" not in file
    assert "8 held-in, 4 held-out" in capsys.readouterr().out


def test_a_recording_of_ones_own(tmp_path):
    path = write_recording(tmp_path / "own.nwb")
    own = nlbflow.load(path, 20, "test", stanza=STANZA)
    assert own.dataset == "own" and own.train_spikes_heldin.shape == (48, 35, 9) and own.train_behavior.shape[2] == 2
    assert set(nlbflow.evaluate(predicted(own), own).index) == {"co-bps", "fp-bps", "vel R2"}


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"dataset": "mc_mase"}, "is none of simulated_maze, simulated_clusters, simulated_coupled, mc_maze"),
        ({"dataset": "mc_maze_small", "phase": "train"}, "expected val or test"),
        ({"dataset": "mc_maze_small", "folder": "nowhere"}, "load with fetch=True"),
    ],
)
def test_what_cannot_be_loaded_is_told(tmp_path, monkeypatch, asked, sentence):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(nlbflow.NlbflowError, match=sentence):
        nlbflow.load(**asked)


def test_the_answers_of_the_test_phase_are_not_made_up(data, maze):
    test = nlbflow.load("mc_maze_small", phase="test", folder=maze[0] / "nwb")
    with pytest.raises(nlbflow.NlbflowError, match=r"eval_data_test\.h5"):
        nlbflow.evaluate(predicted(test), test)


def test_published_answers_are_of_the_test_phase_alone(data, maze, tmp_path):
    """They lie beside the recordings; phase val has answers of its own."""
    shutil.copytree(maze[0] / "nwb", tmp_path / "nwb")
    (tmp_path / "nwb/eval_data_test.h5").write_text("of the test phase")
    val = nlbflow.load("mc_maze_small", folder=tmp_path / "nwb")
    np.testing.assert_array_equal(val.answers["eval_spikes_heldout"], data.answers["eval_spikes_heldout"])
    with pytest.raises(nlbflow.NlbflowError, match=r"eval_data_test\.h5"):
        _ = nlbflow.load("mc_maze_small", phase="test", folder=tmp_path / "nwb").answers


def test_torch(data):
    torch = pytest.importorskip("torch", reason="torch is an extra")
    tensors = data.torch()
    assert tensors.train_spikes_heldin.dtype == torch.float32 and tensors.train_condition.dtype == torch.int64
    np.testing.assert_array_equal(tensors.eval_spikes_heldin.numpy(), data.eval_spikes_heldin)


def test_importing_it_sets_no_threads_and_loads_little():
    program = "import os, sys, nlbflow; nlbflow.load; print(sorted({'torch', 'pynwb', 'dandi'} & set(sys.modules)),"
    program += " os.environ.get('OMP_NUM_THREADS'))"
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT / "scripts", capture_output=True, text=True,
                           env={"PATH": "/usr/bin:/bin"})  # fmt: skip
    assert found.stdout == "[] None\n", found.stderr


TEN_LINES = """
import json, sys
import numpy as np
import nlbflow
import nlbflow.api
nlbflow.api.resource = lambda name, folder=sys.argv[1]: __import__("pathlib").Path(folder, name)
data = nlbflow.load("mc_maze_small", bin_ms=5, phase="val", folder=sys.argv[1] + "/nwb")
rates = dict(np.load(sys.argv[2]))
scores = nlbflow.evaluate(rates, data, intervals=True)
nlbflow.save_submission(rates, "mine.h5", data)
print(json.dumps({"at": nlbflow.__file__, "scores": scores["value"].to_dict()}))
"""


@pytest.fixture(scope="module")
def wheel_python(tmp_path_factory, registry):
    """A Python with nlbflow's wheel and what the wheel asks for, and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for part in ("scripts", "resources"):
        shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, source)
    build = ["wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(source)]
    done = install.pip(sys.executable, *build)
    assert done.returncode == 0, done.stderr
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv/bin/python"
    brings = {"numpy", "scipy", "h5py", "pandas", "pyyaml", "python-dateutil", "six", "tzdata"}
    locked = [r for r in install.read(ROOT / "requirements/test.lock") if install.name_of(r) in brings]
    install.install(str(python), locked)
    (wheel,) = folder.glob("*.whl")
    for arguments in (["install", "--no-deps", "--no-index", str(wheel)], ["check"]):
        done = install.pip(str(python), *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
    return python


def test_the_ten_lines_from_a_wheel(wheel_python, data, maze, nlb_tools, tmp_path):
    rates = predicted(data)
    np.savez(tmp_path / "rates.npz", **rates)
    command = [str(wheel_python), "-I", "-c", TEN_LINES, str(maze[0]), str(tmp_path / "rates.npz")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert Path(found["at"]).is_relative_to(wheel_python.parents[1])
    expected = reference(nlb_tools, "mc_maze_small", dict(data.answers), rates)
    assert found["scores"] == pytest.approx(expected, abs=1e-9)
    with h5py.File(tmp_path / "mine.h5") as file:
        assert list(file) == ["mc_maze_small"]


SCORED_ALONE = """
import json, sys
from pathlib import Path
import nlbflow.resources
nlbflow.resources.resource = lambda name: Path(sys.argv[1], name)
import h5py, nlbflow, nlbflow.cli
data = nlbflow.load("simulated_maze", 20, folder=sys.argv[1])
with h5py.File(sys.argv[2]) as file:
    rates = {name: array[()] for name, array in file["simulated_maze_20"].items()}
print(json.dumps(nlbflow.evaluate(rates, data, intervals=True).to_dict("index")))
nlbflow.cli.main(["score", sys.argv[2], "--folder", sys.argv[1], "--intervals"])
"""


def test_the_wheel_alone_gives_the_digits_of_the_workflow(wheel_python, finished, tmp_path):
    """numpy, scipy, h5py, pandas and PyYAML score a submission as scores.csv has it."""
    code, work = finished
    catalogue = yaml.safe_load((code / "resources/datasets.yaml").read_text())
    catalogue["datasets"]["simulated_maze"] |= yaml.safe_load(SMALL.read_text())["datasets"]["simulated_maze"]
    (tmp_path / "datasets.yaml").write_text(yaml.safe_dump(catalogue))
    shutil.copy(code / "resources/datasets.tsv", tmp_path)
    (tmp_path / "simulated_maze").symlink_to(work / "data/nwb/simulated/simulated_maze/sub-Sim")
    arrays, _ = read_arrays(work / "results/simulated_maze/20ms/val/smoothing/0/prediction.h5")
    write_submission(tmp_path / "theirs.h5", [("simulated_maze", 20, arrays)])
    command = [str(wheel_python), "-I", "-c", SCORED_ALONE, str(tmp_path), str(tmp_path / "theirs.h5")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    exact, *printed = done.stdout.splitlines()
    board = pd.read_csv(work / "results/scores.csv", dtype=str, keep_default_na=False)
    board = board.query("bin_ms == '20' and phase == 'val' and model == 'smoothing'").set_index("metric")
    found = json.loads(exact)
    assert {"co-bps", "vel R2", "psth R2"} <= set(found) <= set(board.index)
    for metric, numbers in found.items():
        wanted = [float(text or "nan") for text in board.loc[metric, ["value", "low", "high"]]]
        np.testing.assert_array_equal([*numbers.values()], wanted)
        (line,) = (line for line in printed if line.startswith(metric))
        assert line.split()[-3] == f"{wanted[0]:.4f}"


def test_the_wheel_has_its_catalogue_and_its_command(wheel_python, tmp_path):
    program = "import nlbflow; nlbflow.load('mc_maze_small', folder='.')"
    told = subprocess.run([str(wheel_python), "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert "sub-Jenkins_ses-small" in told.stderr and "fetch=True" in told.stderr
    done = subprocess.run([str(wheel_python.parent / "nlbflow"), "--help"], capture_output=True, text=True)
    assert all(verb in done.stdout for verb in ("score", "tensors", "run")) and len(done.stdout.splitlines()) < 24
    done = subprocess.run([str(wheel_python.parent / "nlbflow"), "run"], capture_output=True, text=True)
    assert done.returncode and "clone the project" in done.stderr
