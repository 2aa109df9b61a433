"""Cards of models: read from any docstring, and whole in every shipped file."""

import re

import pytest
import yaml

from nlbflow.models.cards import FIELDS, describe_ensemble, describe_model, read_card
from nlbflow.models.catalogue import read_declaration
from nlbflow.models.contract import run_model, tiny_input
from workflow import ROOT

SHIPPED = sorted((ROOT / "scripts/models").glob("*.py"))
MODEL = '"""{docstring}"""\nraise SystemExit("imported")\n'


def test_fields_in_their_order_each_on_one_line():
    docstring = (
        "A model.\n\nTells: nothing. Limits: not a field here.\nAssumes: that trials\n    are alike,\n\n  not this.\n"
        "Cost:\n  seconds\nLatents:\nSees: `x`\nReference code: none: ours\n  Limits: neither.\n\nTells: something"
    )
    assert [*read_card(docstring).items()] == [
        ("Assumes", "that trials are alike,"),
        ("Tells", "something"),
        ("Cost", "seconds"),
        ("Reference code", "none: ours Limits: neither."),
    ]


@pytest.mark.parametrize(
    ("docstring", "about", "fields"),
    [
        ("A model.", "A model.", []),
        ("A model\n  of two lines.\n\nIts source.\n", "A model of two lines.", []),
        ("A model.\nCost: 3 s\n", "A model.", ["Cost"]),
        ("\n    A model.\n\n    Cost: 3\n      seconds\n    Limits: many\n    ", "A model.", ["Cost", "Limits"]),
        ("Cost: 3 s", "", ["Cost"]),
        ("Half \\ud83d a character.", "Half ? a character.", []),
    ],
)
def test_what_a_file_says_is_read_without_importing_it(tmp_path, docstring, about, fields):
    (tmp_path / "mine.py").write_text(MODEL.format(docstring=docstring))
    said = describe_model(tmp_path / "mine.py")
    assert said["about"] == about and [name for name, _ in said["card"]] == fields


@pytest.mark.parametrize(
    ("more", "about"),
    [
        ({"average": "linear"}, "An ensemble: the mean of the rates of gru (seeds 0, 1), gpfa (seed 0)."),
        (
            {"average": "log", "top": 2},
            "An ensemble: the exponential of the mean log rates of gru (seeds 0, 1), gpfa (seed 0); of these the 2 "
            "with the highest validation co-bps.",
        ),
    ],
)
def test_an_ensemble_says_what_it_averages(more, about):
    assert describe_ensemble({"members": {"gru": [0, 1], "gpfa": [0]}, **more}) == {"about": about, "card": []}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_models_have_whole_cards(path):
    said = describe_model(path)
    assert tuple(name for name, _ in said["card"]) == FIELDS, "every field, also where a model has no latents"
    assert all(len(text.split()) >= 3 and text.endswith(".") for _, text in said["card"])
    assert said["about"].endswith(".")
    assert "`" not in re.sub("`[^`]+`", "", "".join(text for _, text in said["card"]))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_card_says_that_there_are_no_latents_where_there_are_none(path):
    declared = read_declaration(path)
    if declared["HISTORY"] or "nlbflow.methods.networks" in path.read_text():
        pytest.importorskip("torch", reason="torch is not installed; the networks need it")
    arrays, _ = run_model(path, path.stem, tiny_input(), {**declared["DEFAULTS"], **declared["CHECK"]}, 0)
    latents = dict(describe_model(path)["card"])["Latents"]
    assert latents.startswith("none,") == ("eval_latents" not in arrays)


def test_the_readme_has_a_line_for_every_shipped_model():
    text = (ROOT / "README.md").read_text().split("## The models")[1]
    listed = re.findall(r"^\| `(\w+)` \| \S", text, re.MULTILINE)
    assert sorted(listed) == sorted(yaml.safe_load((ROOT / "config.yaml").read_text())["models"])
