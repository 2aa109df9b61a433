"""The catalogue of models: what a stanza of the config and a model's file say, read without importing the file.

So planning needs none of a model's packages, and finds a wrong parameter before anything runs.
"""

import ast
import re
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path

from nlbflow.errors import NlbflowError
from nlbflow.metrics.kinds import COMPETITOR, CONTROL
from nlbflow.recordings.datasets import REASONS
from nlbflow.running.code import parse

TUNED = "_tuned"
# The function with which a model's file trains several seeds side by side, if it can.
SEEDS = "predict_seeds"
# What a model's file may declare: the value where it does not, and what it means (for docs/models.md).
DECLARATIONS = {
    "DEFAULTS": (None, "required: every parameter with its default, as a literal dict; a config can change no others"),
    "SEEDED": (True, "`False`: the model draws nothing at random, so it runs once, with seed 0"),
    "ORACLE": (False, "`True`: the model gets the answers in `data.answers`; it is shown and never ranked"),
    "NEEDS": ([], "what a dataset must have for the model to run on it; elsewhere tables give the reason"),
    "CHECK": ({}, "parameters that make the model small for the check of its contract, which runs `predict` twice"),
    "CONTROL": (False, "`True`: a simple model that others have to beat; it is ranked with them and marked"),
    "STRUCTURE": (False, "`True`: the model shows labels, similarities or states, which are drawn"),
    "HISTORY": (False, "`True`: the model returns a history of its training, which is drawn as learning curves"),
}


def with_tuned(models: dict) -> dict:
    """The catalogue of models with a model NAME_tuned for each that has a grid.

    Raises:
        NlbflowError: such a name is taken.
    """
    tuned = {name + TUNED: {**stanza, "tuned_from": name} for name, stanza in models.items() if "tune" in stanza}
    if taken := [name for name in tuned if name in models]:
        raise NlbflowError(f"config key models.{taken[0]} has the name of the tuned model; choose another name.")
    return models | tuned


def kind_of(declared: dict) -> str:
    """The kind (`nlbflow.metrics.kinds`) of the rows of a model that declares this."""
    return "oracle" if declared["ORACLE"] else CONTROL if declared["CONTROL"] else COMPETITOR


def find_model(file: str, shipped: Path) -> Path:
    """A model's file: one of the shipped ones, or a path of the user's, which may begin with ~.

    Raises:
        NlbflowError: neither exists.
    """
    choices = [path for path in (shipped / file, Path(file).expanduser()) if path.is_file()]
    if len(choices) == 2 and "/" not in file:
        raise NlbflowError(f"the model file {file} is both shipped and here; write ./{file} for the one here.")
    if choices:
        return choices[-1]
    names = ", ".join(sorted(p.name for p in shipped.glob("*.py")))
    raise NlbflowError(f"the model file {file} does not exist, neither as a path nor among the shipped {names}.")


def submission_path(stanza: dict, phase: str) -> Path:
    """The file that a stanza names as a `prediction`, in one phase."""
    return Path(stanza["prediction"].replace("{phase}", phase)).expanduser()


def read_declaration(path: Path) -> dict:
    """The declarations of a model file, and whether it has SEEDS, read from its source without running it.

    Raises:
        NlbflowError: the file is missing or is not Python, has no docstring or no `predict(data, params, seed)`, or a
            declaration is not literal.
    """
    tree = parse(path)
    if not ast.get_docstring(tree):
        raise NlbflowError(f"{path} has no docstring; say there what the model is and where it comes from.")
    functions = {node.name: node.args for node in tree.body if isinstance(node, ast.FunctionDef)}
    if "predict" not in functions:
        raise NlbflowError(f"{path} has no function predict(data, params, seed); every model file needs one.")
    for name, expected in (("predict", "(data, params, seed)"), (SEEDS, "(data, params, seeds)")):
        if name in functions and not _takes_three(functions[name]):
            raise NlbflowError(f"{path}: {name} takes ({ast.unparse(functions[name])}); expected {expected}.")
    found = {name: value for name, (value, _) in DECLARATIONS.items()} | {SEEDS: SEEDS in functions}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        name = getattr(target, "id", None)
        if isinstance(node, ast.Assign | ast.AnnAssign) and name in found:
            try:
                found[name] = ast.literal_eval(node.value)
            except ValueError as error:
                raise NlbflowError(
                    f"{path}: {name} must be written out as plain numbers, strings, lists and dicts."
                ) from error
    if not isinstance(found["DEFAULTS"], dict):
        raise NlbflowError(f"{path} has no dict DEFAULTS; list every parameter there ({{}} if there is none).")
    unknown = set(found["NEEDS"]) - set(REASONS)
    if unknown:
        raise NlbflowError(f"{path}: NEEDS has {sorted(unknown)[0]!r}; it may have {', '.join(REASONS)}.")
    return found


def _takes_three(arguments: ast.arguments) -> bool:
    """Whether a function can be called with three positional arguments."""
    places = len(arguments.posonlyargs) + len(arguments.args)
    needed = places - len(arguments.defaults)
    named = any(default is None for default in arguments.kw_defaults)
    return needed <= 3 and (places >= 3 or arguments.vararg is not None) and not named


def resolve_params(
    name: str, stanza: dict, defaults: dict, dataset: str | None = None, bin_ms: int | None = None
) -> dict:
    """A model's parameters for one dataset and bin: DEFAULTS, then `params`, then `per_dataset`, then its `at_20ms`.

    Raises:
        NlbflowError: a parameter is not among the file's DEFAULTS.
    """
    params = dict(defaults)
    override(params, stanza.get("params", {}), defaults, f"models.{name}.params")
    for place, layer in stanza.get("per_dataset", {}).items():
        key = f"models.{name}.per_dataset.{place}"
        at_bin = {k: v for k, v in layer.items() if k.startswith("at_") and k not in defaults}
        # the layers of other datasets and bins are checked too, into a copy that is thrown away
        plain = {k: v for k, v in layer.items() if k not in at_bin}
        override(params if place == dataset else dict(params), plain, defaults, key)
        for at, values in at_bin.items():
            if not re.fullmatch(r"at_[1-9][0-9]*ms", at) or not isinstance(values, dict):
                raise NlbflowError(f"{key}.{at} is {values!r}; expected a key like at_20ms with parameters below it.")
            chosen = place == dataset and at == f"at_{bin_ms}ms"
            override(params if chosen else dict(params), values, defaults, f"{key}.{at}")
    return params


def override(params: dict, layer: dict, defaults: dict, key: str) -> None:
    """Override parameters by a layer's values; each must be known and of its default's type."""
    for parameter, value in layer.items():
        if parameter not in defaults:
            near = get_close_matches(parameter, defaults, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise NlbflowError(
                f"{key}: the model has no parameter {parameter!r}{hint}; it has {', '.join(defaults) or 'none'}."
            )
        default = defaults[parameter]
        kinds = (int, float) if type(default) in (int, float) else type(default)
        text = "" if isinstance(default, str) else read_as_text(value)
        fits = default is None or (isinstance(value, kinds) and isinstance(value, bool) == isinstance(default, bool))
        if text or not fits:
            raise NlbflowError(f"{key}.{parameter} is {value!r}; expected a value like its default {default!r}.{text}")
        params[parameter] = value


def read_as_text(value: object) -> str:
    """The advice for a number that YAML reads as text, such as 1e-3, alone or in a list; empty for all else."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", item):
            mantissa, exponent = f"{Decimal(item):e}".split("e")
            plain = f"{Decimal(item):f} or {mantissa}{'' if '.' in mantissa else '.0'}e{exponent}"
            return f" YAML reads {item} as text; write {plain}."
    return ""
