"""The image of containers/Dockerfile, built with podman on a base of Debian's packages: two builds have the same
layers; a run in it, without a network, has the tables of a run on this machine."""

import hashlib
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from fault_trials import tables
from nlbflow.running.confine import version
from workflow import ROOT, SMALL, command, copy_code, reproducible

pytestmark = pytest.mark.slow
SUITE = "bookworm"
TABLES = [Path("results", name) for name in ("scores.csv", "ranks.csv", "differences.csv", "leaderboard.md")]
# A stand-in for Apptainer: it runs a command in the image's files and shares with the machine what Apptainer does.
APPTAINER = """#!{python}
import os, sys

if sys.argv[1:] == ["--version"]:
    print("apptainer version 1.3.0")
    sys.exit()
words = [word for word in sys.argv[1:] if word not in ("--quiet", "--silent")]
assert words.pop(0) == "exec", words
binds = [os.getcwd()]
while words[0].startswith("--"):
    assert words.pop(0) in ("--home", "--bind"), words
    binds.append(words.pop(0))
assert words.pop(0) == {image!r}, words
command = ["bwrap", "--unshare-net", "--cap-drop", "ALL", "--dev-bind", "/dev", "/dev"]
for folder in ("proc", "sys", "tmp"):
    command += ["--bind", f"/{{folder}}", f"/{{folder}}"]
for folder in ("bin", "etc", "lib", "lib64", "opt", "usr", "var"):
    command += ["--ro-bind", f"{root}/{{folder}}", f"/{{folder}}"]
for bind in binds:
    source, _, target = bind.partition(":")
    command += ["--bind", source, target or source]
command += ["--chdir", os.getcwd(), "--setenv", "PATH", "/opt/environment/bin:/usr/bin:/bin"]
os.execvp("bwrap", command + words)
"""


def podman(*arguments: str, **options) -> str:
    """What a podman command prints, standard error aside; it must succeed."""
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Iterator[None]:
    """Of podman, to run on machines too that are themselves contained: lower limits than it would set, no runtime
    while it builds, and not crun where there are both versions of cgroups, which crun refuses."""
    file = tmp_path_factory.mktemp("settings") / "containers.conf"
    runtime = '[engine]\nruntime = "runc"\n' if Path("/sys/fs/cgroup/unified").exists() else ""
    file.write_text(f'[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n{runtime}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_CONF", str(file))
        patch.setenv("BUILDAH_ISOLATION", "chroot")
        yield


@pytest.fixture(scope="module")
def base(settings, tmp_path_factory) -> Iterator[str]:
    """An image of Debian's essential packages and apt; skips where it cannot be made or no container can run."""
    for tool in ("podman", "mmdebstrap"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed here (Debian has it as a package)")
    archive, name = tmp_path_factory.mktemp("base") / "base.tar", f"localhost/nlbflow-base-{uuid.uuid4().hex[:8]}"
    made = subprocess.run(
        ["mmdebstrap", "--variant=apt", SUITE, str(archive)], capture_output=True, text=True, timeout=600
    )
    if made.returncode:
        pytest.skip(f"mmdebstrap makes no root file system here: {made.stderr[-300:]}")
    podman("import", str(archive), name)
    tried = subprocess.run(["podman", "run", "--rm", "--network=none", name, "true"], capture_output=True, text=True)
    if tried.returncode:
        podman("rmi", name)
        pytest.skip(f"podman runs no container here: {tried.stderr[-300:]}")
    yield name
    podman("rmi", name)


@pytest.fixture(scope="module")
def commit() -> str:
    """HEAD, or a commit on no branch with what has changed since; untracked files are in neither."""
    return git("stash", "create") or git("rev-parse", "HEAD")


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def images(base, registry, commit, tmp_path_factory) -> Iterator[list[str]]:
    """The image, built twice from the same files and nothing else."""
    context = tmp_path_factory.mktemp("context") / "context.tar"
    git("archive", "--output", str(context), commit)
    # the authorities that this machine trusts, and where pip finds them
    trusted = tmp_path_factory.mktemp("trusted")
    shutil.copy(os.environ.get("PIP_CERT") or ssl.get_default_verify_paths().cafile, trusted / "all.crt")
    (trusted / "pip.conf").write_text("[global]\ncert = /mnt/all.crt\n")
    names = [f"localhost/nlbflow-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    for name in names:
        with open(context, "rb") as files:
            podman(
                *("build", "--no-cache", "--timestamp", "315532800", "--file", "containers/Dockerfile", "--tag", name),
                *("--build-arg", f"BASE={base}", "--network", "host", "--volume", f"{trusted}:/mnt:ro"),
                *("--secret", f"id=pip.conf,src={trusted / 'pip.conf'}", "-"),
                stdin=files,
            )
    yield names
    podman("rmi", *names)


@pytest.fixture(scope="module")
def exported(images, tmp_path_factory) -> list[Path]:
    """The root file systems, as tar files."""
    folder = tmp_path_factory.mktemp("exported")
    for number, name in enumerate(images):
        container = podman("create", name)
        podman("export", "--output", str(folder / f"{number}.tar"), container)
        podman("rm", container)
    return [folder / f"{number}.tar" for number in range(2)]


def contents(path: Path) -> dict[str, tuple]:
    """Of each file: what it is, whose, since when, and the digest of its bytes."""
    found = {}
    with tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member).read() if member.isfile() else b""
            about = (member.type, member.mode, member.uid, member.gid, member.mtime, member.linkname)
            found[member.name] = (*about, hashlib.sha256(content).hexdigest())
    return found


def test_two_builds_are_the_same(images, exported):
    first, second = map(contents, exported)
    differ = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
    assert not differ, f"{len(differ)} files differ: {differ[:20]}"
    layers = [json.loads(podman("image", "inspect", name))[0]["RootFS"]["Layers"] for name in images]
    assert layers[0] == layers[1]


def test_it_has_the_lock_and_no_more(images):
    lock = (ROOT / "requirements/run.lock").read_text()
    listed = json.loads(podman("run", "--rm", "--network=none", "--entrypoint=python", images[0],
                               "-m", "pip", "list", "--format=json"))  # fmt: skip
    found = {f"{re.sub('[-_.]+', '-', package['name']).lower()}=={package['version']}" for package in listed}
    extra = {package for package in found if f"\n{package} " not in f"\n{lock}"}
    assert len(found) > 100 and {package.split("==")[0] for package in extra} <= {"pip", "setuptools"}


@pytest.fixture(scope="module")
def in_image(images, tmp_path_factory) -> Path:
    """The folder of a run of the small config in the image as anyone may start it: no network, nothing to write to."""
    work = tmp_path_factory.mktemp("image") / "work"
    work.mkdir()
    shutil.copy(SMALL, work)
    os.chmod(work, 0o777)
    podman("run", "--rm", "--network=none", "--read-only", "--cap-drop=all", "--user=1234:1234",
           "--volume", f"{work}:/work", images[0], "--configfile", SMALL.name)  # fmt: skip
    return work


def test_a_run_in_the_image_has_the_same_tables(in_image, finished):
    found, expected = tables(in_image), tables(finished[1])
    assert "scores.csv" in found and found.keys() == expected.keys()
    assert not [name for name in expected if found[name] != expected[name]]


def test_models_are_confined_in_the_image_too(in_image):
    # the null row is called so
    costs = pd.read_csv(in_image / "results/costs.csv", keep_default_na=False)
    trained = costs[~costs["model"].isin(["condition_psth", "true_rates", "null"])]
    expected = f"Landlock {version()}" if version() else "no: the kernel has no Landlock"
    assert len(trained) and set(trained["confined"]) == {expected}


def test_it_tells_its_commit_and_can_do_nothing_else(in_image, images, commit):
    costs = pd.read_csv(in_image / "results/costs.csv").dropna(subset="commit")
    assert len(costs) and set(costs["commit"]) == {commit[:12]}
    told = json.loads(podman("image", "inspect", images[0]))[0]["Config"]
    assert told["User"] == "1000:1000"
    # an address outside, a file outside the folder, and the user
    asked = ("import os, socket\n"
             "try: socket.create_connection(('192.0.2.1', 80), 2)\nexcept OSError as error: print(error.errno)\n"
             "try: open('/opt/nlbflow/x', 'w')\nexcept OSError as error: print(error.errno)\n"
             "print(os.getuid())")  # fmt: skip
    options = ("run", "--rm", "--network=none", "--read-only", "--entrypoint=python")
    assert podman(*options, images[0], "-c", asked).split() == ["101", "30", "1000"]


@pytest.fixture
def apptainer(exported, tmp_path, monkeypatch) -> None:
    """The stand-in as the command apptainer, since Debian does not have it."""
    if not shutil.which("bwrap"):
        pytest.skip("bwrap is not installed here (Debian's package bubblewrap)")
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["tar", "-xf", exported[0], "-C", root, "--exclude=dev/*"], check=True)
    tool = tmp_path / "bin/apptainer"
    tool.parent.mkdir()
    tool.write_text(APPTAINER.format(python=sys.executable, image="containers/nlbflow.sif", root=str(root)))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")


def test_jobs_run_in_the_image_with_a_checkout_outside(apptainer, tmp_path, finished):
    code = copy_code(tmp_path / "code")
    image = code / "containers/nlbflow.sif"
    image.parent.mkdir()
    image.touch()
    # that option takes every word up to the next one; `run` would fork the scripts outside of the image
    asked = command(code, *map(str, TABLES), "--software-deployment-method", "apptainer")
    done = subprocess.run(asked, cwd=code, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert not done.returncode, done.stdout
    assert "Activating singularity image containers/nlbflow.sif" in done.stdout
    assert not [path.name for path in TABLES if reproducible(code / path) != reproducible(finished[1] / path)]
