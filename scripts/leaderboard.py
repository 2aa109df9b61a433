"""Rule leaderboard: one table per dataset, bin and phase, as Markdown and as a page."""

import pandas as pd

from nlbflow.files import read_json
from nlbflow.job import job
from nlbflow.tables import leaderboards, to_html, to_markdown


def main(smk) -> None:
    with job(smk) as run:
        # "null" is the name of a model here, not a missing value
        scores = pd.read_csv(smk.input.scores, keep_default_na=False, na_values={"value": [""]})
        absent = read_json(smk.input.stamp)["parameters"]["absent"]
        boards = leaderboards(scores)
        run.out["markdown"].write_text(to_markdown(boards, absent))
        run.out["html"].write_text(to_html(boards, absent))
        run.log(f"{len(boards)} leaderboards")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
