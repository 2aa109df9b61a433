"""Rule train: fit a model to the training trials and predict, from input.h5 alone."""

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
from nlbflow.models.predicting import predict


def main(smk) -> None:
    with job(smk) as run:
        predict(smk, run)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
