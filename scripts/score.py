"""Rule score: the benchmark's metrics of one prediction; of the null model, which needs only the answers."""

from nlbflow.job import job  # first: it fixes the number of BLAS threads
from nlbflow.files import read_arrays, write_json
from nlbflow.metrics import score, score_null
from nlbflow.provenance import provenance


def main(smk) -> None:
    with job(smk) as run:
        target, about = read_arrays(smk.input.target)
        if smk.input.get("prediction"):
            prediction, made = read_arrays(smk.input.prediction)
            scores, kind = score(target, prediction), made["kind"]
        else:
            made = {"provenance": None, "params": {}, "facts": {}}
            scores, kind = score_null(target), "null"
        for metric, value in scores.items():
            run.log(f"{metric} = {value:.4f}")
        write_json(
            run.out["scores"],
            {
                "dataset": about["dataset"],
                "bin_ms": int(about["bin_ms"]),
                "phase": about["phase"],
                "model": smk.wildcards.model,
                "seed": int(smk.wildcards.seed),
                "kind": kind,
                "params": made["params"],
                "facts": made["facts"],
                "scores": scores,
                "absent": about["absent"],
                "provenance": {
                    "target": about["provenance"],
                    "prediction": made["provenance"],
                    "score": provenance(smk.input.stamp, about["provenance"]["dataset_version"], run.seconds),
                },
            },
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
