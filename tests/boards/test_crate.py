"""What an RO-Crate says of a run; tests/workflow/test_archiving.py packs one."""

import hashlib
import json

import pytest
import yaml

from nlbflow.boards import crate
from nlbflow.boards.crate import crate_description, find_python, pack
from nlbflow.errors import NlbflowError
from workflow import ROOT

BOARD = json.loads((ROOT / "tests/boards/leaderboard_schema_1.json").read_text())
CITED = yaml.safe_load((ROOT / "CITATION.cff").read_text())


@pytest.fixture
def described(tmp_path) -> dict:
    files = {name: tmp_path / name for name in ("config.json", "scores.csv")}
    for name, path in files.items():
        path.write_text(name)
    return crate_description(BOARD, CITED, files, tmp_path / "results")


def entity(described: dict, name: str) -> dict:
    (found,) = (one for one in described["entities"] if one["@id"] == name)
    return found


def test_every_reference_leads_to_an_entity(described):
    known = {one["@id"] for one in described["entities"]} | {file["path"] for file in described["files"]}
    assert len(known) == len(described["entities"]) + len(described["files"])

    def look(item: object) -> None:
        if isinstance(item, dict):
            assert "@type" in item or item.get("@id", "") in known | {""}, item
        for inner in item.values() if isinstance(item, dict) else item if isinstance(item, list) else ():
            look(inner)

    look([described["root"], described["entities"]])


def test_files_and_predictions_have_their_sha256(described, tmp_path):
    for file in described["files"]:
        content = (tmp_path / file["path"]).read_bytes()
        assert file["properties"]["sha256"] == hashlib.sha256(content).hexdigest()
        assert file["properties"]["contentSize"] == str(len(content))
    runs = [run for run in BOARD["made"]["runs"] if run["model"] != "null"]
    for run in runs:
        told = entity(described, f"#results/mc_rtt/5ms/val/{run['model']}/{run['seed']}/prediction.h5")
        assert told["sha256"] == run["prediction_sha256"]
    assert len(runs) == sum(one["@type"] == "MediaObject" for one in described["entities"]) > 2


def test_data_software_and_authors(described):
    assert (
        entity(described, "#mc_rtt")["license"] == "CC-BY-4.0"
        and "O'Doherty" in entity(described, "#mc_rtt")["citation"]
    )
    software = entity(described, "#nlbflow")
    assert (software["softwareVersion"], software["identifier"]) == ("0.1.0", "commit 0123456789ab")
    assert entity(described, described["root"]["author"]["@id"])["name"] == CITED["authors"][0]["name"]
    assert entity(described, described["root"]["citation"]["@id"])["name"].startswith("Neural Latents Benchmark")
    people = {**CITED, "authors": [{"family-names": "Li", "given-names": "Wu"}, {"name": "A lab"}]}
    again = crate_description(BOARD, people, {}, ROOT / "results")
    assert [
        (entity(again, one["@id"])["@type"], entity(again, one["@id"])["name"]) for one in again["root"]["author"]
    ] == [
        ("Person", "Wu Li"),
        ("Organization", "A lab"),
    ]


def test_without_its_library_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(crate.sys, "executable", "/bin/false")
    with pytest.raises(NlbflowError, match=r"run `make \.venv-crate/done`"):
        find_python(tmp_path)


def test_a_writer_that_fails_is_told(described, tmp_path):
    (tmp_path / "scratch").mkdir()
    with pytest.raises(NlbflowError, match="the crate could not be packed"):
        pack("/bin/false", ROOT / "scripts/pack_crate.py", described, tmp_path / "out.zip", tmp_path / "scratch")
    assert not (tmp_path / "out.zip").exists()
