"""What nwbinspector, the NWB team's own checker, says of a recording. It runs in an environment of its own."""

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path

from nlbflow.errors import NlbflowError

COMMAND = ".venv-inspect/bin/nwbinspector"
# the worst first; others come after these
IMPORTANCE = ("error", "pynwb validation", "critical", "best practice violation", "best practice suggestion")


def find_inspector(root: Path) -> str:
    """The checker that `make inspect` installs, or the one on the path.

    Raises:
        NlbflowError: there is none.
    """
    own = root / COMMAND
    found = str(own) if own.is_file() else shutil.which("nwbinspector")
    if found is None:
        raise NlbflowError(f"{own} is not there, nor nwbinspector on the path; run `make .venv-inspect/done`.")
    return found


def inspect_recording(inspector: str, recording: Path, report: Path) -> str:
    """Write the checker's report, and return a sentence that counts its messages by importance.

    Neither what the checker finds nor a file that it cannot read is a fault of the run: both are its report.
    """
    messages = report.with_suffix(".json")
    options = ["--report-file-path", report, "--json-file-path", messages, "--overwrite", "--progress-bar", "False"]
    # it would draw a progress bar into the log
    done = subprocess.run(
        [inspector, recording, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )
    try:
        if done.returncode or not messages.exists():
            report.write_text(f"nwbinspector could not inspect {recording}:\n{done.stdout}{done.stderr}")
            return f"nwbinspector could not inspect {recording} (exit status {done.returncode}); see the report."
        found = json.loads(messages.read_text())["messages"]
    finally:
        messages.unlink(missing_ok=True)
    if not report.exists():
        report.write_text(f"nwbinspector has nothing to say of {recording}.\n")
    counts = Counter(importance_of(message) for message in found)
    said = ", ".join(f"{number} {name}" for name, number in sorted(counts.items(), key=_worst_first)) or "no messages"
    return f"nwbinspector on {recording}: {said}."


def _worst_first(count: tuple[str, int]) -> tuple[int, str]:
    name = count[0]
    return IMPORTANCE.index(name) if name in IMPORTANCE else len(IMPORTANCE), name


def importance_of(message: dict) -> str:
    """The name of an importance in lower case, whether the report holds the name or an object that has it."""
    importance = message.get("importance", "unknown")
    name = importance.get("name", "unknown") if isinstance(importance, dict) else str(importance)
    return name.split(".")[-1].replace("_", " ").lower()
