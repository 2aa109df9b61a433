"""The small session through real SLURM, with profiles/slurm as it is shipped: the same tables as on one machine, also
when a node or the controller dies."""

import fcntl
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from slurm import Cluster, lacking, output_of, wait_for
from workflow import ROOT, copy_code, reproducible

CONFIG = ROOT / "tests/helpers/slurm.yaml"
TABLES = (
    *("scores.csv", "neurons.csv", "ranks.csv", "differences.csv", "cross_decoding.csv", "consistency.csv"),
    *("notes.csv", "summaries.csv", "leaderboard.md", "leaderboard.html"),
)
# asked early and often, where a cluster of many users would not be
SLURM = [
    *("--workflow-profile", "profiles/slurm", "--latency-wait", "10"),
    *("--slurm-init-seconds-before-status-checks", "3"),
]
LOCAL = ["--cores", "2"]


@pytest.fixture
def cluster(tmp_path):
    # one at a time: its ports are fixed
    with open(Path(tempfile.gettempdir(), "nlbflow-slurm.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if reason := lacking():
            pytest.skip(reason)
        with Cluster(tmp_path / "slurm") as running:
            yield running


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    """A run in a copy of the code, made if it is not there. SIGINT, since snakemake heeds no other signal while jobs
    are pending."""
    command = ["timeout", "-s", "INT", "-k", "10", "900", sys.executable, "-m", "snakemake", *arguments]
    wanted = [f"results/{name}" for name in TABLES]
    return subprocess.Popen(
        [*command, *wanted, "--configfile", str(CONFIG)], cwd=folder if folder.exists() else copy_code(folder),
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def finish(run: subprocess.Popen) -> str:
    output = run.communicate()[0]
    assert run.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> dict[str, bytes]:
    """Of a run on this machine."""
    folder = tmp_path_factory.mktemp("local") / "code"
    finish(start(folder, *LOCAL))
    return read_tables(folder)


def read_tables(folder: Path) -> dict[str, bytes]:
    return {name: reproducible(folder / "results" / name) for name in TABLES}


def differing(tables: dict[str, bytes], others: dict[str, bytes]) -> list[str]:
    """Names alone: pytest takes minutes to tell where such long lines differ."""
    return [name for name in TABLES if tables[name] != others[name]]


def accounting(output: str) -> list[dict[str, str]]:
    """What SLURM's accounting holds of a run's jobs."""
    run = re.search(r"SLURM run ID: (\S+)", output)[1]
    fields = ("JobID", "State", "NodeList", "Partition", "ReqTRES", "Comment")
    lines = output_of("sacct", "-n", "-X", "-P", f"--name={run}", f"--format={','.join(fields)}").splitlines()
    return [dict(zip(fields, line.split("|"), strict=True)) for line in lines]


@pytest.mark.slow
def test_the_tables_are_those_of_one_machine(cluster, tables, tmp_path):
    output = finish(start(tmp_path / "code", *SLURM))
    assert differing(read_tables(tmp_path / "code"), tables) == []
    jobs = accounting(output)
    assert {job["State"] for job in jobs} == {"COMPLETED"}
    assert {job["NodeList"] for job in jobs} == {"n1", "n2"}
    # simulate, the data's figure, three checks and trainings, compare, one job for the tensors and two for the scores
    assert len(jobs) == 12
    asked = {job["Comment"]: (job["Partition"], job["ReqTRES"]) for job in jobs}
    assert asked["rule_train_wildcards_simulated_maze_5_val_gpfa_0"] == (
        "gpu", "billing=1,cpu=1,gres/gpu=1,mem=5000M,node=1",
    )  # fmt: skip
    assert asked["rule_train_wildcards_simulated_maze_5_val_smoothing_0"] == ("cpu", "billing=1,cpu=1,mem=4000M,node=1")
    # one job's memory, as they are done one after the other
    grouped = [asked[comment][1] for comment in asked if comment.startswith(("rule_cut", "rule_score"))]
    assert grouped == ["billing=1,cpu=1,mem=3000M,node=1"] * 3
    assert "nlbflow: 16 jobs, 0.00 GB to fetch, at most 0.5 GPU hours" in output


def wait_for_training(run: subprocess.Popen, node: str) -> str:
    """The SLURM job of a training that has begun on a node, some seconds ago."""
    training = []

    def trains() -> bool:
        running = output_of("squeue", "-h", "-w", node, "-t", "R", "-o", "%i %k").splitlines()
        training[:] = [line.split()[0] for line in running if "rule_train" in line]
        return bool(training) or run.poll() is not None

    wait_for(f"a training on {node}", trains, 600)
    assert run.poll() is None, run.communicate()[0]
    # somewhere in its work
    time.sleep(3)
    return training[0]


def test_the_tables_are_the_same_when_a_node_dies(cluster, tables, tmp_path):
    run = start(tmp_path / "code", *SLURM)
    try:
        training = wait_for_training(run, "n2")
        cluster.kill_node("n2")
        output = finish(run)
    finally:
        run.terminate()
    assert differing(read_tables(tmp_path / "code"), tables) == []
    jobs = accounting(output)
    # the training, and the data's figure where that was being drawn beside it
    all_lost = [job for job in jobs if job["State"] != "COMPLETED"]
    assert training in {job["JobID"] for job in all_lost} and {job["State"] for job in all_lost} == {"NODE_FAIL"}
    for lost in all_lost:
        # sent again to the other node, with twice the memory
        (again,) = [job for job in jobs if job["Comment"] == lost["Comment"] and job is not lost]
        memory = [int(re.search(r"mem=(\d+)M", job["ReqTRES"])[1]) for job in (lost, again)]
        assert again["NodeList"] == "n1" and memory[1] == 2 * memory[0]


@pytest.mark.slow
def test_the_tables_are_the_same_when_the_controller_dies(cluster, tables, tmp_path):
    """SLURM may lose jobs that were just sent, for which snakemake waits for ever: then Ctrl-C, and on, as docs say."""
    run = start(tmp_path / "code", *SLURM)
    try:
        wait_for_training(run, "n1")
        cluster.replace_controller()
        idle = 0
        while run.poll() is None and idle < 20:
            time.sleep(1)
            idle = 0 if output_of("squeue", "-h") else idle + 1
        run.send_signal(signal.SIGINT)
        output = run.communicate(timeout=60)[0]
    finally:
        run.terminate()
    if run.returncode:
        subprocess.run([sys.executable, "scripts/resume.py"], cwd=tmp_path / "code", check=True)
        finish(start(tmp_path / "code", *SLURM, "--unlock"))
        again = finish(start(tmp_path / "code", *SLURM))
        # what was done before is not made again
        whole, rest = (int(re.search(r"of (\d+) steps", text)[1]) for text in (output, again))
        assert rest < whole
    assert differing(read_tables(tmp_path / "code"), tables) == []


def test_jobs_on_one_node_have_a_gpu_each(cluster, tmp_path):
    script = "echo $CUDA_VISIBLE_DEVICES; sleep 2"
    ask = ["sbatch", "--parsable", "-p", "gpu", "-w", "n1", "--gpus=1", "--mem=100", f"--wrap={script}"]
    for name in ("first", "second"):
        output_of(*ask, f"--output={tmp_path}/{name}")
    wait_for("two jobs", lambda: not output_of("squeue", "-h"))
    assert {(tmp_path / name).read_text().strip() for name in ("first", "second")} == {"0", "1"}
