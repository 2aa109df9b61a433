"""Interpreters of other versions than this one's: on the PATH, or those that pyenv keeps."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def interpreter(version: str) -> Path:
    """One of that version, like 3.12; skips where there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), *pyenv.glob(f"{version}.*/bin/python")]
    for candidate in filter(None, candidates):
        # pyenv's own commands of that name fail where it is not told to use that version
        if subprocess.run([candidate, "--version"], capture_output=True).returncode == 0:
            return Path(candidate)
    pytest.skip(f"python{version} is not installed here")
