"""The catalogue of models: what a stanza of the config and a model's file say, read without importing the file.

So a plan needs no package that a model needs, and a fault in a parameter is told before anything runs.
"""

import ast
import re
from difflib import get_close_matches
from pathlib import Path

from nlbflow.errors import NlbflowError
from nlbflow.recordings.datasets import REASONS
from nlbflow.running.stamps import parse

TUNED = "_tuned"


def with_tuned(models: dict) -> dict:
    """The catalogue of models with a model NAME_tuned for each that has a grid.

    Raises:
        NlbflowError: such a name is taken.
    """
    tuned = {name + TUNED: {**stanza, "tuned_from": name} for name, stanza in models.items() if "tune" in stanza}
    if taken := [name for name in tuned if name in models]:
        raise NlbflowError(f"config key models.{taken[0]} has the name of the tuned model; choose another name.")
    return models | tuned


def find_model(file: str, shipped: Path) -> Path:
    """A model's file: one of the shipped ones, or a path of the user's.

    Raises:
        NlbflowError: neither exists.
    """
    choices = [path for path in (shipped / file, Path(file)) if path.is_file()]
    if len(choices) == 2 and "/" not in file:
        raise NlbflowError(f"the model file {file} is both shipped and here; write ./{file} for the one here.")
    if choices:
        return choices[-1]
    names = ", ".join(sorted(p.name for p in shipped.glob("*.py")))
    raise NlbflowError(f"the model file {file} does not exist, neither as a path nor among the shipped {names}.")


def read_declaration(path: Path) -> dict:
    """DEFAULTS, SEEDED, ORACLE, CONTROL, NEEDS and CHECK of a model file, read from its source without running it.

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
    if not _takes_three(functions["predict"]):
        raise NlbflowError(
            f"{path}: predict takes ({ast.unparse(functions['predict'])}); expected (data, params, seed)."
        )
    found = {"DEFAULTS": None, "SEEDED": True, "ORACLE": False, "CONTROL": False, "NEEDS": [], "CHECK": {}}
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
    """Whether a function can be called with three arguments by place."""
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
    """Put a layer's values over the parameters; each must be known and of its default's type."""
    for parameter, value in layer.items():
        if parameter not in defaults:
            near = get_close_matches(parameter, defaults, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise NlbflowError(
                f"{key}: the model has no parameter {parameter!r}{hint}; it has {', '.join(defaults) or 'none'}."
            )
        default = defaults[parameter]
        kinds = (int, float) if type(default) in (int, float) else type(default)
        if default is not None and (
            not isinstance(value, kinds) or isinstance(value, bool) != isinstance(default, bool)
        ):
            raise NlbflowError(f"{key}.{parameter} is {value!r}; expected a value like its default {default!r}.")
        params[parameter] = value
