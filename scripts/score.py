"""Rule score: the predictions of one bundle, in processes that fail alone; what is scored already is kept."""

import multiprocessing
import signal
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

from nlbflow.running.job import job, remove  # first: it fixes the number of BLAS threads

# NumPy imports these when they are first used, which would be in each process anew
import numpy.ma
import numpy.random  # noqa: F401
from nlbflow.errors import NlbflowError
from nlbflow.running.checksums import Log, is_intact
from nlbflow.running.files import read_json
from nlbflow.running.store import store_of_run
from nlbflow.running.provenance import commit, package_versions
from nlbflow.scoring.prediction import read_place, score_prediction
from nlbflow.scoring.bundles import is_scored, made_of, write_bundle

# a fork has everything imported, which takes longer than most scores
PROCESSES = multiprocessing.get_context("fork")


def main(smk) -> None:
    # a damaged prediction is a fault of its own process, and not of the others
    with job(smk, apart=smk.input.predictions) as run:
        runs = read_json(smk.input.stamp)["parameters"]["runs"]
        minutes = smk.resources.runtime / len(runs)
        members = [member_of(smk, model, seed, minutes) for *_, model, seed in runs]
        outdated = [member for member in members if not is_kept(member, run.log)]
        for member in outdated:
            remove(map(Path, member.output))
        # kept for the processes, which would each work them out
        package_versions(), commit()
        if outdated:
            read_place(smk.input.input), read_place(smk.input.target)
        failed = []
        store = store_of_run()
        for member, ended in score_apart(outdated):
            of = f"{member.wildcards.model}, seed {member.wildcards.seed}"
            if ended:
                failed.append(of)
            for path in map(Path, [*member.output, *member.log]):
                store.leave(path)
            run.log(f"{of}: {ended or 'scored'}")
        if failed:
            raise NlbflowError(
                f"{len(failed)} of {len(members)} predictions could not be scored ({', '.join(failed[:3])}"
                f"{', ...' if failed[3:] else ''}); the logs in {store.name_of(Path(smk.log[0]).parents[1])} say why."
            )
        write_bundle([Path(member.output.scores) for member in members], run.out["scores"], run.out["bootstraps"])
        run.log(f"{len(outdated)} of {len(members)} predictions scored, the others were scored already")


def member_of(smk, model: str, seed: int, minutes: float) -> SimpleNamespace:
    """What a job of the rule `score_one` would be given for one prediction of the bundle, with a time limit."""
    logs, folder = Path(smk.log[0]).parents[1], Path(smk.input.target).parent / model / str(seed)
    inputs = {"input": smk.input.input, "target": smk.input.target, "stamp": smk.input.scoring}
    # the null row has no prediction
    if (prediction := str(folder / "prediction.h5")) in smk.input.predictions:
        inputs["prediction"] = prediction
    outputs = {name: str(folder / file) for name, file in (("bootstrap", "bootstrap.h5"), ("scores", "scores.json"))}
    wildcards = {**dict(smk.wildcards.items()), "model": model, "seed": str(seed)}
    return SimpleNamespace(
        rule=smk.rule,
        input=type(smk.input)(fromdict=inputs),
        output=type(smk.output)(fromdict=outputs),
        wildcards=type(smk.wildcards)(fromdict=wildcards),
        params=SimpleNamespace(digest=smk.params.scoring),
        log=[str(logs / model / f"{seed}.log")],
        resources=SimpleNamespace(runtime=minutes),
        config=smk.config,
    )


def is_kept(member, log: Log) -> bool:
    """Whether a prediction was scored from the present files by the present code."""
    prediction = member.input.get("prediction")
    for path in map(Path, member.output):
        store_of_run().bring(path)
    if prediction and not is_intact(Path(prediction), log):
        return False
    return is_scored(Path(member.output.scores).parent, made_of(member.input, log), log)


def score_apart(members: list) -> Iterator[tuple[SimpleNamespace, str]]:
    """Score predictions in a process, and those after one that fails or is killed in another: each prediction, and how
    its scoring ended, empty if well."""
    while members:
        told, tell = PROCESSES.Pipe(duplex=False)
        process = PROCESSES.Process(target=score_in_turn, args=(members, tell))
        process.start()
        tell.close()
        with suppress(EOFError):
            while members:
                told.recv_bytes()
                yield members[0], ""
                members = members[1:]
        process.join()
        if members:
            yield members[0], how_ended(process.exitcode, members[0])
            members = members[1:]


def score_in_turn(members: list, tell) -> None:
    """Score predictions and tell after each; each one's log and peak memory are its own."""
    for member in members:
        # Linux counts the peak from here; elsewhere it stays that of the largest so far
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        # otherwise Python shows a warning once for all members
        with warnings.catch_warnings():
            score_prediction(member)
        tell.send_bytes(b".")


def how_ended(exitcode: int, member) -> str:
    """How the scoring of a prediction ended, which its log has, too."""
    if exitcode >= 0:
        return "could not be scored"
    ended = f"was ended by {signal.Signals(-exitcode).name}; it may have run out of memory"
    # its log may be what could not be written
    with suppress(OSError), open(member.log[0], "a") as log:
        log.write(f"nlbflow: scoring {ended}.\n")
    return ended


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
