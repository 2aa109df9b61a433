"""Rule link: check a file of the user's own and link it to its place."""

from pathlib import Path

from nlbflow.job import job
from nlbflow.linking import link_user_file


def main(smk) -> None:
    with job(smk) as run:
        files = smk.config["datasets"][smk.wildcards.dataset]["files"].values()
        file = next(f for f in files if f["path"].rsplit("/", 1)[-1] == smk.wildcards.name)
        link_user_file(Path(smk.input.file), run.out["nwb"], file.get("sha256"), run.log)
        run.log(f"linked {smk.input.file}")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
