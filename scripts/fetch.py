"""Rule fetch: bring one pinned file, from the archive or from a folder that the user already has."""

from pathlib import Path

from nlbflow.errors import NlbflowError
from nlbflow.archive.fetch import fetch_from_dandi
from nlbflow.running.job import job
from nlbflow.archive.linking import link_from_folder
from nlbflow.archive.pins import find_pin, read_pins


def main(smk) -> None:
    with job(smk) as run:
        pins = read_pins(Path(smk.scriptdir).parent / smk.config["pins"])
        pin = find_pin(pins, smk.wildcards.dandiset, smk.wildcards.version, smk.wildcards.path)
        definition = smk.config["datasets"][pin.dataset]
        if definition["source"] == "folder":
            folder = smk.config["data_folder"]
            if not folder:
                raise NlbflowError(
                    f"dataset {pin.dataset} has `source: folder`, but no folder is set; give one with "
                    "--config data_folder=FOLDER."
                )
            link_from_folder(pin, run.out["nwb"], Path(folder).expanduser(), run.log)
        else:
            fetch_from_dandi(pin, run.out["nwb"], smk.config["archive"], run.log, tell=run.say)
        run.log(f"{pin.path} is whole: {pin.bytes:,} bytes, sha256 {pin.sha256}")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
