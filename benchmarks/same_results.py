"""Whether a change of the code changed a result: one config run with another commit's code and with this one's.

    python benchmarks/same_results.py COMMIT [--configfile FILE ...] [--config KEY=VALUE ...]

Compared are all arrays of input.h5, target.h5 and prediction.h5, and byte for byte all tables but costs.csv, which
holds seconds, and leaderboard.html, which holds dates. The last line is a JSON object: `arrays` and `tables` compared,
`different` and `missing` names, `seconds` of each run.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
TABLES = (".csv", ".md", ".tex")
NOT_THE_SAME = ("costs.csv", "candidates.csv")


def run(code: Path, work: Path, arguments: list[str]) -> float:
    """Run the workflow of some code in a folder; its seconds."""
    work.mkdir()
    started = time.monotonic()
    command = [sys.executable, "-m", "snakemake", "-s", str(code / "Snakefile"), "--cores", "2", *arguments]
    with open(work / "snakemake.log", "w") as log:
        done = subprocess.run(command, cwd=work, stdout=log, stderr=log)
    if done.returncode:
        raise SystemExit(f"the run of {code} failed; see {work}/snakemake.log")
    return time.monotonic() - started


def arrays(path: Path) -> dict[str, np.ndarray]:
    """All datasets of a file by name."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def same(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype == object:
        return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def compare(before: Path, after: Path) -> dict:
    """What two results folders have in common, and what differs."""
    found = {"arrays": 0, "tables": 0, "different": [], "missing": []}
    for path in sorted(p for p in before.rglob("[!.]*") if p.is_file()):
        name = path.relative_to(before).as_posix()
        table = path.suffix in TABLES and path.name not in NOT_THE_SAME
        if not (table or path.name in ("input.h5", "target.h5", "prediction.h5")):
            continue
        if not (after / name).is_file():
            found["missing"].append(name)
        elif table:
            found["tables"] += 1
            if path.read_bytes() != (after / name).read_bytes():
                found["different"].append(name)
        else:
            ours, theirs = arrays(after / name), arrays(path)
            found["missing"] += [f"{name}/{key}" for key in theirs.keys() ^ ours.keys()]
            found["arrays"] += len(theirs)
            shared = theirs.keys() & ours.keys()
            found["different"] += [f"{name}/{key}" for key in shared if not same(theirs[key], ours[key])]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit")
    asked, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        subprocess.run(
            ["git", "worktree", "add", "-q", "--detach", str(place / "code"), asked.commit], cwd=ROOT, check=True
        )
        try:
            seconds = {asked.commit: run(place / "code", place / "before", arguments)}
            seconds["here"] = run(ROOT, place / "after", arguments)
            found = compare(place / "before/results", place / "after/results")
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(place / "code")], cwd=ROOT, check=True)
    print(json.dumps({**found, "seconds": {name: round(s, 1) for name, s in seconds.items()}}))


if __name__ == "__main__":
    main()
