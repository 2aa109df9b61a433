# Lookups that the rules share, and `wanted()`: what the config's selection asks for.
import sys
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "scripts"))

from nlbflow.catalogue import find_model, read_declaration, resolve_params, with_tuned
from nlbflow.config import check_config
from nlbflow.contents import families, planned_boards, table_files, tables_in_report
from nlbflow.datasets import (
    SIMULATED,
    checksums,
    dataset_version,
    lacking,
    look_for_files,
    part_paths,
    window_ranges,
)
from nlbflow.digest import Stamps, describe, describe_code, digest_of
from nlbflow.errors import NlbflowError
from nlbflow.folder import hold_folder, lead_jobs
from nlbflow.pins import find_pin, read_pins
from nlbflow.tuning import draw_candidates, grid_of

try:
    check_config(config, ROOT / "schemas/config.schema.yaml")
    PINS = read_pins(ROOT / config["pins"])
except NlbflowError as error:
    raise WorkflowError(str(error))

RUN = config["run"]
DATASETS = config["datasets"]
MODELS = with_tuned(config["models"])
BOARDS = planned_boards(RUN, DATASETS)
NULL = "null"
PLACE = "{dataset}/{bin_ms}ms/{phase}"
ANSWERS = "data/answers/eval_data_test.h5"


wildcard_constraints:
    dataset=r"[A-Za-z]\w*",
    bin_ms=r"[0-9]+",
    phase=r"val|test",
    model=r"[A-Za-z]\w*",
    seed=r"[0-9]+",
    candidate=r"[0-9a-f]{16}",


@lru_cache(maxsize=None)
def parts_of(dataset):
    """Where a dataset's files lie, by part."""
    return part_paths(dataset, DATASETS[dataset], PINS)


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


def user_file(wildcards):
    """The file that a dataset's stanza names, below the folder of the data where that is set."""
    file = DATASETS[wildcards.dataset].get("files", {}).get(wildcards.part)
    if file is None:
        raise WorkflowError(f"the dataset {wildcards.dataset} names no file {wildcards.part} (datasets.*.files)")
    return (Path(config["data_folder"]) / file["path"]).as_posix()


def input_parts(wildcards):
    """The files that a model's input is cut from."""
    return {part: path for part, path in parts_of(wildcards.dataset).items() if part in ("train", "test", "whole")}


def target_parts(wildcards):
    """The files that the answers are made from. In phase val the test file is read too: the benchmark's clock starts with
    it. In phase test the truth stands for it, or the answers are those that were published."""
    hidden = "truth" if wildcards.phase == "test" else "test"
    parts = parts_of(wildcards.dataset)
    if hidden == "truth" and not {"truth", "whole"} & parts.keys():
        # made from the same test recording as the tensors, which the job compares
        return {"answers": ANSWERS, "input": f"results/{PLACE}/input.h5".format(**wildcards)}
    return {part: path for part, path in parts.items() if part in ("train", "test", hidden, "whole", "rates")}


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


def growing(usual):
    """Memory or time of a rule: a job that is sent to a cluster again asks for that much more."""
    return lambda wildcards, attempt: usual * attempt


def growing_by_model(name, usual):
    """The same of what a model's stanza asks for."""
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


def figure_files():
    """The figures of the paper: what rule figures makes or gathers as PDF."""
    declared = [str(path) for rule in workflow.rules if rule.name == "figures" for path in (*rule.input, *rule.output)]
    return [path for path in declared if path.endswith(".pdf")]


def result(run, file):
    dataset, bin_ms, phase, model, seed = run
    return f"results/{dataset}/{bin_ms}ms/{phase}/{model}/{seed}/{file}"


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
