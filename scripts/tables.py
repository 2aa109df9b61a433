"""Rule tables: all scores in one long table, all costs in another.

scores.csv holds only what is reproducible, byte for byte; seconds, memory, device, commit and dates are in costs.csv.
"""

from nlbflow.job import job  # first: it fixes the number of BLAS threads
from nlbflow.files import read_json
from nlbflow.tables import cost_table, score_table


def main(smk) -> None:
    with job(smk) as run:
        entries = [read_json(path) for path in smk.input.scores]
        score_table(entries).to_csv(run.out["scores"], index=False)
        cost_table(entries).to_csv(run.out["costs"], index=False)
        run.log(f"{len(entries)} predictions")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
