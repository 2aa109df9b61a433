"""Score the entries that a pull request adds or changes: python scripts/check_entries.py BASE [snakemake's words ...]

BASE is the commit that the pull request starts from. Only entry files are taken from it: an entry with a model file is
named and not run, because a stranger's code would run on the machine that checks it. The boards, or what is wrong, go
to the file that GITHUB_STEP_SUMMARY names, or to the screen.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from nlbflow.errors import NlbflowError
from nlbflow.planning.entries import FILE, load_entry


def changed_files(base: str) -> list[str]:
    """The files that the present commit adds or changes since it left `base`."""
    words = ["git", "diff", "--name-only", "-z", "--diff-filter=d", f"{base}...HEAD"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]


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
    text = "\n".join(said[-20:]).replace("`", "'")
    return False, f"It cannot be scored:\n\n```\n{text}\n```"


def has_model(name: str) -> bool:
    """Whether an entry asks for a model file to be run; what else is wrong with it is said when it is checked."""
    try:
        return "model" in load_entry(ROOT / "entries" / name / FILE)
    except NlbflowError:
        return False


def main(base: str, words: list[str]) -> int:
    changed = [Path(file) for file in changed_files(base)]
    entries = sorted({file.parts[1] for file in changed if file.parts[0] == "entries" and len(file.parts) > 2})
    others = [str(file) for file in changed if file.parts[0] != "entries" or len(file.parts) != 3]
    parts, good = [], True
    if others:
        good = False
        parts.append(f"An entry comes alone, as entries/NAME/{FILE}; this pull request also changes {others[:5]!a}.")
    if not entries:
        parts.append("No entry was added or changed.")
    for name in entries:
        if has_model(name):
            good, told = False, "It has a model file, which is not run here: a maintainer reads it and runs it by hand."
        else:
            scored, told = check(name, words)
            good = good and scored
        parts.append(f"## {ascii(name)[1:-1]}\n\n{told}")
    target = os.environ.get("GITHUB_STEP_SUMMARY")
    with open(target, "a") if target else open(sys.stdout.fileno(), "w", closefd=False) as summary:
        summary.write("\n\n".join(parts) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
