# The stamp file of each job: its code, environment and parameters (see scripts/nlbflow/running/stamps.py).

STAMPS = StampsInBucket(BUCKET) if BUCKET else Stamps()
if not workflow.is_main_process:
    # on another node, this process cannot watch the one that submitted it; SLURM ends it
    lead_jobs()
# the keys of a dataset's definition that the tensors and the answers depend on
CUTTING = {
    "tensors": (
        "reference",
        "trials",
        "units",
        "partly_observed",
        "align",
        "window_ms",
        "forward_ms",
        "overlap",
        "jitter",
        "behavior",
        "outliers",
        "conditions",
        "heldout",
        "split",
    )
}
STYLE = "nlbflow.mplstyle"
CUTTING["targets"] = (*CUTTING["tensors"], "scored", "decoders", "psth_kernel_ms")


@lru_cache(maxsize=None)
def code_of(stage, environment, *files):
    """The code that every job of a stage runs, including a model's file; read once per plan, not for each job."""
    return describe_code([ROOT / f"scripts/{stage}.py", *files], Path(environment))


def stamp_of(stage, *name, model=None, parameters=()):
    """Path and content of a stamp file, named after the stage and `name`; with `model`, it also holds the model's code."""
    if model:
        code = code_of(stage, MODELS.environment(model), MODELS.declaration(model)["path"])
    else:
        code = code_of(stage, ROOT / "rules" / workflow.get_rule(stage).conda_env)
    return Path("results/stamps", "-".join([stage, *name]) + ".json"), describe(code, dict(parameters))


@lru_cache(maxsize=None)
def stamp(stage, *name, **of):
    """The stamp file of a stage, as `stamp_of`, written."""
    path, content = stamp_of(stage, *name, **of)
    if not workflow.is_main_process:
        # on another node: the run that submitted this job wrote the stamp
        STAMPS.digests[path.as_posix()] = content["digest"]
        return path.as_posix()
    try:
        hold_bucket() if BUCKET else hold_folder()
        written = STAMPS.write(path, content)
    except NlbflowError as error:
        raise WorkflowError(str(error))
    if BUCKET and written in STAMPS.changed:
        plan_with(written, BEGUN + 1)
    return written


@at_hand
def planned_digest(wildcards, input):
    """The digest that a job's stamp must still have when the job runs; otherwise another run has changed the plan."""
    return STAMPS.digests[STORE.name_of(input.stamp)]


class frozen(dict):
    """Keyword arguments that a cache can remember."""

    def __hash__(self):
        return hash(repr(self))


def place_of(wildcards):
    """(dataset, bin width with its unit, phase) of a job, for names of stamps."""
    return wildcards.dataset, f"{wildcards.bin_ms}ms", wildcards.phase


# The functions below are input functions, one for each stage; a docstring says what the stamp holds beside the code.


def simulate_stamp(wildcards):
    """The simulator's settings."""
    settings = DATASETS[wildcards.dataset]["simulator"]
    return stamp("simulate", wildcards.dataset, parameters=frozen(settings=settings))


def inspect_stamp(wildcards):
    return stamp("inspect_recording", wildcards.dataset, wildcards.part)


def cutting_stamp(stage):
    """For a stage that cuts a dataset into arrays: the dataset's definition."""

    def of(wildcards):
        definition = DATASETS[wildcards.dataset]
        parameters = frozen(
            dataset=wildcards.dataset,
            version=SELECTION.version(wildcards.dataset),
            definition={key: definition[key] for key in CUTTING[stage] if key in definition},
            checksums=wanted_checksums(wildcards, stage),
            bin_ms=int(wildcards.bin_ms),
            phase=wildcards.phase,
        )
        return stamp(stage, *place_of(wildcards), parameters=parameters)

    return of


def wanted_checksums(wildcards, stage):
    """The sha256 of each file from which a stage cuts a dataset, as far as it is known."""
    known = SELECTION.checksums(wildcards.dataset)
    return {**known, "answers": config["published_answers"]["sha256"]} if stage == "targets" else known


def pin_inputs_stamp(wildcards):
    """The definitions of the datasets, which say what is read."""
    of = {dataset: SELECTION.checksums(dataset) for dataset, *_ in SELECTION.pinned_files()}
    definitions = {dataset: {key: DATASETS[dataset].get(key) for key in CUTTING["tensors"]} for dataset in of}
    return stamp("pin_inputs", parameters=frozen(files=of, definitions=definitions))


def check_stamp(wildcards):
    """For the check of a model's contract: its parameters where `per_dataset` sets none."""
    model = wildcards.model
    return stamp("check_model", model, model=model, parameters=frozen(model=model, params=MODELS.params(model)))


def model_stamp(stage):
    """For a stage that runs a model: the resolved parameters."""

    return at_hand(lambda wildcards: stamp(stage, *of_model(wildcards)[0], **of_model(wildcards)[1]))


def of_model(wildcards):
    """The name of a model's stamp, after the stage, and what it holds."""
    model = wildcards.model
    params = MODELS.params(model, wildcards.dataset, wildcards.bin_ms)
    return (model, *place_of(wildcards)), {"model": model, "parameters": frozen(model=model, params=params)}


def tune_stamp(wildcards):
    """The candidate's parameters, which override the model's, and the folds."""
    model, dataset = wildcards.model, wildcards.dataset
    candidate = MODELS.candidates(model, dataset)[wildcards.candidate]
    parameters = frozen(
        candidate=candidate,
        params={**MODELS.params(model, dataset, wildcards.bin_ms), **candidate},
        folds=config["tuning"]["folds"],
        seed=config["tuning"]["seed"],
    )
    name = model, *place_of(wildcards), wildcards.candidate
    return stamp("tune", *name, model=model, parameters=parameters)


def choose_stamp(wildcards):
    """The candidates to choose from."""
    names = [*MODELS.candidates(wildcards.model, wildcards.dataset)]
    return stamp("choose", wildcards.model, *place_of(wildcards), parameters=frozen(candidates=names))


def submission_file_stamp(wildcards):
    """An entry's sha256; else size and date, because a file that replaces another may be older than results of that."""
    model, phase, seed = wildcards.model, wildcards.phase, wildcards.seed
    if model in SELECTION.entries:
        name, parameters = (model, phase, seed), frozen(sha256=MODELS.entry_file(model, phase, seed)["sha256"])
    else:
        status, name = Path(MODELS.submission_file(model, phase)).stat(), (model, phase)
        parameters = frozen(bytes=status.st_size, modified=int(status.st_mtime))
    return stamp("read_submission", *name, parameters=parameters)


def ensemble_stamp(wildcards):
    """The predictions that may take part, how they are averaged, and how many take part."""
    model = wildcards.model
    runs = [list(run) for run in MODELS.ensemble_runs(model)]
    chosen = {"top": None, **MODELS.stanzas[model]["ensemble"]}
    return stamp("ensemble", model, parameters=frozen(runs=runs, average=chosen["average"], top=chosen["top"]))


def score_one_stamp(wildcards):
    """How evaluation trials are resampled, and how the few training trials of k-shot co-bps are drawn."""
    block = DATASETS[wildcards.dataset].get("bootstrap_block", 1)
    return stamp("score_one", wildcards.dataset, parameters=frozen(**config["scoring"], bootstrap_block=block))


def score_stamp(wildcards):
    """The runs that are scored."""
    runs = [list(run) for run in bundle(wildcards)]
    return stamp("score", *place_of(wildcards), wildcards.bundle, parameters=frozen(runs=runs))


def compare_stamp(wildcards):
    """The runs that are compared."""
    runs = [list(run) for run in compared(wildcards)]
    return stamp("compare", *place_of(wildcards), parameters=frozen(runs=runs))


def tables_stamp(wildcards):
    """The places and runs in the tables, and the failed seeds."""
    places, runs = SELECTION.cut_places(), SELECTION.scored()
    asked = frozen(places=[*map(list, places)], runs=[*map(list, runs)], failed_seeds=SELECTION.failed_seeds())
    return stamp("tables", parameters=asked)


def resource_digest(*names):
    """Digests of files in resources/, which are not code."""
    return {name: digest_of((ROOT / "resources" / name).read_text()) for name in names}


def told(**more):
    """What boards say beside the scores: which config, what cannot be made and why, whose rows they are, what to cite."""
    said = SELECTION.descriptions
    rows = {"absent": SELECTION.absences(), "kinds": said.kinds(), "sources": said.sources()}
    return frozen(origin=ORIGIN, about=said.cited(), **rows, **more)


def leaderboard_stamp(wildcards):
    """What is said beside the scores, and the table of published scores."""
    return stamp("leaderboard", parameters=told(resources=resource_digest("published.csv")))


def leaderboard_json_stamp(wildcards):
    """As for the leaderboard; and the selected places, those without scores too, and the version of each dataset."""
    places = [list(place) for place in SELECTION.places]
    versions = {dataset: SELECTION.version(dataset) for dataset in SELECTION.run["datasets"]}
    resources = resource_digest("published.csv")
    return stamp("leaderboard_json", parameters=told(places=places, versions=versions, resources=resources))


def boards_stamp(wildcards):
    """As for the leaderboard; and which tables, and which published scores a model reproduces."""
    resources = resource_digest("published.csv", "reproduced.csv")
    return stamp("boards", parameters=told(boards=SELECTION.boards, resources=resources))


def paper_stamp(wildcards):
    """The tables, the figures with their captions, what to cite, and the template."""
    resources = resource_digest("paper/main.tex")
    parameters = frozen(
        origin=ORIGIN,
        boards=SELECTION.boards,
        figures=captions(SELECTION, ROOT / "report"),
        about=SELECTION.descriptions.cited(),
        resources=resources,
    )
    return stamp("paper", parameters=parameters)


def plot_scores_stamp(wildcards):
    """What is drawn (the places and the families of datasets) and in which style."""
    drawn = {
        "titles": SELECTION.descriptions.titles(),
        "places": [list(place) for place in SELECTION.scored_places()],
        "families": [list(f) for f in SELECTION.scored_families()],
    }
    return stamp("plot_scores", parameters=frozen(style=resource_digest(STYLE), **drawn))


def plot_dataset_stamp(wildcards):
    title = DATASETS[wildcards.dataset]["title"]
    return stamp("plot_dataset", *place_of(wildcards), parameters=frozen(style=resource_digest(STYLE), title=title))


def plot_stamp(stage):
    """For a stage that draws the predictions of one place: the runs, the start of the window, and a title."""

    def of(wildcards):
        place = place_of(wildcards)
        runs = [list(run) for run in compared(wildcards)]
        dataset = DATASETS[wildcards.dataset]
        said = {"start_ms": dataset["window_ms"][0], "title": dataset["title"]}
        return stamp(stage, *place, parameters=frozen(style=resource_digest(STYLE), runs=runs, **said))

    return of


def plot_pipeline_stamp(wildcards):
    return stamp("plot_pipeline", parameters=frozen(style=resource_digest(STYLE)))


def page_stamp(wildcards):
    """What the page says beside the scores, of models and datasets too, and the files from which it is made."""
    folder = ROOT / "resources"
    parts = sorted(path for path in (folder / "page").rglob("*.*") if path.suffix in (".html", ".css", ".js"))
    resources = resource_digest("published.csv", *(path.relative_to(folder).as_posix() for path in parts))
    shown = [list(place) for place in SELECTION.cut_places()]
    return stamp(
        "page",
        parameters=frozen(
            origin=ORIGIN,
            places=shown,
            figures=[[kind, *place] for kind, place in page_figures(SELECTION)],
            absent=SELECTION.absences(),
            about=SELECTION.descriptions.cited(),
            models=SELECTION.descriptions.of_models(),
            sources=SELECTION.descriptions.sources(),
            introductions=SELECTION.descriptions.introductions(),
            standings=SELECTION.standings,
            kinds=SELECTION.descriptions.kinds(),
            resources=resources,
        ),
    )


def crate_stamp(wildcards):
    """The config that is packed, whom to cite for the software, and the script that packs, which no script imports."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    packer = code_digest(ROOT / "scripts/pack_crate.py")
    asked = {key: ASKED[key] for key in ASKED if key not in (*NOT_ASKED, "entered")}
    return stamp("crate", parameters=frozen(config=asked, citation=cited, packer=packer))


def submission_stamp(wildcards):
    """The runs whose rates go into the file."""
    runs = [list(run) for run in SELECTION.submitted(wildcards.model, wildcards.phase)]
    return stamp("write_submission", wildcards.model, wildcards.phase, parameters=frozen(runs=runs))
