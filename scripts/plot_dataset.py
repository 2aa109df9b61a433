"""Rule plot_dataset: what a dataset is, at one bin width and phase."""

from pathlib import Path

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
from nlbflow.figures import files_of
from nlbflow.figures.canvas import make_smaller, save, use_style
from nlbflow.figures.dataset import draw_dataset
from nlbflow.figures.recorded import read_recorded
from nlbflow.running.files import read_json
from nlbflow.boards.tables import place_title


def main(smk) -> None:
    with job(smk) as run:
        use_style(Path(smk.scriptdir).parent / "resources/nlbflow.mplstyle")
        about = read_json(smk.input.dataset)
        title = place_title(read_json(smk.input.stamp)["parameters"]["title"], about["bin_ms"], about["phase"])
        files = files_of("dataset", run.out)
        save(draw_dataset(read_recorded(smk.input.input), title, about["summary"]), files)
        make_smaller(files["png"])
        run.log(f"drew {title}")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
