"""The predictions that one job scores: which of them are scored already, and the files that they have in common.

A bundle has two files. The one has what scores.json of each prediction has; the other has each bootstrap.h5, under
`{model}/{seed}`. What follows reads these two, so a bundle is found whole or not at all.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import h5py

from nlbflow.running.checksums import Log, is_intact, known_sha256
from nlbflow.running.code import digest_of
from nlbflow.running.files import open_h5, read_arrays, read_json
from nlbflow.scoring.bootstrap import Bootstrap
from nlbflow.scoring.versions import refuse_other_versions

INPUTS = ("prediction", "target", "input")


def made_of(files: Mapping[str, str], log: Log) -> str:
    """A digest of what the scores of a prediction are made of: the code and the parameters of its stamp, and the
    contents of its files.

    Args:
        files: the paths of `stamp`, `target`, `input`, and, but for the null row, `prediction`.
    """
    sums = {name: known_sha256(Path(files[name]), log) for name in INPUTS if name in files.keys()}
    return digest_of({"stamp": read_json(files["stamp"])["digest"], **sums})


def is_scored(folder: Path, wanted: str, log: Log) -> bool:
    """Whether a prediction's folder has undamaged scores and resamples that are made of what `made_of` gives."""
    scores, bootstrap = folder / "scores.json", folder / "bootstrap.h5"
    # of the two, the scores take their name last
    return is_intact(scores, log) and is_intact(bootstrap, log) and read_json(scores).get("made_of") == wanted


def write_bundle(scored: Sequence[Path], scores: Path, bootstraps: Path) -> None:
    """Write a bundle's two files.

    Args:
        scored: each prediction's scores.json, which has its bootstrap.h5 beside it.
        scores, bootstraps: the files to write.
    """
    entries = [read_json(path) for path in scored]
    scores.write_text(json.dumps({"scores": entries}) + "\n")
    with h5py.File(bootstraps, "w") as bundle:
        for entry, path in zip(entries, scored, strict=True):
            with open_h5(path.with_name("bootstrap.h5")) as file:
                file.copy(file["/"], bundle, f"{entry['model']}/{entry['seed']}")


def read_scores(paths: Iterable[str]) -> list[dict]:
    """The contents of each prediction's scores.json in bundles, the null rows of all places first.

    Raises:
        NlbflowError: another version of the metrics has made some.
    """
    entries = {
        f"{entry['model']}, seed {entry['seed']}, in {path}": entry
        for path in paths
        for entry in read_json(path)["scores"]
    }
    refuse_other_versions(entries)
    return sorted(entries.values(), key=lambda entry: entry["kind"] != "null")


def read_bootstraps(paths: Iterable[str]) -> dict[tuple[str, int], dict[str, Bootstrap]]:
    """The resamples of the predictions in bundles of one place, by (model, seed) and metric."""
    return {
        (model, int(seed)): {metric: Bootstrap.from_arrays(arrays) for metric, arrays in metrics.items()}
        for path in paths
        for model, seeds in read_arrays(path)[0].items()
        for seed, metrics in seeds.items()
    }
