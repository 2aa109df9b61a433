"""Results are made again exactly when what made them has changed."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from nlbflow import METRICS_VERSION
from nlbflow.running.checksums import seal_of
from workflow import SMALL, command, copy_code, copy_results, planned, reproducible, run


def edit(code: Path, file: str, old: str, new: str) -> None:
    path = code / file
    text = path.read_text()
    assert text.count(old) >= 1, f"{old!r} is not in {file}"
    path.write_text(text.replace(old, new, 1))


def kinds(jobs) -> set[str]:
    """The first word of every planned job's message."""
    return {message.split()[0] for message in jobs}


def test_finished_run_has_nothing_to_do(finished, tmp_path):
    assert not planned(finished[0], copy_results(finished[1], tmp_path / "work", ".snakemake"))


def test_plan_of_a_finished_run_reads_no_result(finished, tmp_path):
    """Only stamps and Snakemake's own records: with thousands of predictions everything else takes minutes."""
    code, work = finished[0], copy_results(finished[1], tmp_path / "work", ".snakemake")
    opened = tmp_path / "opened.txt"
    source = (
        "import sys; from snakemake.cli import main\n"
        f"log = open({str(opened)!r}, 'w', buffering=1)\n"
        "sys.addaudithook(lambda event, args: event == 'open' and print(args[0], file=log))\n"
        "main(sys.argv[1:])\n"
    )
    arguments = command(code, "-n")[3:]
    done = subprocess.run([sys.executable, "-c", source, *arguments], cwd=work, capture_output=True, text=True)
    assert done.returncode == 0 and "Nothing to be done" in done.stdout, done.stderr
    read = {line for line in opened.read_text().split("\n") if "results/" in line}
    assert any("stamps" in line for line in read)
    assert not {line for line in read if "stamps" not in line} - {"results/.running"}


ALONE = pytest.param((), id="results alone")
TOGETHER = pytest.param((".snakemake",), id="with .snakemake", marks=pytest.mark.slow)


@pytest.mark.parametrize("memory", [ALONE, TOGETHER])
class TestElsewhere:
    """A fresh clone of the code beside copied results."""

    def test_same_code_reruns_nothing(self, finished, tmp_path, memory):
        code = copy_code(tmp_path / "code")
        assert not planned(code, copy_results(finished[1], tmp_path / "work", *memory))

    def test_comment_and_docstring_rerun_nothing(self, finished, tmp_path, memory):
        code = copy_code(tmp_path / "code")
        edit(code, "scripts/nlbflow/metrics/formulas.py", '"""', '"""Reworded. ')
        edit(code, "scripts/models/smoothing.py", "DEFAULTS", "# a comment\n\nDEFAULTS")
        edit(code, "scripts/score.py", "import", "import  ")
        edit(code, "scripts/score_one.py", "import", "import  ")
        assert not planned(code, copy_results(finished[1], tmp_path / "work", *memory))

    def test_a_card_rewrites_the_page_alone(self, finished, tmp_path, memory):
        code = copy_code(tmp_path / "code")
        edit(code, "scripts/models/smoothing.py", "\nCost: ", "\nCost: nothing to speak of, ")
        jobs = planned(code, copy_results(finished[1], tmp_path / "work", *memory))
        assert [*jobs] == ["Writing the leaderboard page"]

    def test_what_is_told_of_a_dataset_rewrites_the_page_alone(self, finished, tmp_path, memory):
        code = copy_code(tmp_path / "code")
        told = "    task: Something else.\n    area: nowhere\n    links: {more: https://example.org}\n    align"
        edit(code, "resources/datasets.yaml", "    task: Simulated reaches, in the layout of MC_Maze_Small.\n", "")
        edit(code, "resources/datasets.yaml", "    align", told)
        jobs = planned(code, copy_results(finished[1], tmp_path / "work", *memory))
        assert [*jobs] == ["Writing the leaderboard page"]

    def test_metrics_rerun_scoring_and_what_follows(self, finished, tmp_path, memory):
        code = copy_code(tmp_path / "code")
        edit(code, "scripts/nlbflow/metrics/formulas.py", "import numpy as np\n", "import numpy as np\n\nADDED = 1\n")
        jobs = planned(code, copy_results(finished[1], tmp_path / "work", *memory))
        assert kinds(jobs) == {"Scoring", "Comparing", "Collecting", "Writing", "Drawing"}
        # in two bundles at each place
        assert sum(n for message, n in jobs.items() if message.startswith("Scoring")) == 4 * 2

    def test_one_model_reruns_its_jobs_only(self, finished, tmp_path, memory):
        code = copy_code(tmp_path / "code")
        (code / "scripts/models/smoothing.py").open("a").write("\nUNUSED = 1\n")
        jobs = planned(code, copy_results(finished[1], tmp_path / "work", *memory))
        changed = {"Checking", "Training"}
        # of what one job scores, only the predictions that change: test_many_predictions.py
        assert kinds(jobs) == changed | {"Scoring", "Comparing", "Collecting", "Writing", "Drawing"}
        assert sum(n for message, n in jobs.items() if message.startswith("Scoring")) == 4
        assert all("smoothing" in message for message in jobs if message.split()[0] in changed)

    def test_parameters_of_one_dataset_rerun_that_model(self, finished, tmp_path, memory):
        code = copy_code(tmp_path / "code")
        edit(code, "config.yaml", "    per_dataset:\n", "    per_dataset:\n      simulated_maze: {alpha: 0.3}\n")
        jobs = planned(code, copy_results(finished[1], tmp_path / "work", *memory))
        assert {m.split(",")[0] for m in jobs if m.startswith("Training")} == {"Training smoothing"}

    def test_an_environment_reruns_what_runs_in_it(self, finished, tmp_path, memory):
        code = copy_code(tmp_path / "code")
        edit(code, "envs/results.yaml", "pandas=", "pandas>=")
        jobs = planned(code, copy_results(finished[1], tmp_path / "work", *memory))
        assert kinds(jobs) == {"Collecting", "Writing", "Drawing"}

    def test_a_smaller_selection_rewrites_the_tables(self, finished, tmp_path, memory):
        code = copy_code(tmp_path / "code")
        config = tmp_path / "small.yaml"
        config.write_text(SMALL.read_text().replace("mean_rate, ", ""))
        work = copy_results(finished[1], tmp_path / "work", *memory)
        expected = {"Scoring", "Comparing", "Collecting", "Writing", "Drawing"}
        assert kinds(planned(code, work, config=config)) == expected
        run(code, work, "results/scores.csv", config=config)
        assert "mean_rate" not in (work / "results/scores.csv").read_text()


def test_dry_run_of_other_parameters_leaves_no_trace(finished, tmp_path):
    code, done = finished
    work = copy_results(done, tmp_path / "work")
    other = tmp_path / "other.yaml"
    other.write_text(SMALL.read_text() + "models: {smoothing: {params: {alpha: 0.7}}}\n")
    assert kinds(planned(code, work, config=other)) >= {"Training"}
    assert not planned(code, work)


def test_a_plan_changed_by_another_call_is_noticed_by_the_job(tmp_path):
    code = copy_code(tmp_path / "code")
    # the stamp says something else when the job runs than when it was planned
    edit(code, "scripts/nlbflow/running/job.py", "        _check_plan(stamp, smk)\n", TAMPER)
    output = run(code, tmp_path / "work", "results/checks/mean_rate.json", fails=True)
    assert "changed since this run was planned; run again" in output
    assert not (tmp_path / "work/results/checks/mean_rate.json").exists()


TAMPER = """        stamp.write_text('{"digest": "another"}')
        _check_plan(stamp, smk)
"""


def test_checkout_reached_by_a_link_is_the_same_code(finished, tmp_path):
    code = copy_code(tmp_path / "code")
    (tmp_path / "linked").symlink_to(code)
    work = copy_results(finished[1], tmp_path / "work")
    assert not planned(tmp_path / "linked", work)
    (code / "scripts/models/smoothing.py").open("a").write("\nUNUSED = 1\n")
    assert "Training" in kinds(planned(tmp_path / "linked", work))


def test_several_files_may_be_asked_for_by_name(tmp_path):
    place = "results/simulated_maze/5ms/val"
    jobs = planned(copy_code(tmp_path / "code"), tmp_path / "work", f"{place}/input.h5", f"{place}/target.h5")
    assert kinds(jobs) == {"Simulating", "Cutting", "Making"}


def test_touched_code_reruns_nothing(finished, tmp_path):
    code, work = copy_code(tmp_path / "code"), copy_results(finished[1], tmp_path / "work", ".snakemake")
    for path in code.rglob("*.py"):
        path.touch()
    assert not planned(code, work)


def test_scores_of_another_metrics_version_are_not_compared(finished, tmp_path):
    """Old results copied beside new ones are newer than the stamps."""
    code, work = finished[0], copy_results(finished[1], tmp_path / "work")
    place = "results/simulated_maze/20ms/val"
    (work / place / "comparison.json").unlink()
    # smoothing is the first of the second bundle
    for old in (work / place / "smoothing/0/scores.json", work / place / "scored/1.json"):
        now, before = (f'"metrics_version": "{version}"' for version in (METRICS_VERSION, 0))
        old.write_text(old.read_text().replace(now, before, 1))
        seal_of(old).write_text(hashlib.sha256(old.read_bytes()).hexdigest())
    output = run(code, work, f"{place}/comparison.json", fails=True)
    told = f"smoothing, seed 0, in {place}/scored/1.json (version 0) cannot stand beside scores of metrics version"
    assert told in output
    run(code, work, f"{place}/comparison.json", "--forcerun", "score")
    assert '"metrics_version": "0"' not in (work / place / "smoothing/0/scores.json").read_text()


def test_forced_second_run_gives_the_same_tables(finished, tmp_path):
    code, work = finished
    again = tmp_path / "again"
    found = [*(work / "results").glob("[!.]*.[cm]*"), work / "results/leaderboard.json"]
    tables = [path.relative_to(work) for path in found if path.name != "costs.csv"]
    assert len(tables) >= 8
    run(code, again, *map(str, tables))
    for table in tables:
        # not the bytes in the assertion: telling where such long lines differ takes minutes
        same = reproducible(again / table) == reproducible(work / table)
        assert same, table
