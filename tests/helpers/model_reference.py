"""The tables of docs/models.md and docs/enter.md that say what a stanza, a model's file, its arrays and an entry may
hold, from schemas and code.

python tests/helpers/model_reference.py     writes them anew
"""

import inspect
import re
import sys
from pathlib import Path

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "docs/models.md", ROOT / "docs/enter.md"]
TABLE = re.compile(r"(?<=<!-- table: )(\w+)( -->\n\n).*?(?=\n<!-- end -->)", re.DOTALL)
# One length for each axis, by which a shape is read back.
AXES = {2: "training trials", 3: "evaluation trials", 5: "bins", 7: "forward bins", 11: "held-in neurons",
        13: "held-out neurons"}  # fmt: skip


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines)


def keys(properties: dict, prefix: str = "") -> list[tuple[str, str]]:
    """Every key of a schema, with its description."""
    rows = []
    for name, about in properties.items():
        rows += [(f"`{prefix}{name}`", about["description"])] if "description" in about else []
        rows += keys(about.get("properties", {}), f"{prefix}{name}.")
    return rows


def entry() -> str:
    """Every key of an entry; those of its files as of any of them."""
    schema = yaml.safe_load((ROOT / "schemas/entry.schema.yaml").read_text())
    files = keys(schema["$defs"]["file"]["properties"], "files.*.")
    rows = []
    either = {"files": "this or `model`", "model": "this or `files`"}
    for key, about in keys(schema["properties"]):
        name = key.strip("`")
        rows.append((key, about if name in schema["required"] else f"{about} ({either.get(name, 'optional')})"))
        rows += files if key == "`files`" else []
    return table(("key", "meaning"), rows)


def stanza() -> str:
    """Every key of a model's stanza, with the schema's description."""
    schema = yaml.safe_load((ROOT / "schemas/config.schema.yaml").read_text())
    return table(("key", "meaning"), keys(schema["$defs"]["model"]["properties"]))


def declarations() -> str:
    """What a model's file may declare."""
    from nlbflow.models.catalogue import DECLARATIONS

    rows = [(f"`{name}`", "–" if v is None else f"`{v!r}`", about) for name, (v, about) in DECLARATIONS.items()]
    return table(("name", "if left out", "meaning"), rows)


def needs() -> str:
    """What NEEDS may name."""
    from nlbflow.recordings.datasets import REASONS

    return table(
        ("in `NEEDS`", "the reason in tables where a dataset lacks it"), [(f"`{n}`", r) for n, r in REASONS.items()]
    )


def data() -> str:
    """The attributes of `data`."""
    from nlbflow.recordings.model_input import ModelInput

    text = inspect.getdoc(ModelInput).split("Attributes:\n")[1]
    found = re.findall(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", text, re.DOTALL | re.MULTILINE)
    assert [name for name, _ in found] == list(ModelInput.__dataclass_fields__)
    return table(
        ("`data.`", "type, shape and meaning"), [(f"`{name}`", " ".join(about.split())) for name, about in found]
    )


def returned() -> str:
    """The arrays that `predict` may return."""
    from nlbflow.models.contract import FORWARD, LATENTS, REQUIRED
    from nlbflow.recordings.model_input import expected_shapes

    train, evaluated, bins, ahead, heldin, heldout = AXES
    spikes = [(train, bins, heldin), (train, bins, heldout), (evaluated, bins, heldin), (train, ahead, heldin)]
    shapes = expected_shapes(*map(np.empty, spikes))
    rows = [(f"`{n}`", ", ".join(AXES[length] for length in shapes[n]), "required") for n in REQUIRED]
    rows += [(f"`{n}`", ", ".join(AXES[length] for length in shapes[n]), "both or none") for n in FORWARD]
    for name in LATENTS:
        trials, bins_of, _ = shapes[name.replace("latents", "rates_heldin")]
        rows.append((f"`{name}`", f"{AXES[trials]}, {AXES[bins_of]}, latents (any number)", "both or none"))
    return table(("array", "shape", ""), rows)


def page(text: str) -> str:
    """A page's text with its tables as they are now."""
    sys.path.insert(0, str(ROOT / "scripts"))
    tables = {make.__name__: make for make in (stanza, declarations, needs, data, returned, entry)}
    return TABLE.sub(lambda found: found[1] + found[2] + tables[found[1]](), text)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(page(path.read_text()))
