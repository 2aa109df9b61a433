"""Rule boards: the tables for reading, each as CSV, Parquet, Markdown, LaTeX and HTML."""

from html import escape
from pathlib import Path

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
import pandas as pd
from nlbflow.boards.boards import Results, across_board, board_table, place_board
from nlbflow.boards.contents import PHASES, REPRODUCTION, of_both_phases, origin_sentence
from nlbflow.running.files import read_json
from nlbflow.boards.phases import phase_gaps, phase_sheet
from nlbflow.boards.reproduction import reproduction, reproduction_sheet
from nlbflow.boards.typesetting import html_page, markdown_text, to_html, to_latex, to_markdown
from nlbflow.boards.standings import standings_of
from nlbflow.boards.sheets import LEGEND, Sheet, board_sheets, definitions
from nlbflow.boards.tables import read_table


def main(smk) -> None:
    with job(smk) as run:
        asked = read_json(smk.input.stamp)["parameters"]
        resources = Path(smk.scriptdir).parent / "resources"
        published, reproduced = (pd.read_csv(resources / name) for name in ("published.csv", "reproduced.csv"))
        scores, ranks, differences = map(read_table, smk.input[:3])
        of = f"From {origin_sentence(asked['origin'])}."
        results = Results.of_job(scores, ranks, differences, published, read_table(smk.input.notes), asked)
        for wanted in asked["boards"]:
            if "suite" in wanted:
                table, sheet = standings_of(results, wanted, asked["about"])
                write(run.out, wanted["name"], table, [sheet], [of])
                continue
            datasets, at = dict(wanted["datasets"]), (wanted["bin_ms"], wanted["phase"])
            if len(datasets) > 1:
                board = across_board(results, wanted["title"], datasets, *at)
            else:
                board = place_board(results, (*datasets, *at))
            sheets = board_sheets(board, asked["about"])
            write(run.out, wanted["name"], board_table(board), sheets, [LEGEND, *definitions(sheets), of])
        if of_both_phases(asked["boards"]):
            gaps = phase_gaps(scores, ranks, differences, asked["sources"])
            write(run.out, PHASES, gaps, [phase_sheet(gaps)], [of])
        table = reproduction(ranks, published, reproduced)
        write(run.out, REPRODUCTION, table, [reproduction_sheet(table, asked["about"])], [of])
        run.log(f"{len(asked['boards']) + 1} tables")


def write(out: dict[str, Path], name: str, table: pd.DataFrame, sheets: list[Sheet], below: list[str]) -> None:
    """One table in every format, for reading with the lines `below` it; the paper has those elsewhere."""
    table.to_csv(out[f"{name}.csv"], index=False)
    table.to_parquet(out[f"{name}.parquet"], index=False)
    out[f"{name}.md"].write_text(
        "\n".join([*map(to_markdown, sheets), *(f"{markdown_text(line)}\n" for line in below)])
    )
    out[f"{name}.tex"].write_text("\n".join(to_latex(sheet, f"tab:{name}-{i}") for i, sheet in enumerate(sheets)))
    body = "\n".join([*map(to_html, sheets), *(f"<p>{escape(line)}</p>" for line in below)])
    out[f"{name}.html"].write_text(html_page(sheets[0].title, body))


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
