"""Rule page: the leaderboards as one self-contained HTML file."""

from pathlib import Path

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
import pandas as pd
from nlbflow.boards.contents import origin_sentence
from nlbflow.running.files import read_json
from nlbflow.running.provenance import made_here
from nlbflow.boards.page import leaderboard_page, places_data
from nlbflow.boards.tables import read_table


def main(smk) -> None:
    with job(smk) as run:
        asked = read_json(smk.input.stamp)["parameters"]
        resources = Path(smk.scriptdir).parent / "resources"
        page = leaderboard_page(
            [read_json(path) for path in smk.input.scores],
            read_table(smk.input.ranks),
            read_table(smk.input.differences),
            read_table(smk.input.consistency),
            pd.read_csv(resources / "published.csv"),
            asked["about"],
            asked["absent"],
            resources / "page",
            f"from {origin_sentence(asked['origin'])}, {made_here()}",
            places_data(
                asked["places"],
                *map(read_table, (smk.input.summaries, smk.input.notes)),
                {
                    (kind, *place): path
                    for (kind, *place), path in zip(asked["figures"], smk.input.figures, strict=True)
                },
            ),
            asked["models"],
        )
        run.out["html"].write_text(page)
        run.log(f"{len(smk.input.scores)} predictions, {len(page):,} characters")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
