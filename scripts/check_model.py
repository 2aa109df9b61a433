"""Rule check_model: hold a model to its contract on tiny synthetic data before time is spent on it."""

from dataclasses import replace

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
from nlbflow.running.files import read_json, write_json
from nlbflow.models.apart import Reach, run_apart
from nlbflow.models.catalogue import read_declaration
from nlbflow.models.contract import check_model
from nlbflow.models.predicting import model_path


def main(smk) -> None:
    with job(smk) as run:
        params = read_json(smk.input.stamp)["parameters"]["params"]
        path, model = model_path(smk), smk.wildcards.model
        free = read_declaration(path)["ORACLE"]
        reach = replace(Reach.of(path, smk.config), free=free)
        [(_, found)], confined = run_apart(lambda: [({}, check_model(path, model, params))], model, reach)
        run.log(f"{model} keeps the contract: {found}; confined: {confined}")
        write_json(run.out["report"], found)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
