"""Rule write_submission: a model's rates on all selected datasets and bin widths as the benchmark's HDF5 file."""

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
from nlbflow.running.files import read_arrays, read_json
from nlbflow.models.submission_writing import write_submission


def main(smk) -> None:
    with job(smk) as run:
        runs = read_json(smk.input.stamp)["parameters"]["runs"]
        predictions = (
            (dataset, bin_ms, read_arrays(path)[0])
            for (dataset, bin_ms, *_), path in zip(runs, smk.input.predictions, strict=True)
        )
        write_submission(run.out["submission"], predictions)
        run.log(f"{len(runs)} groups")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
