"""Rule oracle: predict with the answers at hand, for a row that is not ranked."""

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
from nlbflow.running.files import read_arrays
from nlbflow.models.predicting import predict


def main(smk) -> None:
    with job(smk) as run:
        answers, about = read_arrays(smk.input.target)
        predict(smk, run, answers, about["definition"].get("psth_kernel_ms"))


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
