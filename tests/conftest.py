"""Fixtures that several test files share."""

import fcntl
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import nlbflow.job  # noqa: F401  (one BLAS thread, as in every job)
from side_by_side import NLB_TOOLS, mend_nlb_tools
from workflow import copy_code, run


@pytest.fixture(scope="session")
def nlb_tools(tmp_path_factory):
    """The benchmark's reference code, mended from outside, as the imported package."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "nlb_tools"
    with open(shared / "nlb_tools.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), NLB_TOOLS]
            subprocess.run(command, check=True, capture_output=True)
            mend_nlb_tools(folder)
            (folder / "done").touch()
    sys.path.insert(0, str(folder))
    importlib.import_module("nlb_tools.make_tensors")
    importlib.import_module("nlb_tools.evaluation")
    return sys.modules["nlb_tools"]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real recordings."""
    folder = os.environ.get("NLBFLOW_TEST_DATA")
    if not folder:
        pytest.skip("NLBFLOW_TEST_DATA is not set; it names the folder with real recordings")
    return Path(folder)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> tuple[Path, Path]:
    """(code, folder) of a finished run of the small config, for reading."""
    folder = tmp_path_factory.mktemp("finished")
    code = copy_code(folder / "code")
    run(code, folder / "work")
    return code, folder / "work"
