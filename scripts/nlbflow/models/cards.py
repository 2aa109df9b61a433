"""Cards of models: what a file's docstring says in six fields to a reader of the model's scores, without importing it.

Not in `catalogue`, on which every job that runs a model depends: a card changes no result, and how it is read must not
make any anew.
"""

import ast
import re
from collections.abc import Mapping
from pathlib import Path

from nlbflow.running.code import parse

FIELDS = ("Assumes", "Latents", "Tells", "Cost", "Limits", "Reference code")
# a field's name begins a line, and further lines of its text are indented
FIELD = re.compile(rf"^({'|'.join(FIELDS)}):(.*(?:\n[ \t]+\S.*)*)", re.MULTILINE)


def describe_model(path: Path) -> dict:
    """What a model's file says of it: `about`, the first paragraph of its docstring, and `card`, pairs (field, text).

    Pairs, since a stamp does not keep the order of a dict.
    """
    # escapes may have made half a character, which no file can hold
    docstring = (ast.get_docstring(parse(path)) or "").encode(errors="replace").decode()
    prose = FIELD.sub("", docstring).strip()
    about = " ".join(re.split(r"\n[ \t]*\n", prose)[0].split())
    return {"about": about, "card": [[name, text] for name, text in read_card(docstring).items()]}


def describe_ensemble(ensemble: Mapping) -> dict:
    """What an ensemble averages, in the form of `describe_model`.

    Args:
        ensemble: as in a model's stanza: members, average and, if not all members take part, top.
    """
    members = [
        f"{model} (seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))})"
        for model, seeds in ensemble["members"].items()
    ]
    mean = {"linear": "mean of the rates", "log": "exponential of the mean log rates"}[ensemble["average"]]
    chosen = f"; of these the {ensemble['top']} with the highest validation co-bps" if "top" in ensemble else ""
    return {"about": f"An ensemble: the {mean} of {', '.join(members)}{chosen}.", "card": []}


def read_card(docstring: str) -> dict[str, str]:
    """The fields that a docstring has, in the order of FIELDS, each text on one line; of two alike the later one."""
    found = {name: " ".join(text.split()) for name, text in FIELD.findall(docstring)}
    return {name: found[name] for name in FIELDS if found.get(name)}
