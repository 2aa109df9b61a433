"""Rule stream: where one pinned file lies in the archive, in place of the file."""

from pathlib import Path

from nlbflow.archive.assets import point_at
from nlbflow.archive.pins import find_pin, read_pins
from nlbflow.running.job import job


def main(smk) -> None:
    with job(smk) as run:
        pins = read_pins(Path(smk.scriptdir).parent / smk.config["pins"])
        pin = find_pin(pins, smk.wildcards.dandiset, smk.wildcards.version, smk.wildcards.path)
        point_at(pin, run.out["pointer"], smk.config["archive"], smk.params.inputs, run.log)
        run.log(f"{pin.path} can be streamed; {'its content is pinned' if smk.params.inputs else 'no pins of content'}")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
