"""Rule ensemble: the mean rates of the predictions that did best on their own validation trials."""

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
from nlbflow.models.ensembles import VALIDATION, average, choose, cost
from nlbflow.running.files import read_arrays, read_attributes, read_json
from nlbflow.models.contract import check_prediction
from nlbflow.models.predicting import read_input, write_prediction
from nlbflow.running.provenance import provenance


def main(smk) -> None:
    with job(smk) as run:
        asked = read_json(smk.input.stamp)["parameters"]
        data, about = read_input(smk, run)
        paths = {tuple(member): path for member, path in zip(asked["runs"], smk.input.predictions, strict=True)}
        attributes = {member: read_attributes(path) for member, path in paths.items()}
        facts = {member: known["facts"] for member, known in attributes.items()}
        chosen = choose(facts, asked["top"])
        for model, seed in chosen:
            run.log(f"{model}, seed {seed}: {VALIDATION} {facts[model, seed].get(VALIDATION, 'not told')}")
        rates = average((read_arrays(paths[member])[0] for member in chosen), asked["average"])
        told = {"members": ", ".join(f"{model} {seed}" for model, seed in chosen)}
        if all("parameters" in facts[member] for member in chosen):
            told["parameters"] = sum(facts[member]["parameters"] for member in chosen)
        arrays, told = check_prediction({**rates, "facts": told}, data.shapes(), smk.wildcards.model)
        made = provenance(smk.input.stamp, about["provenance"]["dataset_version"], run.seconds)
        made = cost(made, [known["provenance"] for known in attributes.values()])
        params = {"average": asked["average"], "top": asked["top"]}
        told_of = {"seed": int(smk.wildcards.seed), "kind": "competitor", "params": params, "facts": told}
        write_prediction(smk, run.out["prediction"], about, arrays, made, **told_of)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
