"""Bundles: what of them is scored already, and that readers get every prediction in the order of the tables."""

import json

import numpy as np
import pytest

from nlbflow import METRICS_VERSION
from nlbflow.errors import NlbflowError
from nlbflow.running.checksums import seal
from nlbflow.running.files import write_arrays, write_json
from nlbflow.scoring.bootstrap import Bootstrap
from nlbflow.scoring.bundles import is_scored, made_of, read_bootstraps, read_scores, write_bundle


def log(line: str) -> None:
    pass


def write_files(folder) -> dict[str, str]:
    """The four files that a prediction is scored from."""
    for name in ("prediction", "target", "input"):
        (folder / name).write_text(name)
    write_json(folder / "stamp", {"digest": "code"})
    return {name: str(folder / name) for name in ("prediction", "target", "input", "stamp")}


def write_scored(folder, **more):
    """A prediction's two files, sealed as a job leaves them."""
    folder.mkdir(parents=True)
    write_json(folder / "scores.json", {"metrics_version": METRICS_VERSION, "kind": "competitor", **more})
    of = Bootstrap(0.5, np.arange(3.0), np.ones(3), np.arange(2000.0), 9, (-np.inf, 1.0), False)
    write_arrays(folder / "bootstrap.h5", {"co-bps": of.arrays()}, {})
    for path in [*folder.iterdir()]:
        seal(path, path, log)
    return folder / "scores.json"


@pytest.mark.parametrize("changed", ["prediction", "target", "input", "stamp", None])
def test_scores_are_kept_until_something_that_made_them_changes(tmp_path, changed):
    files = write_files(tmp_path)
    scores = write_scored(tmp_path / "run", made_of=made_of(files, log))
    if changed:
        (tmp_path / changed).write_text('{"digest": "other"}')
    assert is_scored(scores.parent, made_of(files, log), log) == (changed is None)


@pytest.mark.parametrize("name", ["scores.json", "bootstrap.h5"])
def test_damaged_or_missing_scores_are_not_kept(tmp_path, name):
    folder = write_scored(tmp_path / "run", made_of="it").parent
    assert is_scored(folder, "it", log)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert not is_scored(folder, "it", log)
    (folder / name).unlink()
    assert not is_scored(folder, "it", log)


def test_readers_get_all_predictions_null_rows_first(tmp_path):
    for place in ("a", "b"):
        runs = [("null", 0), ("gru", 0), ("gru", 10)]
        scored = [
            write_scored(tmp_path / place / model / str(seed), model=model, seed=seed, dataset=place)
            for model, seed in runs
        ]
        for path in scored[:1]:
            path.write_text(json.dumps(json.loads(path.read_text()) | {"kind": "null"}))
        write_bundle(scored, tmp_path / f"{place}.json", tmp_path / f"{place}.h5")
    read = [(e["dataset"], e["model"], e["seed"]) for e in read_scores([tmp_path / "a.json", tmp_path / "b.json"])]
    rows = [(place, "gru", seed) for place in "ab" for seed in (0, 10)]
    assert read == [("a", "null", 0), ("b", "null", 0), *rows]
    found = read_bootstraps([tmp_path / "a.h5"])
    assert found.keys() == {("null", 0), ("gru", 0), ("gru", 10)}
    assert np.array_equal(found["gru", 10]["co-bps"].contributions, np.arange(2000.0))
    assert found["gru", 10]["co-bps"].limits == (-np.inf, 1.0)


def test_scores_of_two_versions_are_not_read_together(tmp_path):
    paths = [
        write_scored(tmp_path / version, model="gru", seed=seed, metrics_version=version)
        for seed, version in enumerate([METRICS_VERSION, "0"])
    ]
    write_bundle(paths, tmp_path / "0.json", tmp_path / "0.h5")
    with pytest.raises(NlbflowError, match=r"^gru, seed 1, in .*0.json \(version 0\) cannot stand beside"):
        read_scores([tmp_path / "0.json"])
