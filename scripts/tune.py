"""Rule tune: one candidate's parameters scored by cross-validation inside the training trials."""

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
from nlbflow.running.files import read_json, write_json
from nlbflow.models.predicting import predict_apart, read_input
from nlbflow.running.provenance import provenance
from nlbflow.models.tuning import score_candidate


def main(smk) -> None:
    with job(smk) as run:
        data, about = read_input(smk, run)
        asked, model = read_json(smk.input.stamp)["parameters"], smk.wildcards.model
        run.log(f"{model} with {asked['candidate']} on {about['dataset']}: {data.train_spikes_heldin.shape} counts")

        def predict(seen):
            [(arrays, _)], _ = predict_apart(smk, seen, asked["params"], [asked["seed"]])
            return arrays

        write_json(
            run.out["result"],
            {
                "candidate": smk.wildcards.candidate,
                "params": asked["candidate"],
                "scores": score_candidate(data, asked["folds"], predict, run.log),
                "provenance": provenance(smk.input.stamp, about["provenance"]["dataset_version"], run.seconds),
            },
        )


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
