"""Rule compare: the models of one place against each other."""

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
from nlbflow.metrics.kinds import COMPETITOR, RANKED
from nlbflow.scoring.bundles import read_bootstraps, read_scores
from nlbflow.scoring.consistency import consistency_table
from nlbflow.scoring.comparisons import cross_decoding_table, difference_table, rank_table
from nlbflow.running.files import open_h5, read_json, write_json
from nlbflow.models.contract import LATENTS


def main(smk) -> None:
    with job(smk) as run:
        asked = read_json(smk.input.stamp)["parameters"]
        scored = {(entry["model"], entry["seed"]): entry for entry in read_scores(smk.input.scores)}
        bootstraps = read_bootstraps(smk.input.bootstraps)
        scores, files, kinds = {}, {}, {}
        for (*_, model, seed), prediction in zip(asked["runs"], smk.input.predictions, strict=True):
            if (kind := scored[model, seed]["kind"]) != COMPETITOR:
                kinds[model] = kind
            scores[model, seed] = bootstraps[model, seed]
            if kinds.get(model, COMPETITOR) in RANKED and has_latents(prediction):
                files.setdefault(model, []).append(prediction)
        ranked = {key: metrics for key, metrics in scores.items() if kinds.get(key[0], COMPETITOR) in RANKED}
        write_json(
            run.out["comparison"],
            {
                "dataset": smk.wildcards.dataset,
                "bin_ms": int(smk.wildcards.bin_ms),
                "phase": smk.wildcards.phase,
                "ranks": rank_table(scores, kinds),
                "differences": difference_table(ranked),
                # one seed of each model: between its seeds latents differ as between models
                "cross_decoding": cross_decoding_table({model: latents(paths[0]) for model, paths in files.items()}),
                # the seeds of one model at a time, or memory would grow with models times seeds
                "consistency": [
                    row
                    for model, paths in files.items()
                    for row in consistency_table({model: [latents(path) for path in paths]})
                ],
            },
        )
        run.log(f"{len(scores)} predictions, latents of {len(files)} models that are ranked")


def has_latents(prediction: str) -> bool:
    with open_h5(prediction) as file:
        return all(name in file for name in LATENTS)


def latents(prediction: str) -> dict:
    with open_h5(prediction) as file:
        return {name: file[name][()] for name in LATENTS}


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
