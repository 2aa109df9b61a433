"""What a run says it is about to do, and the profiles that say where."""

import pytest
import yaml

from nlbflow.archive.pins import read_pins
from nlbflow.running.gpus import most_hours
from workflow import ROOT, copy_code, run

PROFILES = ROOT / "profiles"


def test_plan_line(tmp_path, two_gpus, monkeypatch):
    monkeypatch.setenv("PATH", two_gpus)
    config = tmp_path / "config.yaml"
    config.write_text(
        """
        run: {datasets: [mc_maze_small], bin_ms: [5], phases: [val, test], models: [smoothing, my_gpu], seeds: [0, 1]}
        models:
          my_gpu: {file: gru.py, resources: {gpu: 2, runtime: 90}}
        """
    )
    settings = yaml.safe_load((ROOT / "config.yaml").read_text())
    pins = read_pins(ROOT / settings["pins"])["mc_maze_small"]
    gigabytes = (sum(pin.bytes for pin in pins.values()) + settings["published_answers"]["bytes"]) / 1e9
    # three files, two phases (tensors, targets, three trainings, two of scores, a comparison, three figures), two
    # checks, five tables and pages, two figures and `all`; four trainings on two GPUs for an hour and a half
    jobs = 3 + 2 * (2 + 3 + 2 + 1 + 3) + 2 + 5 + 2 + 1
    line = f"nlbflow: {jobs} jobs, {gigabytes:.2f} GB to fetch, at most 12.0 GPU hours (by the time limits)"
    assert line in run(ROOT, tmp_path / "work", "-n", "--quiet", config=config)


@pytest.mark.parametrize(
    ("asking", "gpus", "told"),
    [
        ([], False, "no job asks for a GPU"),
        ([(1, 1, 1440), (2, 4, 90)], True, "at most 27.0 GPU hours (by the time limits)"),
        ([(1, 1, 1440), (2, 4, 90)], False, "at most 30.0 CPU hours, as there is no GPU (by the time limits)"),
    ],
)
def test_hours_are_of_what_will_be_used(asking, gpus, told):
    assert most_hours(asking, gpus).startswith(told)


def test_threads_are_those_that_a_model_is_told_to_use(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(
        """
        run: {models: [smoothing, mine], phases: [val], seeds: [0]}
        models:
          mine: {file: autolfads.py, params: {threads: 2}, per_dataset: {simulated_maze: {threads: 3}}}
        """
    )
    code = copy_code(tmp_path / "code")
    with open(code / "Snakefile", "a") as file:
        # a dry run does not show a job's threads
        wildcards = 'SimpleNamespace(model="mine", dataset="simulated_maze", bin_ms="5")'
        file.write(f"\nfrom types import SimpleNamespace\nprint('asks for', model_threads({wildcards}))\n")
    assert "asks for 3" in run(code, tmp_path / "work", "-n", config=config)


def test_profiles_agree_where_they_say_the_same():
    usual, slurm = (yaml.safe_load((PROFILES / f"{name}/config.yaml").read_text()) for name in ("default", "slurm"))
    elsewhere = {"cores", "latency-wait"}
    assert {key: slurm.get(key) for key in usual.keys() - elsewhere} == {
        key: value for key, value in usual.items() if key not in elsewhere
    }


def test_every_stanza_fits_a_partition_also_when_sent_again():
    """Three times the memory and time of the largest, in the partitions as they are shipped."""
    limits = yaml.safe_load((PROFILES / "slurm/partitions.yaml").read_text())["partitions"]
    times = yaml.safe_load((PROFILES / "slurm/config.yaml").read_text())["retries"] + 1
    for model, stanza in yaml.safe_load((ROOT / "config.yaml").read_text())["models"].items():
        asked = stanza.get("resources", {})
        fitting = [
            name
            for name, limit in limits.items()
            if asked.get("gpu", 0) <= limit.get("max_gpu", 0)
            and asked.get("mem_mb", 0) * times <= limit["max_mem_mb"]
            and asked.get("runtime", 0) * times <= limit["max_runtime"]
        ]
        assert fitting, f"{model} fits no partition"


def test_an_image_that_is_not_there_is_named(tmp_path):
    output = run(ROOT, tmp_path / "work", "-n", "--software-deployment-method", "apptainer", fails=True)
    assert "the config key image names containers/nlbflow.sif, which does not exist; build it" in output
