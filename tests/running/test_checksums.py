"""Checksums beside the files that jobs made."""

import subprocess

import pytest

from nlbflow.errors import NlbflowError
from nlbflow.running.checksums import seal, seal_of, set_aside_damaged, set_aside_if_damaged


@pytest.fixture
def sealed(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("co-bps,0.3\n")
    seal(path, path, print)
    return path


def test_a_whole_file_stays(sealed):
    set_aside_if_damaged(sealed, print)
    assert sealed.read_text() == "co-bps,0.3\n"
    assert subprocess.run(["sha256sum", "-c", seal_of(sealed).name], cwd=sealed.parent).returncode == 0


@pytest.mark.parametrize("content", ["co-bps,0.7\n", "co-bps,0.3", ""])
def test_a_damaged_file_is_set_aside(sealed, content):
    sealed.write_text(content)
    with pytest.raises(
        NlbflowError, match=r"scores.csv has changed since it was written .* scores.csv.damaged; run again"
    ):
        set_aside_if_damaged(sealed, print)
    assert not sealed.exists() and sealed.with_name("scores.csv.damaged").read_text() == content


def test_a_damaged_seal_is_found_too(sealed):
    seal_of(sealed).write_text("")
    with pytest.raises(NlbflowError):
        set_aside_if_damaged(sealed, print)


def test_what_has_no_seal_is_taken_as_it_is(tmp_path):
    path = tmp_path / "theirs.h5"
    path.write_text("rates")
    set_aside_if_damaged(path, print)
    set_aside_if_damaged(tmp_path / "absent.h5", print)
    assert path.read_text() == "rates"


def test_all_damaged_files_of_a_folder_are_found(sealed, capsys):
    (sealed.parent / "whole.csv").write_text("1\n")
    seal(sealed.parent / "whole.csv", sealed.parent / "whole.csv", print)
    sealed.write_text("other")
    assert set_aside_damaged([sealed.parent], print) == 1
    assert "scores.csv.damaged" in capsys.readouterr().out and (sealed.parent / "whole.csv").exists()
