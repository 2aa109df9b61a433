"""Pins agree everywhere: pyproject, the lock files and the conda environments; every rule names its environment."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import install
from nlbflow.running.code import code_files
from workflow import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
# what some packages are built on, and install
BRINGS = {
    "matplotlib": ["PIL"],
    "pynwb": ["hdmf"],
    "dandi": ["numpy", "requests", "urllib3"],
    "requests": ["urllib3"],
}
# methods of pandas that import another package
THROUGH = {"to_parquet": "pyarrow", "read_parquet": "pyarrow"}
# the S3 plugin brings it; the environments of conda are not for a bucket (docs/cloud.md)
OF_A_BUCKET = {"boto3", "botocore"}
# what is imported under another name than it is installed by
INSTALLED_AS = {"sklearn": "scikit-learn"}
# conda-forge's names that are not PyPI's
ON_PYPI = {"pytorch": "torch"}


def locked(name: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", "\n".join(lines), re.MULTILINE))


@pytest.mark.parametrize(
    ("lock", "pins"),
    [
        ("run.lock", EXTRAS["workflow"]),
        ("test.lock", EXTRAS["workflow"] + EXTRAS["cloud"] + EXTRAS["test"]),
        ("deep.lock", EXTRAS["workflow"] + EXTRAS["deep"]),
        ("cloud.lock", EXTRAS["workflow"] + EXTRAS["cloud"]),
        ("cloud_deep.lock", EXTRAS["workflow"] + EXTRAS["cloud"] + EXTRAS["deep"]),
    ],
)
def test_lock_follows_the_pins(lock, pins):
    found = locked(lock)
    for pin in pins:
        name, version = pin.split("==")
        assert found[name] == version


@pytest.mark.parametrize("lock", LOCKS, ids=lambda p: p.name)
def test_lock_names_no_place_and_has_hashes(lock):
    text = lock.read_text()
    assert "://" not in text and "--find-links" not in text
    requirements = install.read(lock)
    # nothing in it passes unread, and nothing is without a hash
    assert requirements and "".join(requirements) == text
    assert all("--hash=sha256:" in requirement for requirement in requirements)


@pytest.mark.parametrize("lock", [p for p in LOCKS if p.name != "format.lock"], ids=lambda p: p.name)
def test_locks_have_the_same_versions(lock):
    """snakefmt cannot; the others are compared with, and add to, what runs."""
    ours, theirs = locked("test.lock"), locked(lock.name)
    assert not {name: version for name, version in theirs.items() if ours.get(name, version) != version}


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda p: p.name)
def test_conda_environment_has_the_same_pins(environment):
    assert yaml.safe_load(environment.read_text())["channels"] == ["conda-forge", "nodefaults"]
    locks = locked("deep.lock")
    for name, version in pins_of(environment).items():
        assert locks[name] == version


def rule_scripts() -> list[tuple[str, str, str | None]]:
    """(rule, script, conda environment file) of every rule that runs one; None: that of the model that it runs."""
    found = []
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for rule in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            script, environment = re.search(r'"\.\./(scripts/.+)"', rule), re.search(r'"\.\./envs/(.+)"', rule)
            if script:
                found.append((rule.split(":")[0], script[1], environment[1] if environment else None))
    return found


def run_in(environment: str) -> list[Path]:
    """The scripts of rules, and the model files, that run in a conda environment."""
    models = yaml.safe_load((ROOT / "config.yaml").read_text())["models"].values()
    files = {m["file"] for m in models if "file" in m and m.get("env", "envs/models.yaml") == f"envs/{environment}"}
    scripts = [ROOT / script for _, script, own in rule_scripts() if own == environment or (own is None and files)]
    return scripts + [ROOT / "scripts/models" / file for file in sorted(files)]


def modules(path: Path) -> set[str]:
    """What a file imports, at its top or anywhere in it, but for Python's own, ours, and what only a bucket needs."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Attribute) and node.attr in THROUGH:
            names.add(THROUGH[node.attr])
    left_out = {"nlbflow", *OF_A_BUCKET, *sys.stdlib_module_names}
    return {name for name in names if name.split(".")[0] not in left_out}


def pins_of(environment: Path) -> dict[str, str]:
    """name: version as on PyPI, without Python."""
    pins = dict(pin.split("=") for pin in yaml.safe_load(environment.read_text())["dependencies"])
    return {ON_PYPI.get(name, name): version for name, version in pins.items() if name != "python"}


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda p: p.name)
def test_environment_has_what_its_rules_import_and_nothing_more(environment):
    scripts = run_in(environment.name)
    names = {name.split(".")[0] for script in scripts for file in code_files(script) for name in modules(file)}
    needs = {INSTALLED_AS.get(name, name) for name in names}
    has = set(pins_of(environment))
    brought = {package for name in has for package in BRINGS.get(name, [])}
    assert not needs - has - brought, "a rule needs a package that its environment lacks"
    assert not has - needs, "no rule needs it"


def test_every_environment_is_that_of_a_rule_or_a_model():
    rules = {name: environment for name, _, environment in rule_scripts()}
    assert {rules["fetch"], rules["tensors"], rules["score"], rules["tables"]} <= {p.name for p in ENVIRONMENTS}
    assert all(run_in(path.name) for path in ENVIRONMENTS)


def with_what_they_want(names: set[str], lock: list[str]) -> list[str]:
    """Those requirements of a lock, and all that they want, by its comments."""
    wanted_by = {requirement: set(re.findall(r"# +(?:via )?([\w.-]+)$", requirement, re.M)) for requirement in lock}
    found: set[str] = set(names)
    while more := {install.name_of(r) for r, by in wanted_by.items() if by & found} - found:
        found |= more
    return [r for r in lock if install.name_of(r) in found]


BUILT = [
    pytest.param(path, id=path.name, marks=[] if path.name == "models.yaml" else [pytest.mark.slow])
    for path in ENVIRONMENTS
    if path.name != "torch.yaml"
]


@pytest.mark.parametrize("environment", BUILT)
def test_rules_import_in_an_environment_of_these_pins(environment, registry, tmp_path):
    """Without Snakemake, whose own packages a `script:` sees too, so that a missing one goes unnoticed."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv/bin/python"
    lock = install.read(ROOT / "requirements/run.lock")
    install.install(python, with_what_they_want(set(pins_of(environment)) | {"setuptools"}, lock), "--no-compile")
    install.check(python, tmp_path / "venv")
    scripts = run_in(environment.name)
    names = sorted({name for script in scripts for file in code_files(script) for name in modules(file)})
    # a script does nothing when it is not Snakemake that runs it
    source = (
        f"import importlib, runpy, sys; sys.path.insert(0, {str(ROOT / 'scripts')!r})\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"for script in {list(map(str, scripts))!r}: runpy.run_path(script)\n"
        "assert 'snakemake' not in sys.modules\n"
    )
    done = subprocess.run([python, "-I", "-c", source], capture_output=True, text=True)
    assert not done.returncode, done.stderr


def test_torch_is_on_the_registry_at_its_pin(registry):
    """Its environment is not built: it takes minutes and gigabytes; what is installed stands for it in other tests."""
    version = pins_of(ROOT / "envs/torch.yaml")["torch"]
    listed = install.pip(sys.executable, "index", "versions", "torch")
    assert not listed.returncode, listed.stderr
    assert re.search(rf"(?<![\d.]){re.escape(version)}(?![\d.])", listed.stdout)


def test_every_rule_is_complete():
    for path in (ROOT / "rules").glob("*.smk"):
        for rule in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            if "script:" not in rule:
                continue  # a target, which runs nothing
            for directive in ("log", "benchmark", "message", "threads", "resources", "conda", "script"):
                assert f"    {directive}:" in rule, f"rule {rule.split(':')[0]} in {path.name} has no {directive}"
