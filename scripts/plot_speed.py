"""Rule plot_speed: neural speed against the produced interval, where the dataset has one."""

from pathlib import Path

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
from nlbflow.figures import files_of
from nlbflow.figures.canvas import save, use_style
from nlbflow.figures.predictions import read_place
from nlbflow.figures.speed import draw_speed


def main(smk) -> None:
    with job(smk) as run:
        use_style(Path(smk.scriptdir).parent / "resources/nlbflow.mplstyle")
        save(draw_speed(read_place(smk)), files_of("speed", run.out))


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
