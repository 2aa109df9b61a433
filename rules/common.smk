# The config, checked, and what it selects.
import gc
import inspect
import sys
from functools import lru_cache
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

# Nearly all that a plan makes stays; looking for what does not, at Python's own pace, is a tenth of its time.
gc.set_threshold(200_000, 20, 100)

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT / "scripts"))

from nlbflow.archive.pins import find_pin, read_inputs
from nlbflow.boards.contents import table_files, tables_in_report
from nlbflow.errors import NlbflowError
from nlbflow.figures import FORMATS, figure_name
from nlbflow.planning.drawings import FIGURE_TITLES, captions, figure_files, figure_names, page_figures, score_figures
from nlbflow.planning.origin import NOT_ASKED, is_shown, origin_of, set_others_aside
from nlbflow.planning.selection import ANSWERS, NULL, Selection, at_place, result
from nlbflow.planning.unfinished import (
    STOPPED,
    UNFINISHED,
    Failure,
    Unfinished,
    command_again,
    failure_sentence,
    partial_command,
)
from nlbflow.recordings.datasets import SIMULATED
from nlbflow.running.code import code_digest, digest_of
from nlbflow.running.files import read_attributes, read_json
from nlbflow.running.folder import hold_folder, lead_jobs, release_folder
from nlbflow.running.gpus import gpu_names, most_hours
from nlbflow.running.stamps import Stamps, StampsInBucket, describe, describe_code


include: "bucket.smk"


try:
    SELECTION = Selection.of(config, ROOT)
except NlbflowError as error:
    raise WorkflowError(str(error))
if DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method:
    if "://" not in config["image"] and not Path(config["image"]).exists():
        raise WorkflowError(
            f"the config key image names {config['image']}, which does not exist; build it (docs/containers.md), or name another."
        )

# scripts read the stanza of a model from here; those of entries come from their folders
ENTERED = {name: dict(entry.about) for name, entry in SELECTION.entries.items()}
ASKED = {**config, **({"entered": ENTERED} if ENTERED else {})}
config.update(SELECTION.config)
MODELS, PINS = SELECTION.models, SELECTION.pins
# what streamed files are checked by lies beside the pins of whole ones
INPUTS = read_inputs((ROOT / config["pins"]).with_name("inputs.tsv"))
DATASETS = config["datasets"]
# The config that tables, page and figures belong to.
ORIGIN = origin_of(ASKED, map(str, workflow.config_settings.configfiles))
PLACE = "{dataset}/{bin_ms}ms/{phase}"


wildcard_constraints:
    dataset=r"[A-Za-z]\w*",
    bin_ms=r"[0-9]+",
    phase=r"val|test",
    model=r"[A-Za-z]\w*",
    seed=r"[0-9]+",
    bundle=r"[0-9]+",
    candidate=r"[0-9a-f]{16}",
