"""Pins agree everywhere: pyproject, the lock files and the conda environments; every rule names its environment."""

import re
import tomllib

import pytest
import yaml

from workflow import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


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
    pins = locked("run.lock")
    for dependency in environment["dependencies"]:
        name, version = dependency.split("=")
        if name != "python":
            assert pins[name] == version, f"{path.name} pins {dependency}"


def test_every_rule_is_complete():
    for path in (ROOT / "rules").glob("*.smk"):
        for rule in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            for directive in ("log", "benchmark", "message", "threads", "resources", "conda", "script"):
                assert f"    {directive}:" in rule, f"rule {rule.split(':')[0]} in {path.name} has no {directive}"
