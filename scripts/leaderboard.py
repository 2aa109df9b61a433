"""Rule leaderboard: one table per dataset, bin and phase, as Markdown."""

from pathlib import Path

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
import pandas as pd
from nlbflow.boards.boards import Results
from nlbflow.boards.contents import origin_sentence
from nlbflow.running.files import read_json
from nlbflow.running.provenance import made_here
from nlbflow.boards.typesetting import markdown_page
from nlbflow.boards.phases import phase_gaps, phase_sheet
from nlbflow.boards.sheets import leaderboard_sheets
from nlbflow.boards.tables import read_table


def main(smk) -> None:
    with job(smk) as run:
        asked = read_json(smk.input.stamp)["parameters"]
        published = pd.read_csv(Path(smk.scriptdir).parent / "resources/published.csv")
        scores, ranks, differences = map(read_table, smk.input[:3])
        results = Results.of_job(scores, ranks, differences, published, read_table(smk.input.notes), asked)
        sheets = leaderboard_sheets(results, asked["about"])
        gaps = phase_gaps(scores, ranks, differences, asked["sources"])
        sheets += [phase_sheet(gaps)] if len(gaps) else []
        unscored = {place: notes for place, notes in results.notes.items() if place not in results.metrics}
        made = f"from {origin_sentence(asked['origin'])}, {made_here()}"
        # a model that is absent where others are scored has its row, with the reason, in the table
        elsewhere = [row for row in asked["absent"] if tuple(row[:3]) not in results.metrics]
        run.out["markdown"].write_text(markdown_page(sheets, elsewhere, made, unscored))
        run.log(f"{len(sheets)} tables")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
