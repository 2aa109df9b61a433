# Lookups of the figures: which there are, and the files of each.
from nlbflow.figures import FORMATS, figure_name
from nlbflow.tables import place_title

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
    "pipeline": "Pipeline",
}


def scored_families():
    """(family, bin_ms, phase, datasets) of each family with two scored datasets or more."""
    return [
        (family, bin_ms, phase, members)
        for bin_ms in RUN["bin_ms"]
        for phase in RUN["phases"]
        for family, members in families([d for d, *at in scored_places() if at == [bin_ms, phase]], DATASETS).items()
    ]


def has_produced_times(dataset):
    """Whether tp corr applies: behaviour is columns of the table of trials, the last of them the produced interval."""
    return "columns" in DATASETS[dataset].get("behavior", {})


def score_figures():
    """The figures of the tables, (kind, place) each."""
    return [(kind, place) for place in scored_places() for kind in ("scores", "ranks", "front", "neurons")] + [
        ("scaling", family[:3]) for family in scored_families()
    ]


def placed_figures():
    """(kind, place) of all figures of the config's selection but the one of the workflow."""
    found = [(kind, place) for place in scored_places() for kind in ("trials", "psths", "latents", "learning")]
    found += [("speed", place) for place in scored_places() if has_produced_times(place[0])]
    return [("dataset", place) for place in places()] + score_figures() + found


def figures():
    """The names of all figures of the config's selection, without their ending."""
    return ["pipeline", *(figure_name(kind, *place) for kind, place in placed_figures())]


def captions():
    """What the paper says of the figures: of each kind its title, how to read it, and [name, caption] of each."""
    titles = {name: DATASETS[name]["title"] for name in RUN["datasets"]}
    found = {kind: [] for kind in FIGURE_TITLES}
    found["pipeline"].append(["pipeline", "The rules of the workflow"])
    for kind, (name, *at) in placed_figures():
        of = f"family {name}" if kind == "scaling" else titles[name]
        caption = f"{FIGURE_TITLES[kind]}: {place_title(of, *at)}"
        found[kind].append([figure_name(kind, name, *at), caption])
    return [
        {
            "title": FIGURE_TITLES[kind],
            "text": (ROOT / f"report/figure_{kind}.rst").read_text(),
            "captions": names,
        }
        for kind, names in found.items()
        if names
    ]


def drawn(kind, place=None):
    """The files of a figure, as a rule's outputs by name and format; the svg goes into the report, with its caption."""
    dataset, bin_ms, phase = place or ("{dataset}", "{bin_ms}", "{phase}")
    name = figure_name(kind, dataset, bin_ms, phase)
    labels = {"figure": FIGURE_TITLES[kind], "dataset": dataset, "bins": f"{bin_ms} ms", "phase": phase}
    return figure_outputs(name, name if place else kind, kind, labels)


def figure_outputs(name, key, kind, labels):
    """The outputs of one figure: `name` its files are called by, `key` a rule does."""
    shown = {"caption": f"../report/figure_{kind}.rst", "category": "Figures", "labels": labels}
    files = {form: f"results/figures/{name}.{form}" for form in FORMATS}
    return {f"{key}_{form}": report(path, **shown) if form == "svg" else path for form, path in files.items()}
