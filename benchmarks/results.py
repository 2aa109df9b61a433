"""The results stage (tables, leaderboards, paper) on made-up results of 40 models x 7 datasets x 2 bins x 5 seeds.

    python benchmarks/results.py [FOLDER]

Runs Snakemake as a user does, from the long tables on, in a temporary folder or in FOLDER, which is kept to be looked
at. The bar is 60 s for everything. The last line is one JSON object: seconds of the whole and of each rule, the number
of tables, and the size of the PDF, 0 without LaTeX.
"""

import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from side_by_side import ROOT

sys.path += [str(ROOT / "scripts"), str(ROOT / "tests")]

from fake_results import DATASETS, fake_results
from nlbflow.files import write_json

# what the stage consists of, and the files that ask for all of it
RULES = ("leaderboard", "boards", "paper")
TARGETS = ("results/leaderboard.md", "results/paper")
RUN = {"datasets": [*DATASETS], "bin_ms": [5, 20], "phases": ["val"], "models": ["smoothing"], "seeds": [*range(5)]}


def run_stage(folder: Path, phase: str = "val") -> float:
    """Run the stage in `folder` as a user does, from the long tables on; seconds."""
    fake_results(folder / "results", phase=phase)
    write_json(folder / "config.json", {"run": {**RUN, "phases": [phase]}})
    snakemake = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "1"]
    options = ["--allowed-rules", *RULES, "--configfile", "config.json", "--"]
    started = time.perf_counter()
    done = subprocess.run([*snakemake, *options, *TARGETS], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - started


def main(folder: Path) -> None:
    figures = {"seconds": round(run_stage(folder), 1)}
    for rule in RULES:
        with open(folder / f"logs/{rule}.benchmark.tsv") as file:
            figures[f"{rule}_s"] = float(next(csv.DictReader(file, delimiter="\t"))["s"])
    figures["tables"] = len(list((folder / "results/tables").glob("*.csv")))
    figures["pdf_bytes"] = sum(path.stat().st_size for path in (folder / "results/paper").glob("main.pdf"))
    print((folder / "logs/paper.log").read_text().strip())
    print(json.dumps(figures))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as kept:
            main(Path(kept))
