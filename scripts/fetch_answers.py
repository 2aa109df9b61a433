"""Rule fetch_answers: bring the published answers of the test phase, from the user's folder or from their address."""

from nlbflow.archive.fetch import fetch_from_url
from nlbflow.archive.pins import Pin
from nlbflow.running.job import job


def main(smk) -> None:
    with job(smk) as run:
        asked = smk.config["published_answers"]
        name = asked["url"].rsplit("/", 1)[-1]
        pin = Pin("published_answers", "", "", "answers", name, asked["bytes"], asked["sha256"])
        fetch_from_url(pin, run.out["answers"], asked["url"], run.log, folder=smk.config["data_folder"])
        run.log(f"{name} is whole: {pin.bytes:,} bytes, sha256 {pin.sha256}")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
