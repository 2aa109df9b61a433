"""Rule targets: the answers of one dataset, bin width and phase, from recordings or from the published file."""

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
from nlbflow.recordings.published_answers import read_published
from nlbflow.recordings.cutting import write_cut
from nlbflow.recordings.targets import make_target
from nlbflow.running.files import read_arrays


def main(smk) -> None:
    with job(smk) as run:
        if "answers" in smk.input.keys():
            place = (smk.wildcards.dataset, int(smk.wildcards.bin_ms))
            tensors, about = read_arrays(smk.input.input)
            version = about["provenance"]["dataset_version"]
            write_cut(smk, run, "target", lambda *_: read_published(smk.input.answers, *place, tensors, version))
        else:
            write_cut(smk, run, "target", make_target)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
