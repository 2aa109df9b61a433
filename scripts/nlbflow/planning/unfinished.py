"""What a run could not make, and why: it is reported at the run's end and left out of the tables."""

import json
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from nlbflow.boards.cells import FAILED
from nlbflow.running.files import json_of, parse_json
from nlbflow.running.store import store_of_run

UNFINISHED = Path("results/unfinished.json")
SAID = "nlbflow: "
SHOWN = 5
STOPPED = "the run was stopped before it was made."


@dataclass(frozen=True)
class Failure:
    """A job that failed: what it should do, why it failed in one sentence, its log, and the files it did not make."""

    what: str
    sentence: str
    log: str
    files: list[str]


@dataclass(frozen=True)
class Unfinished:
    """The jobs that failed; and for each file that was not made, the sentence of the failure that it waited for."""

    failures: list[Failure] = field(default_factory=list)
    reasons: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path = UNFINISHED) -> "Unfinished":
        """What the last run did not make; empty if it made everything."""
        found = store_of_run().read(path.as_posix())
        if not found:
            return cls()
        kept = parse_json(found, path)
        return cls([Failure(**failure) for failure in kept["failures"]], kept["reasons"])

    @property
    def stopped(self) -> bool:
        """Whether a file was not made although nothing that it needs had failed."""
        return STOPPED in self.reasons.values()

    def write(self, path: Path = UNFINISHED) -> None:
        store_of_run().write(path.as_posix(), json_of(asdict(self)))

    def reason(self, *files: str, failed: Iterable[str] = ()) -> str:
        """Why the first missing file was not made; a file in `failed` counts only if its own job failed."""
        own = {file for failure in self.failures for file in failure.files}
        missing = [file for file in files if file in self.reasons] + [file for file in failed if file in own]
        return FAILED + self.reasons[missing[0]].rstrip(".") if missing else ""

    def tell(self, shown: list[str], whole: bool, healed: bool, again: str) -> str:
        """The last words of a run with failures: the first few failures, where to read more, what was still made.

        Args:
            shown: the files that show what succeeded.
            whole: whether all tables and figures of what succeeded were made.
            healed: whether a second attempt made what had failed.
            again: the command that continues the run.
        """
        count = len(self.failures)
        lines = [f"nlbflow: {count} {'job' if count == 1 else 'jobs'} failed:"]
        for failure in self.failures[:SHOWN]:
            log = f" (log: {failure.log})" if failure.log else ""
            lines.append(f"  {failure.what}: {failure.sentence}{log}")
        if count > SHOWN:
            lines.append(f"  ... and {count - SHOWN} more: {UNFINISHED}")
        where = f"What succeeded is shown in {' and '.join(shown)}." if shown else "No tables were made."
        if self.stopped and not shown:
            where = "The run was stopped and made no tables; add `--config partial=True` for tables of what there is."
        elif healed:
            return "\n".join([*lines, where, "A second attempt made all that was missing: nothing is left to do."])
        elif not whole:
            where += " Not all tables and figures of what succeeded could be made: see above."
        return "\n".join([*lines, where, f"Fix what failed, then continue with: {again}"])


def failure_sentence(log: str, started: float, elsewhere: bool = False) -> str:
    """The last sentence in a failed job's log; a job without one was ended from outside.

    Args:
        log: the name of the job's log file; empty if it has none.
        started: when the run began, in seconds since the epoch; an older log belongs to another run.
        elsewhere: whether jobs are sent to a cluster, which may refuse them.
    """
    store = store_of_run()
    modified = store.modified(log) if log else None
    written = modified is not None and modified >= started
    if written:
        for line in reversed((store.read(log) or b"").decode(errors="replace").splitlines()):
            if line.startswith(SAID):
                return line.removeprefix(SAID)
    refused = ", or was refused by the cluster, whose reason is above" if elsewhere and not written else ""
    return f"it ended without a message; it may have been killed, or have run out of memory{refused}."


def command_again(program: str, words: list[str]) -> str:
    """The command that continues a run, quoted for a shell.

    Args:
        program: what was called: `snakemake`, by its path, or the module that Python ran.
        words: the words after it.
    """
    called = [program] if Path(program).name == "snakemake" else [sys.executable, "-m", "snakemake"]
    return shlex.join([*called, *_unforced(words)])


def partial_command(words: list[str], given: Mapping) -> list[str] | None:
    """The words after `snakemake` for a run that makes tables of what there is; None after a run with special options.

    Args:
        words: the words of the run that failed.
        given: the values of its `--config`, which a profile may hold; a profile's no longer count once words have some.
    """
    special = ("-U", "--until", "-O", "--omit-from", "--batch", "-t", "--touch")
    if any(word.split("=")[0] in special for word in words):
        return None
    # only targets follow `--`
    end = words.index("--") if "--" in words else len(words)
    kept, targets, partial = _unforced(words[:end]), words[end:], ["--nolock", "--config", "partial=True"]
    # snakemake takes the last of several
    place = next((i for i in reversed(range(len(kept))) if kept[i].split("=")[0] in ("--config", "-C")), None)
    if place is None:
        of_profile = [f"{key}={json.dumps(value)}" for key, value in given.items()]
        return [*kept, *partial, *of_profile, *targets]
    option, after = kept[place], kept[place + 1 :]
    # `--config=` takes one value, and the words after it are not values
    if "=" in option:
        return [*kept[:place], *after, *partial, option.split("=", 1)[1], *targets]
    return [*kept[:place], *partial, *after, *targets]


def _unforced(words: list[str]) -> list[str]:
    """The words without options that force jobs, because these were meant for one run."""
    kept, forced = [], False
    for word in words:
        if word in ("-f", "-F", "-R") or word.startswith("--force"):
            forced = word in ("-R", "--forcerun")
        elif not (forced and not word.startswith("-")):
            kept.append(word)
            forced = False
    return kept
