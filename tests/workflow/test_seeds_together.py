"""With `side_by_side`, one job trains several seeds; a result counts for both ways, and what is there is kept."""

from pathlib import Path

import h5py
import pandas as pd
import pytest
import yaml

from nlbflow.running.files import read_attributes
from workflow import SMALL, planned, run

PLACE = "simulated_maze/20ms/val"
MODEL = '''"""The training trials' mean, more or less by what a seed draws."""
from pathlib import Path

import numpy as np

DEFAULTS = {"bad": -1, "stops": False}


def predict(data, params, seed):
    if seed == params["bad"]:
        raise ValueError(f"seed {seed} is bad")
    factor, rates = np.random.default_rng(seed).uniform(0.9, 1.1), {}
    for group in ("heldin", "heldout"):
        mean = factor * getattr(data, f"train_spikes_{group}").mean(axis=0) + 1e-4
        rates[f"train_rates_{group}"] = np.repeat(mean[None], len(data.train_spikes_heldin), axis=0)
        rates[f"eval_rates_{group}"] = np.repeat(mean[None], len(data.eval_spikes_heldin), axis=0)
    return rates


def predict_seeds(data, params, seeds):
    if data.work and params["stops"]:
        half = Path(data.work, "half")
        if not half.exists():
            half.write_text(str(seeds))
            raise SystemExit("half done")
        print("going on with", half.read_text())
    return [predict(data, params, seed) for seed in seeds]
'''


@pytest.fixture
def configured(tmp_path):
    """Writes a config with so many seeds, of which so many are trained side by side, and these parameters."""
    (tmp_path / "mine.py").write_text(MODEL)

    def write(seeds: int, side_by_side: int, **params) -> Path:
        config = yaml.safe_load(SMALL.read_text()) | {"side_by_side": side_by_side}
        config["run"] |= {"bin_ms": [20], "phases": ["val"], "models": ["mean_rate", "mine"], "seeds": [*range(seeds)]}
        config["models"] = {"mine": {"file": str(tmp_path / "mine.py"), "params": params}}
        path = tmp_path / "seeds.yaml"
        path.write_text(yaml.safe_dump(config))
        return path

    return write


def path_of(seed: int) -> str:
    return f"results/{PLACE}/mine/{seed}/prediction.h5"


def arrays(path: Path) -> dict:
    with h5py.File(path) as file:
        return {name: file[name][()].tobytes() for name in file}


def log(work: Path, seeds: str) -> str:
    return (work / f"logs/train/{PLACE}/mine/{seeds}.log").read_text()


def test_what_is_there_counts_for_both_ways(finished, configured, tmp_path):
    code, work = finished[0], tmp_path / "work"
    run(code, work, path_of(0), config=configured(1, 1))
    first = (work / path_of(0)).read_bytes()
    wanted = [path_of(seed) for seed in range(3)]
    run(code, work, *wanted, config=configured(3, 8))
    assert (work / path_of(0)).read_bytes() == first
    assert "is kept" in log(work, "0_1_2") and "mine, seeds 1, 2, {" in log(work, "0_1_2")
    told = [read_attributes(work / path)["provenance"] for path in wanted]
    assert [one.get("side_by_side") for one in told] == [None, 2, 2]
    assert len({one["made_of"] for one in told}) == 3
    # neither way has anything left to do
    for side_by_side in (8, 2, 1):
        assert not planned(code, work, *wanted, config=configured(3, side_by_side))
    # in the group of the first two nothing is missing; the other two are trained with each other
    wanted.append(path_of(3))
    assert sum("Training mine" in message for message in planned(code, work, *wanted, config=configured(4, 2))) == 1
    run(code, work, *wanted, config=configured(4, 2))
    assert "mine, seed 3, {" in log(work, "2_3")
    alone = tmp_path / "alone"
    run(code, alone, *wanted, config=configured(4, 1))
    assert all(arrays(alone / path) == arrays(work / path) for path in wanted)
    # other parameters: all of them anew
    run(code, work, *wanted, config=configured(4, 8, bad=9))
    assert "is kept" not in log(work, "0_1_2_3") and "mine, seeds 0, 1, 2, 3, {" in log(work, "0_1_2_3")


def test_a_failed_job_leaves_what_was_there_and_says_how_to_go_on(finished, configured, tmp_path):
    code, work = finished[0], tmp_path / "work"
    run(code, work, path_of(0), config=configured(1, 1, bad=2))
    output = run(code, work, "results/leaderboard.md", config=configured(3, 8, bad=2), fails=True)
    sentence = "model mine raised ValueError (mine.py, line 11): seed 2 is bad."
    assert f"{sentence} It had seeds 1, 2 side by side; --config side_by_side=1 trains each alone." in output
    shown = pd.read_csv(work / "results/scores.csv", keep_default_na=False).query("model == 'mine'")
    assert {*shown["seed"]} == {0}
    notes = (work / "results/leaderboard.md").read_text()
    assert all(f"mine, seed {seed}, failed: {sentence.removesuffix('.')}" in notes for seed in (1, 2))
    run(code, work, "results/leaderboard.md", config=configured(3, 1, bad=2), fails=True)
    shown = pd.read_csv(work / "results/scores.csv", keep_default_na=False).query("model == 'mine'")
    assert {*shown["seed"]} == {0, 1}


def test_a_stopped_job_goes_on_in_its_folder(finished, configured, tmp_path):
    code, work = finished[0], tmp_path / "work"
    config, wanted = configured(2, 2, stops=True), [path_of(0), path_of(1)]
    assert "was ended by SystemExit('half done')" in run(code, work, *wanted, config=config, fails=True)
    run(code, work, *wanted, config=config)
    assert "going on with [0, 1]" in log(work, "0_1")
    assert [read_attributes(work / path)["provenance"]["side_by_side"] for path in wanted] == [2, 2]
