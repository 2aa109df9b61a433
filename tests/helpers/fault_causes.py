"""How faults are caused.

A cause is a function of a trial that sets a fault up, yields while the workflow runs into it, and takes it away again.
What follows is the same for all (see fault_trials.py).
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from fault_trials import RANK, Cause, Trial
from loopback_dandi import Fault as ArchiveFault
from workflow import command


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
    """While epochs pass and checkpoints are written; the resumed job goes on from the last one."""
    trial.todo("train")
    after = trial.random.uniform(0, 0.3)
    trial.at("train", "results/**/checkpoint.pt", f"sleep {after:.3f}; kill -KILL $PPID")
    yield
    assert list(trial.work.rglob("checkpoint.pt")), "the training had ended"


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
        # tables would find room in what is left
        left = 4 * trial.random.randint(0, 3) if RANK[stage] < 4 else 0
        fill = f"cat /dev/zero > {part}/.filler; truncate -s -{left}K {part}/.filler"
        trial.at(stage, 0, fill)
        yield
        (trial.work / part / ".filler").unlink()

    return cause


def full_from_the_start(trial: Trial) -> Iterator[None]:
    trial.todo("score")
    trial.own_disk("results", 8)
    fill = "cat /dev/zero > results/.filler"
    subprocess.run(fill, shell=True, cwd=trial.work, stderr=subprocess.DEVNULL)
    yield
    (trial.work / "results/.filler").unlink()


def read_only(stage: str | None) -> Cause:
    """The disk becomes read-only when a stage begins, or is so from the start."""

    def cause(trial: Trial) -> Iterator[None]:
        trial.todo(stage or "tables")
        trial.own_disk("results", 8)
        # a read-only view on top: a disk with open files cannot be made so itself
        deed = "mount --bind results results && mount -o remount,bind,ro results"
        if stage:
            trial.at(stage, 0, deed)
        else:
            subprocess.run(deed, shell=True, cwd=trial.work, check=True)
        yield
        subprocess.run(["umount", "-l", str(trial.work / "results")], check=True)

    return cause


def damage(stage: str, user: str, how: str, which: str = "") -> Cause:
    """A file of a stage is damaged, date and all else as before, when its user is to be run."""

    def cause(trial: Trial) -> Iterator[None]:
        trial.todo(user)
        trial.keep_before(stage)
        harm(trial, [path for path in trial.made(stage) if which in path.as_posix()], how)
        yield
        trial.damaged.clear()

    return cause


def harm(trial: Trial, files: list[Path], how: str) -> None:
    """Damage one of the files, and leave its date as it was."""
    path = trial.random.choice(files)
    before, content = path.stat(), bytearray(path.read_bytes())
    if how == "flipped":
        content[trial.random.randrange(len(content))] ^= 1 << trial.random.randrange(8)
    else:
        del content[trial.random.randrange(len(content)) :]
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    trial.damaged.add(path)


def damaged_stamp(how: str) -> Cause:
    """The stamp of scoring is damaged after the run was planned with it."""

    def cause(trial: Trial) -> Iterator[None]:
        trial.todo("score")
        stamp = "results/stamps/score_one-simulated_maze.json"
        content = bytearray((trial.work / stamp).read_bytes())
        if how == "flipped":
            # in the parameters, below the digest that names them
            content[content.index(b'"bootstrap_draws": 1') + 19] ^= 3
        else:
            del content[trial.random.randrange(len(content)) :]
        (trial.folder / "stamp").write_bytes(content)
        trial.at("score", 0, f"cp '{trial.folder}/stamp' {stamp}")
        yield

    return cause


def finished_table_damaged(trial: Trial) -> Iterator[None]:
    """Nothing is to be done, so nobody reads the table; `make resume` finds it."""
    trial.keep_before("tables")
    harm(trial, [trial.work / "results" / name for name in ("scores.csv", "ranks.csv", "leaderboard.md")], "flipped")
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
            command(trial.code, config=trial.config), cwd=trial.work, capture_output=True, text=True, timeout=300
        )
        second.append(done)

    trial.at("score", 0, "sleep 5")
    trial.during = during
    yield
    assert second[0].returncode != 0 and "in use by a live run" in second[0].stdout + second[0].stderr


def dated(hours: float, *patterns: str) -> Cause:
    """The clock was ahead when some files were made, and has gone back since."""

    def cause(trial: Trial) -> Iterator[None]:
        trial.todo("score")
        for path in [p for pattern in patterns for p in trial.work.glob(pattern) if p.is_file()]:
            status = path.stat()
            ahead = int(hours * 3600e9)
            os.utime(path, ns=(status.st_atime_ns + ahead, status.st_mtime_ns + ahead))
        yield

    return cause


def hanging(trial: Trial) -> Iterator[None]:
    """A model that never ends, with a time limit of a minute."""
    trial.arguments = ["--set-resources", "train:runtime=1"]
    yield from bad_model("while True: pass")(trial)


def bad_model(code: str) -> Cause:
    """The user's model does something wrong with real data, though not with the contract check's; then it is mended."""

    def cause(trial: Trial) -> Iterator[None]:
        trial.keep_before("score")
        trial.kept = {path: content for path, content in trial.kept.items() if "mine" not in path.as_posix()}
        path = trial.work / "mine.py"
        good = path.read_text()
        lines = "".join(f"        {line}\n" for line in code.splitlines())
        path.write_text(
            good.replace(
                "    return rates\n", f"    if data.eval_spikes_heldin.shape[1] == 35:\n{lines}    return rates\n"
            )
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
