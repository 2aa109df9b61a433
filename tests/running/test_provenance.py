"""Which commit made a result, also where the code is no checkout."""

import subprocess
from collections.abc import Callable, Iterator
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


@pytest.fixture
def git(tmp_path) -> Callable[..., str]:
    """git in a repository with a commit."""

    def run(*arguments: str) -> str:
        told = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(["git", *told, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    (tmp_path / "resources").mkdir()
    for name in (".gitattributes", "resources/commit.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/partitions.yaml").write_text("cpu")
    run("init")
    run("add", ".")
    run("commit", "-m", "first")
    return run


def test_a_profile_may_differ_and_nothing_else(tmp_path, monkeypatch, git):
    monkeypatch.setattr(provenance, "COMMIT", tmp_path / "resources/commit.txt")
    at = git("rev-parse", "HEAD")[:12]
    (tmp_path / "profiles/partitions.yaml").write_text("short")
    assert provenance.commit() == at
    provenance.commit.cache_clear()
    (tmp_path / ".gitattributes").write_text("other")
    assert provenance.commit() == f"{at}+changes"


def test_an_archive_of_the_repository_tells_its_commit(tmp_path, monkeypatch, git):
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
