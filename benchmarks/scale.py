"""What nlbflow costs beside the work itself, for 100, 1,000 and 10,000 predictions.

    python benchmarks/scale.py [--larger]

- plan: wall and CPU seconds and peak memory of `snakemake -n` before anything is there, for many models x seeds x
  datasets; with `--larger` also for 100,000 predictions, which takes about ten minutes.
- finished: the same for the whole benchmark (configs/nlb21.yaml with every shipped model) with all results present:
  empty stand-ins, recorded by Snakemake as made with the present code.
- scoring: so many real predictions of small simulated sessions, on two cores, with the plan and Snakemake's own work.
  They are the files of one training for each place, under the names of all models and seeds.
- tables: seconds of collecting the scores of so many predictions, copies of those, into all long tables.

Nothing is written outside a temporary folder. The last line is one JSON object.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from side_by_side import PYTHON, ROOT, Measured, measure

# what JSON can say is YAML too, so that no package is needed here
SIZES = {
    # predictions: (datasets, bins, phases, models, seeds)
    100: (5, [5], ["val"], 10, 2),
    1_000: (5, [5, 20], ["val", "test"], 10, 5),
    10_000: (5, [5, 20], ["val", "test"], 50, 10),
}
LARGER = {100_000: (5, [5, 20], ["val", "test"], 200, 25)}
CORES = 2
# many seeds of a few models, because each model is checked
SCORED = {
    100: (5, [5], ["val"], 2, 10),
    1_000: (5, [5, 20], ["val", "test"], 5, 10),
    10_000: (5, [5, 20], ["val", "test"], 5, 100),
}
MODEL = '''"""The mean of the training trials, bin by bin, as if it had seeds."""

import numpy as np

DEFAULTS = {}


def predict(data, params, seed):
    rates = {}
    for group in ("heldin", "heldout"):
        mean = getattr(data, f"train_spikes_{group}").mean(axis=0)
        rates[f"train_rates_{group}"] = np.repeat(mean[None], len(data.train_spikes_heldin), axis=0)
        rates[f"eval_rates_{group}"] = np.repeat(mean[None], len(data.eval_spikes_heldin), axis=0)
    return rates
'''
SESSION = {"conditions": 3, "train_trials": 12, "val_trials": 6, "test_trials": 6, "heldin": 12, "heldout": 6}
DATASET = {
    "title": "Simulated",
    "citation": "nlbflow",
    "license": "MIT",
    "source": "simulator",
    "align": "move_onset_time",
    "window_ms": [-250, 450],
    "forward_ms": 200,
    "behavior": {"series": "hand_vel", "lag_ms": 120},
    "conditions": ["trial_type", "trial_version"],
    "psth_kernel_ms": 50,
}


def main(larger: bool) -> None:
    if not PYTHON.exists():
        sys.exit(f"{PYTHON} does not exist; run `make demo` first, which makes the project's environment.")
    plans, scorings, table_seconds = {}, {}, {}
    with tempfile.TemporaryDirectory(prefix="nlbflow-scale-") as scratch:
        for size, shape in {**SIZES, **(LARGER if larger else {})}.items():
            folder = Path(scratch, str(size))
            plans[size] = measure(*snakemake(folder, write_config(folder, *shape, file="gru.py"), "-n"))
            print(f"plan, {size:>7,} predictions: {told(plans[size])}", flush=True)
        done = plan_finished(Path(scratch, "finished"))
        print(f"plan, whole benchmark finished: {told(done)}", flush=True)
        for size, shape in SCORED.items():
            scored = Path(scratch, f"scored{size}")
            scorings[size] = score_all(scored, shape)
            print(
                f"scoring, {size:>7,} predictions: {size / scorings[size].seconds:.2f} a second, "
                f"{scorings[size].cpu_seconds / size:.3f} s of CPU each",
                flush=True,
            )
        for size in SIZES:
            table_seconds[size] = float(measure(PYTHON, __file__, "tables", scored, size).output)
            print(f"tables, {size:>7,} predictions: {table_seconds[size]:6.2f} s", flush=True)
    figures = {
        "plan_seconds": {size: plan.seconds for size, plan in plans.items()},
        "plan_cpu_seconds": {size: plan.cpu_seconds for size, plan in plans.items()},
        "plan_gb": {size: plan.peak_mb / 1000 for size, plan in plans.items()},
        "finished_plan_seconds": done.seconds,
        "finished_plan_cpu_seconds": done.cpu_seconds,
        "scored_per_second": {size: size / scoring.seconds for size, scoring in scorings.items()},
        "scoring_cpu_seconds_each": {size: scoring.cpu_seconds / size for size, scoring in scorings.items()},
        "table_seconds": table_seconds,
    }
    print(json.dumps(figures))


def told(plan: Measured) -> str:
    """Seconds and memory of a plan, for reading."""
    return f"{plan.seconds:6.1f} s (CPU {plan.cpu_seconds:5.1f} s) {plan.peak_mb / 1000:5.2f} GB"


def write_config(folder: Path, datasets: int, bins: list, phases: list, models: int, seeds: int, file: str) -> Path:
    """A config with so many datasets and models, each model with parameters of its own where the file has any."""
    folder.mkdir()
    names = [f"session{i}" for i in range(datasets)]
    stanzas = {
        f"model{i}": {"file": file, **({"params": {"width": 8 + i}} if file == "gru.py" else {})} for i in range(models)
    }
    content = {
        "run": {"datasets": names, "bin_ms": bins, "phases": phases, "models": [*stanzas], "seeds": [*range(seeds)]},
        "datasets": {name: {**DATASET, "simulator": {"seed": i, **SESSION}} for i, name in enumerate(names)},
        "models": stanzas,
    }
    path = folder / "config.yaml"
    path.write_text(json.dumps(content))
    return path


def snakemake(folder: Path, config: Path, *arguments: str) -> list:
    base = [PYTHON, "-m", "snakemake", "-s", ROOT / "Snakefile", "-d", folder, "--cores", CORES]
    return [*base, *arguments, "--configfile", config]


def plan_finished(folder: Path) -> Measured:
    """A dry run of the whole benchmark whose results are all there.

    Raises:
        SystemExit: the stand-ins were not taken for finished results.
    """
    folder.mkdir()
    config = folder / "all_models.yaml"
    measure(PYTHON, __file__, "all_models", config)
    paths = [line.split("\t")[0] for line in measure(*snakemake(folder, config, "--summary")).output.splitlines()[1:]]
    # a first run moves tables and figures away, because no run has said whose they are
    for _ in range(2):
        for path in paths:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).touch()
        measure(PYTHON, __file__, *snakemake(folder, config, "--touch", "--quiet", "all")[3:])
    dry = measure(*snakemake(folder, config, "-n"))
    if "Nothing to be done" not in dry.output:
        sys.exit(f"The stand-ins do not count as finished:\n{dry.output[-2000:]}")
    return dry


def score_all(folder: Path, shape: tuple) -> Measured:
    """A run that scores all predictions, which are there, and nothing else.

    Raises:
        SystemExit: a prediction was not scored.
    """
    config = write_config(folder, *shape, file=str(folder / "model.py"))
    (folder / "model.py").write_text(MODEL)
    datasets, bins, phases, models, seeds = shape
    places = [f"results/session{i}/{b}ms/{phase}" for i in range(datasets) for b in bins for phase in phases]
    # these keep the whole plan's stamps, which must be older than the predictions
    measure(*snakemake(folder, config, "--quiet", "all", "--until", "tensors", "targets", "check_model"))
    first = [f"{place}/model0/0/prediction.h5" for place in places]
    measure(*snakemake(folder, config, *first, "--quiet", "all"))
    for place in places:
        made = [path for path in (folder / place / "model0/0").iterdir() if "prediction.h5" in path.name]
        for model, seed in [(model, seed) for model in range(models) for seed in range(seeds)][1:]:
            run = folder / place / f"model{model}/{seed}"
            run.mkdir(parents=True)
            for path in made:
                os.link(path, run / path.name)
    scoring = measure(*snakemake(folder, config, "--quiet", "all", "--until", "score"))
    found = len([*folder.glob("results/session*/*/*/*/*/scores.json")])
    expected = len(places) * (models * seeds + 1)
    if found != expected:
        sys.exit(f"{found} predictions and null rows were scored; expected {expected}.")
    return scoring


# The parts below run in the project's environment.


def write_all_models(path: str) -> None:
    """configs/nlb21.yaml with every shipped model."""
    import yaml

    run = yaml.safe_load((ROOT / "configs/nlb21.yaml").read_text())["run"]
    Path(path).write_text(
        json.dumps({"run": {**run, "models": [*yaml.safe_load((ROOT / "config.yaml").read_text())["models"]]}})
    )


def time_tables(folder: str, size: str) -> None:
    """Collect copies of real scores, each under a seed of its own, and print the seconds."""
    sys.path.append(str(ROOT / "scripts"))
    from nlbflow.boards.tables import cost_table, neuron_table, score_table

    paths = sorted(Path(folder).glob("results/session*/*/*/*/*/scores.json"))
    started = time.perf_counter()
    entries = [{**json.loads(paths[i % len(paths)].read_text()), "seed": i} for i in range(int(size))]
    for name, table in (("scores", score_table), ("costs", cost_table), ("neurons", neuron_table)):
        table(entries).to_csv(Path(folder, f"{name}.csv"), index=False)
    print(time.perf_counter() - started)


def record_stand_ins(*arguments: str) -> None:
    """`snakemake --touch` without the pause that it makes at each file."""
    from snakemake.cli import main as snakemake_main
    from snakemake.executors import touch

    touch.Executor.SLEEPING_TIME = 0
    snakemake_main([*arguments])


if __name__ == "__main__":
    step, *rest = [*sys.argv[1:], ""]
    if step in ("", "--larger"):
        main(larger=step == "--larger")
    elif step == "all_models":
        write_all_models(rest[0])
    elif step == "tables":
        time_tables(*rest[:2])
    else:
        record_stand_ins(*sys.argv[1:])
