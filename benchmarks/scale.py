"""What nlbflow costs beside the work itself, for 100, 1,000 and 10,000 predictions.

    python benchmarks/scale.py

- plan: wall and CPU seconds and peak memory of `snakemake -n` before anything is there, for many models x seeds x
  datasets.
- finished: the same for the whole benchmark (configs/nlb21.yaml with every shipped model) with all results present:
  empty stand-ins, recorded by Snakemake as made with the present code.
- scoring: 100 real predictions of small simulated sessions, on two cores. What a job takes beyond its own work is the
  start of Python, imports, and Snakemake.
- tables: seconds of collecting the scores of so many predictions, copies of those, into all long tables.

Nothing is written outside a temporary folder. The last line is one JSON object.
"""

import json
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
CORES = 2
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


def main() -> None:
    if not PYTHON.exists():
        sys.exit(f"{PYTHON} does not exist; run `make demo` first, which makes the project's environment.")
    plan_seconds, plan_cpu_seconds, plan_gb, table_seconds = {}, {}, {}, {}
    with tempfile.TemporaryDirectory(prefix="nlbflow-scale-") as scratch:
        for size in SIZES:
            folder = Path(scratch, str(size))
            config = write_config(folder, *SIZES[size], file="gru.py")
            dry = measure(*snakemake(folder, config, "-n"))
            plan_seconds[size], plan_cpu_seconds[size], plan_gb[size] = dry.seconds, dry.cpu_seconds, dry.peak_mb / 1000
            print(
                f"plan, {size:>6,} predictions: {dry.seconds:6.1f} s (CPU {dry.cpu_seconds:5.1f} s) "
                f"{plan_gb[size]:5.2f} GB",
                flush=True,
            )
        done = plan_finished(Path(scratch, "finished"))
        print(
            f"plan, whole benchmark finished: {done.seconds:.1f} s (CPU {done.cpu_seconds:.1f} s) "
            f"{done.peak_mb / 1000:.2f} GB",
            flush=True,
        )
        scored = Path(scratch, "scored")
        per_second, overhead = score_all(scored)
        print(f"scoring: {per_second:.2f} predictions/s; {overhead:.2f} s per job beyond its own work", flush=True)
        for size in SIZES:
            table_seconds[size] = float(measure(PYTHON, __file__, "tables", scored, size).output)
            print(f"tables, {size:>6,} predictions: {table_seconds[size]:6.2f} s", flush=True)
    figures = {
        "plan_seconds": plan_seconds,
        "plan_cpu_seconds": plan_cpu_seconds,
        "plan_gb": plan_gb,
        "finished_plan_seconds": done.seconds,
        "finished_plan_cpu_seconds": done.cpu_seconds,
        "scored_per_second": per_second,
        "overhead_seconds_per_job": overhead,
        "table_seconds": table_seconds,
    }
    print(json.dumps(figures))


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
    for line in measure(*snakemake(folder, config, "--summary")).output.splitlines()[1:]:
        stand_in = folder / line.split("\t")[0]
        stand_in.parent.mkdir(parents=True, exist_ok=True)
        stand_in.touch()
    measure(PYTHON, __file__, *snakemake(folder, config, "--touch", "--quiet", "all")[3:])
    dry = measure(*snakemake(folder, config, "-n"))
    if "Nothing to be done" not in dry.output:
        sys.exit(f"The stand-ins do not count as finished:\n{dry.output[-2000:]}")
    return dry


def score_all(folder: Path) -> tuple[float, float]:
    """Predictions scored per second, and seconds of a scoring job beyond its work, in a real run."""
    datasets, bins, phases, *_ = SIZES[100]
    config = write_config(folder, datasets, bins, phases, 20, 1, file="mean_rate.py")
    measure(*snakemake(folder, config, "--quiet", "all"))
    started = time.perf_counter()
    measure(*snakemake(folder, config, "--quiet", "all", "--forcerun", "score", "--until", "score"))
    seconds = time.perf_counter() - started
    entries = [json.loads(path.read_text()) for path in folder.glob("results/session*/*/*/*/*/scores.json")]
    work = sum(entry["provenance"]["score"]["seconds"] for entry in entries)
    return len(entries) / seconds, (seconds * CORES - work) / len(entries)


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
    if not step:
        main()
    elif step == "all_models":
        write_all_models(rest[0])
    elif step == "tables":
        time_tables(*rest[:2])
    else:
        record_stand_ins(*sys.argv[1:])
