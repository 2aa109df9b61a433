"""Rule fetch_answers: bring the published answers of the test phase, from the user's folder or from their address."""

from pathlib import Path

from nlbflow.archive.fetch import fetch_from_url
from nlbflow.running.job import job
from nlbflow.archive.linking import files_below, link_from_folder
from nlbflow.archive.pins import Pin


def main(smk) -> None:
    with job(smk) as run:
        asked = smk.config["published_answers"]
        name = asked["url"].rsplit("/", 1)[-1]
        pin = Pin("published_answers", "", "", "answers", name, asked["bytes"], asked["sha256"])
        folder = Path(smk.config["data_folder"]).expanduser()
        if smk.config["data_folder"] and any(files_below(folder, name)):
            link_from_folder(pin, run.out["answers"], folder, run.log)
        else:
            fetch_from_url(pin, run.out["answers"], asked["url"], run.log, tell=run.say)
        run.log(f"{name} is whole: {pin.bytes:,} bytes, sha256 {pin.sha256}")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
