"""Rule plot_learning: learning curves, where a model says that it keeps a history of its training."""

from pathlib import Path

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
from nlbflow.figures import files_of
from nlbflow.figures.canvas import save, use_style
from nlbflow.figures.learning import draw_learning
from nlbflow.figures.predictions import read_place


def main(smk) -> None:
    with job(smk) as run:
        use_style(Path(smk.scriptdir).parent / "resources/nlbflow.mplstyle")
        save(draw_learning(read_place(smk)), files_of("learning", run.out))


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
