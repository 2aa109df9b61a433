"""Rule leaderboard_json: the leaderboards for programs."""

import time
from pathlib import Path

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
import pandas as pd
from nlbflow import __version__
from nlbflow.boards.boards import Results
from nlbflow.boards.leaderboard_json import leaderboard_json
from nlbflow.boards.tables import comparison_table, read_table, score_table
from nlbflow.running.files import read_json
from nlbflow.scoring.bundles import read_scores
from nlbflow.running.provenance import commit


def main(smk) -> None:
    with job(smk) as run:
        asked = read_json(smk.input.stamp)["parameters"]
        published = pd.read_csv(Path(smk.scriptdir).parent / "resources/published.csv")
        entries = read_scores(smk.input.scores)
        # from what the tables are made of, because reading a CSV may round the last digit
        comparisons = [read_json(path) for path in smk.input.comparisons]
        ranks, differences = (comparison_table(comparisons, name) for name in ("ranks", "differences"))
        notes = read_table(smk.input.notes)
        results = Results.of_job(score_table(entries), ranks, differences, published, notes, asked)
        text = leaderboard_json(
            results,
            entries,
            asked["places"],
            {name: {**about, "version": asked["versions"][name]} for name, about in asked["about"].items()},
            asked["origin"],
            {
                "nlbflow": __version__,
                "commit": commit(),
                "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            },
        )
        run.out["json"].write_text(text)
        run.log(f"{len(entries)} predictions, {len(text):,} characters")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
