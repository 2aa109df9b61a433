"""One job scores many predictions, and still only what changed is scored again, and only what failed is left out."""

import json
import os
import resource
import signal
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import score
from nlbflow.running.checksums import seal_of
from workflow import copy_results, run

PLACE = "results/simulated_maze/20ms/val"
BUNDLES = [f"{PLACE}/scored/{number}.json" for number in (0, 1)]
MODELS = ["null", "mean_rate", "flat_forecast", "smoothing", "condition_psth", "true_rates"]


def scores(work) -> dict[str, tuple[dict, int]]:
    """The scores of each model, and when they were written."""
    files = {model: work / PLACE / model / "0/scores.json" for model in MODELS}
    return {model: (json.loads(path.read_text())["scores"], path.stat().st_mtime_ns) for model, path in files.items()}


def flip(path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def test_only_what_is_missing_or_damaged_is_scored_again(finished, tmp_path):
    code, work = finished[0], copy_results(finished[1], tmp_path / "work")
    before = scores(work)
    for bundle in BUNDLES:
        (work / bundle).unlink()
    (work / PLACE / "mean_rate/0/scores.json").unlink()
    flip(work / PLACE / "smoothing/0/bootstrap.h5")
    run(code, work, *BUNDLES)
    after = scores(work)
    assert {model for model in MODELS if after[model] != before[model]} == {"mean_rate", "smoothing"}
    assert {model: told for model, (told, _) in after.items()} == {model: told for model, (told, _) in before.items()}


def test_a_prediction_that_cannot_be_scored_is_left_out_alone(finished, tmp_path):
    code, work = finished[0], copy_results(finished[1], tmp_path / "work")
    tables = {name: (work / f"results/{name}.csv").read_bytes() for name in ("scores", "ranks", "neurons")}
    before = scores(work)
    flip(work / PLACE / "mean_rate/0/prediction.h5")
    output = run(code, work, "results/scores.csv", fails=True)
    last = output[output.rindex("nlbflow: 1 job failed:") :]
    assert "Scoring mean_rate, seed 0, on simulated_maze (20 ms, val): " in last and "set aside" in last
    assert f"(log: logs/score/{PLACE.removeprefix('results/')}/mean_rate/0.log)" in last
    left = pd.read_csv(work / "results/scores.csv", keep_default_na=False).query("bin_ms == 20 and phase == 'val'")
    assert [*left["model"].unique()] == [model for model in MODELS if model != "mean_rate"]
    run(code, work, "results/scores.csv")
    assert tables == {name: (work / f"results/{name}.csv").read_bytes() for name in tables}
    after = scores(work)
    assert {model for model in MODELS if after[model] != before[model]} == {"mean_rate"}


def test_one_prediction_can_be_asked_for(finished, tmp_path):
    code, work = finished[0], copy_results(finished[1], tmp_path / "work")
    before = scores(work)
    (work / PLACE / "smoothing/0/scores.json").unlink()
    run(code, work, f"{PLACE}/smoothing/0/scores.json")
    after = scores(work)
    assert {model for model in MODELS if after[model][1] != before[model][1]} == {"smoothing"}
    assert after["smoothing"][0] == before["smoothing"][0]
    assert seal_of(work / PLACE / "smoothing/0/bootstrap.h5").is_file()


def test_a_scoring_that_is_killed_is_told_in_its_own_log_and_takes_no_other_with_it(tmp_path, monkeypatch):
    def score_or_die(member):
        if member.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        if member.fails:
            raise SystemExit(1)
        Path(member.scores).write_text(str(os.getpid()))

    monkeypatch.setattr(score, "score_prediction", score_or_die)
    members = [
        SimpleNamespace(dies=i == 1, fails=i == 3, log=[str(tmp_path / f"{i}.log")], scores=str(tmp_path / str(i)))
        for i in range(6)
    ]
    told = [*score.score_apart(members)]
    assert [member for member, _ in told] == members
    ended = [ended for _, ended in told]
    assert ended[1].startswith("was ended by SIGKILL")
    assert ended == ["", ended[1], "", "could not be scored", "", ""]
    assert [path.name for path in tmp_path.glob("*.log")] == ["1.log"]
    assert (tmp_path / "1.log").read_text() == f"nlbflow: scoring {ended[1]}.\n"
    processes = [(tmp_path / str(i)).read_text() for i in (0, 2, 4, 5)]
    assert len({*processes, str(os.getpid())}) == 4 and processes[2] == processes[3]


def test_each_prediction_has_its_own_warnings_and_peak_memory(tmp_path, monkeypatch):
    def score_with_warning(member):
        held = np.ones(member.megabytes << 17)
        warnings.warn(f"{held.size} numbers", stacklevel=1)
        Path(member.scores).write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))

    monkeypatch.setattr(score, "score_prediction", score_with_warning)
    members = [
        SimpleNamespace(megabytes=size, log=[str(tmp_path / f"{i}.log")], scores=str(tmp_path / str(i)))
        for i, size in enumerate([200, 1, 1])
    ]
    told = os.open(tmp_path / "told", os.O_CREAT | os.O_WRONLY)
    # pytest keeps warnings for itself
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        monkeypatch.setattr(warnings, "showwarning", lambda message, *_: os.write(told, f"{message}\n".encode()))
        assert [ended for _, ended in score.score_apart(members)] == ["", "", ""]
    os.close(told)
    assert (tmp_path / "told").read_text().splitlines() == [f"{200 << 17} numbers", *[f"{1 << 17} numbers"] * 2]
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("this kernel cannot count the peak memory of a process anew")
    first, *others = (int((tmp_path / str(i)).read_text()) for i in range(3))
    assert all(first - other > 100_000 for other in others)
