"""Rule choose: the best of a model's candidates, and the table of all."""

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
import csv

from nlbflow.running.files import read_json, write_json
from nlbflow.models.tuning import rank_candidates


def main(smk) -> None:
    with job(smk) as run:
        ranked = rank_candidates([read_json(path) for path in smk.input.results])
        write_json(run.out["best"], {"candidate": ranked[0]["candidate"], "params": ranked[0]["params"]})
        with open(run.out["candidates"], "w", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["candidate", *ranked[0]["params"], "co-bps", "seconds"])
            for row in ranked:
                seconds = row["provenance"]["seconds"]
                table.writerow([row["candidate"], *row["params"].values(), row["co-bps"], seconds])
        run.log(f"the best of {len(ranked)}: {ranked[0]['params']}, co-bps = {ranked[0]['co-bps']:.4f}")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
