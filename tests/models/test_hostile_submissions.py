"""Submissions that are wrong, broken or made to do harm: refused in one sentence, in little memory, opening no file."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from hostile_files import HOSTILE
from nlbflow.errors import NlbflowError
from nlbflow.models import submissions
from submission_files import GROUP, NAME, REQUIRED, SHAPES, rates, read, write


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_submission_is_refused(tmp_path, case):
    build, sentence = HOSTILE[case]
    path = tmp_path / "theirs.h5"
    write(path, names=[name for name in SHAPES if name != NAME])
    with h5py.File(path, "a") as file:
        build(file[GROUP])
    with pytest.raises(NlbflowError) as refused:
        read(path)
    told = str(refused.value)
    assert sentence in told and told.startswith(str(path)) and told.isprintable(), told


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda p: None, "does not exist"),
        (lambda p: p.symlink_to(p), "does not exist"),
        (lambda p: p.mkdir(), "is not a file"),
        (os.mkfifo, "is not a file"),
        (lambda p: p.symlink_to("/dev/zero"), "is not a file"),
        (lambda p: p.touch(), "(0 bytes) cannot be read as an HDF5 file"),
        (lambda p: (p.touch(), os.truncate(p, 2**40)), "(1,099,511,627,776 bytes) cannot be read as an HDF5 file"),
        (lambda p: p.write_text("rates"), "cannot be read as an HDF5 file"),
        (lambda p: np.savez(p.open("wb"), rates()), "cannot be read as an HDF5 file"),
        (lambda p: (write(p), os.truncate(p, p.stat().st_size // 2)), "cannot be read as an HDF5 file"),
    ],
    ids=["nothing", "link to itself", "folder", "fifo", "device", "empty", "terabyte", "text", "npz", "truncated"],
)
def test_what_is_no_hdf5_file_is_refused(tmp_path, make, sentence):
    make(tmp_path / "theirs.h5")
    with pytest.raises(NlbflowError, match="theirs") as refused:
        read(tmp_path / "theirs.h5")
    assert sentence in str(refused.value)


@pytest.mark.parametrize("seed", range(12))
def test_damaged_bytes_are_refused_or_harmless(tmp_path, seed):
    """Damage anywhere, also where it crashes the HDF5 library, ends in rates or in a sentence."""
    path = tmp_path / "theirs.h5"
    write(path, libver=("earliest", "latest")[seed % 2], compression="gzip", chunks=(2, 2, 2))
    content, draw = np.frombuffer(path.read_bytes(), np.uint8).copy(), np.random.default_rng(seed)
    # beyond the signature, so that HDF5 has something to chew on
    content[draw.integers(8, len(content), 40)] = draw.integers(0, 256, 40)
    path.write_bytes(content.tobytes())
    try:
        found = read(path)
    except NlbflowError as error:
        assert str(error).startswith(str(path))
    else:
        assert all(np.isfinite(array).all() for array in found.values())


def test_a_reader_that_dies_or_stalls_is_told(tmp_path, monkeypatch):
    write(tmp_path / "theirs.h5")
    with monkeypatch.context() as patch, pytest.raises(NlbflowError, match=r"could not be read in 0.01 s"):
        patch.setattr(submissions, "SECONDS", 0.01)
        read(tmp_path / "theirs.h5")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(NlbflowError, match="ended with code 1"):
        read(tmp_path / "theirs.h5")


BOMBS = (
    "huge and hollow",
    "huge and contiguous",
    "giant chunks",
    "many wide chunks",
    "inflating chunk",
    "endless chunk index",
)


@pytest.mark.parametrize("case", BOMBS)
def test_bombs_stay_small(tmp_path, case):
    """Neither the process that asks, held to 1.5 GB of address space, nor the one that reads takes 1 GB of memory."""
    path = tmp_path / "theirs.h5"
    write(path, names=[name for name in SHAPES if name != NAME])
    with h5py.File(path, "a") as file:
        HOSTILE[case][0](file[GROUP])
    script = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000,) * 2)
sys.path[:0] = {sys.path!r}
from test_hostile_submissions import NlbflowError, Path, read
try:
    read(Path({str(path)!r}))
except NlbflowError as error:
    print(error)
# not ru_maxrss of this process, which counts what the tests' process held when it started it
(own,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    told, peaks = done.stdout.splitlines()
    assert HOSTILE[case][1] in told
    assert max(map(int, peaks.split())) < 10**9 / 1024


def test_the_reader_opens_no_other_file(tmp_path):
    """Once the submission is open, the system itself refuses the reading process any other file."""
    script = f"""
import sys
from nlbflow.models import submissions
def peek(*_):
    open({str(tmp_path / "secret")!r})
submissions._expected_dataset = peek
submissions._send({str(tmp_path / "theirs.h5")!r}, {GROUP!r}, {SHAPES!r}, {REQUIRED!r})
"""
    write(tmp_path / "theirs.h5")
    (tmp_path / "secret").write_text("secret")
    environment = os.environ | {"PYTHONPATH": str(Path(submissions.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert "Too many open files" in done.stderr
