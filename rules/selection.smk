# What the config's selection asks for: places, runs, files; and what of it cannot be had.
def unavailable(dataset, bin_ms, phase, model=None):
    """Why a dataset cannot be scored at a bin width in a phase, or a model not be run on it; empty where it can."""
    lacks = lacking(DATASETS[dataset], parts_of(dataset), phase, bin_ms)
    if model not in (None, NULL) and dataset not in MODELS[model].get("datasets", [dataset]):
        return f"not among its datasets (config key models.{model}.datasets)"
    if model in (None, NULL):
        needs = ["train", "evaluation", "truth"]
    else:
        needs = [
            "train",
            "evaluation",
            *declaration(model)["NEEDS"],
            *(["truth"] if declaration(model)["ORACLE"] else []),
        ]
    reasons = [lacks[need] for need in needs if need in lacks]
    for member in MODELS.get(model, {}).get("ensemble", {}).get("members", {}):
        if reason := unavailable(dataset, bin_ms, phase, member):
            reasons.append(f"its member {member}: {reason}")
    return reasons[0] if reasons else ""


def places():
    """The selected (dataset, bin_ms, phase)."""
    return [(d, b, p) for d in RUN["datasets"] for b in RUN["bin_ms"] for p in RUN["phases"]]


@lru_cache(maxsize=None)
def runs_at(*place):
    """The runs of a place: (dataset, bin_ms, phase, model, seed) of the selected models that can be run there."""
    models = [model for model in RUN["models"] if not unavailable(*place, model)]
    return [(*place, model, seed) for model in models for seed in seeds_of(model)]


def runs():
    """The runs of all selected places."""
    return [run for place in places() for run in runs_at(*place)]


def scored():
    """The runs whose answers are known, and the null row of each place."""
    known = scored_places()
    return [(*place, NULL, 0) for place in known] + [run for place in known for run in runs_at(*place)]


@lru_cache(maxsize=None)
def scored_places():
    """The selected (dataset, bin_ms, phase) whose answers are known."""
    return [place for place in places() if not unavailable(*place)]


def compared(wildcards):
    """The runs of a place, whose answers are known."""
    return runs_at(wildcards.dataset, int(wildcards.bin_ms), wildcards.phase)


def compared_files(file):
    """The input function of compare: that file of every run of the place."""
    return lambda wildcards: [result(run, file) for run in compared(wildcards)]


def submitted(model, phase):
    """The runs whose rates go into a model's submission: all selected datasets and bin widths, the first seed."""
    first = seeds_of(model)[0]
    return [(*p, model, first) for p in places() if p[2] == phase and not unavailable(*p, model)]


def submissions():
    """The submission files of the config's selection."""
    models = [model for model in RUN["models"] if not is_oracle(model)]
    return [f"results/submissions/{m}_{p}.h5" for m in models for p in RUN["phases"] if submitted(m, p)]


def absences():
    """What the selection asks for and cannot have, each with its reason, for the tables to say."""
    rows = [(*place, "all models", unavailable(*place)) for place in places()]
    rows += [(*p, m, unavailable(*p, m)) for p in places() for m in RUN["models"]]
    whole = {row[:3] for row in rows if row[3] == "all models" and row[4]}
    return [list(row) for row in rows if row[4] and (row[3] == "all models" or row[:3] not in whole)]


def cited():
    """What tables say of the selected datasets."""
    return {name: {key: DATASETS[name][key] for key in ("title", "citation", "license")} for name in RUN["datasets"]}


def wanted():
    """The files of the config's selection."""
    return [
        *(f"results/{d}/{b}ms/{p}/input.h5" for d, b, p in places()),
        *(result(run, "prediction.h5") for run in runs()),
        "results/scores.csv",
        "results/costs.csv",
        "results/neurons.csv",
        "results/ranks.csv",
        "results/differences.csv",
        "results/cross_decoding.csv",
        "results/summaries.csv",
        "results/notes.csv",
        "results/leaderboard.md",
        "results/leaderboard.html",
        *(f"results/figures/{name}.{form}" for name in figures() for form in FORMATS),
        *table_files(BOARDS).values(),
    ]


try:
    # windows, files, pins and parameters are looked up here, so that a fault is told before anything runs
    for place in places():
        parts_of(place[0])
        window_ranges(DATASETS[place[0]], place[1])
        done = Path("results/{}/{}ms/{}/input.h5".format(*place)).exists()
        if not done:
            look_for_files(place[0], DATASETS[place[0]], parts_of(place[0]), config["data_folder"])
    for run in runs():
        look_at_run(run)
except NlbflowError as error:
    raise WorkflowError(str(error))
