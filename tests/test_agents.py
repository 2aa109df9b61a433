"""What is said to those who add a model, agents or people, and what a release consists of."""

import re
import tomllib

import pytest
import yaml

import nlbflow
from nlbflow.planning.config import check_config
from workflow import ROOT

AGENTS = (ROOT / "AGENTS.md").read_text()
PEOPLE = (ROOT / "CONTRIBUTING.md").read_text()
# what a model never touches: answers, scorer, pins
NEVER = (
    "target.h5",
    "data/answers",
    "scripts/nlbflow/metrics",
    "scripts/nlbflow/scoring",
    "scripts/nlbflow/recordings/targets.py",
    "tests/scoring/golden_scores.json",
    "resources/datasets.tsv",
    "requirements/*.lock",
    "resources/published.csv",
    "METRICS_VERSION",
    "ORACLE = True",
)


def paths(text: str) -> set[str]:
    """What is written as code and looks like a path of the repository."""
    return {
        word for word in re.findall(r"`([\w./*]+)`", text) if "/" in word and not word.startswith(("results", "data"))
    }


@pytest.mark.parametrize("text", [AGENTS, PEOPLE], ids=["agents", "people"])
def test_agents_and_people_are_told_the_same(text):
    assert [name for name in NEVER if f"`{name}`" not in text] == []


@pytest.mark.parametrize("text", [AGENTS, PEOPLE], ids=["agents", "people"])
def test_what_they_are_told_of_exists(text):
    gone = [path for path in paths(text) if not any(ROOT.glob(path.replace("NAME", "slds")))]
    assert gone == [] and len(paths(text)) > 5


def test_agents_read_a_screenful():
    assert len(AGENTS.splitlines()) <= 42 and max(map(len, AGENTS.splitlines())) <= 120


def test_the_command_that_agents_are_given_is_a_config():
    run = yaml.safe_load(re.search(r"--config 'run=(\{.*\})'", AGENTS)[1].replace("NAME", "slds"))
    files = ("resources/datasets.yaml", "config.yaml")
    config = {key: value for file in files for key, value in yaml.safe_load((ROOT / file).read_text()).items()}
    config["run"] |= run
    check_config(config, ROOT / "schemas/config.schema.yaml")


def test_a_release_has_one_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {project, yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]} == {nlbflow.__version__}
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)[1]
    assert newest in ("Unreleased", nlbflow.__version__)


def test_the_catalog_finds_what_it_asks_for_but_the_folder():
    assert (ROOT / "config/README.md").is_file() and (ROOT / "Snakefile").is_file()
    asked = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert asked.keys() == {"mandatory-flags", "software-stack-deployment", "report"}
    told = (ROOT / "config/README.md").read_text()
    assert not (ROOT / "workflow").exists() and "workflow/Snakefile" in told
