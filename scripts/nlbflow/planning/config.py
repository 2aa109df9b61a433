"""Check the config against a closed schema; report a fault in a sentence that a person can act on."""

from pathlib import Path

import yaml

from nlbflow.boards.standings import check_suite
from nlbflow.errors import NlbflowError
from nlbflow.models.catalogue import TUNED, with_tuned
from nlbflow.models.ensembles import check_members
from nlbflow.planning.faults import first_fault, near


def check_config(config: dict, schema_path: Path) -> None:
    """Check the merged config.

    Raises:
        NlbflowError: the first fault, with its key, what is allowed and what was found.
    """
    schema = yaml.safe_load(schema_path.read_text())
    if fault := first_fault(schema, config, "config", "schemas/config.schema.yaml"):
        raise NlbflowError(fault)
    for what, chosen, catalogue in (
        ("dataset", config["run"]["datasets"], config["datasets"]),
        ("model", config["run"]["models"], with_tuned(config["models"])),
    ):
        for name in chosen:
            untuned = name.removesuffix(TUNED)
            if name not in catalogue and what == "model" and name != untuned in catalogue:
                raise NlbflowError(
                    f"config key run.models names the model {name!r}, but models.{untuned} has no `tune:` with a grid "
                    f"to tune it by; add one, or run {untuned}."
                )
            if name not in catalogue:
                raise NlbflowError(
                    f"config key run.{what}s names the {what} {name!r}, which the catalogue `{what}s:` does not have"
                    f"{near(name, catalogue)}; it has {', '.join(sorted(catalogue))}."
                )
    for name, stanza in config["datasets"].items():
        drawn = "fraction" in stanza.get("heldout", {}) or "val" in stanza.get("split", {})
        if drawn and set(stanza.get("files", {})) != {"whole"}:
            raise NlbflowError(
                f"config key datasets.{name} draws held-out units or splits, which needs one file with everything: "
                "name it as files.whole, or use columns."
            )
        pair = [key for key in ("conditions", "psth_kernel_ms") if key in stanza]
        if len(pair) == 1:
            (other,) = {"conditions", "psth_kernel_ms"} - set(pair)
            raise NlbflowError(
                f"config key datasets.{name} has {pair[0]} but no {other}; psth R2 needs both: add {other}, or remove "
                f"{pair[0]}."
            )
        if stanza.get("split", {}).get("val", 0) + stanza.get("split", {}).get("test", 0) >= 1:
            raise NlbflowError(
                f"config key datasets.{name}.split leaves no trial for training; val + test must be < 1."
            )
    for suite, stanza in config["suites"].items():
        for i, group in enumerate(stanza["groups"]):
            for name in group["datasets"]:
                if name not in config["datasets"]:
                    raise NlbflowError(
                        f"config key suites.{suite}.groups.{i}.datasets names the dataset {name!r}, which the "
                        f"catalogue `datasets:` does not have{near(name, config['datasets'])}."
                    )
        check_suite(suite, stanza)
    for model, stanza in config["models"].items():
        if "ensemble" in stanza:
            check_members(model, with_tuned(config["models"]))
        layers = {"per_dataset": stanza, "datasets": stanza, "tune.per_dataset": stanza.get("tune", {})}
        for key, layer in layers.items():
            for name in layer.get(key.split(".")[-1], []):
                if name not in config["datasets"]:
                    raise NlbflowError(
                        f"config key models.{model}.{key} names the dataset {name!r}, which the catalogue "
                        f"`datasets:` does not have{near(name, config['datasets'])}."
                    )
