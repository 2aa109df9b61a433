"""Rule plot_scores: what the tables hold, drawn: scores, ranks, fronts, neurons and scaling with training trials."""

from pathlib import Path

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
import pandas as pd
from matplotlib.figure import Figure

from nlbflow.figures import figure_name, files_of
from nlbflow.figures.canvas import save, say, use_style
from nlbflow.figures.front import draw_front
from nlbflow.figures.rows import draw_neurons, draw_ranks, draw_scores
from nlbflow.figures.scaling import draw_scaling
from nlbflow.running.files import open_h5, read_json
from nlbflow.metrics.kinds import RANKED
from nlbflow.boards.tables import PLACE, place_title, read_table

TABLES = ("scores", "ranks", "neurons", "costs", "differences")


def main(smk) -> None:
    with job(smk) as run:
        asked = read_json(smk.input.stamp)["parameters"]
        use_style(Path(smk.scriptdir).parent / "resources/nlbflow.mplstyle")
        tables = {name: read_table(smk.input[name]) for name in TABLES}
        ranks = tables["ranks"]
        known = list(dict.fromkeys(ranks.loc[ranks["kind"].isin(RANKED), "model"]))
        grouped = {name: dict(tuple(table.groupby(PLACE))) for name, table in tables.items()}
        for place in map(tuple, asked["places"]):
            found = [grouped[name].get(place, tables[name][:0]) for name in TABLES]
            title = place_title(asked["titles"][place[0]], *place[1:])
            for kind, figure in draw_place(title, *found, known).items():
                save(figure, files_of(figure_name(kind, *place), run.out))
            run.log(f"drew {place_title(*place)}")
        tensors = iter(smk.input.tensors)
        for family, bin_ms, phase, datasets in asked["families"]:
            trials = {dataset: training_trials(next(tensors)) for dataset in datasets}
            names = {dataset: asked["titles"][dataset] for dataset in datasets}
            here = ranks[(ranks["bin_ms"] == bin_ms) & (ranks["phase"] == phase)]
            figure = draw_scaling(place_title(f"family {family}", bin_ms, phase), here, trials, names)
            save(figure, files_of(figure_name("scaling", family, bin_ms, phase), run.out))


def draw_place(
    title: str,
    scores: pd.DataFrame,
    ranks: pd.DataFrame,
    neurons: pd.DataFrame,
    costs: pd.DataFrame,
    differences: pd.DataFrame,
    known: list[str],
) -> dict[str, Figure]:
    """The figures of one place, from its rows of each table."""
    if ranks.empty:
        return dict.fromkeys(("scores", "ranks", "neurons", "front"), say(title, "No model has a score here."))
    return {
        "scores": draw_scores(title, ranks, scores, known),
        "ranks": draw_ranks(title, ranks, known),
        "neurons": draw_neurons(title, ranks, neurons, known),
        "front": draw_front(title, scores, costs, differences),
    }


def training_trials(path: str) -> int:
    """How many trials an input.h5 has for training."""
    with open_h5(path) as file:
        return len(file["train_spikes_heldin"])


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
