"""The results stage (tables, leaderboards, figures of scores, page, paper) on made-up results of 40 models x 7 datasets
x 2 bins x 5 seeds.

    python benchmarks/results.py [FOLDER]

Runs Snakemake as a user does, from the long tables on, in a temporary folder or in FOLDER, which is kept to be looked
at; the page, which is made from each prediction's own scores, is built by its function alone. The figures of
predictions are stand-ins: there are none to draw. The bar is 60 s for everything. The last line is one JSON object:
seconds of the whole and of each rule, the number of tables, and the size of the PDF, 0 without LaTeX.
"""

import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from side_by_side import ROOT

sys.path += [str(ROOT / "scripts"), str(ROOT / "tests/helpers")]

import numpy as np
from matplotlib.figure import Figure

from fake_page import parts
from fake_results import DATASETS, fake_results
from nlbflow.boards.page import leaderboard_page
from nlbflow.figures import figure_name
from nlbflow.running.files import write_arrays, write_json

# what the stage consists of, and the files that ask for all of it
RULES = ("leaderboard", "boards", "plot_scores", "plot_pipeline", "paper")
TARGETS = ("results/leaderboard.md", "results/paper")
# training trials in phase val; of the others they are not drawn
TRIALS = {"mc_maze": 1721, "mc_maze_large": 375, "mc_maze_medium": 188, "mc_maze_small": 75}
OF_SCORES = ("scores", "ranks", "front", "neurons")
# each drawn by a rule for each place, from its data or its predictions
OF_PLACES = ("dataset", "trials", "psths", "latents", "learning", "structure", "speed")
RUN = {"datasets": [*DATASETS], "bin_ms": [5, 20], "phases": ["val"], "models": ["smoothing"], "seeds": [*range(5)]}


def stand_in(folder: Path, kinds: tuple[str, ...], phase: str) -> None:
    """Empty figures, of each place, and of the MC_Maze family and the pipeline where those of scores are not drawn."""
    places = [(dataset, bin_ms) for dataset in DATASETS for bin_ms in RUN["bin_ms"]]
    names = [figure_name(kind, *place, phase) for kind in kinds for place in places]
    if set(OF_SCORES) <= set(kinds):
        names += ["pipeline", *(figure_name("scaling", "mc_maze", bin_ms, phase) for bin_ms in RUN["bin_ms"])]
    (folder / "results/figures").mkdir(parents=True)
    for name in names:
        Figure((1, 1)).savefig(folder / f"results/figures/{name}.pdf", metadata={"CreationDate": None})


def run_stage(folder: Path, phase: str = "val", draw: bool = True) -> float:
    """Run the stage in `folder` as a user does, from the long tables on, with or without figures of scores; seconds."""
    fake_results(folder / "results", phase=phase)
    stand_in(folder, OF_PLACES if draw else OF_PLACES + OF_SCORES, phase)
    for dataset in DATASETS:
        for bin_ms in RUN["bin_ms"]:
            tensors = folder / f"results/{dataset}/{bin_ms}ms/{phase}/input.h5"
            tensors.parent.mkdir(parents=True, exist_ok=True)
            counts = np.zeros((TRIALS.get(dataset, 1), 1, 1), np.uint8)
            write_arrays(tensors, {"train_spikes_heldin": counts}, {})
    write_json(folder / "config.json", {"run": {**RUN, "phases": [phase]}})
    snakemake = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "1"]
    rules = [rule for rule in RULES if draw or not rule.startswith("plot_")]
    options = ["--allowed-rules", *rules, "--configfile", "config.json", "--"]
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
    made = parts()
    started = time.perf_counter()
    page = leaderboard_page(**made)
    figures["page_s"] = round(time.perf_counter() - started, 2)
    figures["seconds"] = round(figures["seconds"] + figures["page_s"], 1)
    figures["page_bytes"] = len(page.encode())
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
