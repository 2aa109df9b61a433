"""Rule targets: the answers of one dataset, bin width and phase, from recordings or from the published file."""

from nlbflow.job import job  # first: it fixes the number of BLAS threads
from nlbflow.answers import read_published
from nlbflow.cutting import write_cut
from nlbflow.targets import make_target


def main(smk) -> None:
    with job(smk) as run:
        if "answers" in smk.input.keys():
            place = (smk.wildcards.dataset, int(smk.wildcards.bin_ms))
            write_cut(smk, run, "target", lambda *_: read_published(smk.input.answers, *place, smk.input.input))
        else:
            write_cut(smk, run, "target", make_target)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
