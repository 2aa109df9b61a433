"""Rule fetch_entry: bring one file of rates that an entry names, from the user's folder or from its address."""

from nlbflow.archive.fetch import fetch_from_url
from nlbflow.archive.pins import Pin
from nlbflow.running.job import job


def main(smk) -> None:
    with job(smk) as run:
        of = smk.wildcards
        file = smk.config["models"][of.entry]["rates"][of.phase][int(of.seed)]
        sha256 = file["sha256"]
        pin = Pin("entries", "", "", "rates", f"{of.entry}_{of.phase}_{of.seed}.h5", file["bytes"], sha256)
        fetch_from_url(
            pin,
            run.out["rates"],
            file["url"],
            run.log,
            folder=smk.config["data_folder"],
            slowest=200_000,
            inside=smk.config["entry_hosts"],
            tell=run.say,
        )
        run.log(f"{file['url']} is whole: {pin.bytes:,} bytes, sha256 {sha256}")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
