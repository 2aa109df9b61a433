"""With `side_by_side`, one job trains several seeds; a result counts for both ways, and what is there is kept."""

import re
from collections import Counter
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


def log(work: Path, name: str) -> str:
    return (work / f"logs/train/{PLACE}/mine/{name}.log").read_text()


def made(work: Path, seeds: int) -> dict[int, tuple]:
    """Content and date of each prediction that there is."""
    paths = {seed: work / path_of(seed) for seed in range(seeds) if (work / path_of(seed)).exists()}
    return {seed: (path.read_bytes(), path.stat().st_mtime_ns) for seed, path in paths.items()}


def test_what_is_there_counts_for_both_ways(finished, configured, tmp_path):
    code, work = finished[0], tmp_path / "work"
    run(code, work, path_of(0), config=configured(1, 1))
    first = made(work, 1)
    wanted = [path_of(seed) for seed in range(3)]
    run(code, work, *wanted, config=configured(3, 8))
    assert made(work, 1) == first and "mine, seeds 1, 2, {" in log(work, "1-2")
    told = [read_attributes(work / path)["provenance"] for path in wanted]
    assert [one.get("side_by_side") for one in told] == [None, 2, 2]
    assert told[1]["seconds"] == told[2]["seconds"]
    # neither way has anything left to do
    for side_by_side in (8, 2, 1):
        assert not planned(code, work, *wanted, config=configured(3, side_by_side))
    # one more seed is trained alone, and what was deleted with it; a new date of the stamp outdates none
    (work / f"results/stamps/train-mine-{PLACE.replace('/', '-')}.json").touch()
    (work / path_of(1)).unlink()
    wanted.append(path_of(3))
    before = made(work, 3)
    run(code, work, *wanted, config=configured(4, 8))
    assert made(work, 1) | {2: made(work, 3)[2]} == before and "mine, seeds 1, 3, {" in log(work, "1-3")
    alone = tmp_path / "alone"
    run(code, alone, *wanted, config=configured(4, 1))
    assert all(arrays(alone / path) == arrays(work / path) for path in wanted)
    # a forced run trains what is there, too
    run(code, work, path_of(2), "--force", config=configured(4, 8))
    assert made(work, 3)[2][1] > before[2][1] and made(work, 1) == first


def test_with_other_parameters_all_are_trained_and_none_of_before_is_left(finished, configured, tmp_path):
    code, work, wanted = finished[0], tmp_path / "work", [path_of(seed) for seed in range(3)]
    run(code, work, *wanted, config=configured(3, 8))
    output = run(code, work, *wanted, config=configured(3, 8, bad=2), fails=True)
    assert "Training mine, seeds 0, 1, 2, on" in output and not made(work, 3)
    assert sum("Training mine" in message for message in planned(code, work, *wanted, config=configured(3, 2))) == 2
    run(code, work, *wanted, config=configured(3, 2))
    assert [read_attributes(work / path)["params"]["bad"] for path in wanted] == [-1, -1, -1]


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


def test_a_stopped_job_goes_on_in_its_folder(finished, configured, tmp_path):
    code, work = finished[0], tmp_path / "work"
    config, wanted = configured(2, 2, stops=True), [path_of(0), path_of(1)]
    assert "was ended by SystemExit('half done')" in run(code, work, *wanted, config=config, fails=True)
    run(code, work, *wanted, config=config)
    assert "going on with (0, 1)" in log(work, "0-1")


def test_members_of_an_ensemble_and_other_places_have_groups_of_their_own(finished, configured, tmp_path):
    code, work = finished[0], tmp_path / "work"
    config = yaml.safe_load(configured(1, 3).read_text())
    config["run"] |= {"bin_ms": [5, 20], "models": ["both", "mine_tuned"], "seeds": [0, 4]}
    config["models"]["mine"]["tune"] = {"grid": {"bad": [7, 8]}}
    config["models"]["five"] = {"ensemble": {"members": {"mine": [0, 1, 2, 3, 4]}, "average": "log"}}
    config["models"]["both"] = {"ensemble": {"members": {"five": [0], "mean_rate": [0]}, "average": "linear"}}
    path = tmp_path / "both.yaml"
    path.write_text(yaml.safe_dump(config))
    output = run(code, work, "-n", config=path)
    assert all(f"train_together_{name} " in output for name in ("0_1_2", "3_4", "0_4"))
    told = Counter(re.findall(r"^Job \d+: (.*)$", output, re.MULTILINE))
    for bin_ms in (5, 20):
        where = f"on simulated_maze ({bin_ms} ms, val)"
        for of in ("mine, seeds 0, 1, 2", "mine, seeds 3, 4", "mine_tuned, seeds 0, 4"):
            assert told[f"Training {of}, {where}"] == 1
    assert sum(count for message, count in told.items() if message.startswith("Training mine")) == 6
    # what one place has is no reason for the other to go without
    run(code, work, path_of(0), config=configured(1, 1))
    told = planned(code, work, config=path)
    assert told["Training mine, seeds 1, 2, 3, on simulated_maze (20 ms, val)"] == 1
    assert told["Training mine, seed 4, on simulated_maze (20 ms, val)"] == 1
    assert told["Training mine, seeds 0, 1, 2, on simulated_maze (5 ms, val)"] == 1


def test_another_node_needs_to_be_told(finished, configured, tmp_path):
    code, work, target = finished[0], tmp_path / "work", "train_together_0_1:dataset=simulated_maze,"
    words = ["--mode", "remote", "--allowed-rules", "train_together_0_1", "--target-jobs"]
    where = f"{target}bin_ms=20,phase=val,model=mine"
    config = configured(2, 2)
    output = run(code, work, *words, where, config=config, fails=True)
    assert "results/side_by_side.json has gone, which says what this job is to train; run again." in output
    # what another plan wrote, and no job of this name
    (work / "results").mkdir(exist_ok=True)
    (work / "results/side_by_side.json").write_text('[[[0, 1, 2], ["simulated_maze/20ms/val/mine"]]]')
    assert "There is no rule named train_together_0_1" in run(code, work, *words, where, config=config, fails=True)


def test_names_of_rules_stay_short(finished, configured, tmp_path):
    output = run(finished[0], tmp_path / "work", "-n", config=configured(120, 100))
    assert len(set(re.findall(r"train_together_0_to_99_[0-9a-f]{8} ", output))) == 1
    assert len(set(re.findall(r"train_together_100_to_119_[0-9a-f]{8} ", output))) == 1
