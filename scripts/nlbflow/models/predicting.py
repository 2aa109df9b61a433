"""What the rules that make or tune predictions share: they take input.h5 through a model to prediction.h5."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.models.apart import Reach, run_apart
from nlbflow.models.catalogue import find_model, kind_of, read_declaration, with_tuned
from nlbflow.models.contract import check_prediction, run_seeds
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


def write_prediction(smk, path: Path, about: Mapping, arrays: dict, made: dict, **told_of) -> None:
    """Write a prediction with its provenance.

    Args:
        about: the attributes of input.h5.
        arrays: as `nlbflow.models.contract.check_prediction` returns them.
        made: the provenance.
        told_of: seed, kind (competitor, control or oracle), params and facts.
    """
    place = {key: about[key] for key in ("dataset", "bin_ms", "phase")}
    write_arrays(path, arrays, {**place, "model": smk.wildcards.model, **told_of, "provenance": made})


def predict_apart(
    smk, data: ModelInput, params: dict, seeds: Sequence[int], free: bool = False
) -> tuple[list[tuple[dict, dict]], str]:
    """Run the job's model in a process of its own, which can open no answers; `free` is for oracles.

    Returns:
        ((arrays, facts) of each seed, how it was confined); the arrays are checked here again, where the model's code
        has not run.

    Raises:
        NlbflowError: the model breaks its contract, opens what it may not, or fails.
    """
    path, model = model_path(smk), smk.wildcards.model
    reach = replace(Reach.of(path, smk.config, data.work), free=free)
    predicted, confined = run_apart(lambda: run_seeds(path, model, data, params, seeds), model, reach)
    mean = float(data.train_spikes_heldin.mean(dtype=np.float64))
    checked = [
        check_prediction({**arrays, "facts": facts}, data.shapes(), model, spikes_mean=mean, bin_ms=data.bin_ms)
        for arrays, facts in predicted
    ]
    return checked, confined


def predict(smk, run: Job, answers: dict | None = None, kernel_ms: float | None = None) -> None:
    """Run the job's model and write its prediction, or those of several seeds; `answers` (and the kernel of their
    PSTHs) make it an oracle.

    Raises:
        NlbflowError: the input lacks something, or the model breaks its contract.
    """
    data, about = read_input(smk, run, answers=answers or {}, psth_kernel_ms=kernel_ms)
    model, outputs = smk.wildcards.model, outputs_of(smk)
    declared, seeds = read_declaration(model_path(smk)), tuple(outputs)
    if declared["ORACLE"] != (answers is not None):
        raise NlbflowError(f"rule {smk.rule} cannot run {model}: its file sets ORACLE otherwise; run again.")
    params = read_json(smk.input.stamp)["parameters"]["params"]
    if smk.input.get("best"):
        params |= read_json(smk.input.best)["params"]
    which = f"seed{'s' if seeds[1:] else ''} {', '.join(map(str, seeds))}"
    run.log(f"{model}, {which}, {params}, on {about['dataset']}: {data.train_spikes_heldin.shape} training counts")
    if answers is None:
        of = {"stamp": smk.params.digest, "params": params, "seed": seeds if seeds[1:] else seeds[0]}
        data.work = work_folder(Path(smk.output[outputs[seeds[0]]]), vars(data), of)
    try:
        with copied(data.work):
            predicted, confined = predict_apart(smk, data, params, seeds, free=answers is not None)
    except NlbflowError as error:
        if not seeds[1:]:
            raise
        raise NlbflowError(
            f"{error} It had {which} side by side; --config side_by_side=1 trains each alone."
        ) from error
    seconds = run.seconds / len(seeds)
    for seed, (rates, facts) in zip(seeds, predicted, strict=True):
        run.log(f"predicted {', '.join(rates)} in {run.seconds:.1f} s; {facts or 'no facts'}")
        version, device = about["provenance"]["dataset_version"], facts.get("device", "cpu")
        made = provenance(smk.input.stamp, version, seconds, device) | {"confined": confined}
        made |= {"side_by_side": len(seeds)} if seeds[1:] else {}
        told_of = {"seed": seed, "kind": kind_of(declared), "params": params, "facts": facts}
        write_prediction(smk, run.out[outputs[seed]], about, rates, made, **told_of)
    if data.work:
        tidy_work(data.work)
        copy_work(data.work)


def outputs_of(smk) -> dict[int, str]:
    """The names of a job's outputs by seed: `prediction`, or, of a job for several seeds, `seed_0` and so on."""
    if "prediction" in smk.output.keys():
        return {int(smk.wildcards.seed): "prediction"}
    return {int(name.removeprefix("seed_")): name for name in smk.output.keys()}
