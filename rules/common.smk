# Lookups that the rules share, and `wanted()`: what the config's selection asks for.
import sys
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "scripts"))

from nlbflow.config import check_config
from nlbflow.datasets import (
    SIMULATED,
    checksums,
    dataset_version,
    lacking,
    look_for_files,
    part_paths,
    window_ranges,
)
from nlbflow.digest import Stamps, describe
from nlbflow.errors import NlbflowError
from nlbflow.folder import hold_folder
from nlbflow.models import find_model, read_declaration, resolve_params
from nlbflow.pins import find_pin, read_pins

try:
    check_config(config, ROOT / "schemas/config.schema.yaml")
    PINS = read_pins(ROOT / config["pins"])
except NlbflowError as error:
    raise WorkflowError(str(error))

RUN = config["run"]
DATASETS = config["datasets"]
MODELS = config["models"]
NULL = "null"
PLACE = "{dataset}/{bin_ms}ms/{phase}"
# what of a dataset's definition the tensors depend on, and what the answers do
CUTTING = {
    "tensors": (
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
CUTTING["targets"] = (*CUTTING["tensors"], "scored", "decoders", "psth_kernel_ms")
ANSWERS = "data/answers/eval_data_test.h5"
STAMPS = Stamps()


wildcard_constraints:
    dataset=r"[A-Za-z]\w*",
    bin_ms=r"[0-9]+",
    phase=r"val|test",
    model=r"[A-Za-z]\w*",
    seed=r"[0-9]+",


@lru_cache(maxsize=None)
def parts_of(dataset):
    """Where a dataset's files lie, by part."""
    return part_paths(dataset, DATASETS[dataset], PINS)


@lru_cache(maxsize=None)
def declaration(model):
    """What a model's file says of itself, and where the file is."""
    path = find_model(MODELS[model]["file"], ROOT / "scripts/models")
    return {"path": path, **read_declaration(path)}


@lru_cache(maxsize=None)
def seeds_of(model):
    return RUN["seeds"] if declaration(model)["SEEDED"] else [0]


@lru_cache(maxsize=None)
def stamp(stage, *, model=None, dataset=None, bin_ms=None, phase=None, parameters=()):
    """The stamp file of a job: what its code, environment and parameters are (see nlbflow/digest.py)."""
    scripts = [ROOT / f"scripts/{stage}.py"]
    environment = ROOT / "envs" / f"{ENVIRONMENTS[stage]}.yaml"
    if model:
        scripts.append(declaration(model)["path"])
        environment = Path(model_environment(SimpleNamespace(model=model)))
    name = [stage, model, dataset, f"{bin_ms}ms" if bin_ms else None, phase]
    path = Path("results/stamps", "-".join(filter(None, name)) + ".json")
    content = describe(scripts, environment, dict(parameters))
    if not workflow.is_main_process:
        # a job on another node: the run that sent it wrote the stamp
        STAMPS.digests[path.as_posix()] = content["digest"]
        return path.as_posix()
    try:
        hold_folder()
    except NlbflowError as error:
        raise WorkflowError(str(error))
    return STAMPS.write(path, content)


def planned_digest(wildcards, input):
    """What a job's stamp must still say when the job runs, or another run has changed the plan."""
    return STAMPS.digests[input.stamp]


ENVIRONMENTS = {
    "simulate": "prepare",
    "tensors": "prepare",
    "targets": "prepare",
    "check_model": "models",
    "train": "models",
    "oracle": "models",
    "score": "models",
    "tables": "results",
    "leaderboard": "results",
}


def model_environment(wildcards):
    """The conda environment file of a model's jobs."""
    path = ROOT / MODELS[wildcards.model].get("env", "envs/models.yaml")
    if not path.is_file():
        raise NlbflowError(f"config key models.{wildcards.model}.env names {path}, which does not exist; correct it.")
    return str(path)


def cutting_stamp(stage):
    """The input function of a stage that cuts a dataset into arrays: its stamp holds the definition."""

    def of(wildcards):
        definition = DATASETS[wildcards.dataset]
        return stamp(
            stage,
            dataset=wildcards.dataset,
            bin_ms=wildcards.bin_ms,
            phase=wildcards.phase,
            parameters=frozen(
                dataset=wildcards.dataset,
                version=dataset_version(wildcards.dataset, definition, PINS),
                definition={key: definition[key] for key in CUTTING[stage] if key in definition},
                checksums=wanted_checksums(wildcards, stage),
                bin_ms=int(wildcards.bin_ms),
                phase=wildcards.phase,
            ),
        )

    return of


def wanted_checksums(wildcards, stage):
    """The sha256 of each file that a dataset is cut from, as far as one is known."""
    known = checksums(wildcards.dataset, DATASETS[wildcards.dataset], PINS)
    return {**known, "answers": config["published_answers"]["sha256"]} if stage == "targets" else known


def model_stamp(stage):
    """The input function of a stage that runs a model: its stamp holds the resolved parameters."""

    def of(wildcards):
        place = {key: wildcards.get(key) for key in ("dataset", "bin_ms", "phase")}
        params = model_params(wildcards.model, place["dataset"], place["bin_ms"])
        return stamp(
            stage,
            model=wildcards.model,
            **place,
            parameters=frozen(model=wildcards.model, params=params),
        )

    return of


def model_params(model, dataset=None, bin_ms=None):
    return resolve_params(model, MODELS[model], declaration(model)["DEFAULTS"], dataset, bin_ms)


class frozen(dict):
    """Keyword arguments that a cache can remember."""

    def __hash__(self):
        return hash(repr(self))


def unavailable(dataset, bin_ms, phase, model=None):
    """Why a dataset cannot be scored at a bin width in a phase, or a model not be run on it; empty where it can."""
    lacks = lacking(DATASETS[dataset], parts_of(dataset), phase, bin_ms)
    if model in (None, NULL):
        needs = ["train", "evaluation", "truth"]
    else:
        needs = [
            "train",
            "evaluation",
            *declaration(model)["NEEDS"],
            *(["truth"] if declaration(model)["ORACLE"] else []),
        ]
    return next((lacks[need] for need in needs if need in lacks), "")


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


def named(oracles):
    """A wildcard constraint: the models that are oracles, or those that are not, or nothing at all."""
    return "|".join(model for model in MODELS if is_oracle(model) == oracles) or "(?!)"


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


def prediction_of(wildcards):
    """The null row has no prediction: score makes it from the answers."""
    return [] if wildcards.model == NULL else f"results/{PLACE}/{{model}}/{{seed}}/prediction.h5".format(**wildcards)


def places():
    """The selected (dataset, bin_ms, phase)."""
    return [(d, b, p) for d in RUN["datasets"] for b in RUN["bin_ms"] for p in RUN["phases"]]


def runs():
    """The selected (dataset, bin_ms, phase, model, seed) that can be run."""
    return [
        (*place, model, seed)
        for place in places()
        for model in RUN["models"]
        if not unavailable(*place, model)
        for seed in seeds_of(model)
    ]


def scored():
    """The runs whose answers are known, and the null row of each place."""
    known = [place for place in places() if not unavailable(*place)]
    return [(*place, NULL, 0) for place in known] + [run for run in runs() if run[:3] in known]


def absences():
    """What the selection asks for and cannot have, each with its reason, for the tables to say."""
    rows = [(*place, "all models", unavailable(*place)) for place in places()]
    rows += [(*p, m, unavailable(*p, m)) for p in places() for m in RUN["models"]]
    whole = {row[:3] for row in rows if row[3] == "all models" and row[4]}
    return [list(row) for row in rows if row[4] and (row[3] == "all models" or row[:3] not in whole)]


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
        "results/leaderboard.md",
        "results/leaderboard.html",
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
        model_params(run[3], run[0], run[1])
        model_environment(SimpleNamespace(model=run[3]))
except NlbflowError as error:
    raise WorkflowError(str(error))
