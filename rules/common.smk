# What the config says, checked, and lookups that all rules share.
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


def user_file(wildcards):
    """The file that a dataset's stanza names, below the folder of the data where that is set."""
    file = DATASETS[wildcards.dataset].get("files", {}).get(wildcards.part)
    if file is None:
        raise WorkflowError(f"the dataset {wildcards.dataset} names no file {wildcards.part} (datasets.*.files)")
    return (Path(config["data_folder"]) / file["path"]).as_posix()


def own_files():
    """(dataset, part) of every file of the user's that the selected datasets are made of."""
    own = [name for name in RUN["datasets"] if DATASETS[name]["source"] == "files"]
    return [(name, part) for name in own for part in DATASETS[name]["files"]]


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


def growing(usual):
    """Memory or time of a rule: a job that is sent to a cluster again asks for that much more."""
    return lambda wildcards, attempt: usual * attempt


def result(run, file):
    dataset, bin_ms, phase, model, seed = run
    return f"results/{dataset}/{bin_ms}ms/{phase}/{model}/{seed}/{file}"
