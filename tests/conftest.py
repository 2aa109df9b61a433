"""Fixtures that several test files share."""

import fcntl
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import nlbflow.job  # noqa: F401  (one BLAS thread, as in every job)

ROOT = Path(__file__).parent.parent
NLB_TOOLS = "nlb-tools==0.0.4"
# With pandas >= 1.5 nlb_tools 0.0.4 loses trials, with pandas 3 it fails. These two lines make it give what it gives
# with the pandas it was written for (specification, section 6.1).
FIXES = (
    ("\n        data = pd.concat(data_list, axis=1)\n", "\n        data = pd.concat(data_list, axis=1).sort_index()\n"),
    ("arr = self.data[signal_type].to_numpy()\n", "arr = self.data[signal_type].to_numpy(copy=True)\n"),
)


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
            source = folder / "nlb_tools/nwb_interface.py"
            text = source.read_text()
            for old, new in FIXES:
                assert text.count(old) == 1
                text = text.replace(old, new)
            source.write_text(text)
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
