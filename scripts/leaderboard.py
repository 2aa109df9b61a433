"""Rule leaderboard: one table per dataset, bin and phase, as Markdown and as a page."""

from pathlib import Path

import pandas as pd

from nlbflow.files import read_json
from nlbflow.job import job
from nlbflow.leaderboards import boards, to_html, to_markdown


def main(smk) -> None:
    with job(smk) as run:
        # "null" is the name of a model here, not a missing value
        scores, ranks = (pd.read_csv(path, keep_default_na=False, na_values=NUMBERS) for path in smk.input[:2])
        published = pd.read_csv(Path(smk.scriptdir).parent / "resources/published.csv")
        absent = read_json(smk.input.stamp)["parameters"]["absent"]
        tables = boards(scores, ranks, published)
        run.out["markdown"].write_text(to_markdown(tables, absent))
        run.out["html"].write_text(to_html(tables, absent))
        run.log(f"{len(tables)} leaderboards")


NUMBERS = {name: [""] for name in ("value", "low", "high", "best_rank", "worst_rank")}

if "snakemake" in globals():
    main(snakemake)  # noqa: F821
