"""The figures of a selection, their files and their captions."""

from pathlib import Path

from nlbflow.boards.tables import place_title
from nlbflow.figures import FORMATS, figure_name
from nlbflow.planning.selection import Selection

FIGURE_TITLES = {
    "dataset": "The data",
    "scores": "Scores",
    "ranks": "Ranks",
    "front": "Accuracy and interpretability",
    "neurons": "Neurons",
    "scaling": "Training trials",
    "trials": "Example trials",
    "psths": "PSTHs",
    "latents": "Latent trajectories",
    "speed": "Neural speed",
    "learning": "Learning curves",
    "structure": "States, clusters and couplings",
    "pipeline": "Pipeline",
}


def has_produced_times(definition: dict) -> bool:
    """Whether tp corr applies: behavior is columns of the table of trials, and the last is the produced interval."""
    return "columns" in definition.get("behavior", {})


def score_figures(selection: Selection) -> list[tuple[str, tuple]]:
    """(kind, place) of the figures drawn from tables; the place of a scaling figure begins with a family's name."""
    placed = [(kind, place) for place in selection.scored_places() for kind in ("scores", "ranks", "front", "neurons")]
    return placed + [("scaling", family[:3]) for family in selection.scored_families()]


def placed_figures(selection: Selection) -> list[tuple[str, tuple]]:
    """(kind, place) of all figures of a selection except that of the workflow."""
    scored = selection.scored_places()
    found = [(kind, place) for place in scored for kind in ("trials", "psths", "latents")]
    found += [("learning", place) for place in scored if selection.declares(place, "HISTORY")]
    found += _structures(selection)
    found += [("speed", place) for place in scored if has_produced_times(selection.datasets[place[0]])]
    return [("dataset", place) for place in selection.cut_places()] + score_figures(selection) + found


def _structures(selection: Selection) -> list[tuple[str, tuple]]:
    return [("structure", place) for place in selection.scored_places() if selection.declares(place, "STRUCTURE")]


def page_figures(selection: Selection) -> list[tuple[str, tuple]]:
    """(kind, place) of the figures that the leaderboard page carries: what the data are, and what models show."""
    return [("dataset", place) for place in selection.cut_places()] + _structures(selection)


def figure_names(selection: Selection) -> list[str]:
    """The names of all figures of a selection, without a suffix."""
    return ["pipeline", *(figure_name(kind, *place) for kind, place in placed_figures(selection))]


def figure_files(selection: Selection) -> list[str]:
    """The files of all figures of a selection."""
    return [f"results/figures/{name}.{form}" for name in figure_names(selection) for form in FORMATS]


def captions(selection: Selection, texts: Path) -> list[dict]:
    """The paper's text on the figures: for each kind its title, how to read it, and [name, caption] of each figure.

    Args:
        texts: the folder of the files figure_KIND.rst, which say how to read a kind of figure.
    """
    titles = selection.descriptions.titles()
    found = {kind: [] for kind in FIGURE_TITLES}
    found["pipeline"].append(["pipeline", "The rules of the workflow"])
    for kind, (name, *at) in placed_figures(selection):
        of = f"family {name}" if kind == "scaling" else titles[name]
        caption = f"{FIGURE_TITLES[kind]}: {place_title(of, *at)}"
        found[kind].append([figure_name(kind, name, *at), caption])
    return [
        {"title": FIGURE_TITLES[kind], "text": (texts / f"figure_{kind}.rst").read_text(), "captions": names}
        for kind, names in found.items()
        if names
    ]
