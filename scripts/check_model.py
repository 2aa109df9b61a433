"""Rule check_model: hold a model to its contract on tiny synthetic data before time is spent on it."""

from nlbflow.job import job  # first: it fixes the number of BLAS threads
from nlbflow.files import read_json, write_json
from nlbflow.models import check_model
from nlbflow.predicting import model_path


def main(smk) -> None:
    with job(smk) as run:
        params = read_json(smk.input.stamp)["parameters"]["params"]
        found = check_model(model_path(smk), smk.wildcards.model, params)
        run.log(f"{smk.wildcards.model} keeps the contract: {found}")
        write_json(run.out["report"], found)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
