"""The references in docs/models.md and docs/enter.md are of the schema and of the code."""

import model_reference
from nlbflow.models.contract import tiny_input
from nlbflow.recordings.model_input import ModelInput


def test_tables_are_of_the_code():
    found = []
    for path in model_reference.PAGES:
        text = path.read_text()
        assert text == model_reference.page(text), "python tests/helpers/model_reference.py writes them anew"
        found += [name for name, _ in model_reference.TABLE.findall(text)]
    assert sorted(found) == ["data", "declarations", "entry", "needs", "returned", "stanza"]


def test_types_are_those_of_the_data():
    """The table of `data` says of every array its type and its number of axes."""
    data = tiny_input()
    rows = dict(line.split(" | ")[:2] for line in model_reference.data().splitlines()[2:])
    for name in ModelInput.__dataclass_fields__:
        about, value = rows[f"| `{name}`"], getattr(data, name)
        if hasattr(value, "dtype"):
            assert about.startswith(f"{value.dtype} ("), name
            axes = about.split("(")[1].split(")")[0]
            assert len([axis for axis in axes.split(",") if axis.strip()]) == value.ndim, name
