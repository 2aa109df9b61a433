"""A training that is killed again and again ends with the prediction of one that never was."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

from nlbflow.models.catalogue import read_declaration
from nlbflow.models.contract import tiny_input
from nlbflow.running.code import digest_of
from nlbflow.running.files import read_arrays, write_arrays, write_json
from workflow import ROOT

# Rule train's script, given what snakemake would.
JOB = """
import json, sys
from types import SimpleNamespace
from snakemake.iocontainers import Namedlist
import train

model, scripts = sys.argv[1:]
train.main(SimpleNamespace(
    rule="train", scriptdir=scripts, log=["train.log"],
    config={"data_folder": "", "datasets": {}, "models": {model: {"file": model + ".py"}}},
    input=Namedlist(fromdict={"input": "../input.h5", "stamp": "../stamp.json"}),
    output=Namedlist(fromdict={"prediction": "prediction.h5"}), resources=SimpleNamespace(runtime=60),
    wildcards=SimpleNamespace(model=model, seed="0"),
    params=SimpleNamespace(digest=json.load(open("../stamp.json"))["digest"]),
))
"""
# What makes each training long enough to be killed, the table in its work folder that grows with it and by how many
# lines until it ends, and what is logged when a checkpoint is taken up.
MODELS = {
    "gru": ({"epochs": 200, "patience": 200, "checkpoint_minutes": 0.0}, "training.jsonl", 200, "continuing from"),
    "autolfads": (
        {"max_epochs": 50, "generation_epochs": 1, "patience": 50}, "population.csv", 150, "continuing after generation"
    ),
    # pretrained with one loss, trained with two, and fitted again to all trials; killed in any of these
    "neuroformer": (
        {"epochs": 60, "patience": 60, "pretrain_epochs": 20, "checkpoint_minutes": 0.0}, "training.jsonl", 80,
        "continuing from",
    ),
}  # fmt: skip
# Kills in the usual run and, slow, in the nightly one: the first as a job starts.
KILLS = 3, 6


def start(model: str, folder: Path) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    scripts = str(ROOT / "scripts")
    command = [sys.executable, "-c", JOB, model, scripts]
    return subprocess.Popen(command, cwd=folder, env={**os.environ, "PYTHONPATH": scripts})


def lines(table: Path) -> int:
    return len(table.read_text().splitlines()) if table.is_file() else 0


@pytest.mark.parametrize("kills", [KILLS[0], pytest.param(KILLS[1], marks=pytest.mark.slow)])
@pytest.mark.parametrize("model", ["gru", "autolfads", pytest.param("neuroformer", marks=pytest.mark.slow)])
def test_random_kills_change_no_byte(model, kills, tmp_path):
    changes, table, whole_length, taken_up = MODELS[model]
    declared = read_declaration(ROOT / f"scripts/models/{model}.py")
    params = declared["DEFAULTS"] | declared["CHECK"] | {"device": "cpu"} | changes
    made_of = {"code": {}, "parameters": {"params": params}}
    write_json(tmp_path / "stamp.json", {"digest": digest_of(made_of), **made_of})
    place = {"dataset": "tiny", "bin_ms": 5, "phase": "val"}
    arrays = {name: value for name, value in vars(tiny_input()).items() if name.startswith(("train_", "eval_"))}
    write_arrays(tmp_path / "input.h5", arrays, place | {"absent": {}, "provenance": {"dataset_version": "1"}})

    moment, killed, resumed = random.Random(model), tmp_path / "killed", []
    # the first while it starts, the others while it trains or writes a checkpoint
    table = killed / "work" / table
    for after in [0, *sorted(moment.sample(range(10, int(0.7 * whole_length)), kills - 1))]:
        seen = lines(table)
        with start(model, killed) as process:
            while after and lines(table) < max(after, seen + 1) and process.poll() is None:
                time.sleep(0.002)
            time.sleep(moment.uniform(0, 0.02 if after else 1))
            process.kill()
        assert process.returncode == -signal.SIGKILL
        assert not (killed / "prediction.h5").exists()
        resumed.append((killed / "train.log").is_file() and taken_up in (killed / "train.log").read_text())
    assert all(resumed[2:])

    for folder in (killed, tmp_path / "whole"):
        with start(model, folder) as process:
            pass
        assert process.returncode == 0, (folder / "train.log").read_text()
        resumed.append(taken_up in (folder / "train.log").read_text())
    assert resumed[kills:] == [True, False]
    (ended, about), (whole, about_whole) = (read_arrays(tmp_path / f"{f}/prediction.h5") for f in ("killed", "whole"))
    ended, whole = ({**arrays.pop("history"), **arrays} for arrays in (ended, whole))
    assert len(whole) > 8 and ended.keys() == whole.keys()
    assert all(ended[name].tobytes() == whole[name].tobytes() for name in whole)
    assert json.dumps(about["facts"]) == json.dumps(about_whole["facts"])
