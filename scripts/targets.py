"""Rule targets: the answers of one dataset, bin width and phase."""

from nlbflow.job import job  # first: it fixes the number of BLAS threads
from nlbflow.cutting import write_cut
from nlbflow.targets import make_target


def main(smk) -> None:
    with job(smk) as run:
        write_cut(smk, run, "target", make_target)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
