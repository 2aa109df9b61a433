"""Rule leaderboard: one table per dataset, bin and phase, as Markdown."""

from pathlib import Path

from nlbflow.job import job  # first: it fixes the number of BLAS threads
import pandas as pd
from nlbflow.boards import Results
from nlbflow.files import read_json
from nlbflow.leaderboards import leaderboards, to_markdown
from nlbflow.tables import read_table


def main(smk) -> None:
    with job(smk) as run:
        asked = read_json(smk.input.stamp)["parameters"]
        published = pd.read_csv(Path(smk.scriptdir).parent / "resources/published.csv")
        results = Results(*map(read_table, smk.input[:3]), published, asked["absent"], read_table(smk.input.notes))
        sheets = leaderboards(results, asked["about"])
        unscored = {place: notes for place, notes in results.notes.items() if place not in results.metrics}
        run.out["markdown"].write_text(to_markdown(sheets, asked["absent"], unscored))
        run.log(f"{len(sheets)} tables")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
