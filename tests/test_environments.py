"""Pins agree everywhere: pyproject, the lock files and the conda environments; every rule names its environment."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from nlbflow.digest import code_files
from workflow import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


# what some packages are built on, and install
BRINGS = {"pynwb": ["hdmf"], "dandi": ["numpy", "requests", "urllib3"]}


def locked(name: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", "\n".join(lines), re.MULTILINE))


@pytest.mark.parametrize(
    ("lock", "pins"),
    [
        ("run.lock", PROJECT["dependencies"]),
        ("test.lock", PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]),
    ],
)
def test_lock_follows_the_pins(lock, pins):
    found = locked(lock)
    for pin in pins:
        name, version = pin.split("==")
        assert found[name] == version


def test_lock_names_no_place_and_has_hashes():
    for lock in ("run.lock", "test.lock"):
        text = (ROOT / "requirements" / lock).read_text()
        assert "://" not in text and "--find-links" not in text
        assert text.count("--hash=sha256:") > len(locked(lock))


@pytest.mark.parametrize("path", sorted((ROOT / "envs").glob("*.yaml")), ids=lambda p: p.name)
def test_conda_environment_has_the_same_pins(path):
    environment = yaml.safe_load(path.read_text())
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    # an extra outside the locks, by its conda name
    torch = PROJECT["optional-dependencies"]["deep"][0].removeprefix("torch==")
    pins = {**locked("run.lock"), "pytorch": torch}
    for dependency in environment["dependencies"]:
        name, version = dependency.split("=")
        if name != "python":
            assert pins[name] == version, f"{path.name} pins {dependency}"


def needed(path: Path) -> set[str]:
    """The packages that a file imports, but for Python's own and ours."""
    names = [
        [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    return {name.split(".")[0] for found in names for name in found} - set(sys.stdlib_module_names) - {"nlbflow"}


def test_every_rule_finds_its_packages():
    for path in (ROOT / "rules").glob("*.smk"):
        for rule in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            script, shared = re.search(r'"\.\./(scripts/.+)"', rule), re.search(r'"\.\./envs/(.+)"', rule)
            if script:
                environment = yaml.safe_load((ROOT / "envs" / (shared[1] if shared else "models.yaml")).read_text())
                has = {pin.split("=")[0] for pin in environment["dependencies"]}
                has |= {package for name in has for package in BRINGS.get(name, [])}
                lacks = set().union(*(needed(file) for file in code_files(ROOT / script[1]))) - has
                assert not lacks, f"rule {rule.split(':')[0]} needs {lacks}, which its environment does not have"


def test_make_installs_torch_by_its_pin():
    assert PROJECT["optional-dependencies"]["deep"][0] in (ROOT / "Makefile").read_text().split()


def test_every_rule_is_complete():
    for path in (ROOT / "rules").glob("*.smk"):
        for rule in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            if "script:" not in rule:
                continue  # a target, which runs nothing
            for directive in ("log", "benchmark", "message", "threads", "resources", "conda", "script"):
                assert f"    {directive}:" in rule, f"rule {rule.split(':')[0]} in {path.name} has no {directive}"
