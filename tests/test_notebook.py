"""The notebook of docs/notebooks runs from its first cell to its last, and the API page says what the code says."""

import base64
import re

import jupytext
import pytest
from nbclient import NotebookClient

import api_reference
from workflow import ROOT

NOTEBOOK = ROOT / "docs/notebooks/first_model.py"


def test_notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "scripts"))
    notebook = jupytext.read(NOTEBOOK)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    figures = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(figures) == 3
    for number, figure in enumerate(figures):
        (tmp_path / f"figure_{number}.png").write_bytes(base64.b64decode(figure))
    (table,) = [
        output["data"]["text/plain"] for output in outputs if "co-bps" in output.get("data", {}).get("text/plain", "")
    ]
    # clearly a model, and below the true rates
    assert 0.15 < float(re.search(r"co-bps +(\S+)", table)[1]) < 0.331
    assert (tmp_path / "my_model.h5").exists()


def test_its_board_is_the_readmes():
    readme = (ROOT / "README.md").read_text()
    board = re.findall(r'"([\w ()]+)": \((0\.\d+), (0\.\d+), (0\.\d+)\)', NOTEBOOK.read_text())
    assert len(board) == 5
    for model, *numbers in board:
        row = next(line for line in readme.splitlines() if f"| {model} " in line)
        assert re.findall(r"\d\.\d+", row.split("|")[4]) == numbers


def test_api_page_is_of_the_code():
    assert api_reference.PAGE.read_text() == api_reference.reference(), "python tests/helpers/api_reference.py"


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, _, text in api_reference.entries()])
def test_public_names_say_what_they_take(name, text):
    assert text
    if name in ("load", "evaluate", "save_submission"):
        assert "Args:" in text and "Raises:" in text
    if name in ("Data", "Data.arrays", "Data.shapes", "evaluate"):
        assert "(trials, bins, neurons)" in text
    if name in ("Data", "evaluate"):
        assert "spikes per bin" in text
