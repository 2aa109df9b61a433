"""Scoring of one prediction, which the rule score_one does once and the rule score for each prediction of a bundle."""

from functools import lru_cache
from pathlib import Path

from nlbflow import METRICS_VERSION
from nlbflow.metrics.decoded_metric import left_out, renamed, series_of
from nlbflow.metrics.formulas import score_null
from nlbflow.metrics.kinds import RANKED
from nlbflow.running.checksums import known_sha256
from nlbflow.running.files import read_arrays, read_json, write_arrays, write_json
from nlbflow.running.job import job
from nlbflow.running.provenance import provenance
from nlbflow.scoring.bundles import made_of
from nlbflow.scoring.latents import latent_scores
from nlbflow.scoring.scores import IMPLAUSIBLE, benchmark_scores, further_scores, out_of_reach
from nlbflow.scoring.structure import structure_scores
from nlbflow.scoring.trial_statistics import bits_per_neuron

# The input and the answers of a place, which the processes of a bundle share; none of them changes an array.
read_place = lru_cache(maxsize=2)(read_arrays)


def score_prediction(smk) -> None:
    """Write the metrics of one prediction with their intervals; of the null model, which needs the answers alone.

    Args:
        smk: the `snakemake` object of rule score_one, or what has the same parts.
    """
    with job(smk) as run:
        asked = read_json(smk.input.stamp)["parameters"]
        target, about = read_place(smk.input.target)
        series, (notes, nothing_decoded) = series_of(about["definition"]), left_out(target, about["definition"])
        bootstraps, neurons, sha256 = {}, [], None
        if smk.input.get("prediction"):
            prediction, made = read_arrays(smk.input.prediction)
            sha256 = known_sha256(Path(smk.input.prediction), run.log)
            resampled = asked["bootstrap_draws"], asked["seed"], asked["bootstrap_block"]
            found = benchmark_scores(target, prediction, *resampled)
            scores, bootstraps = (renamed(each, series) for each in found)
            kind = made["kind"]
            bits = scores.get("co-bps", float("nan"))
            if kind in RANKED and (beyond := out_of_reach(target, bits, int(about["bin_ms"]), *resampled)):
                kind = IMPLAUSIBLE
                of = f"{smk.wildcards.model}, seed {smk.wildcards.seed}"
                notes = [*notes, f"{of}, is not ranked: {beyond}; only the answers give such a score."]
            neurons = bits_per_neuron(prediction["eval_rates_heldout"], target["eval_spikes_heldout"]).tolist()
            scores |= further_scores(target, prediction)
            scores |= latent_scores(read_place(smk.input.input)[0], target, prediction, asked)
            scores |= structure_scores(target, prediction)
        else:
            made = {"provenance": None, "params": {}, "facts": {}}
            scores, kind = score_null(target), "null"
        intervals = {metric: bootstrap.interval() for metric, bootstrap in bootstraps.items()}
        for metric, value in scores.items():
            low, high = intervals.get(metric) or (None, None)
            run.log(f"{metric} = {value:.4f}" + (f" [{low:.4f}, {high:.4f}]" if low is not None else ""))
        write_arrays(run.out["bootstrap"], {name: b.arrays() for name, b in bootstraps.items()}, {})
        write_json(
            run.out["scores"],
            {
                "dataset": about["dataset"],
                "bin_ms": int(about["bin_ms"]),
                "phase": about["phase"],
                "model": smk.wildcards.model,
                "seed": int(smk.wildcards.seed),
                "kind": kind,
                "metrics_version": METRICS_VERSION,
                "params": made["params"],
                "facts": made["facts"],
                "prediction_sha256": sha256,
                "made_of": made_of(smk.input, run.log),
                "scores": scores,
                "intervals": intervals,
                # of each held-out neuron; none for one without spikes
                "bits_per_neuron": [None if bits != bits else bits for bits in neurons],
                "absent": about["absent"] | ({"behavior": nothing_decoded} if nothing_decoded else {}),
                # notes of the place: what a reader of its scores must know
                "notes": notes,
                "provenance": {
                    "target": about["provenance"],
                    "prediction": made["provenance"],
                    "score": provenance(smk.input.stamp, about["provenance"]["dataset_version"], run.seconds),
                },
            },
        )
