"""Make the public board and lay it out for a static host: python scripts/publish_board.py SITE [snakemake's words ...]

Entries that cannot be scored have their rows with the reason and do not keep the board from being published; any other
failure does.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from nlbflow.boards.changes import compare_builds
from nlbflow.errors import NlbflowError
from nlbflow.planning.unfinished import UNFINISHED, Unfinished

# what the page links to, and what stands for it where there is no JavaScript
SHOWN = ("leaderboard.html", "leaderboard.md", "leaderboard.json", "scores.csv", "ranks.csv", "differences.csv")

# this board, the one that was published last, and the feed of what changed from one to the next
BOARD, LAST, FEED = (Path("results", name) for name in ("leaderboard.json", "published.json", "changes.atom"))


def of_entries(unfinished: Unfinished, names: list[str]) -> bool:
    """Whether all that failed are files, checks, predictions and scores of these entries; false if nothing did."""
    files = [Path(file) for failure in unfinished.failures for file in failure.files]
    return bool(files) and all(_entry_of(file) in names for file in files)


def _entry_of(file: Path) -> str | None:
    """The model that a file is of, by where it lies; an entry is one."""
    match file.parts:
        case ("data", "entries", name, _) | ("results", _, _, _, name, _, _):
            return name
        case ("results", "checks", check):
            return Path(check).stem
    return None


def tell_changes() -> None:
    """Extend the feed by what differs from the board that was published last, and keep this one for the next time."""
    try:
        if LAST.is_file():
            compare_builds(LAST, BOARD, FEED)
    except NlbflowError as error:
        # an old board that cannot be read is no reason to hide the new one
        print(f"nlbflow: {error}", file=sys.stderr)
    shutil.copyfile(BOARD, LAST)


def main(site: Path, words: list[str]) -> int:
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "all", "entries"]
    # of an earlier run it would excuse whatever happens in this one
    UNFINISHED.unlink(missing_ok=True)
    began = time.time()
    done = subprocess.run([*command, "--keep-going", *words])
    names = [path.name for path in (ROOT / "entries").glob("*") if path.is_dir()]
    if done.returncode and not (UNFINISHED.is_file() and of_entries(Unfinished.read(), names)):
        print("nlbflow: the board is not published, because more failed than entries", file=sys.stderr)
        return 1
    if done.returncode and BOARD.stat().st_mtime < began:
        print("nlbflow: the board is not published, because it was not made anew", file=sys.stderr)
        return 1
    site.mkdir(parents=True, exist_ok=True)
    for name in SHOWN:
        shutil.copyfile(Path("results") / name, site / name)
    shutil.copyfile(site / "leaderboard.html", site / "index.html")
    tell_changes()
    if FEED.is_file():
        shutil.copyfile(FEED, site / FEED.name)
    print(f"nlbflow: the board lies in {site}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
