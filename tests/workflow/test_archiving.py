"""`snakemake crate`: the zip file names what is in it and what is not, and a second build says the same."""

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from nlbflow.planning.origin import origin_of
from workflow import copy_code, copy_results, planned, run

METADATA = "ro-crate-metadata.json"


@pytest.fixture(scope="module")
def packed(finished, crate_environment, tmp_path_factory) -> tuple[Path, Path]:
    """(code, folder) after `snakemake crate`."""
    base = tmp_path_factory.mktemp("packed")
    code, work = copy_code(base / "code"), copy_results(finished[1], base / "work")
    (code / ".venv-crate").symlink_to(crate_environment)
    run(code, work, "crate")
    return code, work


def read(path: Path) -> tuple[dict[str, dict], dict[str, bytes]]:
    """The entities by id, and the files by name."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    graph = json.loads(files.pop(METADATA))["@graph"]
    assert len({entity["@id"] for entity in graph}) == len(graph)
    return {entity["@id"]: entity for entity in graph}, files


def test_every_file_is_named_with_its_size_and_sha256(packed):
    entities, files = read(packed[1] / "results/crate.zip")
    named = {name for name, entity in entities.items() if entity["@type"] == "File"}
    assert named == set(files) == {part["@id"] for part in entities["./"]["hasPart"]}
    assert named >= {"leaderboard.json", "leaderboard.html", "scores.csv", "config.json", "CITATION.cff",
                     "tables/reproduction.tex"}  # fmt: skip
    for name, content in files.items():
        assert entities[name]["sha256"] == hashlib.sha256(content).hexdigest(), name
        assert entities[name]["contentSize"] == str(len(content)) and entities[name]["encodingFormat"]
        beside = packed[1] / "results" / name
        assert not beside.exists() or beside.read_bytes() == content


def test_predictions_are_named_and_not_packed(packed):
    entities, files = read(packed[1] / "results/crate.zip")
    predictions = {name: entity for name, entity in entities.items() if name.endswith("prediction.h5")}
    found = [*(packed[1] / "results").glob("*/*/*/*/*/prediction.h5")]
    assert {f"#{path.relative_to(packed[1])}" for path in found} == set(predictions) and len(found) == 20
    for name, entity in predictions.items():
        content = (packed[1] / name[1:]).read_bytes()
        assert entity["sha256"] == hashlib.sha256(content).hexdigest() and entity["contentSize"] == str(len(content))
    assert not [name for name in files if name.endswith(".h5")]


def test_the_config_in_it_asks_for_the_same(packed, tmp_path):
    _, files = read(packed[1] / "results/crate.zip")
    config = json.loads(files["config.json"])
    assert config["run"]["models"][0] == "mean_rate" and not {"data_folder", "partial"} & set(config)
    (tmp_path / "config.json").write_bytes(files["config.json"])
    assert origin_of(config, [])["selection"] == json.loads(files["leaderboard.json"])["origin"]["selection"]
    # but for the name of the config, which the leaderboards tell
    jobs = planned(packed[0], copy_results(packed[1], tmp_path / "work"), config=tmp_path / "config.json")
    assert jobs and all(message.startswith("Writing the ") for message in jobs)


def test_a_second_build_says_the_same_but_for_dates(packed, tmp_path):
    code, work = packed[0], copy_results(packed[1], tmp_path / "work")
    run(code, work, "crate", "--forcerun", "leaderboard_json", "leaderboard", "page")

    def kept(path: Path) -> tuple[dict, dict]:
        entities, files = read(path)
        for name in ("leaderboard.json", "leaderboard.html", "leaderboard.md"):
            # they hold the date
            del entities[name]["sha256"], files[name]
        del entities["./"]["datePublished"], entities["#run"]["endTime"]
        return entities, files

    first, second = (kept(folder / "results/crate.zip") for folder in (packed[1], work))
    assert first == second


def test_without_its_environment_it_is_told(finished, tmp_path):
    output = run(finished[0], copy_results(finished[1], tmp_path / "work"), "crate", fails=True)
    assert "make .venv-crate/done" in output
