"""The documentation works as written: its commands are run in a fresh copy of the project, its links lead somewhere."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from workflow import ROOT, copy_code

PAGES = sorted((ROOT / "docs").glob("*.md"))
BESIDE = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "AGENTS.md", "config/README.md")]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDS = ("network", "slurm", "gpu", "podman", "docker", "apptainer", "bucket", "kubernetes")


def steps(page: Path) -> list[tuple[str, str, str]]:
    """(language, what its first comment says, text) of the blocks that a reader runs or saves, in their order."""
    found = []
    for language, text in BLOCK.findall(page.read_text()):
        comment = re.match(r"# (.+)\n", text)
        if language == "sh":
            found.append((language, comment[1] if comment else "", text))
        elif language in ("yaml", "python") and comment and re.fullmatch(r"[\w.-]+\.(yaml|py)", comment[1]):
            found.append((language, comment[1], text))
    return found


def skipped(step: tuple[str, str, str]) -> bool:
    return step[0] == "sh" and step[1].startswith("needs: ")


def runs(page: Path) -> bool:
    return any(step[0] == "sh" and not skipped(step) for step in steps(page))


@pytest.mark.parametrize("page", [page for page in PAGES if runs(page)], ids=lambda p: p.name)
def test_commands_work_as_written(page, tmp_path):
    clone = copy_code(tmp_path / "clone")
    for part in ("Makefile", "configs"):
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, clone / part)
    # a third of the simulated sessions, in less time
    definitions = clone / "resources/datasets.yaml"
    catalogue = yaml.safe_load(definitions.read_text())
    for stanza in catalogue["datasets"].values():
        for key in {"conditions", "train_trials", "val_trials", "test_trials"} & stanza.get("simulator", {}).keys():
            stanza["simulator"][key] = -(-stanza["simulator"][key] // 3)
    definitions.write_text(yaml.safe_dump(catalogue, sort_keys=False))
    # and figures in the formats that page and paper take
    figures = clone / "scripts/nlbflow/figures/__init__.py"
    text = figures.read_text()
    assert 'FORMATS = ("svg", ' in text
    figures.write_text(text.replace('FORMATS = ("svg", ', "FORMATS = ("))
    (clone / ".venv").symlink_to(sys.prefix)
    for step in steps(page):
        language, first, text = step
        if language != "sh":
            (clone / first).write_text(text)
        elif not skipped(step):
            done = subprocess.run(["bash", "-euc", text], cwd=clone, capture_output=True, text=True, timeout=900)
            assert done.returncode == 0, f"{page.name}:\n{text}\n{done.stdout[-2000:]}{done.stderr}"


def test_what_is_not_run_says_why():
    """Commands for machines that a test does not have are few, and name what they need."""
    left_out = [step for page in PAGES for step in steps(page) if skipped(step)]
    assert all(first.removeprefix("needs: ") in NEEDS for _, first, _ in left_out)
    assert len(left_out) < sum(language == "sh" for page in PAGES for language, *_ in steps(page)) / 2


@pytest.mark.parametrize("page", [*BESIDE, *PAGES], ids=lambda p: p.name)
def test_links_between_pages_resolve(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" not in link:
            path, _, heading = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f"{page.name} links to {link}"
            headings = (
                [h.lower().replace(" ", "-") for h in re.findall(r"^#+ (.+)$", target.read_text(), re.M)]
                if heading
                else []
            )
            assert not heading or heading in headings, f"{page.name} links to {link}"


def test_readme_leads_to_every_page():
    assert all(f"(docs/{page.name}" in (ROOT / "README.md").read_text() for page in PAGES)
