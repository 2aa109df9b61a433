"""The results stage on many made-up results: every table in every format, the paper, and the same bytes again."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from fake_results import FAILED
from nlbflow.boards.paper import compile_pdf, paper_source
from results import run_stage
from workflow import ROOT, reproducible

FORMATS = ("csv", "parquet", "md", "tex", "html")


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Path:
    """The folder of a run of the test phase, which has published scores."""
    folder = tmp_path_factory.mktemp("stage")
    run_stage(folder, "test", draw=False)
    return folder / "results"


def test_every_table_in_every_format(stage):
    names = sorted(path.stem for path in (stage / "tables").glob("*.csv"))
    # seven datasets, all together, the family of MC_Maze: each at two bin widths; the reproduction; and, since there
    # are suites, the standings of the benchmark's
    assert len(names) == 20 and "family-mc_maze_20ms_test" in names and "reproduction" in names
    # the models that compete, which are two less than all
    least = dict.fromkeys(names, 40) | {"standings-nlb21_test": 38}
    for name in names:
        table = pd.read_csv(stage / f"tables/{name}.csv", keep_default_na=False, na_values=[""])
        parquet = pd.read_parquet(stage / f"tables/{name}.parquet")
        assert list(table.columns) == list(parquet.columns) and len(table) == len(parquet) >= least[name]
        for form in ("md", "tex", "html"):
            text = (stage / f"tables/{name}.{form}").read_text()
            assert "nan" not in text.lower().split() and "DANDI 0001" in text and "CC-BY-4.0" in text


def test_a_failed_model_and_published_rows_in_one_table(stage):
    model, dataset = FAILED
    table = pd.read_parquet(stage / f"tables/{dataset}_5ms_test.parquet").set_index("name")
    assert pd.isna(table.loc[model, "co-bps"]) and table.loc[model, "co-bps missing"]
    assert table.loc["GPFA", "kind"] == "published" and table.loc["GPFA", "co-bps"] == 0.1548
    markdown = (stage / f"tables/{dataset}_5ms_test.md").read_text()
    assert markdown.index("*published*") > markdown.index("mean_rate")
    reproduced = pd.read_csv(stage / "tables/reproduction.csv")
    assert {"within", "outside", "nothing published"} == set(reproduced["verdict"])


def test_marks_are_of_real_differences(stage):
    differences = pd.read_csv(stage / "differences.csv")
    marked = 0
    for path in (stage / "tables").glob("*ms_test.parquet"):
        table = pd.read_parquet(path)
        if "metric" in table and table["metric"].any():
            continue
        dataset, bin_ms = path.stem.rsplit("_", 2)[0], int(path.stem.rsplit("_", 2)[1][:-2])
        here = differences[(differences["dataset"] == dataset) & (differences["bin_ms"] == bin_ms)]
        for metric in set(here["metric"]):
            for best in table["name"][table[f"{metric} mark"] == "best"]:
                pairs = here[(here["metric"] == metric) & ((here["model"] == best) | (here["other"] == best))]
                assert len(pairs) > 20 and pairs["real"].all()
                marked += 1
    assert marked


def test_paper_holds_everything(stage):
    paper = stage / "paper"
    made, copied = ({path.name for path in folder.glob("tables/[!.]*")} for folder in (stage, paper))
    assert made == copied
    source = (paper / "main.tex").read_text()
    assert "<<" not in source and source.count(r"\input{") == 20
    # a file of the repository is a dead end in a PDF
    assert "docs/" not in source
    for metric in ("co-bps", "vel R2", "psth R2", "tp corr", "fp-bps", "32-shot co-bps", "latent dimension"):
        assert rf"\item[{metric}]" in source, metric
    order = [
        source.index(rf"\section{{{title}}}") for title in ("All datasets", "Families of datasets", "Reproduction")
    ]
    assert order == sorted(order)


def test_second_run_makes_the_same_bytes(stage, tmp_path):
    run_stage(tmp_path, "test", draw=False)
    files = [path.relative_to(stage) for part in ("tables", "paper") for path in (stage / part).rglob("*.*")]
    files = [path for path in files if path.name != ".snakemake_timestamp"]
    assert len(files) > 180
    for path in [*files, "leaderboard.md"]:
        assert reproducible(stage / path) == reproducible(tmp_path / "results" / path), path


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed; the LaTeX tables are not compiled")
def test_latex_compiles(stage):
    assert (stage / "paper/main.pdf").read_bytes().startswith(b"%PDF") and not list((stage / "paper").glob("*.log"))


def test_without_latex_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "main.tex").write_text("\\documentclass{article}")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compile_pdf(tmp_path).startswith("main.pdf was not made: no pdflatex or tectonic found")
    (tmp_path / "pdflatex").write_text("#!/bin/sh\necho '! LaTeX Error: no booktabs'; exit 1\n")
    (tmp_path / "pdflatex").chmod(0o755)
    (tmp_path / "main.pdf").write_text("of an earlier pass")
    assert "(! LaTeX Error: no booktabs)" in compile_pdf(tmp_path)
    assert "no booktabs" in (tmp_path / "pdflatex.txt").read_text() and not (tmp_path / "main.pdf").exists()


ORIGIN = {"config": ["a_1.yaml"], "selection": "0123"}


def test_figures_and_datasets_in_the_source():
    template = (ROOT / "resources/paper/main.tex").read_text()
    about = {"d": {"title": "D_1", "citation": "A & B", "license": "MIT"}}
    captions = [["d_5ms_val_ranks", "Ranks: D_1, 5 ms"]]
    ranks = {"title": "Ranks", "text": "``no rank``: 1 % of\nthem.\n", "captions": captions}
    source = paper_source(template, ["co-bps"], {"All": ["one"]}, [ranks], about, ORIGIN)
    assert r"\date{From a\_1.yaml, selection 0123}" in source
    assert r"\item[co-bps] Bits per spike" in source and "docs/" not in source
    assert r"D\_1 & A \& B & MIT \\" in source and r"\input{tables/one.tex}" in source
    assert r"\subsection{Ranks}``no rank'': 1 \% of them." in source
    assert r"\drawn{figures/d_5ms_val_ranks.pdf}{Ranks: D\_1, 5 ms}" in source
    assert r"\section{Figures}" not in paper_source(template, [], {}, [], about, ORIGIN)
