"""Rule read_submission: somebody's rates from a file that is not trusted, as a prediction like any other."""

from pathlib import Path

from nlbflow.running.job import job  # first: it fixes the number of BLAS threads
from nlbflow.running.checksums import sha256_of
from nlbflow.recordings.datasets import group_name
from nlbflow.models.predicting import read_input, write_prediction
from nlbflow.running.provenance import provenance
from nlbflow.models.submissions import needed_arrays, read_submission


def main(smk) -> None:
    with job(smk) as run:
        data, about = read_input(smk, run)
        file, needed = Path(smk.input.submission), needed_arrays(data.train_behavior)
        mean, group = float(data.train_spikes_heldin.mean()), group_name(about["dataset"], data.bin_ms)
        rates, ignored = read_submission(file, data.shapes(), needed, mean, data.bin_ms, group)
        run.log(f"read {', '.join(rates)}; not read: {', '.join(ignored) or 'nothing else'}")
        facts = {"file": file.name, "sha256": sha256_of(file, run.log)}
        if ignored:
            facts["not_read"] = ", ".join(ignored)
        made = provenance(smk.input.stamp, about["provenance"]["dataset_version"], run.seconds)
        # what making the rates cost is not known
        made = {name: value for name, value in made.items() if name not in ("seconds", "peak_mb", "device")}
        told_of = {"seed": int(smk.wildcards.seed), "kind": "competitor", "params": {}, "facts": facts}
        write_prediction(smk, run.out["prediction"], about, rates, made, **told_of)


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
