"""Rule tune: one candidate's parameters scored by cross-validation inside the training trials."""

from nlbflow.job import job  # first: it fixes the number of BLAS threads
from nlbflow.files import read_json, write_json
from nlbflow.models import run_model
from nlbflow.predicting import model_path, read_input
from nlbflow.provenance import provenance
from nlbflow.tuning import score_candidate


def main(smk) -> None:
    with job(smk) as run:
        data, about = read_input(smk, run)
        asked, model = read_json(smk.input.stamp)["parameters"], smk.wildcards.model
        run.log(f"{model} with {asked['candidate']} on {about['dataset']}: {data.train_spikes_heldin.shape} counts")

        def predict(seen):
            return run_model(model_path(smk), model, seen, asked["params"], asked["seed"])[0]

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
