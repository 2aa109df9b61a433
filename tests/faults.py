"""The kinds of faults that nlbflow is held to survive, as a table.

Each has a cause: a function of a trial that sets the fault up, yields while the workflow runs into it, and takes it away
again. What follows is the same for all: nothing half-written has a final name, `make resume` ends with the tables of a
run without the fault, and nothing that was finished is made again.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fault_trials import RANK, Trial
from loopback_dandi import Fault as ArchiveFault
from workflow import command

Cause = Callable[[Trial], Iterator[None]]
KILLED = r"died with <Signals.SIGKILL: 9>"
HELD = r"in use by a live run of snakemake"
FULL = r"No space left on device"


@dataclass(frozen=True)
class Fault:
    """A row of the table: how a fault is caused, how often it is tried, what the user must be told (a pattern)."""

    kind: str
    cause: Cause
    says: str
    times: int = 1
    reference: str = "own"
    # whether the run in which it happens is to end with an error
    fails: bool = True


def at_stage(stage: str, deed: str, moments=None) -> Cause:
    """Something that happens to the first job of a stage."""

    def cause(trial: Trial) -> Iterator[None]:
        trial.todo(stage)
        trial.at(stage, trial.random.choice(moments or MOMENTS), deed)
        yield

    return cause


# while it reads its input, at any moment of its work, half-way through writing, just before the rename
MOMENTS = (0, 0.02, 0.05, 0.1, "writing", "rename 1")


def any_stage(deed: str) -> Cause:
    def cause(trial: Trial) -> Iterator[None]:
        stage = trial.random.choice(("tensors", "train", "score", "compare", "tables", "leaderboard"))
        yield from at_stage(stage, deed)(trial)

    return cause


def between_renames(trial: Trial) -> Iterator[None]:
    trial.todo("tables")
    trial.at("tables", f"rename {trial.random.randint(2, 6)}", "SIGKILL")
    yield


def in_training(trial: Trial) -> Iterator[None]:
    """While checkpoints are written; the resumed job goes on from the last one."""
    trial.todo("train")
    trial.at("train", trial.random.uniform(2.0, 3.5), "SIGKILL")
    yield


def ctrl_c(trial: Trial) -> Iterator[None]:
    trial.todo("score")

    def during(process: subprocess.Popen) -> None:
        while not trial.mark.exists() and process.poll() is None:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)

    trial.at("score", 0, "true")
    trial.during = during
    yield


def full_disk(stage: str, part: str = "results") -> Cause:
    """The disk fills up when a stage begins, but for some kilobytes."""

    def cause(trial: Trial) -> Iterator[None]:
        trial.todo(stage)
        trial.own_disk(part, 8)
        left = 4 * trial.random.randint(0, 3)
        fill = f"cat /dev/zero > {part}/.filler; truncate -s -{left}K {part}/.filler"
        trial.at(stage, 0, fill)
        yield
        (trial.work / part / ".filler").unlink()

    return cause


def full_from_the_start(trial: Trial) -> Iterator[None]:
    trial.todo("score")
    trial.own_disk("results", 8)
    subprocess.run(f"cat /dev/zero > {trial.work}/results/.filler", shell=True, stderr=subprocess.DEVNULL)
    yield
    (trial.work / "results/.filler").unlink()


def read_only(stage: str | None) -> Cause:
    """The disk becomes read-only when a stage begins, or is so from the start."""

    def cause(trial: Trial) -> Iterator[None]:
        trial.todo(stage or "tables")
        trial.own_disk("results", 8)
        if stage:
            trial.at(stage, 0, "mount -o remount,ro results")
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(trial.work / "results")], check=True)
        yield
        subprocess.run(["mount", "-o", "remount,rw", str(trial.work / "results")], check=True)

    return cause


def damage(stage: str, user: str, how: str, which: str = "") -> Cause:
    """A file of a stage is damaged, date and all else as before, when its user is to be run."""

    def cause(trial: Trial) -> Iterator[None]:
        trial.todo(user)
        trial.keep_before(stage)
        found = [path for path in trial.made(stage) if which in path.name]
        path = trial.random.choice(found)
        before, content = path.stat(), bytearray(path.read_bytes())
        if how == "flipped":
            content[trial.random.randrange(len(content))] ^= 1 << trial.random.randrange(8)
        else:
            del content[trial.random.randrange(len(content)) :]
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        trial.damaged.add(path)
        yield
        trial.damaged.clear()

    return cause


def damaged_stamp(how: str) -> Cause:
    """A stamp is damaged after the run was planned with it."""

    def cause(trial: Trial) -> Iterator[None]:
        trial.todo("score")
        stamp = "results/stamps/score-simulated_maze.json"
        content = bytearray((trial.work / stamp).read_bytes())
        if how == "flipped":
            # in the parameters, below the digest that names them
            content[content.index(b'"bootstrap_draws": 1') + 19] ^= 3
        else:
            del content[trial.random.randrange(len(content)) :]
        (trial.folder / "stamp").write_bytes(content)
        trial.at("score", 0, f"cp {trial.folder}/stamp {stamp}")
        yield

    return cause


def finished_table_damaged(trial: Trial) -> Iterator[None]:
    """Nothing is to be done, so nobody reads the table; `make resume` finds it."""
    trial.keep_before("tables")
    path = trial.work / "results" / trial.random.choice(("scores.csv", "ranks.csv", "leaderboard.md"))
    content = bytearray(path.read_bytes())
    content[trial.random.randrange(len(content))] ^= 1
    path.write_bytes(content)
    trial.damaged.add(path)
    yield
    trial.damaged.clear()


def two_runs(trial: Trial) -> Iterator[None]:
    """A second run is started while the first is at work; it is refused, and the first ends well."""
    trial.todo("score")
    second = []

    def during(process: subprocess.Popen) -> None:
        while not trial.mark.exists() and process.poll() is None:
            time.sleep(0.01)
        done = subprocess.run(
            command(trial.code, config=trial.config), cwd=trial.work, capture_output=True, text=True, timeout=120
        )
        second.append(done)

    trial.at("score", 0, "sleep 5")
    trial.during = during
    trial.also = second
    yield
    assert second[0].returncode != 0 and "in use by a live run" in second[0].stdout + second[0].stderr


def dated(hours: float, *stages: str) -> Cause:
    """The clock was ahead when the first stages were done, and has gone back since."""

    def cause(trial: Trial) -> Iterator[None]:
        trial.todo("score")
        for path in [p for stage in stages for p in trial.made(stage)]:
            status = path.stat()
            ahead = int(hours * 3600e9)
            os.utime(path, ns=(status.st_atime_ns + ahead, status.st_mtime_ns + ahead))
        yield

    return cause


def hanging(trial: Trial) -> Iterator[None]:
    """A model that never ends; its time limit is a minute."""
    yield from bad_model("while True: pass")(trial)


def bad_model(code: str) -> Cause:
    """The user's model does something wrong with real data, though not with the contract check's; then it is mended."""

    def cause(trial: Trial) -> Iterator[None]:
        trial.keep_before("check_model")
        trial.kept = {path: content for path, content in trial.kept.items()}
        path = trial.work / "mine.py"
        good = path.read_text()
        lines = "".join(f"        {line}\n" for line in code.splitlines())
        path.write_text(
            good.replace("    return rates\n", f"    if data.eval_spikes_heldin.shape[1] == 35:\n{lines}    return rates\n")
        )
        yield
        path.write_text(good)

    return cause


def edited(when: str) -> Cause:
    """The model's file is edited after the run was planned; then the edit is taken back."""

    def cause(trial: Trial) -> Iterator[None]:
        trial.todo("train")
        trial.at(when, 0, "sed -i 's/mean(axis=0)/mean(axis=0) + 1/' mine.py")
        # smoothing first, so that the edit comes before the job of the model
        trial.arguments = ["--cores", "1"]
        yield
        path = trial.work / "mine.py"
        path.write_text(path.read_text().replace(" + 1", ""))

    return cause


def renamed_folder(trial: Trial) -> Iterator[None]:
    trial.todo("score")
    trial.at("score", trial.random.choice(MOMENTS), "mv results elsewhere")
    yield
    shutil.rmtree(trial.work / "results", ignore_errors=True)
    (trial.work / "elsewhere").rename(trial.work / "results")


def copied_half_way(trial: Trial) -> Iterator[None]:
    """A killed run's folders are copied to another machine, without what Snakemake remembers."""
    yield from at_stage("score", "run SIGKILL")(trial)
    shutil.rmtree(trial.work / ".snakemake")
    elsewhere = trial.folder / "elsewhere"
    subprocess.run(["cp", "-a", str(trial.work), str(elsewhere)], check=True)
    trial.kept = {elsewhere / path.relative_to(trial.work): content for path, content in trial.kept.items()}
    trial.work = elsewhere


def linked_folder(trial: Trial) -> Iterator[None]:
    (trial.work / "results").rename(trial.folder / "big disk")
    (trial.work / "results").symlink_to(trial.folder / "big disk")
    yield from at_stage("score", "run SIGKILL")(trial)


def no_temporary_folder(trial: Trial) -> Iterator[None]:
    trial.todo("train")
    trial.environment["TMPDIR"] = str(trial.folder / "gone")
    yield


def stopped(trial: Trial) -> Iterator[None]:
    """A job is stopped, and goes on after a while."""
    stage = trial.random.choice(("train", "score", "tables"))
    trial.todo(stage)
    moment = trial.random.choice((0, "rename 1"))
    trial.at(stage, moment, "sh -c 'kill -STOP $PPID; sleep 2; kill -CONT $PPID' &")
    yield


def archive(kind: str, times: int = 1) -> Cause:
    """The archive misbehaves in the midst of a file; the workflow rides it out."""

    def cause(trial: Trial) -> Iterator[None]:
        trial.todo("fetch")
        trial.reference.server.faults.append(ArchiveFault(kind, times=times))
        yield

    return cause


def told_of_memory(stage: str) -> Cause:
    return at_stage(stage, "memory", (0,))


STAGES = ("simulate", "tensors", "targets", "check_model", "train", "score", "compare", "tables", "leaderboard")
FILES = {
    # what: its stage, the stage that reads it, which of the stage's files
    "NWB": ("simulate", "tensors", ""),
    "input.h5": ("tensors", "train", ""),
    "target.h5": ("targets", "score", ""),
    "model check": ("check_model", "train", ""),
    "prediction.h5": ("train", "score", ""),
    "scores.json": ("score", "tables", "scores.json"),
    "bootstrap.h5": ("score", "compare", "bootstrap.h5"),
    "comparison.json": ("compare", "tables", ""),
    "scores.csv": ("tables", "leaderboard", "scores.csv"),
}
ASIDE = r"is not what was written there .* set aside"
OFTEN = {"train": 3, "score": 3, "compare": 3, "tables": 3, "leaderboard": 3}

FAULTS = [
    *(Fault(f"a job killed: {s}", at_stage(s, "SIGKILL"), KILLED, OFTEN.get(s, 2)) for s in STAGES),
    Fault("a job killed: link", at_stage("link", "SIGKILL"), KILLED, 2, "recorded"),
    Fault("a job killed: fetch", at_stage("fetch", "SIGKILL"), KILLED, 2, "recorded"),
    Fault("a job killed between its renames", between_renames, KILLED, 3),
    Fault("a training killed in the midst", in_training, KILLED, 3, "network"),
    Fault("the run killed (SIGKILL)", any_stage("run SIGKILL"), "", 6),
    Fault("the run ended (SIGTERM)", any_stage("run SIGTERM"), "", 3),
    Fault("Ctrl-C", ctrl_c, "", 2),
    *(Fault(f"disk full: {s}", full_disk(s), FULL, 1) for s in STAGES if s != "simulate"),
    Fault("disk full: simulate", full_disk("simulate", "data"), FULL, 1),
    Fault("disk full from the start", full_from_the_start, FULL),
    Fault("disk full: the logs", full_disk("score", "logs"), "", 2),
    Fault("read-only results, in the midst", read_only("score"), "Read-only file system", 2),
    Fault("read-only results, from the start", read_only(None), "Read-only file system", 2),
    Fault("out of memory", told_of_memory("train"), "ran out of memory|MemoryError|Signals", 2),
    *(Fault(f"truncated: {what}", damage(s, u, "truncated", w), ASIDE, 1) for what, (s, u, w) in FILES.items()),
    *(Fault(f"a bit flipped: {what}", damage(s, u, "flipped", w), ASIDE, 2) for what, (s, u, w) in FILES.items()),
    Fault("truncated: stamp", damaged_stamp("truncated"), "changed since this run|not valid JSON", 2),
    Fault("a bit flipped: stamp", damaged_stamp("flipped"), "changed since this run", 2),
    Fault("a bit flipped: finished tables", finished_table_damaged, "", 2, fails=False),
    Fault("two runs at once", two_runs, "", 2, fails=False),
    Fault("clock gone back an hour", dated(1, "tensors", "targets"), "", 2, fails=False),
    Fault("clock gone back, everything dated ahead", dated(5, *RANK), "", 1, fails=False),
    Fault("a model that hangs", hanging, "did not end within its 1 minutes", 1),
    Fault("a model that returns wrong shapes", bad_model("rates['eval_rates_heldin'] = np.ones(3)"), "of shape"),
    Fault("a model that returns NaN", bad_model("rates['eval_rates_heldin'][0] = np.nan"), "NaN"),
    Fault("a model that calls sys.exit", bad_model("sys.exit(0)"), r"was ended by SystemExit\(0\)"),
    Fault("a model that calls os._exit", bad_model("os._exit(0)"), "MissingOutputException"),
    Fault(
        "a model that crashes the interpreter",
        bad_model("import ctypes; ctypes.string_at(0)"),
        "died with <Signals.SIGSEGV",
    ),
    Fault(
        "a model that writes half its file and ends",
        bad_model(
            "from pathlib import Path\nPath('results/simulated_maze/20ms/val/mine/0/prediction.h5').write_bytes(b'half')\n"
            "os.kill(os.getpid(), 9)"
        ),
        KILLED,
    ),
    Fault("a model that prints for ever", bad_model("for _ in range(60): print('x' * 10**6)"), "", fails=False),
    Fault(
        "a model that leaves a process behind",
        bad_model("subprocess.Popen(['sleep', '300'], start_new_session=True)"),
        "",
        fails=False,
    ),
    Fault(
        "a model that forks and returns twice",
        bad_model("if os.fork() == 0: rates = {name: array + 1 for name, array in rates.items()}"),
        "",
        2,
        fails=False,
    ),
    Fault("a model edited while the run goes on", edited("train"), "was edited since this run was planned", 2),
    Fault("the results folder renamed", renamed_folder, "", 2),
    Fault("a killed run's results copied elsewhere", copied_half_way, "", 2),
    Fault("the results folder a link, the run killed", linked_folder, "", 2),
    Fault("no temporary folder", no_temporary_folder, "", 1, fails=False),
    Fault("a job stopped and continued", stopped, "", 3, fails=False),
    Fault("the archive cuts the connection", archive("cut", 2), "", 2, "recorded", fails=False),
    Fault("the archive sends a wrong byte", archive("corrupt"), "came with the wrong checksum", 2, "recorded"),
]
