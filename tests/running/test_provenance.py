"""Which commit made a result, also where the code is no checkout."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nlbflow.running import provenance

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    """A process asks for the commit once; what a test here finds is none of the others' business."""
    provenance.commit.cache_clear()
    yield
    provenance.commit.cache_clear()


def test_an_archive_of_the_repository_tells_its_commit(tmp_path, monkeypatch):
    def git(*arguments: str) -> str:
        told = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(["git", *told, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    (tmp_path / "resources").mkdir()
    for name in (".gitattributes", "resources/commit.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    git("archive", "--prefix=archive/", "--output=archive.tar", "HEAD")
    subprocess.run(["tar", "-xf", "archive.tar"], cwd=tmp_path, check=True)
    # without git, as in most places to which an archive is carried
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(provenance, "COMMIT", tmp_path / "archive/resources/commit.txt")
    found = provenance.commit()
    monkeypatch.undo()
    assert found == git("rev-parse", "HEAD")[:12]


def test_a_copy_of_a_checkout_without_git_tells_none(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.commit() == ""
