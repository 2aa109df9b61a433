"""Streaming from a loopback archive that does what an archive can do wrong: only what is needed comes, once."""

import gc
import hashlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from loopback_dandi import Fault, LoopbackArchive
from nlbflow.archive import streaming
from nlbflow.archive.assets import point_at
from nlbflow.archive.opening import open_recording
from nlbflow.archive.pins import Pin
from nlbflow.archive.pointers import read_pointer, write_pointer
from nlbflow.archive.streaming import BLOCK, open_streamed
from nlbflow.errors import NlbflowError

ROOT = Path(__file__).parents[2]
PATH = "sub-Han/sub-Han_desc-train_behavior+ecephys.nwb"
QUICK = {"retries": 2, "stall_s": 2.0, "limit_s": 5.0, "wait_s": 0.02}
NEEDED = np.arange(400_000.0)


@pytest.fixture(autouse=True)
def no_home_and_no_proxy(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(autouse=True)
def no_garbage_in_the_archive():
    """h5py holds its lock while it reads, and the archive, a thread here, would wait for it to throw h5py's away."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def file(tmp_path) -> Path:
    """A file of 19 MB, of which 3.2 MB are needed; they lie in the middle."""
    path = tmp_path / "archive" / PATH
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as written:
        written["before"] = np.zeros(1_000_000)
        written["needed"] = NEEDED
        written["after"] = np.zeros(1_000_000)
    return path


@pytest.fixture
def archive(tmp_path, file):
    with LoopbackArchive({("000127", "0.1.2"): tmp_path / "archive"}) as archive:
        yield archive


@pytest.fixture
def pin(file) -> Pin:
    content = file.read_bytes()
    return Pin("set", "000127", "0.1.2", "train", PATH, len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture
def pointer(tmp_path, archive, pin) -> Path:
    path = tmp_path / "data" / f"{Path(PATH).name}.json"
    path.parent.mkdir()
    point_at(pin, path, archive.url, {}, print, **QUICK)
    archive.log.clear()
    return path


def read(pointer: Path) -> np.ndarray:
    with open_streamed(pointer, print, **QUICK) as opened:
        return opened["needed"][()]


def refusal(pointer: Path) -> str:
    """The one sentence that reading ends with."""
    with pytest.raises(NlbflowError) as caught:
        read(pointer)
    assert "\n" not in str(caught.value) and caught.value.__context__ is None
    return str(caught.value)


def sent(archive) -> int:
    return sum(request.sent for request in archive.blob_requests())


def test_only_what_is_read_comes_and_only_once(archive, pointer, file):
    assert np.array_equal(read(pointer), NEEDED)
    assert NEEDED.nbytes < sent(archive) <= NEEDED.nbytes + 4 * BLOCK
    # what lies together comes with one request
    assert len(archive.blob_requests()) <= 4
    archive.log.clear()
    assert np.array_equal(read(pointer), NEEDED) and not archive.log
    kept = pointer.with_name(f".{pointer.name}.blocks").stat()
    assert kept.st_size == file.stat().st_size and kept.st_blocks * 512 < file.stat().st_size / 3


def test_a_file_on_disk_is_opened_as_it_is(file):
    with open_recording(file) as opened:
        assert np.array_equal(opened["needed"][()], NEEDED)


@pytest.mark.parametrize("kind", ["cut", "stall", "503"])
def test_an_interruption_goes_on_where_it_stopped(archive, pointer, kind):
    archive.faults.append(Fault(kind, times=1 if kind == "stall" else 2))
    assert np.array_equal(read(pointer), NEEDED)
    assert sent(archive) <= NEEDED.nbytes + 4 * BLOCK + 2 * (1 << 16)


def test_an_archive_that_is_down_ends_with_a_sentence_and_what_came_is_kept(archive, pointer):
    with open_streamed(pointer, print, **QUICK) as opened:
        assert "needed" in opened
    archive.faults.append(Fault("503", times=float("inf")))
    assert "3 attempts failed, the last because the archive answered 503" in (told := refusal(pointer))
    assert read_pointer(pointer).name in told and "run again" in told
    archive.faults.clear()
    archive.log.clear()
    assert np.array_equal(read(pointer), NEEDED)
    assert all(request.range != f"bytes=0-{BLOCK - 1}" for request in archive.blob_requests())


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("whole", "only as a whole (it answers 200, not 206"),
        ("html", "answers 200 with a web page (text/html; charset=utf-8) instead of bytes"),
        ("404", "which answers 404"),
        ("changed", "entity tag: expected"),
        ("resized", "bytes: expected 19"),
    ],
)
def test_what_is_no_range_of_the_pinned_object_is_refused(archive, pointer, kind, told):
    with open_streamed(pointer, print, **QUICK) as opened:
        assert "needed" in opened
    # in the middle: the metadata are there
    archive.log.clear()
    archive.faults.append(Fault(kind, times=float("inf")))
    assert told in refusal(pointer)
    assert len(archive.blob_requests()) == 1, "it was asked again"
    archive.faults.clear()
    assert np.array_equal(read(pointer), NEEDED)


@pytest.mark.parametrize(("kind", "told"), [("html", "web page"), ("503", "the archive answered 503")])
def test_a_refusal_ends_its_process_in_order(archive, pointer, kind, told):
    """What h5py holds of a file object that raised crashes Python at its end, if it is still held then."""
    archive.faults.append(Fault(kind, times=float("inf")))
    code = (
        "from nlbflow.archive.streaming import open_streamed\n"
        "try:\n"
        f"    with open_streamed({str(pointer)!r}, wait_s=0.01): pass\n"
        "except Exception as error:\n"
        "    raise SystemExit(str(error))"
    )
    done = run_apart(code)
    assert told in done.communicate()[1] and done.returncode == 1


def run_apart(code: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True)


def test_a_killed_job_leaves_what_came_for_the_next(archive, pointer):
    archive.faults.append(Fault("slow", times=float("inf")))
    process = run_apart(
        "from nlbflow.archive.streaming import open_streamed\n"
        f"with open_streamed({str(pointer)!r}) as opened: opened['needed'][()]"
    )
    until = time.monotonic() + 20
    while sent(archive) < NEEDED.nbytes * 0.8 and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    archive.faults.clear()
    archive.log.clear()
    assert np.array_equal(read(pointer), NEEDED)
    assert 0 < sent(archive) < NEEDED.nbytes * 0.6


def test_damaged_and_foreign_blocks_come_again(archive, pointer):
    read(pointer)
    blocks, index = (pointer.with_name(f".{pointer.name}.{end}") for end in ("blocks", "index"))
    with blocks.open("r+b") as damaged:
        damaged.seek(NEEDED.nbytes + 8_000_000)
        damaged.write(b"damage")
    archive.log.clear()
    assert np.array_equal(read(pointer), NEEDED)
    assert sent(archive) == BLOCK
    # a line that a kill cut short
    index.write_bytes(index.read_bytes()[:-5])
    assert np.array_equal(read(pointer), NEEDED)
    # blocks of another object
    write_pointer(pointer, replace(read_pointer(pointer), etag="other"))
    assert "entity tag: expected other" in refusal(pointer)


def test_no_bytes_that_are_not_there_pass_for_zeros(archive, pointer):
    """Nothing that is read after a fault is used, though HDF5 may go on."""
    archive.faults.append(Fault("404", times=float("inf")))
    with pytest.raises(NlbflowError, match="answers 404"):
        with open_streamed(pointer, print, **QUICK) as opened:
            pytest.fail(f"it was opened: {list(opened)}")
    archive.faults.clear()
    with pytest.raises(NlbflowError, match="answers 404"):
        with open_streamed(pointer, print, **QUICK) as opened:
            archive.faults.append(Fault("404", times=float("inf")))
            for _ in range(2):
                try:
                    opened["needed"][()]
                except Exception as error:
                    assert error


def test_a_full_disk_is_told_as_such(pointer, monkeypatch):
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)
    with pytest.raises(OSError, match="No space left on device"):
        read(pointer)
    monkeypatch.undo()
    assert np.array_equal(read(pointer), NEEDED)


@pytest.mark.parametrize(("kind", "told"), [("whole", "only as a whole"), ("changed", "entity tag"), ("html", "page")])
def test_no_pointer_is_written_to_what_cannot_be_streamed(archive, pin, tmp_path, kind, told):
    archive.faults.append(Fault(kind))
    path = tmp_path / "x.nwb.json"
    with pytest.raises(NlbflowError, match=told):
        point_at(pin, path, archive.url, {}, print, **QUICK)
    for wrong in (replace(pin, sha256="0" * 64), replace(pin, bytes=7)):
        with pytest.raises(NlbflowError, match="has another"):
            point_at(wrong, path, archive.url, {}, print, **QUICK)
    assert not path.exists()


def test_what_is_not_hdf5_is_named(tmp_path, pin):
    folder = tmp_path / "text"
    (folder / PATH).parent.mkdir(parents=True)
    (folder / PATH).write_text("text\n" * 100_000)
    content = (folder / PATH).read_bytes()
    other = replace(pin, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    with LoopbackArchive({("000127", "0.1.2"): folder}) as archive:
        point_at(other, tmp_path / "x.nwb.json", archive.url, {}, print, **QUICK)
        assert "cannot be read as HDF5" in refusal(tmp_path / "x.nwb.json")


def test_two_jobs_at_once_ask_for_nothing_twice(archive, pointer):
    archive.latency_s = 0.05
    code = (
        "from nlbflow.archive.streaming import open_streamed\n"
        f"with open_streamed({str(pointer)!r}) as opened: assert opened['needed'][()][-1] == {NEEDED[-1]}"
    )
    both = [run_apart(code) for _ in range(2)]
    assert [process.communicate()[1] for process in both] == ["", ""]
    asked = [request.range for request in archive.blob_requests()]
    assert len(asked) == len(set(asked))


def test_any_size_of_blocks_gives_the_same_bytes(archive, pointer, file, monkeypatch):
    monkeypatch.setattr(streaming, "BLOCK", file.stat().st_size // 7)
    assert np.array_equal(read(pointer), NEEDED)
    # a file of whole blocks, whose last one ends with it
    monkeypatch.setattr(streaming, "BLOCK", 8)
    with open_streamed(pointer, print, **QUICK) as opened:
        assert opened["before"][0] == 0


def test_a_fault_leaves_no_garbage_of_h5py(archive, pointer):
    """It would be thrown away at any time, in any thread, or after Python's end."""
    archive.faults.append(Fault("404", times=float("inf")))
    told = ""
    try:
        read(pointer)
    except NlbflowError as fault:  # which pytest.raises would keep
        told = str(fault)
    assert "answers 404" in told and not [x for x in gc.get_objects() if isinstance(x, streaming._Remote)]
