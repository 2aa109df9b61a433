"""The paper: every table and figure in one folder, and a PDF of them if LaTeX is installed."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from nlbflow.boards.contents import origin_sentence
from nlbflow.boards.sheets import LEGEND
from nlbflow.boards.typesetting import latex_text
from nlbflow.metrics.decoded_metric import benchmark_metrics
from nlbflow.metrics.meanings import direction, meaning

# pdflatex needs further passes to settle the columns of long tables and the references; tectonic repeats by itself.
ENGINES = {"pdflatex": 3, "tectonic": 1}
OPTIONS = {"pdflatex": ["-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape"], "tectonic": []}
PASS_SECONDS = 300
LITERAL = re.compile("``(.+?)``")
LEFTOVERS = (".aux", ".log", ".out", ".toc")


def metrics_of(tables: Iterable[pd.DataFrame]) -> list[str]:
    """The metrics in the tables, the benchmark's first.

    Args:
        tables: as from `nlbflow.boards.boards.board_table`, whose columns are metrics, or datasets by metric.
    """
    found = {name for table in tables for name in (*table.columns, *table.get("metric", ())) if meaning(str(name))}
    first = benchmark_metrics(found)
    return first + sorted(found - set(first))


def paper_source(
    template: str,
    metrics: list[str],
    sections: dict[str, list[str]],
    figures: list[dict],
    about: dict[str, dict],
    origin: dict,
) -> str:
    """main.tex: the metrics, the tables in their sections, the figures, the datasets with citation and licence.

    Args:
        template: LaTeX with <<ORIGIN>>, <<LEGEND>>, <<METRICS>>, <<DATASETS>>, <<FIGURES>> and <<TABLES>>.
        metrics: the metrics to define.
        sections: names of the tables (tables/NAME.tex) by title.
        figures: for each kind of figure its title, how to read it (`text`, reStructuredText), and [name, caption] of
            each figure (figures/NAME.pdf).
        about: title, citation and license of each dataset, by name.
        origin: the config, as `nlbflow.boards.contents.origin_sentence` takes it.
    """
    datasets = [
        " & ".join(latex_text(a[key]) for key in ("title", "citation", "license")) + r" \\" for a in about.values()
    ]
    defined = [rf"\item[{latex_text(name)}] {latex_text(f'{meaning(name)} {direction(name)}')}" for name in metrics]
    drawn = []
    for kind in figures:
        text = LITERAL.sub("“\\1”", kind["text"])
        drawn.append(rf"\subsection{{{latex_text(kind['title'])}}}{latex_text(text)}")
        drawn += [rf"\drawn{{figures/{name}.pdf}}{{{latex_text(text)}}}" for name, text in kind["captions"]]
    tables = []
    for title, names in sections.items():
        tables += [rf"\clearpage\section{{{latex_text(title)}}}", *(rf"\input{{tables/{name}.tex}}" for name in names)]
    filled = {
        "ORIGIN": latex_text(f"From {origin_sentence(origin)}"),
        "LEGEND": latex_text(LEGEND),
        "METRICS": "\n".join([r"\begin{description}", *defined, r"\end{description}"]) if defined else "",
        "DATASETS": "\n".join([r"\begin{tabular}{lll}\toprule dataset & citation & licence \\\midrule", *datasets,
                               r"\bottomrule\end{tabular}"]),
        "FIGURES": "\n".join([r"\clearpage\section{Figures}", *drawn, r"\clearpage"]) if drawn else "",
        "TABLES": "\n".join(tables),
    }  # fmt: skip
    for name, text in filled.items():
        template = template.replace(f"<<{name}>>", text)
    return template


def compile_pdf(folder: Path) -> str:
    """Make main.pdf from the folder's main.tex, the same bytes for the same input; return the outcome, a sentence.

    If LaTeX is missing or fails, there is no main.pdf and the sentence says so.
    """
    engine = next((name for name in ENGINES if shutil.which(name)), None)
    if engine is None:
        return f"main.pdf was not made: no {' or '.join(ENGINES)} found; compile main.tex where LaTeX is installed."
    # the PDF takes its dates from here; with a fixed date two runs give the same bytes
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH", "0"),
        "FORCE_SOURCE_DATE": "1",
    }
    for _ in range(ENGINES[engine]):
        try:
            done = subprocess.run(
                [engine, *OPTIONS[engine], "main.tex"], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                capture_output=True, timeout=PASS_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return _failed(folder, f"{engine} took longer than {PASS_SECONDS} s")
        if done.returncode:
            output = (done.stdout + done.stderr).decode(errors="replace").splitlines()
            fault = next((line for line in output if line.startswith(("!", "error"))), "no reason given")
            return _failed(folder, f"{engine} failed ({fault}); its messages are in {engine}.txt", "\n".join(output))
    for leftover in LEFTOVERS:
        (folder / f"main{leftover}").unlink(missing_ok=True)
    return f"main.pdf was made by {engine}."


def _failed(folder: Path, reason: str, output: str = "") -> str:
    (folder / "main.pdf").unlink(missing_ok=True)
    if output:
        (folder / f"{reason.split()[0]}.txt").write_text(output + "\n")
    return f"main.pdf was not made: {reason}."
