"""What the rules that make or tune predictions share: they take input.h5 through a model to prediction.h5."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.models.apart import Reach, run_apart
from nlbflow.models.catalogue import find_model, kind_of, read_declaration, with_tuned
from nlbflow.models.contract import check_prediction, run_model
from nlbflow.recordings.model_input import ModelInput
from nlbflow.running.files import read_arrays, read_json, write_arrays
from nlbflow.running.job import Job
from nlbflow.running.provenance import provenance
from nlbflow.running.stamps import refuse_edited
from nlbflow.running.work import copied, copy_work, tidy_work, work_folder


def model_path(smk) -> Path:
    """The file of the job's model.

    Raises:
        NlbflowError: it is gone, or was edited since the run was planned.
    """
    stanza = with_tuned(smk.config["models"])[smk.wildcards.model]
    path = find_model(stanza["file"], Path(smk.scriptdir) / "models")
    refuse_edited(read_json(smk.input.stamp), path.resolve().parent)
    return path


def read_input(smk, run: Job, **answers) -> tuple[ModelInput, dict]:
    """What the job's model may see, and the attributes of input.h5; `answers` are for oracles.

    Raises:
        NlbflowError: the input lacks what every model needs.
    """
    arrays, about = read_arrays(smk.input.input)
    if about["absent"]:
        run.log(f"absent from the input: {about['absent']}")
    missing = [name for name in ("train_spikes_heldin", "eval_spikes_heldin") if name not in arrays]
    if missing:
        raise NlbflowError(f"{smk.input.input} has no {missing[0]} ({about['absent']}); nothing can be trained on it.")
    return ModelInput(bin_ms=int(about["bin_ms"]), **answers, **arrays), about


def write_prediction(smk, run: Job, about: Mapping, arrays: dict, kind: str, params: dict, facts: dict, made: dict):
    """Write prediction.h5 with its provenance.

    Args:
        about: the attributes of input.h5.
        arrays: as `nlbflow.models.contract.check_prediction` returns them.
        kind: competitor, control or oracle.
        made: the provenance.
    """
    place = {key: about[key] for key in ("dataset", "bin_ms", "phase")}
    of = {"model": smk.wildcards.model, "seed": int(smk.wildcards.seed), "kind": kind, "params": params, "facts": facts}
    write_arrays(run.out["prediction"], arrays, {**place, **of, "provenance": made})


def predict_apart(smk, data: ModelInput, params: dict, seed: int, free: bool = False) -> tuple[dict, dict, str]:
    """Run the job's model in a process of its own, which can open no answers; `free` is for oracles.

    Returns:
        (arrays, facts, how it was confined); the arrays are checked here again, where the model's code has not run.

    Raises:
        NlbflowError: the model breaks its contract, opens what it may not, or fails.
    """
    path, model = model_path(smk), smk.wildcards.model
    reach = replace(Reach.of(path, smk.config, data.work), free=free)
    arrays, facts, confined = run_apart(lambda: run_model(path, model, data, params, seed), model, reach)
    mean = float(data.train_spikes_heldin.mean(dtype=np.float64))
    checked = check_prediction({**arrays, "facts": facts}, data.shapes(), model, spikes_mean=mean, bin_ms=data.bin_ms)
    return *checked, confined


def predict(smk, run: Job, answers: dict | None = None, kernel_ms: float | None = None) -> None:
    """Run the job's model and write its prediction; `answers` (and the kernel of their PSTHs) make it an oracle.

    Raises:
        NlbflowError: the input lacks something, or the model breaks its contract.
    """
    data, about = read_input(smk, run, answers=answers or {}, psth_kernel_ms=kernel_ms)
    model, seed = smk.wildcards.model, int(smk.wildcards.seed)
    declared = read_declaration(model_path(smk))
    if declared["ORACLE"] != (answers is not None):
        raise NlbflowError(f"rule {smk.rule} cannot run {model}: its file sets ORACLE otherwise; run again.")
    params = read_json(smk.input.stamp)["parameters"]["params"]
    if smk.input.get("best"):
        params |= read_json(smk.input.best)["params"]
    run.log(f"{model}, seed {seed}, {params}, on {about['dataset']}: {data.train_spikes_heldin.shape} training counts")
    if answers is None:
        of = {"stamp": smk.params.digest, "params": params, "seed": seed}
        data.work = work_folder(Path(smk.output.prediction), vars(data), of)
    with copied(data.work):
        rates, facts, confined = predict_apart(smk, data, params, seed, free=answers is not None)
    run.log(f"predicted {', '.join(rates)} in {run.seconds:.1f} s; {facts or 'no facts'}")
    device = facts.get("device", "cpu")
    made = provenance(smk.input.stamp, about["provenance"]["dataset_version"], run.seconds, device)
    made["confined"] = confined
    write_prediction(smk, run, about, rates, kind_of(declared), params, facts, made)
    if data.work:
        tidy_work(data.work)
        copy_work(data.work)
