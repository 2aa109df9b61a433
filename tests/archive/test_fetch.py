"""Fetching against a DANDI archive on loopback that does everything wrong that an archive can do wrong."""

import hashlib
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from loopback_dandi import Fault, LoopbackArchive
from nlbflow.archive.fetch import CHUNK, fetch_from_dandi
from nlbflow.archive.linking import link_from_folder, link_user_file
from nlbflow.archive.pins import Pin, read_pins
from nlbflow.errors import NlbflowError
from nlbflow.running import checksums as checksum

ROOT = Path(__file__).parents[2]
SIZE = 3_000_001
QUICK = {"retries": 2, "stall_s": 0.3, "time_limit_s": 5.0, "wait_s": 0.02}


@pytest.fixture(autouse=True)
def no_home_and_no_proxy(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DANDI_NO_ET", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def make_pin(folder: Path, dataset: str, dandiset: str, seed: int) -> Pin:
    path = "sub-Indy/sub-Indy_desc-train_behavior+ecephys.nwb"
    content = np.random.default_rng(seed).bytes(SIZE)
    (folder / path).parent.mkdir(parents=True)
    (folder / path).write_bytes(content)
    (folder / f"{path}.txt").write_text("a neighbour whose name begins alike")
    return Pin(dataset, dandiset, "0.1.2", "train", path, SIZE, hashlib.sha256(content).hexdigest())


@pytest.fixture
def pins(tmp_path):
    return [make_pin(tmp_path / "archive" / n, f"set{n}", f"00000{n}", seed) for seed, n in enumerate("12")]


@pytest.fixture
def archive(tmp_path, pins):
    served = {(pin.dandiset, pin.version): tmp_path / "archive" / pin.dataset[-1] for pin in pins}
    with LoopbackArchive(served) as archive:
        yield archive


@pytest.fixture
def destination(tmp_path):
    return tmp_path / "data" / "sub-Indy" / "x.nwb"


def everything_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir() or path.suffix == ".part"]


def refusal(pin, destination, url, **limits) -> str:
    """The one sentence that a failing fetch ends with; nothing may then stand under the final name."""
    with pytest.raises(NlbflowError) as caught:
        fetch_from_dandi(pin, destination, url, print, **{**QUICK, **limits})
    assert not destination.exists() and "\n" not in str(caught.value)
    return str(caught.value)


def scratch_of(pin: Pin, destination: Path) -> Path:
    name = Path(pin.path).name
    return destination.parent / f".{name}.{pin.sha256[:16]}.part" / name


def is_right(pin: Pin, path: Path) -> bool:
    return hashlib.sha256(path.read_bytes()).hexdigest() == pin.sha256


def test_two_dandisets_and_nothing_fetched_twice(archive, pins, tmp_path, monkeypatch):
    monkeypatch.setattr(checksum, "SECONDS_BETWEEN_LINES", 0)
    lines = []
    for _ in range(2):
        for pin in pins:
            target = tmp_path / "data" / pin.dandiset / "x.nwb"
            fetch_from_dandi(pin, target, archive.url, lines.append, **QUICK)
            assert is_right(pin, target) and everything_below(target.parent) == [target]
    assert len(archive.blob_requests()) == 2
    assert any("of 3.0 MB" in line and "MB/s" in line and line.endswith("left") for line in lines)


def test_a_table_with_another_file_than_the_archive_fetches_nothing(archive, pins, destination):
    for wrong in (replace(pins[0], sha256="0" * 64), replace(pins[0], bytes=7)):
        sentence = refusal(wrong, destination, archive.url)
        assert f"{wrong.bytes} bytes with SHA-256 {wrong.sha256}" in sentence and pins[0].sha256 in sentence
        assert not everything_below(destination.parent) and not archive.blob_requests()


def test_corrupt_bytes_are_refused_and_deleted(archive, pins, destination):
    archive.faults.append(Fault("corrupt"))
    assert f"wrong checksum (expected SHA-256 {pins[0].sha256}" in refusal(pins[0], destination, archive.url)
    assert not everything_below(destination.parent)
    fetch_from_dandi(pins[0], destination, archive.url, print, **QUICK)
    assert is_right(pins[0], destination)


@pytest.mark.parametrize("kind", ["cut", "stall"])
def test_a_cut_or_silent_connection_is_resumed(archive, pins, destination, kind):
    archive.faults.append(Fault(kind, times=2))
    lines = []
    fetch_from_dandi(pins[0], destination, archive.url, lines.append, **QUICK)
    assert is_right(pins[0], destination)
    first, *others = archive.blob_requests()
    assert first.range is None and [other.range[:6] for other in others] == ["bytes=", "bytes="]
    assert first.sent + sum(other.sent for other in others) <= SIZE + 2 * CHUNK
    assert any("attempt 2 of 3" in line for line in lines)


def test_a_server_without_range_starts_again(archive, pins, destination):
    archive.faults += [Fault("cut"), Fault("whole")]
    fetch_from_dandi(pins[0], destination, archive.url, print, **QUICK)
    assert is_right(pins[0], destination)


def test_a_killed_process_is_resumed_and_keeps_others_out(archive, pins, destination):
    archive.faults.append(Fault("slow"))
    code = (
        "from nlbflow.archive.fetch import *\n"
        f"fetch_from_dandi({pins[0]!r}, Path({str(destination)!r}), {archive.url!r}, print)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")})
    part, until = scratch_of(pins[0], destination), time.monotonic() + 20
    while not (part.exists() and part.stat().st_size > SIZE // 4) and time.monotonic() < until:
        time.sleep(0.01)
    assert "another process" in refusal(pins[0], destination, archive.url)
    process.kill()
    process.wait()
    have = part.stat().st_size
    assert SIZE // 4 < have < SIZE and not destination.exists()
    other = destination.with_name(".a-job-writes-to-another-name-in-each-run")
    fetch_from_dandi(pins[0], other, archive.url, print, **QUICK)
    assert is_right(pins[0], other) and everything_below(destination.parent) == [other]
    assert archive.blob_requests()[-1].range == f"bytes={have}-"


def test_ctrl_c_leaves_only_what_can_be_resumed(archive, pins, destination, monkeypatch):
    monkeypatch.setattr(checksum, "SECONDS_BETWEEN_LINES", 0)

    def interrupt(line: str) -> None:
        # not by a signal, which a run in the background ignores
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_from_dandi(pins[0], destination, archive.url, interrupt, **QUICK)
    part = scratch_of(pins[0], destination)
    assert everything_below(destination.parent) == [part.parent, part]


def test_what_a_killed_run_had_finished_asks_the_archive_nothing(archive, pins, destination, tmp_path):
    part = scratch_of(pins[0], destination)
    part.parent.mkdir(parents=True)
    part.write_bytes((tmp_path / "archive/1" / pins[0].path).read_bytes())
    os.utime(part, (0, 0))
    fetch_from_dandi(pins[0], destination, archive.url, print, **QUICK)
    assert is_right(pins[0], destination) and destination.stat().st_mtime > 0 and not archive.log


def test_what_does_not_exist_is_named_at_once(archive, pins, destination):
    for change, named in (
        ({"dandiset": "000009"}, "has no dandiset 000009;"),
        ({"version": "0.9.9"}, "has no version 0.9.9 of dandiset 000001;"),
        ({"path": "sub-Indy/sub-Indy"}, "has no sub-Indy/sub-Indy of dandiset 000001/0.1.2;"),
    ):
        archive.log.clear()
        assert named in refusal(replace(pins[0], **change), destination, archive.url)
        assert len(archive.log) <= 3 and not everything_below(destination.parent)
    archive.faults.append(Fault("404"))
    assert "should lie at" in (sentence := refusal(pins[0], destination, archive.url)) and "answers 404" in sentence
    assert len(archive.blob_requests()) == 1


@pytest.mark.parametrize("on", ["blob", "api"])
def test_one_500_is_repeated_and_endless_ones_end(archive, pins, destination, on):
    archive.faults.append(Fault("500", on=on))
    fetch_from_dandi(pins[0], destination, archive.url, print, **QUICK)
    assert is_right(pins[0], destination)
    destination.unlink()
    archive.faults.append(Fault("503", on=on, times=float("inf")))
    archive.log.clear()
    start = time.monotonic()
    sentence = refusal(pins[0], destination, archive.url)
    assert time.monotonic() - start < 3
    assert "3 attempts failed, the last because the archive answered 503" in sentence and "run again" in sentence
    assert sum(request.status == 503 for request in archive.log) == 3
    assert not everything_below(destination.parent)


@pytest.mark.parametrize("on", ["blob", "api"])
def test_endless_silence_ends(archive, pins, destination, on):
    archive.faults.append(Fault("stall", on=on, times=float("inf")))
    start = time.monotonic()
    sentence = refusal(pins[0], destination, archive.url, retries=1000, stall_s=0.1, time_limit_s=0.8)
    assert "nothing came for 0.1 s" in sentence and "run again" in sentence
    assert time.monotonic() - start < 8  # the first half of each answer is progress, from which time counts anew


def test_nobody_there_and_somebody_else_there(archive, pins, destination):
    assert "no connection" in refusal(pins[0], destination, "http://127.0.0.1:9/api")
    assert "ends in /api" in refusal(pins[0], destination, archive.url.replace("/api", "/api/info/?"))


def test_a_full_disk_is_told(archive, pins, destination):
    part = scratch_of(pins[0], destination)
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    assert "could not grow; make room (No space left" in refusal(pins[0], destination, archive.url)


def test_a_file_that_the_user_has_is_linked(pins, tmp_path, destination):
    folder = tmp_path / "mine"
    good = folder / "dandi" / "000001" / pins[0].path
    elsewhere = folder / "a copy" / good.name
    for path, source in ((good, "1"), (elsewhere, "2")):
        path.parent.mkdir(parents=True)
        path.write_bytes((tmp_path / "archive" / source / pins[0].path).read_bytes())
    (folder / "circle").symlink_to(folder)
    before = good.stat().st_mtime_ns
    for pin, file in ((pins[0], good), (pins[1], elsewhere)):
        link_from_folder(pin, destination, folder, print)
        assert Path(os.readlink(destination)) == file and is_right(pin, destination)
        assert everything_below(destination.parent) == [destination]
    assert good.stat().st_mtime_ns == before and good.stat().st_size == SIZE and not good.is_symlink()


def test_a_folder_that_encloses_the_destination_keeps_its_file(pins, tmp_path):
    destination = tmp_path / "archive" / "1" / pins[0].path
    link_from_folder(pins[0], destination, tmp_path, print)
    assert not destination.is_symlink() and is_right(pins[0], destination)
    own = tmp_path / "own.nwb"
    h5py.File(own, "w").close()
    link_user_file(own, own, None)
    assert h5py.is_hdf5(own) and not own.is_symlink()


def test_a_folder_without_the_right_file_is_told(pins, tmp_path, destination):
    folder = tmp_path / "mine"

    def sentence(pin=pins[0]) -> str:
        with pytest.raises(NlbflowError) as caught:
            link_from_folder(pin, destination, folder, print)
        assert not destination.exists() and not everything_below(destination.parent)
        return str(caught.value)

    assert "`data_folder`" in sentence() and "not a folder" in sentence()
    folder.mkdir()
    assert Path(pins[0].path).name in sentence() and str(folder) in sentence() and "`data_folder`" in sentence()
    file = folder / Path(pins[0].path).name
    file.write_bytes(b"cut")
    assert f"{file} has 3 bytes" in sentence() and str(SIZE) in sentence()
    file.write_bytes((tmp_path / "archive/2" / pins[0].path).read_bytes())
    assert f"{file} has SHA-256 {pins[1].sha256}" in sentence() and pins[0].sha256 in sentence()


def test_a_users_own_file(tmp_path):
    source, destination = tmp_path / "own.nwb", tmp_path / "data" / "own.nwb"
    with pytest.raises(NlbflowError, match="does not exist"):
        link_user_file(source, destination, None)
    source.write_text("text")
    with pytest.raises(NlbflowError, match="not HDF5"):
        link_user_file(source, destination, None)
    h5py.File(source, "w").close()
    with pytest.raises(NlbflowError, match=f"SHA-256 {checksum.sha256_of(source, print)}, but the config says"):
        link_user_file(source, destination, "0" * 64)
    assert not destination.exists()
    link_user_file(source, destination, checksum.sha256_of(source, print).upper())
    assert Path(os.readlink(destination)) == source


def test_the_shipped_table_of_pins():
    pins = read_pins(ROOT / "resources" / "datasets.tsv")
    assert len(pins) == 7 and all(set(parts) == {"train", "test"} for parts in pins.values())
    assert pins["mc_rtt"]["train"].bytes == 49_764_168


def test_a_malformed_table_is_told(tmp_path):
    text = "dataset\tdandiset\tversion\tpart\tpath\tbytes\tsha256\n"
    text += "".join(f"own\t000001\t0.1\t{part}\tsub-A/x.nwb\t12\t{'a' * 64}\n" for part in ("train", "test"))
    table = tmp_path / "pins.tsv"
    table.write_text(text)
    assert read_pins(table)["own"]["train"].bytes == 12
    for old, new, named in (
        ("sha256", "sha", "lacks sha256"),
        ("a" * 64, "a" * 63, "line 2: column sha256"),
        ("sub-A/x.nwb", "sub-A/../../x.nwb", "line 2: column path"),
        ("sub-A/x.nwb", "/x.nwb", "line 2: column path"),
        ("0.1", "..", "line 2: column version"),
        ("\t12\t", "\t1.2\t", "line 2: column bytes"),
        ("\ttest\t", "\ttrain\t", "line 3: expected one file"),
        (f"12\t{'a' * 64}", "12", "line 2: column sha256"),
    ):
        table.write_text(text.replace(old, new))
        with pytest.raises(NlbflowError, match=named):
            read_pins(table)
