# Lookups of a model's stanza: its file, parameters, candidates, members, environment and needs.
@lru_cache(maxsize=None)
def declaration(model):
    """What a model's file says of itself, and where the file is; submissions and ensembles have none."""
    if "file" not in MODELS[model]:
        return {"path": None, "DEFAULTS": {}, "SEEDED": False, "ORACLE": False, "NEEDS": []}
    path = find_model(MODELS[model]["file"], ROOT / "scripts/models")
    return {"path": path, **read_declaration(path)}


@lru_cache(maxsize=None)
def seeds_of(model):
    return RUN["seeds"] if declaration(model)["SEEDED"] else [0]


@lru_cache(maxsize=None)
def model_params(model, dataset=None, bin_ms=None):
    return resolve_params(model, MODELS[model], declaration(model)["DEFAULTS"], dataset, bin_ms)


@lru_cache(maxsize=None)
def candidates(model, dataset):
    """The parameters that are tried for a model on a dataset, by name."""
    name = MODELS[model].get("tuned_from", model)
    if declaration(model)["ORACLE"]:
        raise NlbflowError(f"config key models.{name}.tune: an oracle is not tuned; remove the key.")
    grid = grid_of(name, MODELS[model], declaration(model)["DEFAULTS"], dataset)
    return draw_candidates(grid, config["tuning"]["candidates"], config["tuning"]["seed"])


def best_of(wildcards):
    """The chosen candidate, for a model that is tuned."""
    model = MODELS[wildcards.model].get("tuned_from")
    return f"results/{PLACE}/{model}/tune/best.json".format(**wildcards) if model else []


def candidate_results(wildcards):
    names = candidates(wildcards.model, wildcards.dataset)
    return [f"results/{PLACE}/{{model}}/tune/{name}.json".format(**wildcards) for name in names]


def model_environment(wildcards):
    """The conda environment file of a model's jobs."""
    path = ROOT / MODELS[wildcards.model].get("env", "envs/models.yaml")
    if not path.is_file():
        raise NlbflowError(f"config key models.{wildcards.model}.env names {path}, which does not exist; correct it.")
    return str(path)


def named(kind):
    """A wildcard constraint: the models that are trained, oracles, submissions or ensembles, or nothing at all."""
    return "|".join(model for model in MODELS if kind_of(model) == kind) or "(?!)"


def kind_of(model):
    if "file" not in MODELS[model]:
        return "submission" if "prediction" in MODELS[model] else "ensemble"
    return "oracle" if is_oracle(model) else "trained"


def is_oracle(model):
    try:
        return declaration(model)["ORACLE"]
    except NlbflowError:
        # a stanza that nobody selected may name a file that is not there
        if model in RUN["models"]:
            raise
        return False


def model_resource(wildcards, name, usual):
    return MODELS[wildcards.model].get("resources", {}).get(name, usual)


def model_threads(wildcards):
    """What a model is told to use, so that no other job gets it."""
    return model_params(wildcards.model, wildcards.dataset, wildcards.bin_ms).get("threads", 1)


def growing_by_model(name, usual):
    """Memory or time that a model's stanza asks for, and as much more when its job is sent again."""
    return lambda wildcards, attempt: model_resource(wildcards, name, usual) * attempt


def prediction_of(wildcards):
    """The null row has no prediction: score makes it from the answers."""
    return [] if wildcards.model == NULL else f"results/{PLACE}/{{model}}/{{seed}}/prediction.h5".format(**wildcards)


def submission_file(wildcards):
    """The file that a stanza names as a prediction."""
    return MODELS[wildcards.model]["prediction"].replace("{phase}", wildcards.phase)


@lru_cache(maxsize=None)
def ensemble_runs(model):
    """The (model, seed) that an ensemble may be the mean of."""
    found = []
    for member, seeds in MODELS[model]["ensemble"]["members"].items():
        key = f"config key models.{model}.ensemble.members.{member}"
        if is_oracle(member):
            raise NlbflowError(f"{key}: an oracle has seen the answers; leave it out.")
        if not declaration(member)["SEEDED"] and seeds != [0]:
            raise NlbflowError(f"{key} is {seeds}; a model that is not seeded runs once: expected [0].")
        if "top" in MODELS[model]["ensemble"] and "file" not in MODELS[member]:
            raise NlbflowError(
                f"{key}: `top` chooses by what a training tells of its validation trials, and a {kind_of(member)} is not "
                "trained; leave it out, or leave `top` out."
            )
        found += [(member, seed) for seed in seeds]
    return found


def member_predictions(wildcards):
    """The predictions that an ensemble may be the mean of."""
    place = wildcards.dataset, wildcards.bin_ms, wildcards.phase
    return [result((*place, *run), "prediction.h5") for run in ensemble_runs(wildcards.model)]


def look_at_run(run):
    """What can be said of a selected run before anything runs, and of the runs that it is an ensemble of.

    Raises:
        NlbflowError: its model's stanza is at fault.
    """
    dataset, bin_ms, phase, model, _ = run
    model_params(model, dataset, bin_ms)
    model_environment(SimpleNamespace(model=model))
    if "tuned_from" in MODELS[model]:
        candidates(model, dataset)
    if kind_of(model) == "submission":
        look_for_submission(model, phase)
    if kind_of(model) == "ensemble":
        for member, seed in ensemble_runs(model):
            look_at_run((dataset, bin_ms, phase, member, seed))


def look_for_submission(model, phase):
    path = submission_file(SimpleNamespace(model=model, phase=phase))
    if not Path(path).is_file():
        raise NlbflowError(
            f"config key models.{model}.prediction names {path} for phase {phase}, which is no file; correct it, or take "
            f"{phase} out of run.phases."
        )
