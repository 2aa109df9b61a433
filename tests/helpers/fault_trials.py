"""One trial of a fault: a copy of a finished run with some of it still to do, the fault, and the run that follows."""

import functools
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import yaml

from loopback_dandi import LoopbackArchive
from nlbflow.running.checksums import DAMAGED, seal_of
from workflow import ROOT, command, copy_code, processes_in, reproducible, run

HOOKS = ROOT / "tests/helpers/fault_hooks"
# after which a run counts as hanging, on a crowded machine too
SECONDS = 900
# What each stage makes, below the work folder; and which stages come before which.
MADE = {
    "simulate": "data/nwb/simulated/**/*.nwb",
    "link": "data/nwb/linked/**/*.nwb",
    "fetch": "data/nwb/0*/**/*.nwb",
    "tensors": "results/*/*/*/input.h5",
    "targets": "results/*/*/*/target.h5",
    "check_model": "results/checks/*.json",
    "train": "results/*/*/*/*/*/prediction.h5",
    # of each prediction, and of the bundles
    "score": "results/*/*/*/**/[sb0-9]*.*",
    "compare": "results/*/*/*/comparison.json",
    "tables": "results/*.csv",
    "leaderboard": "results/leaderboard.*",
    "boards": "results/tables/[!.]*",
}
RANK = {"simulate": 0, "link": 0, "fetch": 0, "tensors": 1, "targets": 1, "check_model": 1, "train": 2}
RANK |= {stage: rank for rank, stage in enumerate(("score", "compare", "tables", "leaderboard"), 3)} | {"boards": 6}

MODEL = '''"""The mean of the training trials, bin by bin: a model of somebody's own."""

import os, subprocess, sys

import numpy as np

DEFAULTS = {}
SEEDED = False


def predict(data, params, seed):
    rates = {}
    for group in ("heldin", "heldout"):
        mean = getattr(data, f"train_spikes_{group}").mean(axis=0)
        rates[f"train_rates_{group}"] = np.repeat(mean[None], len(data.train_spikes_heldin), axis=0)
        rates[f"eval_rates_{group}"] = np.repeat(mean[None], len(data.eval_spikes_heldin), axis=0)
    return rates
'''
SIMULATOR = {
    "seed": 7, "conditions": 3, "train_trials": 12, "val_trials": 6, "test_trials": 6, "heldin": 12, "heldout": 6,
}  # fmt: skip
SELECTION = {"bin_ms": [20], "phases": ["val"], "seeds": [0]}
QUICK = {"datasets": {"simulated_maze": {"simulator": SIMULATOR}}, "scoring": {"bootstrap_draws": 100}}
CONFIGS = {
    "own": {
        **QUICK,
        "run": {**SELECTION, "datasets": ["simulated_maze"], "models": ["smoothing", "mine"]},
        "models": {"mine": {"file": "mine.py"}},
    },
    "network": {
        **QUICK,
        "run": {**SELECTION, "datasets": ["simulated_maze"], "models": ["network"]},
        "models": {"network": {"file": "network.py", "params": {"width": 6, "layers": 1, "epochs": 60}}},
    },
}


Cause = Callable[["Trial"], Iterator[None]]


class Skip(Exception):
    """Why a fault cannot be tried here."""


class Reference:
    """A finished run without any fault: `code`, `work` (its folder) and `config`."""

    def __init__(self, kind: str, folder: Path, first: "Reference | None" = None):
        self.code, self.work = copy_code(folder / "code"), folder / "work"
        self.config, self.server = folder / "config.yaml", None
        self.work.mkdir()
        (self.work / "mine.py").write_text(MODEL)
        # a checkpoint after each epoch
        network = (self.code / "scripts/models/gru.py").read_text()
        network = network.replace("DEFAULTS = {", 'DEFAULTS = {\n    "checkpoint_minutes": 0.0,', 1)
        (self.work / "network.py").write_text(network)
        content = self.recorded(first, folder) if kind == "recorded" else CONFIGS[kind]
        self.config.write_text(yaml.safe_dump(content))
        run(self.code, self.work, config=self.config)

    def recorded(self, first: "Reference", folder: Path) -> dict:
        """Two datasets from the simulated files of another run: one that is linked, one from an archive on loopback."""
        files = {part: next((first.work / "data").rglob(f"sub-*desc-{part}*")) for part in ("train", "test")}
        stanza = yaml.safe_load((ROOT / "resources/datasets.yaml").read_text())["datasets"]["simulated_maze"]
        del stanza["simulator"]
        own = {part: {"path": str(path)} for part, path in files.items()}
        rows = ["dataset\tdandiset\tversion\tpart\tpath\tbytes\tsha256\tdandi_etag"]
        for part, path in files.items():
            content = path.read_bytes()
            sha = hashlib.sha256(content).hexdigest()
            rows.append(f"mc_maze_small\t000140\t0.220113.0408\t{part}\tsub-Sim/{path.name}\t{len(content)}\t{sha}\t")
        (folder / "pins.tsv").write_text("\n".join(rows) + "\n")
        self.server = LoopbackArchive({("000140", "0.220113.0408"): files["train"].parent.parent})
        self.server.__enter__()
        return {
            "run": {**SELECTION, "datasets": ["linked", "mc_maze_small"], "models": ["mean_rate"]},
            "datasets": {"linked": {**stanza, "source": "files", "version": "1", "files": own}},
            "scoring": {"bootstrap_draws": 100},
            "archive": self.server.url,
            "pins": str(folder / "pins.tsv"),
        }

    def tables(self) -> dict[str, bytes]:
        return tables(self.work)


def reference_maker(scratch: Path) -> Callable[[str], Reference]:
    """References by name, each made when it is first asked for."""

    @functools.cache
    def reference(kind: str) -> Reference:
        folder = scratch / f"reference {kind}"
        return Reference(kind, folder, reference("own") if kind == "recorded" else None)

    return reference


def tables(work: Path) -> dict[str, bytes]:
    """The tables, as far as they are reproducible byte for byte, by name."""
    found = [*(work / "results").glob("[!.]*.*"), *(work / "results/tables").glob("[!.]*")]
    found = [path for path in found if path.is_file() and path.suffix != DAMAGED and "costs" not in path.name]
    return {path.name: reproducible(path) for path in found}


class Trial:
    """A fault upon a copy of a reference run.

    `todo` says from which stage on work is still to be done, `at` what goes wrong and when, `run` runs the workflow.
    `random` is to be drawn from for all that a trial leaves open.
    """

    def __init__(self, reference: Reference, folder: Path, seed: int):
        self.reference, self.folder, self.random = reference, folder, random.Random(seed)
        self.work, self.mark = folder / "work", folder / "done"
        self.code, self.config = reference.code, reference.config
        folder.mkdir(parents=True)
        subprocess.run(["cp", "-a", str(reference.work), str(self.work)], check=True)
        self.environment, self.end = dict(os.environ, OMP_NUM_THREADS="1"), ExitStack()
        self.during: Callable[[subprocess.Popen], None] = lambda process: None
        self.arguments, self.status, self.output, self.kept = [], 0, "", {}
        self.damaged: set[Path] = set()

    def made(self, stage: str) -> list[Path]:
        found = [path for path in self.work.glob(MADE[stage]) if path.suffix != DAMAGED]
        # a download that is not finished waits in a hidden folder
        return sorted(path for path in found if "/." not in path.relative_to(self.work).as_posix())

    def todo(self, stage: str) -> None:
        """Remove what a stage and all after it make, so that it is to be done; the rest must be kept as it is."""
        dataset = {"link": "linked", "fetch": "mc_maze_small"}.get(stage, "")
        for name in MADE:
            # a check needs no data, and a dataset no other
            if name == stage or (RANK[name] > RANK[stage] and name != "check_model"):
                for path in self.made(name):
                    if dataset in path.as_posix() or RANK[name] in (0, 5, 6):
                        path.unlink()
        self.keep_before(stage)

    def keep_before(self, stage: str) -> None:
        files = [path for name in MADE if RANK[name] < RANK[stage] for path in self.made(name)]
        self.kept = {path: digest(path) for path in files}

    def at(self, stage: str, moment: float | str, deed: str) -> None:
        """Do something at a moment of a stage's first job; see fault_hooks/sitecustomize.py."""
        fault = {"stage": stage, "moment": moment, "deed": deed, "mark": str(self.mark)}
        self.environment |= {"PYTHONPATH": str(HOOKS), "FAULT": json.dumps(fault)}

    def own_disk(self, part: str, megabytes: int) -> None:
        """Put a part of the work folder onto a small disk of its own."""
        place, aside = self.work / part, self.folder / "aside"
        place.mkdir(exist_ok=True)
        place.rename(aside)
        place.mkdir()
        options = f"size={megabytes}m"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True)
        if done.returncode:
            raise Skip("needs a small disk of its own, and mounting one is not allowed here")
        self.end.callback(subprocess.run, ["umount", "-l", str(place)], check=True)
        subprocess.run(["cp", "-a", f"{aside}/.", str(place)], check=True)

    def run(self, environment: dict[str, str]) -> None:
        """Run the workflow to whatever end it comes; `status` and `output` tell it."""
        with tempfile.TemporaryFile("w+") as output:
            started = subprocess.Popen(
                command(self.code, *self.arguments, config=self.config),
                cwd=self.work, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True,
            )  # fmt: skip
            try:
                self.during(started)
                self.status = started.wait(timeout=SECONDS)
            finally:
                if started.poll() is None:
                    started.kill()
                    started.wait()
            output.seek(0)
            self.output = output.read()

    def fault(self) -> None:
        self.run(self.environment)
        wait_for_end(self.work)

    def recover(self) -> None:
        """What `make resume` does."""
        self.during, self.arguments = lambda process: None, []
        environment = dict(os.environ, OMP_NUM_THREADS="1")
        resume = [sys.executable, str(self.code / "scripts/resume.py")]
        done = subprocess.run(resume, cwd=self.work, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, done.stdout + done.stderr
        for lock in (self.work / ".snakemake/locks").glob("*"):
            lock.unlink()  # all that --unlock does, without its seconds
        self.run(environment)
        assert self.status == 0, self.output

    def saw(self) -> str:
        """What the user was told first, without what is of this machine."""
        lines = [" ".join(line.split()) for line in self.output.splitlines() if line.strip()]
        # the first of them says what the run is about to do
        ours = [line[line.index("nlbflow: ") :] for line in lines if "nlbflow: " in line and "GB to fetch" not in line]
        rule, died = re.search(r"Error in rule (\w+)", self.output), re.search(r"died with <[^>]+>", self.output)
        if self.status == -signal.SIGKILL:
            said = "nothing: it was killed"
        elif ours:
            said = ours[0]
        elif self.status == 0:
            said = "nothing: it went on"
        elif rule and died:
            said = f"Error in rule {rule[1]}: … {died[0]}"
        else:
            said = next((line for line in lines if re.search(r"^\w+(Error|Exception)\b.*\w+ ", line)), lines[-1])
        for path in (self.work, self.code, self.folder, self.reference.work, Path(sys.prefix)):
            said = said.replace(f"{path}/", "").replace(str(path), "the folder")
        return re.sub(r"-?\b[0-9a-f]{12,}\b", "…", said.removeprefix("nlbflow: "))

    def check_nothing_half_written(self) -> None:
        for stage in MADE:
            for path in self.made(stage):
                if path not in self.damaged:
                    assert seal_of(path).is_file(), f"{path} has its final name, but no seal"
                    assert seal_of(path).read_text()[:64] == digest(path), f"{path} is not what was sealed"

    def check_nothing_lost(self) -> None:
        for path, content in self.kept.items():
            assert path.is_file() and digest(path) == content, f"{path} was finished, and is lost"

    def check_same_as_reference(self) -> None:
        expected, found = self.reference.tables(), tables(self.work)
        assert expected.keys() == found.keys(), f"{expected.keys() ^ found.keys()} are in one only"
        different = [name for name in expected if expected[name] != found[name]]
        assert not different, f"{different} differ from those of a run without the fault"
        left = [path for top in ("results", "data") for path in (self.work / top).rglob(".*.tmp")]
        assert not left, f"{left} were left"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def wait_for_end(work: Path) -> None:
    deadline = time.monotonic() + 30
    while processes_in(work) and time.monotonic() < deadline:
        time.sleep(0.05)
    left = processes_in(work)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, f"the processes {left} outlive their run"


def try_fault(fault, references: Callable[[str], Reference], folder: Path, seed: int) -> str:
    """One trial; what the user saw.

    Raises:
        AssertionError: the fault was not survived.
        Skip: it cannot be tried here.
    """
    trial = Trial(references(fault.reference), folder, seed)
    with trial.end:
        steps = fault.cause(trial)
        next(steps)
        trial.fault()
        happened = trial.mark.exists() or "FAULT" not in trial.environment
        assert happened, f"the fault did not happen: {trial.output}"
        assert (trial.status != 0) == fault.fails, trial.output
        said = trial.saw()
        assert re.search(fault.says, trial.output), f"expected {fault.says!r} in: {trial.output}"
        trial.check_nothing_half_written()
        next(steps, None)
        trial.recover()
        trial.check_nothing_lost()
        trial.check_nothing_half_written()
        trial.check_same_as_reference()
    shutil.rmtree(folder, ignore_errors=True)
    return said
