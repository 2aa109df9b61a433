"""A model that reads the answers is stopped, and one that has them from elsewhere is not ranked."""

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml

from nlbflow.running import confine
from workflow import SMALL, copy_results, run

PLACE = "results/simulated_maze/5ms/val"
PEEK = f'''"""Rates are the answers."""
import h5py

DEFAULTS = {{}}


def predict(data, params, seed):
    with h5py.File("{PLACE}/target.h5") as file:
        heldout = file["eval_spikes_heldout"][()] + 1e-3
    return {{"eval_rates_heldout": heldout}}
'''


def config_with(folder, models: dict):
    config = yaml.safe_load(SMALL.read_text())
    config["run"] |= {"models": ["smoothing", *models], "bin_ms": [5], "phases": ["val"]}
    (folder / "config.yaml").write_text(yaml.safe_dump({**config, "models": models}))
    return folder / "config.yaml"


@pytest.mark.skipif(confine.version() == 0, reason="the kernel has no Landlock")
def test_a_model_cannot_open_the_answers(finished, tmp_path):
    work = copy_results(finished[1], tmp_path / "work")
    (tmp_path / "peek.py").write_text(PEEK)
    config = config_with(tmp_path, {"peek": {"file": str(tmp_path / "peek.py")}})
    output = run(finished[0], work, f"{PLACE}/peek/0/prediction.h5", config=config, fails=True)
    assert "model peek (peek.py, line 8) was kept from" in output and f"{PLACE}/target.h5" in output
    assert "Traceback" not in output and not (work / PLACE / "peek/0/prediction.h5").exists()


def test_rates_that_hold_the_answers_are_not_ranked(finished, tmp_path):
    work = copy_results(finished[1], tmp_path / "work")
    with h5py.File(work / PLACE / "target.h5") as target, h5py.File(tmp_path / "val.h5", "w") as file:
        with h5py.File(work / PLACE / "smoothing/0/prediction.h5") as honest:
            for name in honest:
                file[f"simulated_maze/{name}"] = honest[name][()]
        file["simulated_maze/eval_rates_heldout"][...] = target["eval_spikes_heldout"][()].astype(np.float32) + 1e-3
    config = config_with(tmp_path, {"theirs": {"prediction": str(tmp_path / "{phase}.h5")}})
    run(finished[0], work, "results/leaderboard.md", "results/leaderboard.html", config=config)
    scores = pd.read_csv(work / "results/scores.csv", keep_default_na=False)
    assert dict(zip(scores["model"], scores["kind"], strict=True))["theirs"] == "implausible"
    ranks = pd.read_csv(work / "results/ranks.csv").query("metric == 'co-bps'").set_index("model")
    assert ranks.loc["theirs", "kind"] == "implausible" and np.isnan(ranks.loc["theirs", "best_rank"])
    assert ranks.loc["smoothing", "best_rank"] == 1
    board = (work / "results/leaderboard.md").read_text()
    assert "theirs (implausible)" in board and "the most that the true rates can have" in board
    assert "theirs, seed 0, is not ranked: its co-bps" in board
