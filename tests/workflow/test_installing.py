"""What is published after a lock was made changes nothing, whichever pip a Python brings.

The index is a folder of tiny packages, each locked at 1.0 and published since as 1.1. `wants` asks for `base` through
an extra, as dandischema does for pydantic: pip 23.2 resolves that anew, and takes 1.1.
"""

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from pythons import interpreter
from workflow import ROOT

WHEELS = ["base", "more", "wants"]
LOCKED = [*WHEELS, "builder", "connection-pool"]
# Builds what the source brings along; newer releases fail.
BUILDER = """
import shutil

def build_wheel(folder, *_):
    name = open("name").read()
    shutil.copy("ready.whl", folder + "/" + name)
    return name
"""


def write_wheel(
    folder: Path, name: str, version: str, requires: str = "", modules: dict[str, str] | None = None
) -> Path:
    """A wheel with nothing in it but these modules; `requires` are lines of its metadata."""
    stem = f"{name.replace('-', '_')}-{version}"
    path, info = folder / f"{stem}-py3-none-any.whl", f"{stem}.dist-info"
    files = {
        **(modules or {}),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return path


def write_source(folder: Path, name: str, version: str, scratch: Path) -> Path:
    """A source distribution that `builder` builds."""
    wheel = write_wheel(scratch, name, version)
    path, stem = folder / f"{name}-{version}.tar.gz", f"{name}-{version}"
    files = {
        "pyproject.toml": b'[build-system]\nrequires = ["builder"]\nbuild-backend = "builder"\n',
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        "ready.whl": wheel.read_bytes(),
        "name": wheel.name.encode(),
    }
    with tarfile.open(path, "w:gz") as archive:
        for file, content in files.items():
            member = tarfile.TarInfo(f"{stem}/{file}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    """The folder with both releases of each package."""
    folder, scratch = tmp_path_factory.mktemp("index"), tmp_path_factory.mktemp("scratch")
    for version in ("1.0", "1.1"):
        new = version == "1.1"
        write_wheel(folder, "base", version, "Provides-Extra: x\nRequires-Dist: more>=1.0; extra == 'x'\n")
        write_wheel(folder, "more", version)
        write_wheel(folder, "wants", version, "Requires-Dist: base[x]~=1.0\n")
        write_wheel(folder, "builder", version, modules={"builder.py": "1 / 0" if new else BUILDER})
        write_source(folder, "connection-pool", version, scratch)
        write_wheel(folder, "torch", version, "Requires-Dist: base\nRequires-Dist: nvidia-lib\n")
        write_wheel(folder, "nvidia-lib", version)
    return folder


def locked(index: Path, names: list[str]) -> str:
    """A lock of their releases 1.0."""
    lines = []
    for name in names:
        (file,) = {*index.glob(f"{name}-1.0.tar.gz"), *index.glob(f"{name.replace('-', '_')}-1.0-py3-none-any.whl")}
        lines.append(
            f"{name}==1.0 \\\n    --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n    # via x\n"
        )
    return "".join(lines)


@pytest.fixture
def project(index, tmp_path) -> Path:
    """A folder with the Makefile and what it installs with, and locks of the index."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "requirements").mkdir()
    if (ROOT / "requirements/install.py").exists():
        shutil.copy(ROOT / "requirements/install.py", tmp_path / "requirements")
    (tmp_path / "requirements/run.lock").write_text(locked(index, WHEELS))
    (tmp_path / "requirements/test.lock").write_text(locked(index, LOCKED))
    (tmp_path / "requirements/deep.lock").write_text(locked(index, [*LOCKED, "torch", "nvidia-lib"]))
    return tmp_path


def make(project: Path, sources: list[Path], python: Path | str, *arguments: str) -> subprocess.CompletedProcess:
    """`make` where pip knows these folders alone, whatever it is told on this machine."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "MAKE"))}
    told = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": " ".join(map(str, sources))}
    command = ["make", f"PYTHON={python}", *arguments]
    return subprocess.run(command, cwd=project, env=clean | told, capture_output=True, text=True)


def installed(environment: Path) -> set[str]:
    """name-version of what is there, but for what a new environment has."""
    found = {path.name.removesuffix(".dist-info") for path in environment.glob("lib/python*/site-packages/*.dist-info")}
    return {name.replace("_", "-") for name in found if not name.startswith(("pip-", "setuptools-"))}


def at_1_0(names: list[str]) -> set[str]:
    return {f"{name}-1.0" for name in names}


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_newer_releases_change_nothing(version, project, index):
    done = make(project, [index], interpreter(version), ".venv/run.done", ".venv/test.done")
    assert not done.returncode, done.stdout + done.stderr
    assert installed(project / ".venv") == at_1_0(LOCKED)


def test_nor_with_the_newest_pip(project, index, registry):
    subprocess.run([sys.executable, "-m", "venv", project / ".venv"], check=True)
    subprocess.run([project / ".venv/bin/python", "-m", "pip", "install", "-q", "--upgrade", "pip"], check=True)
    done = make(project, [index], sys.executable, ".venv/run.done", ".venv/test.done")
    assert not done.returncode, done.stdout + done.stderr
    assert installed(project / ".venv") == at_1_0(LOCKED)


def test_builds_of_torch(project, index, tmp_path):
    """PyPI's with its libraries, by hash; the CPU's where pip is told of a source, without them, unless refused."""
    done = make(project, [index], sys.executable, ".venv/deep.done", "TORCH=cpu")
    assert done.returncode and "No source that pip knows offers torch 1.0+cpu" in done.stderr
    done = make(project, [index], sys.executable, ".venv/deep.done")
    assert not done.returncode, done.stdout + done.stderr
    assert installed(project / ".venv") == at_1_0([*LOCKED, "torch", "nvidia-lib"])

    shutil.rmtree(project / ".venv")
    cpu = tmp_path / "cpu"
    cpu.mkdir()
    for build in ("1.0+cpu", "1.1+cpu"):
        write_wheel(cpu, "torch", build, "Requires-Dist: base\n")
    done = make(project, [index, cpu], sys.executable, ".venv/deep.done")
    assert not done.returncode, done.stdout + done.stderr
    assert installed(project / ".venv") == at_1_0(LOCKED) | {"torch-1.0+cpu"}


def test_refuses_another_file_and_an_incomplete_lock(project, index):
    lock = project / "requirements/run.lock"
    text = lock.read_text()
    lock.write_text(re.sub(r"(base==1.0 \\\n    --hash=sha256:).*", rf"\g<1>{'0' * 64}", text))
    done = make(project, [index], sys.executable, ".venv/run.done")
    assert done.returncode and "DO NOT MATCH THE HASHES" in done.stderr
    assert not (project / ".venv/run.done").exists()
    lock.write_text(locked(index, ["wants"]))
    done = make(project, [index], sys.executable, ".venv/run.done")
    assert done.returncode and "wants 1.0 requires base, which is not installed" in done.stderr
    assert not (project / ".venv/run.done").exists()


def test_nothing_is_installed_another_way():
    others = []
    for path in [ROOT / "Makefile", ROOT / ".ci/run", *ROOT.glob(".github/workflows/*"), *ROOT.glob("*/**/*.py")]:
        if path.name not in ("install.py", Path(__file__).name) and ".venv" not in str(path.relative_to(ROOT)):
            others += re.findall(r"-m.{1,4}pip\b.*\binstall\b|\bpip3? install .*==", path.read_text())
    assert not others


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("lock", ["test", "format", "inspect", "crate", "lock", "elephant", "nlb_tools", "ssm"])
def test_locks_install(version, lock, registry, tmp_path):
    """All but torch's, which may be gigabytes."""
    command = [interpreter(version), ROOT / "requirements/install.py", tmp_path / "venv", lock]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr
