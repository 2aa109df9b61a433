"""Fixtures that several test files share."""

import csv
import fcntl
import hashlib
import importlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import install
import layouts
import nlbflow.running.job  # noqa: F401  (one BLAS thread, as in every job)
from nlbflow.archive.pins import read_pins
from side_by_side import mend_nlb_tools
from workflow import ROOT, copy_code, run

WRITERS = {
    "mc_rtt": layouts.write_rtt,
    "area2_bump": layouts.write_area2,
    "dmfc_rsg": layouts.write_dmfc,
}


# A file's tests are done by one worker, since they share costly runs. These files come first, so that no worker is left
# with a long one at the end; SLURM's tests wait more than they work.
FIRST = [
    *("test_slurm", "test_archive", "test_docs", "test_end_to_end", "test_reruns", "test_kill", "test_faults"),
    *("test_fault_harness", "test_layouts", "test_parity", "test_own_channels", "test_ensembles", "test_page"),
    *("test_own_dataset", "test_labs_recordings", "test_installing", "test_killed_training", "test_api"),
    "test_nightly",
]


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))


@contextmanager
def once(tmp_path_factory, name: str) -> Iterator[tuple[Path, bool]]:
    """A folder that all workers share, and whether it is still to be filled; one worker fills it, the others wait."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / name
    with open(shared / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder, not (folder / "done").exists()
        (folder / "done").touch()


@pytest.fixture(scope="session")
def nlb_tools(tmp_path_factory):
    """The benchmark's reference code, mended from outside, as the imported package."""
    with once(tmp_path_factory, "nlb_tools") as (folder, empty):
        if empty:
            locked = install.read(ROOT / "requirements/nlb_tools.lock")
            alone = [r for r in locked if install.name_of(r) == "nlb-tools"]
            install.install(sys.executable, alone, "--target", str(folder))
            mend_nlb_tools(folder)
    sys.path.insert(0, str(folder))
    importlib.import_module("nlb_tools.make_tensors")
    importlib.import_module("nlb_tools.evaluation")
    return sys.modules["nlb_tools"]


@pytest.fixture
def two_gpus(tmp_path) -> str:
    """A PATH with which this machine has two GPUs, as far as nvidia-smi says."""
    tool = tmp_path / "bin/nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\nprintf 'GPU-one\\nGPU-two\\n'\n")
    tool.chmod(0o755)
    return f"{tool.parent}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(scope="session")
def registry(tmp_path_factory):
    """Skips where no package registry can be asked."""
    asked = ["download", "--no-deps", "--no-cache-dir", "--retries", "1", "--timeout", "20", "wheel"]
    if install.pip(sys.executable, *asked, "-d", str(tmp_path_factory.mktemp("pip"))).returncode:
        pytest.skip("no package registry can be reached")


@pytest.fixture(scope="session")
def crate_environment(tmp_path_factory, registry) -> Path:
    """What `make .venv-crate/done` makes."""
    with once(tmp_path_factory, "crate") as (folder, empty):
        if empty:
            install.main(folder, "crate", None)
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real recordings."""
    folder = os.environ.get("NLBFLOW_TEST_DATA")
    if not folder:
        pytest.skip("NLBFLOW_TEST_DATA is not set; it names the folder with real recordings")
    return Path(folder)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> tuple[Path, Path]:
    """(code, folder) of a finished run of the small config, for reading: several workers do at once."""
    with once(tmp_path_factory, "finished") as (folder, empty):
        if empty:
            run(copy_code(folder / "code"), folder / "work")
    return folder / "code", folder / "work"


@pytest.fixture(scope="session")
def s3():
    """A server with a bucket, on loopback."""
    from s3_server import S3Server

    server = S3Server()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """A loopback archive with a simulated session under each real dandiset, its pins, and the truth by dataset."""
    from loopback_dandi import LoopbackArchive

    folder = tmp_path_factory.mktemp("archive")
    served, rows, truth = {}, [], {}
    seed = 0  # has none of the cases that the benchmark's own files do not have
    for name, parts in read_pins(ROOT / "resources/datasets.tsv").items():
        (folder / "made" / name).mkdir(parents=True)
        session = WRITERS.get(name, layouts.write_maze)(folder / "made" / name, seed)
        truth[name] = session
        for part, pin in parts.items():
            target = folder / pin.dandiset / pin.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(session[part], target)
            content = target.read_bytes()
            sha = hashlib.sha256(content).hexdigest()
            rows.append([name, pin.dandiset, pin.version, part, pin.path, len(content), sha, ""])
            served[pin.dandiset, pin.version] = folder / pin.dandiset
    pins = folder / "pins.tsv"
    with open(pins, "w", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(["dataset", "dandiset", "version", "part", "path", "bytes", "sha256", "dandi_etag"])
        table.writerows(rows)
    with LoopbackArchive(served) as server:
        yield server, pins, truth
