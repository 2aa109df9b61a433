"""Rule plot_structure: states, labels and similarities of neurons, where a model says that it shows any."""

from pathlib import Path

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
from nlbflow.figures import files_of
from nlbflow.figures.canvas import save, use_style
from nlbflow.figures.structure import draw_structure
from nlbflow.figures.predictions import read_place


def main(smk) -> None:
    with job(smk) as run:
        use_style(Path(smk.scriptdir).parent / "resources/nlbflow.mplstyle")
        save(draw_structure(read_place(smk)), files_of("structure", run.out))


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
