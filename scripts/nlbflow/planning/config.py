"""Check the config against a closed schema; report a fault in a sentence that a person can act on."""

from difflib import get_close_matches
from pathlib import Path

import jsonschema
import yaml

from nlbflow.boards.standings import check_suite
from nlbflow.errors import NlbflowError
from nlbflow.models.catalogue import TUNED, read_as_text, with_tuned
from nlbflow.models.ensembles import check_members

SCHEMA = "see schemas/config.schema.yaml"
# JSON takes 5.0 for a whole number, but a file name does not
VALIDATOR = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, x: type(x) is int),
)


def check_config(config: dict, schema_path: Path) -> None:
    """Check the merged config.

    Raises:
        NlbflowError: the first fault, with its key, what is allowed and what was found.
    """
    schema = yaml.safe_load(schema_path.read_text())
    faults = sorted(VALIDATOR(schema).iter_errors(config), key=lambda e: list(map(str, e.path)))
    if faults:
        raise NlbflowError(_sentence(faults[0]))
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
                    f"{_near(name, catalogue)}; it has {', '.join(sorted(catalogue))}."
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
                        f"catalogue `datasets:` does not have{_near(name, config['datasets'])}."
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
                        f"`datasets:` does not have{_near(name, config['datasets'])}."
                    )


def _near(word: str, known) -> str:
    near = get_close_matches(str(word), [str(k) for k in known], 1)
    return f" (did you mean {near[0]}?)" if near else ""


def _sentence(fault: jsonschema.ValidationError) -> str:
    key = ".".join(str(part) for part in fault.absolute_path)
    about = fault.schema.get("description", "")
    if "propertyNames" in fault.absolute_schema_path:
        return f"config key {key} has the name {fault.instance!r}; expected {about}."
    if fault.validator == "pattern":
        return f"config key {key} is {fault.instance!r}; expected {about}."
    if fault.validator == "additionalProperties":
        known = fault.schema.get("properties", {})
        unknown = [name for name in fault.instance if name not in known]
        place = f"under {key}" if key else "at the top level"
        return (
            f"the config has an unknown key {unknown[0]!r} {place}{_near(unknown[0], known)}; "
            f"allowed are {', '.join(sorted(known))}."
        )
    if fault.validator == "required":
        missing = [name for name in fault.validator_value if name not in fault.instance]
        lacked = ".".join(filter(None, [key, missing[0]]))
        return f"the config lacks the key {lacked}; add it: schemas/config.schema.yaml describes it."
    if fault.validator in ("oneOf", "anyOf", "not"):
        keys = isinstance(fault.instance, dict)
        found = f"has the keys {', '.join(sorted(fault.instance))}" if keys else f"is {fault.instance!r}"
        return f"config key {key} {found}, which fits none of the allowed forms: {about or SCHEMA}."
    text = read_as_text(fault.instance) if fault.validator == "type" else ""
    return f"config key {key} is {fault.instance!r}: {fault.message}" + (f" ({about})." if about else ".") + text
