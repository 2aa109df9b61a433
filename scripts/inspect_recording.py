"""Rule inspect_recording: what the NWB team's own checker says of one of the user's recordings."""

from pathlib import Path

from nlbflow.running.job import job
from nlbflow.recordings.inspection import find_inspector, inspect_recording


def main(smk) -> None:
    with job(smk) as run:
        inspector = find_inspector(Path(smk.scriptdir).parent)
        run.log(inspect_recording(inspector, Path(smk.input.nwb), run.out["report"]))


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
