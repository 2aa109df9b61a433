"""Rule pin_inputs: checksums of what is read of whole, checked files, by which streamed ones are checked."""

import csv

from nlbflow.running.job import job
from nlbflow.recordings.inputs import checksums_of
from nlbflow.running.files import read_json


def main(smk) -> None:
    with job(smk) as run:
        asked = read_json(smk.input.stamp)["parameters"]
        with run.out["table"].open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, delimiter="\t", lineterminator="\n")
            table.writerow(["dataset", "part", "file_sha256", "item", "sha256"])
            for (dataset, part), path in zip(smk.params.of, smk.input.files, strict=True):
                definition = {key: value for key, value in asked["definitions"][dataset].items() if value is not None}
                for item, sha256 in checksums_of(path, definition).items():
                    table.writerow([dataset, part, asked["files"][dataset][part], item, sha256])
        run.log(f"made from {len(smk.input.files)} files; if it is right, copy it to resources/inputs.tsv")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
