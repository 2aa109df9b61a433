"""Rule read_submission: somebody's rates from a file that is not trusted, as a prediction like any other."""

from pathlib import Path

from nlbflow.job import job  # first: it fixes the number of BLAS threads
from nlbflow.checksum import sha256_of
from nlbflow.datasets import group_name
from nlbflow.files import read_arrays, write_arrays
from nlbflow.models import ModelInput
from nlbflow.provenance import provenance
from nlbflow.submissions import needed_arrays, read_submission


def main(smk) -> None:
    with job(smk) as run:
        arrays, about = read_arrays(smk.input.input)
        data = ModelInput(bin_ms=int(about["bin_ms"]), **arrays)
        file = Path(smk.input.submission)
        rates = read_submission(
            file,
            data.shapes(),
            needed_arrays(data.train_behavior),
            float(data.train_spikes_heldin.mean()),
            data.bin_ms,
            group_name(about["dataset"], data.bin_ms),
        )
        made = provenance(smk.input.stamp, about["provenance"]["dataset_version"], run.seconds)
        write_arrays(
            run.out["prediction"],
            rates,
            {
                "dataset": about["dataset"],
                "bin_ms": about["bin_ms"],
                "phase": about["phase"],
                "model": smk.wildcards.model,
                "seed": int(smk.wildcards.seed),
                "kind": "competitor",
                "params": {},
                "facts": {"file": file.name, "sha256": sha256_of(file, run.log)},
                # what making the rates cost is not known
                "provenance": {k: v for k, v in made.items() if k not in ("seconds", "peak_mb", "device")},
            },
        )
        run.log(f"read {', '.join(rates)}")


if "snakemake" in globals():
    main(snakemake)  # noqa: F821
