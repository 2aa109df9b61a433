"""Rule plot_predictions: trials, PSTHs, latent trajectories, learning curves and what else models show of a place."""

from pathlib import Path

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
from nlbflow.figures import files_of
from nlbflow.figures.canvas import save, use_style
from nlbflow.figures.latents import draw_latents
from nlbflow.figures.learning import draw_learning
from nlbflow.figures.predictions import read_place
from nlbflow.figures.psths import draw_psths
from nlbflow.figures.structure import draw_structure
from nlbflow.figures.trials import draw_trials


def main(smk) -> None:
    with job(smk) as run:
        use_style(Path(smk.scriptdir).parent / "resources/nlbflow.mplstyle")
        place = read_place(smk)
        save(draw_trials(place), files_of("trials", run.out))
        save(draw_psths(place), files_of("psths", run.out))
        save(draw_latents(place), files_of("latents", run.out))
        save(draw_learning(place), files_of("learning", run.out))
        save(draw_structure(place), files_of("structure", run.out))
        run.log(f"drew {place.title}")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
