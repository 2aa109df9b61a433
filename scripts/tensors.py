"""Rule tensors: everything a model may see of one dataset, bin width and phase."""

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
from nlbflow.recordings.cutting import write_cut
from nlbflow.recordings.tensors import cut_input


def main(smk) -> None:
    with job(smk) as run:
        write_cut(smk, run, "input", cut_input)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
