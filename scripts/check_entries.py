"""Score the entries of a pull request: python scripts/check_entries.py BASE HEAD [snakemake's words ...]

BASE is the commit that the pull request starts from, and is checked out; HEAD is the pull request. Only its files
entry.yaml are taken, so none of its code runs here: an entry with a model file is named and not run. The boards, or
what is wrong, go to the file that GITHUB_STEP_SUMMARY names, or to the screen.
"""

import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from nlbflow.planning.entries import FILE, fault_of_name, load_entry

SHOWN = 20
WHAT = {"A": "adds", "M": "changes", "D": "deletes"}


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def changed_files(base: str, head: str) -> list[tuple[str, str]]:
    """(status, file) of all that differs at `head` since it left `base`; the status is A, M, D or another letter."""
    words = git("diff", "--name-status", "--no-renames", "-z", f"{base}...{head}").split("\0")[:-1]
    return [*zip(words[::2], words[1::2], strict=True)]


def check(name: str, words: list[str]) -> tuple[bool, str]:
    """Whether an entry is scored, and its board or what is wrong."""
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "all", "entry"]
    board = Path("results/leaderboard.md")
    board.unlink(missing_ok=True)
    done = subprocess.run(
        [*command, "--config", f"entry={name}", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    print(done.stdout)
    if done.returncode == 0:
        return True, board.read_text()
    said = [line for line in done.stdout.splitlines() if name in line or line.startswith("nlbflow:")]
    return False, _quoted("It cannot be scored:", said[-SHOWN:])


def _quoted(sentence: str, lines: list[str]) -> str:
    text = "\n".join(lines).replace("`", "'")
    return f"{sentence}\n\n```\n{text}\n```"


def told_of(name: str, status: str, head: str, models: list[str], words: list[str]) -> tuple[bool, str]:
    """Whether all is well with one entry of the pull request, and what is told of it."""
    if fault := fault_of_name(name, models):
        return False, f"It cannot be taken: {fault}."
    git("checkout", head, "--", f"entries/{name}/{FILE}")
    try:
        about = load_entry(ROOT / "entries" / name / FILE)
    except Exception:
        about = {}  # whatever is wrong with it is said when it is checked
    if "model" in about:
        return False, "It has a model file, which is not run here: a maintainer reads it and runs it by hand."
    good, told = check(name, words)
    return good, told if status == "A" else f"It changes an entry that is there already.\n\n{told}"


def main(base: str, head: str, words: list[str]) -> int:
    models = [*yaml.safe_load((ROOT / "config.yaml").read_text())["models"]]
    entries, others = {}, []
    for status, file in changed_files(base, head):
        parts = Path(file).parts
        if status in ("A", "M") and len(parts) == 3 and parts[0] == "entries" and parts[2] == FILE:
            entries[parts[1]] = status
        else:
            others.append(f"{WHAT.get(status, 'changes')} {file!a}")
    report, good = [], not others and bool(entries)
    if others:
        report.append(_quoted(f"An entry comes alone, as entries/NAME/{FILE}; this pull request also", others[:SHOWN]))
    if not entries:
        report.append("No entry was added or changed.")
    for name, status in sorted(entries.items()):
        scored, told = told_of(name, status, head, models, words)
        good = good and scored
        report.append(f"## {ascii(name)[1:-1]}\n\n{told}")
    target = os.environ.get("GITHUB_STEP_SUMMARY")
    with open(target, "a") if target else open(sys.stdout.fileno(), "w", closefd=False) as summary:
        summary.write("\n\n".join(report) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
