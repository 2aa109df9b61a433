"""Rule page: the leaderboards as one self-contained HTML file."""

from pathlib import Path

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
import pandas as pd
from nlbflow.boards.boards import Results
from nlbflow.boards.contents import origin_sentence
from nlbflow.running.files import read_json
from nlbflow.scoring.bundles import read_scores
from nlbflow.running.provenance import made_here
from nlbflow.boards.about_data import places_data
from nlbflow.boards.page import leaderboard_page
from nlbflow.boards.phases import phase_gaps
from nlbflow.boards.standings import standings_of
from nlbflow.boards.tables import read_table, score_table
from nlbflow.boards.typesetting import to_html


def main(smk) -> None:
    with job(smk) as run:
        asked = read_json(smk.input.stamp)["parameters"]
        resources = Path(smk.scriptdir).parent / "resources"
        published, notes = pd.read_csv(resources / "published.csv"), read_table(smk.input.notes)
        entries = read_scores(smk.input.scores)
        compared = [read_table(path) for path in (smk.input.ranks, smk.input.differences)]
        scores = score_table(entries)
        results = Results.of_job(scores, *compared, published, notes, asked)
        sheets = [standings_of(results, wanted, asked["about"])[1] for wanted in asked["standings"]]
        page = leaderboard_page(
            entries,
            *compared,
            read_table(smk.input.consistency),
            published,
            asked["about"],
            asked["absent"],
            resources / "page",
            f"from {origin_sentence(asked['origin'])}, {made_here()}",
            places_data(
                asked["places"],
                read_table(smk.input.summaries),
                notes,
                {
                    (kind, *place): path
                    for (kind, *place), path in zip(asked["figures"], smk.input.figures, strict=True)
                },
            ),
            asked["models"],
            asked["sources"],
            asked["introductions"],
            [(sheet.title, to_html(sheet)) for sheet in sheets],
            phase_gaps(scores, *compared, asked["sources"]),
        )
        run.out["html"].write_text(page)
        run.log(f"{len(entries)} predictions, {len(page):,} characters")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
