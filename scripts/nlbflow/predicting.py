"""What the rules train and oracle share: from input.h5 through a model to prediction.h5."""

from pathlib import Path

from nlbflow.errors import NlbflowError
from nlbflow.files import read_arrays, read_json, write_arrays
from nlbflow.job import Job
from nlbflow.models import ModelInput, find_model, read_declaration, run_model
from nlbflow.provenance import provenance


def model_path(smk) -> Path:
    """The file of the job's model."""
    return find_model(smk.config["models"][smk.wildcards.model]["file"], Path(smk.scriptdir) / "models")


def predict(smk, run: Job, answers: dict | None = None, kernel_ms: float | None = None) -> None:
    """Run the job's model and write its prediction; `answers` (and the kernel of their PSTHs) make it an oracle.

    Raises:
        NlbflowError: the input lacks something, or the model breaks its contract.
    """
    arrays, about = read_arrays(smk.input.input)
    if about["absent"]:
        run.log(f"absent from the input: {about['absent']}")
    missing = [name for name in ("train_spikes_heldin", "eval_spikes_heldin") if name not in arrays]
    if missing:
        raise NlbflowError(f"{smk.input.input} has no {missing[0]} ({about['absent']}); nothing can be trained on it.")
    data = ModelInput(
        bin_ms=int(about["bin_ms"]),
        psth_kernel_ms=kernel_ms,
        answers=answers or {},
        **arrays,
    )
    model, seed = smk.wildcards.model, int(smk.wildcards.seed)
    if read_declaration(model_path(smk))["ORACLE"] != (answers is not None):
        raise NlbflowError(f"rule {smk.rule} does not run {model}: its file says otherwise by ORACLE.")
    params = read_json(smk.input.stamp)["parameters"]["params"]
    run.log(f"{model}, seed {seed}, {params}, on {about['dataset']}: {data.train_spikes_heldin.shape} training counts")
    rates, facts = run_model(model_path(smk), model, data, params, seed)
    run.log(f"predicted {', '.join(rates)} in {run.seconds:.1f} s; {facts or 'no facts'}")
    write_arrays(
        run.out["prediction"],
        rates,
        {
            "dataset": about["dataset"],
            "bin_ms": about["bin_ms"],
            "phase": about["phase"],
            "model": model,
            "seed": seed,
            "kind": "competitor" if answers is None else "oracle",
            "params": params,
            "facts": facts,
            "provenance": provenance(smk.input.stamp, about["provenance"]["dataset_version"], run.seconds),
        },
    )
