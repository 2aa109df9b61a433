"""Rule link: check a file of the user's own and link it to its place."""

from pathlib import Path

from nlbflow.running.job import job
from nlbflow.archive.linking import link_user_file


def main(smk) -> None:
    with job(smk) as run:
        link_user_file(Path(smk.input.file), run.out["nwb"], smk.params.sha256, run.log)
        run.log(f"linked {smk.input.file}")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
