# Input functions, resources and outputs, which rules look up by a job's wildcards in scripts/nlbflow/planning.
def at_hand(function):
    """A function with its signature, which Snakemake works out some twenty times for each job unless it is there."""
    function.__signature__ = inspect.signature(function)
    return function


def growing(usual):
    """Memory or time of a rule. A job that is tried again on a cluster asks for two or three times as much."""
    return at_hand(lambda wildcards, attempt: usual * attempt)


def place(wildcards):
    """The place of a job."""
    return wildcards.dataset, int(wildcards.bin_ms), wildcards.phase


def compared(wildcards):
    """The runs of a job's place."""
    return SELECTION.runs_at(*place(wildcards))


def bundle(wildcards):
    """The runs that a job scores."""
    return SELECTION.bundles(*place(wildcards))[int(wildcards.bundle)]


def bundle_predictions(wildcards):
    """The predictions that a job scores."""
    return [result(run, "prediction.h5") for run in bundle(wildcards) if run[3] != NULL]


def compared_files(file):
    """The input function of rules that compare models: the file of every run of the place."""
    return lambda wildcards: [result(run, file) for run in compared(wildcards)]


@at_hand
def model_environment(wildcards):
    """The conda environment file of a job's model."""
    return MODELS.environment(wildcards.model)


@at_hand
def model_threads(wildcards):
    """The number of cores that a job's model uses, which are then reserved for it."""
    return MODELS.params(wildcards.model, wildcards.dataset, wildcards.bin_ms).get("threads", 1)


def growing_by_model(name, usual, times=1):
    """Memory or time that a model's stanza asks for; two or three times as much when its job is tried again."""
    return at_hand(lambda wildcards, attempt: int(MODELS.resource(wildcards.model, name, usual) * times) * attempt)


@at_hand
def model_gpus(wildcards):
    """The number of GPUs that a model's stanza asks for."""
    return MODELS.resource(wildcards.model, "gpu", 0)


@at_hand
def best_of(wildcards):
    """The chosen candidate of a tuned model."""
    model = MODELS.stanzas[wildcards.model].get("tuned_from")
    return at_place(place(wildcards), f"{model}/tune/best.json") if model else []


def candidate_results(wildcards):
    """The results of all candidates of a job's model."""
    names = MODELS.candidates(wildcards.model, wildcards.dataset)
    return [f"results/{PLACE}/{{model}}/tune/{name}.json".format(**wildcards) for name in names]


def member_predictions(wildcards):
    """The predictions that an ensemble may average."""
    place = wildcards.dataset, wildcards.bin_ms, wildcards.phase
    return [result((*place, *run), "prediction.h5") for run in MODELS.ensemble_runs(wildcards.model)]


def named(kind):
    """A wildcard constraint: the models of this kind, or, without any, a pattern that nothing matches."""
    return "|".join(MODELS.of_kind(kind)) or "(?!)"


def prediction_of(wildcards):
    """A run's prediction; none for the null row, which `score` computes from the answers."""
    return [] if wildcards.model == NULL else f"results/{PLACE}/{{model}}/{{seed}}/prediction.h5".format(**wildcards)


def submission_of(wildcards):
    """A submission: an entry's was fetched, any other lies where its stanza says, in no bucket."""
    file = MODELS.submission_file(wildcards.model, wildcards.phase, wildcards.seed)
    return file if wildcards.model in SELECTION.entries else local(file)


def shown_entry(wildcards):
    """What shows the entry that is to be tried."""
    if not config["entry"]:
        raise WorkflowError("the config key entry names no entry to try; give one with --config entry=NAME.")
    return ["results/leaderboard.md", "results/leaderboard.html"]


def drawn(kind, place=None):
    """The files of a figure as a rule's outputs, by name and format; the svg goes into the report with a caption."""
    dataset, bin_ms, phase = place or ("{dataset}", "{bin_ms}", "{phase}")
    name = figure_name(kind, dataset, bin_ms, phase)
    labels = {"figure": FIGURE_TITLES[kind], "dataset": dataset, "bins": f"{bin_ms} ms", "phase": phase}
    return figure_outputs(name, name if place else kind, kind, labels)


def figure_outputs(name, key, kind, labels):
    """The outputs of one figure; `name` is the name of its files, `key` its name in the rule."""
    shown = {"caption": f"../report/figure_{kind}.rst", "category": "Figures", "labels": labels}
    files = {form: f"results/figures/{name}.{form}" for form in FORMATS}
    return {f"{key}_{form}": report(path, **shown) if form == "svg" else path for form, path in files.items()}
