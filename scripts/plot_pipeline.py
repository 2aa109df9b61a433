"""Rule plot_pipeline: the workflow's rules and the files between them."""

from pathlib import Path

from nlbflow.running.job import job
from nlbflow.figures import files_of
from nlbflow.figures.canvas import save, use_style
from nlbflow.figures.pipeline import draw_pipeline


def main(smk) -> None:
    with job(smk) as run:
        use_style(Path(smk.scriptdir).parent / "resources/nlbflow.mplstyle")
        save(draw_pipeline(), files_of("pipeline", run.out))


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
