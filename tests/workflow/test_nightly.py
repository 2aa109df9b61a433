"""The nightly comparison with published scores, on the loopback archive: all of it but the download from DANDI."""

import subprocess
import sys

import numpy as np
import pytest
import yaml

import nightly
from nlbflow.running.files import read_arrays
from workflow import ROOT


@pytest.fixture(scope="module")
def night(archive, tmp_path_factory):
    """(folder, finished process) of a nightly run on simulated recordings in the real ones' layout."""
    server, pins, _ = archive
    folder = tmp_path_factory.mktemp("night")
    # these recordings have fewer neurons than the published number of latents
    overlay = {"archive": server.url, "pins": str(pins), "models": {"gpfa_20": {"params": {"x_dim": 3}}}}
    (folder / "loopback.yaml").write_text(yaml.safe_dump(overlay))
    command = [sys.executable, str(ROOT / "tests/helpers/nightly.py"), "--configfile", "loopback.yaml"]
    return folder, subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)


def arrays(folder):
    return [read_arrays(folder / nightly.PLACE / file)[0] for file in ("input.h5", "target.h5")]


def test_scores_of_other_recordings_are_not_taken_for_the_published(night):
    folder, done = night
    assert done.returncode == 1, done.stderr
    assert "0.1528" in done.stdout and "False" in done.stdout
    # it ended by the comparison, after the run
    assert {"mc_maze_small", "mc_maze_large"} <= {p.name for p in (folder / "results").iterdir()}


def test_scores_that_are_met_pass(night, monkeypatch):
    folder, _ = night
    found = nightly.reference_scores(*arrays(folder))
    monkeypatch.setattr(nightly, "REFERENCE", {name: round(found[name], 4) for name in nightly.REFERENCE})
    monkeypatch.setattr(nightly, "BASELINES", {})
    assert all(row["met"] for row in nightly.compare(folder / nightly.PLACE, folder / "results/scores.csv"))
    monkeypatch.setitem(nightly.REFERENCE, "vel R2", found["vel R2"] + 2e-4)
    rows = nightly.compare(folder / nightly.PLACE, folder / "results/scores.csv")
    assert [row["metric"] for row in rows if not row["met"]] == ["vel R2"]


def test_reference_is_that_of_nlb_tools(night, nlb_tools):
    """Its test's steps, with its libraries' functions, scored by itself."""
    from nlb_tools.evaluation import evaluate
    from scipy.signal.windows import gaussian

    seen, target = arrays(night[0])
    window = gaussian(60, 10, sym=True)
    names = ("train_spikes_heldin", "train_spikes_heldout", "eval_spikes_heldin")
    train, heldout, evaluated = (
        np.apply_along_axis(lambda x: np.convolve(x, window / window.sum(), "same"), 1, seen[name].astype(float))
        for name in names
    )

    def flat(a):
        return a.reshape(-1, a.shape[2])

    def features(a):
        return np.hstack([np.log(flat(a) + 1e-4), np.ones((flat(a).shape[0], 1))])

    x = features(train)
    weights = np.linalg.pinv(x.T @ x + 1e6 * np.eye(x.shape[1])) @ x.T @ flat(heldout)
    rates = {
        "train_rates_heldin": train,
        "train_rates_heldout": (x @ weights).reshape(heldout.shape),
        "eval_rates_heldin": evaluated,
        "eval_rates_heldout": (features(evaluated) @ weights).reshape(target["eval_spikes_heldout"].shape),
    }
    clipped = {name: np.clip(a, 1e-9, 1e20) for name, a in rates.items()}
    conditions = np.empty(len(target["eval_cond_idx"]), object)
    conditions[:] = target["eval_cond_idx"]
    (theirs,) = evaluate({"mc_maze_large": {**target, "eval_cond_idx": conditions}}, {"mc_maze_large": clipped})
    theirs = {name.split("] ")[-1]: value for name, value in next(iter(theirs.values())).items()}
    ours = nightly.reference_scores(seen, target)
    for metric in nightly.REFERENCE:
        assert ours[metric] == pytest.approx(theirs[metric], abs=1e-9)
