"""A run whose data and results lie in a bucket, with workers that share no folder."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from s3_server import storage_options, worker_options, worker_path
from workflow import SMALL, command, copy_code, reproducible, run

PLACE = "results/simulated_maze/20ms/val"
TABLES = ("scores", "neurons", "ranks", "differences", "cross_decoding", "consistency", "summaries", "notes")
SHOWN = [*(f"results/{name}.csv" for name in TABLES), "results/leaderboard.md"]


@pytest.fixture
def project(tmp_path, s3, monkeypatch):
    """A clone of the workflow, with a small config in it and the keys to a bucket in the environment."""
    code = copy_code(tmp_path / "clone")
    for asked in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "a clone"],
    ):
        subprocess.run(["git", *asked], cwd=code, check=True)
    for name, value in {**s3.environment, "PATH": worker_path()}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "workers").mkdir()
    yield code
    for pid in (tmp_path / "workers").glob("*/pid"):
        try:
            os.killpg(int(pid.read_text()), signal.SIGKILL)
        except ProcessLookupError:
            continue


def configured(code: Path, name: str = "run.yaml", selected=("mean_rate", "smoothing"), **models: dict) -> Path:
    config = yaml.safe_load(SMALL.read_text())
    config["run"] |= {"bin_ms": [20], "phases": ["val"], "models": [*selected]}
    # it travels with the code
    path = code / name
    path.write_text(yaml.safe_dump({**config, "models": models}))
    return path


def in_cloud(code: Path, *targets: str, config: Path, fails: bool = False, workers: bool = True) -> str:
    """What a run with the bucket says; the prefix is the name of the test's folder."""
    away = worker_options(code.parent / "workers") if workers else []
    return run(code, code, *storage_options(code.parent.name), *away, *targets, config=config, fails=fails)


def test_a_dry_run_plans_and_leaves_nothing(project, s3):
    config = configured(project)
    output = in_cloud(project, "-n", "--quiet", config=config)
    assert re.search(r"nlbflow: \d\d jobs, 0.00 GB to fetch", output)
    assert s3.names(project.parent.name) == [] and not (project / "results").exists()


def test_wrong_keys_are_told_in_one_sentence(project, s3, monkeypatch):
    monkeypatch.setenv("SNAKEMAKE_STORAGE_S3_ACCESS_KEY", "wrong")
    output = in_cloud(project, "-n", config=configured(project), fails=True)
    assert "refuses these credentials (InvalidAccessKeyId); set SNAKEMAKE_STORAGE_S3_ACCESS_KEY and " in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--default-storage-provider", "s3", "--default-storage-prefix", "lab/x"],
            "names no bucket; give s3://BUCKET",
        ),
        (["--default-storage-provider", "fs", "--default-storage-prefix", "x"], "use s3, or none"),
    ],
)
def test_other_storage_is_refused(project, options, sentence):
    output = run(project, project, "-n", *options, config=configured(project), fails=True)
    # without a plugin for it, Snakemake refuses first
    assert sentence in output or "snakemake-storage-plugin-fs" in output


@pytest.mark.slow
def test_tables_are_those_of_a_run_in_a_folder(project, s3, tmp_path):
    config, prefix = configured(project), project.parent.name
    in_cloud(project, config=config)
    local = tmp_path / "local"
    run(project, local, config=config)
    for name in SHOWN:
        shown = tmp_path / Path(name).name
        shown.write_bytes(s3.read(f"{prefix}/{name}"))
        assert reproducible(shown) == reproducible(local / name), name
    made = {
        file.relative_to(local).as_posix() for top in ("data", "results", "logs") for file in (local / top).rglob("*")
    }
    stored = {name.removeprefix(f"{prefix}/") for name in s3.names(prefix)}
    assert {name for name in made if (local / name).is_file()} - stored == {"results/.running"}
    assert not (project / "results").exists() and not (project / "data").exists()
    assert "Nothing to be done" in in_cloud(project, config=config)
    # nor for who has never seen this run
    shutil.rmtree(project / ".snakemake")
    assert "Nothing to be done" in in_cloud(project, "-n", config=config)


@pytest.mark.slow
def test_what_changes_is_made_again_and_others_tables_are_set_aside(project, s3):
    config, prefix = configured(project), project.parent.name
    in_cloud(project, "results/scores.csv", config=config, workers=False)
    before = s3.read(f"{prefix}/results/scores.csv")
    changed = configured(project, "changed.yaml", smoothing={"params": {"kernel_sd_ms": 30}})
    plan = in_cloud(project, "-n", "results/scores.csv", config=changed, workers=False)
    assert "Training smoothing" in plan and "Training mean_rate" not in plan
    assert "Nothing to be done" in in_cloud(project, "-n", "results/scores.csv", config=config, workers=False)
    output = in_cloud(project, "results/scores.csv", config=changed, workers=False)
    assert "tables and figures of run.yaml, selection" in output
    (old,) = [name for name in s3.names(f"{prefix}/results/old/") if name.endswith("/scores.csv")]
    assert s3.read(old) == before != s3.read(f"{prefix}/results/scores.csv")


@pytest.mark.slow
def test_a_damaged_object_is_set_aside_and_made_anew(project, s3):
    config, prefix = configured(project), project.parent.name
    prediction, scores = f"{PLACE}/smoothing/0/prediction.h5", f"{PLACE}/smoothing/0/scores.json"
    in_cloud(project, prediction, config=config, workers=False)
    s3.write(f"{prefix}/{prediction}", b"not what it was")
    output = in_cloud(project, scores, config=config, workers=False, fails=True)
    assert f"{prediction} has changed since it was written" in output
    in_cloud(project, scores, config=config, workers=False)
    assert s3.read(f"{prefix}/{prediction}.damaged") == b"not what it was"
    assert json.loads(s3.read(f"{prefix}/{scores}"))["model"] == "smoothing"


def started(code: Path, *targets: str, config: Path, workers: bool = True) -> subprocess.Popen:
    away = worker_options(code.parent / "workers") if workers else []
    words = [*storage_options(code.parent.name), *away, *targets]
    written = open(code.parent / "said", "w")
    return subprocess.Popen(command(code, *words, config=config), cwd=code, stdout=written, stderr=written)


def until(what, seconds: float = 200.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)


# A training of 60 steps that keeps a checkpoint and says where it began.
STEPS = '''"""Rates are the mean, after a while."""
import time

import numpy as np

DEFAULTS = {"steps": 60}


def predict(data, params, seed):
    kept = data.work / "checkpoint.pt" if data.work else None
    done = int(kept.read_text()) if kept and kept.exists() else 0
    print(f"continuing from step {done}", flush=True)
    for step in range(done, params["steps"] if kept else 0):
        time.sleep(0.5)
        kept.write_text(str(step + 1))
    rates = {}
    for name in ("heldin", "heldout"):
        mean = getattr(data, f"train_spikes_{name}").mean(axis=(0, 1))
        rates[f"train_rates_{name}"] = np.broadcast_to(mean, (*data.train_spikes_heldin.shape[:2], len(mean)))
        rates[f"eval_rates_{name}"] = np.broadcast_to(mean, (*data.eval_spikes_heldin.shape[:2], len(mean)))
    return rates
'''


@pytest.mark.slow
def test_workers_train_the_seeds_that_the_plan_found_missing(project, s3):
    seeds = "\n\ndef predict_seeds(data, params, seeds):\n    return [predict(data, params, seed) for seed in seeds]\n"
    (project / "scripts/models/steps.py").write_text(STEPS.replace('"steps": 60', '"steps": 1') + seeds)
    config, prefix = configured(project, selected=["steps"], steps={"file": "steps.py"}), project.parent.name
    wanted = [f"{PLACE}/steps/{seed}/prediction.h5" for seed in range(3)]
    in_cloud(project, wanted[0], config=config)
    content = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**content, "side_by_side": 4, "run": {**content["run"], "seeds": [0, 1, 2]}}))
    first = s3.read(f"{prefix}/{wanted[0]}")
    in_cloud(project, *wanted, config=config)
    log = s3.read(f"{prefix}/logs/train/simulated_maze/20ms/val/steps/1-2.log").decode()
    assert "steps, seeds 1, 2, {" in log and s3.read(f"{prefix}/{wanted[0]}") == first
    assert {f"{prefix}/{name}" for name in wanted} <= {*s3.names(prefix)}
    assert "Nothing to be done" in in_cloud(project, "-n", *wanted, config=config)


@pytest.mark.slow
def test_a_killed_training_goes_on_in_another_folder(project, s3):
    (project / "scripts/models/steps.py").write_text(STEPS)
    config, seed = configured(project, selected=["steps"], steps={"file": "steps.py"}), f"{PLACE}/steps/0"
    prefix, target = project.parent.name, f"{seed}/prediction.h5"
    first = started(project, target, config=config)
    until(lambda: f"{prefix}/{seed}/work.tar" in s3.names(prefix))
    # all of it dies: the job, and who sent it
    first.kill()
    first.wait()
    for pid in (project.parent / "workers").glob("*/pid"):
        if not pid.with_name("code").exists():
            os.killpg(int(pid.read_text()), signal.SIGKILL)
    run(project, project, "--unlock", *storage_options(prefix), config=config)
    assert "is in use by a live run of snakemake" in in_cloud(project, target, config=config, fails=True)
    s3.client().delete_object(Bucket=s3.bucket, Key=f"{prefix}/results/.running")  # else after two minutes
    in_cloud(project, target, config=config)
    log = s3.read(f"{prefix}/logs/train/simulated_maze/20ms/val/steps/0.log").decode()
    assert int(re.search(r"continuing from step (\d+)", log)[1]) > 0
    assert f"{prefix}/{seed}/work.tar" not in s3.names(prefix)
    assert f"{prefix}/{target}" in s3.names(prefix)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["gone", "gone for long", "slow", "busy"])
def test_a_run_survives_its_server(project, s3, fault):
    """Killed and started again, slow, or too busy for a while: the run, or the one after it, ends well."""
    config, prefix, target = configured(project), project.parent.name, f"{PLACE}/smoothing/0/scores.json"
    s3.delay, begun = (0.2 if fault == "slow" else 0.0), f"{prefix}/{PLACE}/input.h5"
    retries = ["--storage-s3-retries", "2" if fault == "gone for long" else "12", "--cores", "2"]
    first = started(project, *retries, target, config=config, workers=False)
    until(lambda: begun in s3.names(prefix))
    if fault.startswith("gone"):
        s3.kill()
        time.sleep(20)
        s3.start()
    s3.busy = 4 if fault == "busy" else 0
    failed = first.wait(400) != 0
    s3.delay = 0.0
    assert failed == (fault == "gone for long"), (project.parent / "said").read_text()
    if failed:
        # it could not say that it is over
        s3.client().delete_object(Bucket=s3.bucket, Key=f"{prefix}/results/.running")
        in_cloud(project, target, config=config, workers=False)
    assert json.loads(s3.read(f"{prefix}/{target}"))["model"] == "smoothing"
