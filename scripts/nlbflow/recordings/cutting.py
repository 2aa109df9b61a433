"""What the rules tensors and targets share: they turn a job's inputs into a file of arrays with its provenance."""

from collections.abc import Callable

from nlbflow.recordings.inputs import NOT_VERIFIED, check_streamed
from nlbflow.recordings.notes import summarise
from nlbflow.running.files import read_json, write_arrays, write_json
from nlbflow.running.job import Job
from nlbflow.running.provenance import provenance

UNVERIFIED = "The recording was streamed from the archive, and what was read of it is not verified by a pinned SHA-256."


def write_cut(smk, run: Job, output: str, make: Callable) -> None:
    """Cut a dataset into arrays with `make` (cut_input or make_target) and write them to the named output."""
    asked = read_json(smk.input.stamp)["parameters"]
    parts = {part: path for part, path in smk.input.items() if part != "stamp"}
    arrays, absent, *facts = make(parts, asked["definition"], asked["bin_ms"], asked["phase"])
    streamed = check_streamed(parts, asked["definition"])
    for part, checked in streamed.items():
        run.log(f"{part} was streamed from the archive: {checked} by the SHA-256 of what was read")
    for name, array in arrays.items():
        run.log(f"{name}: {getattr(array, 'shape', f'{len(array)} parts')}")
    for name, reason in absent.items():
        run.log(f"{name} is absent: {reason}")
    if "dataset" in run.out:
        summary, notes = summarise(arrays, absent, asked, *facts)
        if NOT_VERIFIED in streamed.values():
            notes.append(UNVERIFIED)
        for line in [*(f"{label}: {text}" for label, text in summary), *notes]:
            run.log(line)
        place = {key: asked[key] for key in ("dataset", "bin_ms", "phase")}
        write_json(run.out["dataset"], {**place, "summary": summary, "notes": notes})
    unit = {"behavior_unit": facts[0].series["unit"]} if facts and facts[0].series else {}
    made = provenance(smk.input.stamp, asked["version"], run.seconds)
    write_arrays(
        run.out[output],
        arrays,
        {
            "dataset": asked["dataset"],
            "bin_ms": asked["bin_ms"],
            "phase": asked["phase"],
            "definition": asked["definition"],
            "absent": absent,
            **unit,
            "provenance": {**made, "streamed": streamed} if streamed else made,
        },
    )
