"""Rule tables: everything that was scored and compared, in long tables.

All but costs.csv hold only what is reproducible, byte for byte; seconds, memory, device, commit and dates are there.
"""

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
from nlbflow.running.files import read_json
from nlbflow.scoring.bundles import read_scores
from nlbflow.boards.tables import (
    COMPARISONS,
    comparison_table,
    cost_table,
    neuron_table,
    note_table,
    score_table,
    summary_table,
)


def main(smk) -> None:
    with job(smk) as run:
        entries = read_scores(smk.input.scores)
        datasets = [read_json(path) for path in smk.input.datasets]
        comparisons = [read_json(path) for path in smk.input.comparisons]
        score_table(entries).to_csv(run.out["scores"], index=False)
        cost_table(entries).to_csv(run.out["costs"], index=False)
        neuron_table(entries).to_csv(run.out["neurons"], index=False)
        for name in COMPARISONS:
            comparison_table(comparisons, name).to_csv(run.out[name], index=False)
        summary_table(datasets).to_csv(run.out["summaries"], index=False)
        notes = note_table(datasets + entries + read_json(smk.input.stamp)["parameters"]["failed_seeds"])
        notes.to_csv(run.out["notes"], index=False)
        run.log(f"{len(entries)} predictions, {len(notes)} notes on the data")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
