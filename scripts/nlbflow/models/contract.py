"""Models: one file each, imported and held to a contract; `catalogue` reads what they declare without importing them.

A model file has a docstring with its source, the declarations of `catalogue.DECLARATIONS` and
`predict(data, params, seed) -> dict`. docs/models.md has the whole contract, partly made from this package.
"""

import importlib.util
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from nlbflow.errors import NlbflowError, values_that_are
from nlbflow.models.catalogue import SEEDS, read_declaration
from nlbflow.recordings.model_input import ModelInput

REQUIRED = ("train_rates_heldin", "train_rates_heldout", "eval_rates_heldin", "eval_rates_heldout")
FORWARD = ("eval_rates_heldin_forward", "eval_rates_heldout_forward")
LATENTS = ("train_latents", "eval_latents")
# What a model shows beyond rates: neurons, held-in first, by their cluster and by how alike they are or how much the
# column's acts on the row's; and the state of each observed bin. Labels and states are names: any whole numbers.
STATES = ("train_states", "eval_states")
LABELS = ("neuron_labels", *STATES)
SHOWN = (*LABELS, "neuron_similarity")
# Rates per second are 1000 / bin_ms times too large; no model misses the mean count by a third of that.
TOLERANCE = 3
# How far a seed may be, side by side with another, from what it is alone.
LAST_DIGITS = 1e-5


def load_model(path: Path) -> ModuleType:
    """Import a model file, with its own folder importable."""
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(f"nlbflow_model_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        raise NlbflowError(
            f"{path} imports {error.name}, which is not installed here; install it (the networks need torch: "
            "make .venv/deep.done), or run with --sdm conda and the model's env."
        ) from error
    return module


def implausible(rates: np.ndarray, spikes_mean: float, bin_ms: int) -> str:
    """Why an array (trials, bins, neurons) cannot be expected spikes per bin; empty if nothing speaks against it.

    Args:
        spikes_mean: the data's mean count per bin and neuron, to recognise spikes per second; 0 where it is not known.
        bin_ms: bin width.
    """
    for wrong, called, advice in (
        (~np.isfinite(rates), "NaN or infinite (as float32)", "predict every bin of every trial and neuron"),
        (rates < 0, "negative", "expected spikes per bin are never negative; exponentiate if these are log rates"),
    ):
        if wrong.any():
            first = tuple(int(i) for i in np.unravel_index(wrong.argmax(), rates.shape))
            return f"has {values_that_are(int(wrong.sum()))} {called}, first at (trial, bin, neuron) {first}; {advice}."
    if not rates.any():
        return "holds only zeros; expected rates in spikes per bin: fill it with the predictions."
    mean, factor = float(rates.mean(dtype=np.float64)), 1000 / bin_ms
    if spikes_mean > 0 and mean / spikes_mean > factor / TOLERANCE:
        found = f"has the mean {mean:.3g}, {mean / spikes_mean:.0f} times the data's {spikes_mean:.3g} spikes per bin, "
        if mean / spikes_mean > factor * TOLERANCE:
            return f"{found}and so cannot be rates in spikes per bin of {bin_ms} ms; correct its unit."
        per_bin = f"divide by {factor:g} for spikes per bin of {bin_ms} ms."
        return f"{found}so it is almost surely in spikes per second; {per_bin}"
    return ""


def check_prediction(
    prediction: object,
    shapes: dict[str, tuple],
    model: str,
    required: Iterable[str] = REQUIRED,
    *,
    spikes_mean: float = 0.0,
    bin_ms: int = 1,
) -> tuple[dict, dict]:
    """Hold a model's result to the contract: names, shapes, and rates that are expected spikes per bin.

    Args:
        shapes: (trials, bins, neurons) of each array of rates.
        model: its name, for the error.
        required: the arrays that must be there.
        spikes_mean, bin_ms: as for `implausible`.

    Returns:
        (arrays as float32, labels and states as int32, with the history's columns as a dict among them; facts).

    Raises:
        NlbflowError: what is wrong, with the model's and the array's name.
    """
    if not isinstance(prediction, dict):
        raise NlbflowError(f"model {model} returned {type(prediction).__name__}; predict must return a dict of arrays.")
    facts = _check_facts(prediction.get("facts", {}), model)
    unknown = set(prediction) - set(REQUIRED) - set(FORWARD) - set(LATENTS) - set(SHOWN) - {"facts", "history"}
    missing = [name for name in required if name not in prediction]
    for both in (FORWARD, LATENTS, STATES):
        if any(name in prediction for name in both):
            missing += [name for name in both if name not in prediction]
    if unknown or missing:
        raise NlbflowError(
            f"model {model} returned wrong names (missing {missing or 'none'}, unknown {sorted(unknown) or 'none'}); "
            f"expected {', '.join(REQUIRED)}, optionally {', '.join(FORWARD + LATENTS + SHOWN)}, facts "
            "and history."
        )
    arrays = {}
    for name in (n for n in prediction if n not in ("facts", "history")):
        try:
            array = np.asarray(prediction[name])
        except ValueError as error:
            raise NlbflowError(f"model {model} returned {name} that is no array ({error}).") from error
        if array.dtype.kind not in "fiub":
            raise NlbflowError(f"model {model} returned {name} of type {array.dtype}; expected real numbers.")
        axes, expected = _expected(name, shapes)
        fits = array.ndim == len(expected) and all(e in ("any", s) for s, e in zip(array.shape, expected, strict=True))
        if not fits or array.size == 0:
            raise NlbflowError(f"model {model} returned {name} of shape {array.shape}; expected {axes} {expected}.")
        if name in LABELS:
            arrays[name] = _check_labels(array, name, model)
            continue
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
        if "rates" in name and (fault := implausible(array, spikes_mean, bin_ms)):
            raise NlbflowError(f"model {model} returned {name}, which {fault}")
        if not np.isfinite(array).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise NlbflowError(
                f"model {model} returned {name} with {values_that_are(int((~np.isfinite(array)).sum()))} NaN or "
                f"infinite as float32, first at {axes} {where}; they must be finite: mend the model."
            )
        arrays[name] = array
    if "history" in prediction:
        arrays["history"] = _check_history(prediction["history"], model)
    return arrays, facts


def _expected(name: str, shapes: Mapping[str, tuple]) -> tuple[str, tuple]:
    """The axes of an array and their lengths, `any` for one that the model chooses."""
    if name.startswith("neuron"):
        neurons = shapes["eval_rates_heldin"][2] + shapes["eval_rates_heldout"][2]
        return ("(neurons,)", (neurons,)) if name in LABELS else ("(neurons, neurons)", (neurons, neurons))
    observed = shapes[f"{name.split('_')[0]}_rates_heldin"][:2]
    if name in STATES:
        return "(trials, bins)", observed
    axes = "(trials, bins, neurons)" if "rates" in name else "(trials, bins, latents)"
    return axes, shapes.get(name, (*observed, "any"))


def _check_labels(array: np.ndarray, name: str, model: str) -> np.ndarray:
    """Names of clusters or states as int32."""
    if array.dtype.kind not in "iu":
        raise NlbflowError(
            f"model {model} returned {name} of type {array.dtype}; expected whole numbers that name clusters or "
            "states: return it as an array of integers."
        )
    limits = np.iinfo(np.int32)
    if array.min() < limits.min or array.max() > limits.max:
        raise NlbflowError(
            f"model {model} returned {name} with {array.min():,} to {array.max():,}; expected small whole numbers: "
            "count clusters and states from 0."
        )
    return array.astype(np.int32)


def _check_facts(facts: object, model: str) -> dict:
    """A model's facts as plain numbers and strings."""
    if not isinstance(facts, dict):
        raise NlbflowError(f"model {model} returned facts of type {type(facts).__name__}; expected a dict of numbers.")
    plain = {str(name): value.item() if isinstance(value, np.generic) else value for name, value in facts.items()}
    for name, value in plain.items():
        if not isinstance(value, int | float | str):
            raise NlbflowError(f"model {model} returned the fact {name} as {type(value).__name__}; expected a number.")
    return plain


def _check_history(history: object, model: str) -> dict:
    """A training's history: columns of numbers, of equal length."""
    try:
        columns = {str(n): np.asarray(c) for n, c in history.items()} if isinstance(history, dict) else {}
    except ValueError:  # rows of different lengths in a column
        columns = {}
    lengths = {column.shape for column in columns.values()}
    if len(lengths) != 1 or len(*lengths) != 1 or any(c.dtype.kind not in "fiub" for c in columns.values()):
        raise NlbflowError(
            f"model {model} returned a history that is no table; expected a dict of columns, lists of equally many "
            "numbers."
        )
    return columns


def run_model(path: Path, name: str, data: ModelInput, params: dict, seed: int) -> tuple[dict, dict]:
    """Import the model, let it predict, and hold the result to the contract: (arrays, facts)."""
    return run_seeds(path, name, data, params, [seed])[0]


def run_seeds(path: Path, name: str, data: ModelInput, params: dict, seeds: Sequence[int]) -> list[tuple[dict, dict]]:
    """What `run_model` gives for each seed; several seeds are given to the model's `predict_seeds`."""
    # before the model can change them
    shapes, spikes_mean = data.shapes(), float(data.train_spikes_heldin.mean(dtype=np.float64))
    model = load_model(path)
    if len(seeds) == 1:
        predicted = [model.predict(data, params, seeds[0])]
    else:
        predicted = model.predict_seeds(data, params, seeds)
        if not isinstance(predicted, list | tuple) or len(predicted) != len(seeds):
            found = f"{len(predicted)} results" if isinstance(predicted, list | tuple) else type(predicted).__name__
            raise NlbflowError(
                f"model {name} returned {found} for {len(seeds)} seeds; predict_seeds must return a list with what "
                "predict returns, for each seed."
            )
    names = [name] if len(seeds) == 1 else [f"{name} (seed {seed})" for seed in seeds]
    return [
        check_prediction(one, shapes, called, spikes_mean=spikes_mean, bin_ms=data.bin_ms)
        for called, one in zip(names, predicted, strict=True)
    ]


def tiny_input(seed: int = 0) -> ModelInput:
    """A small synthetic input for the contract check: 12 + 5 trials, 20 + 4 bins, 10 + 4 neurons, 3 conditions."""
    draw = np.random.default_rng(seed)
    trials, evaluated, bins, ahead, heldin, neurons = 12, 5, 20, 4, 10, 14
    condition = np.arange(trials + evaluated) % 3
    phase = condition[:, None] + np.linspace(0, 3, bins + ahead)
    drive = np.stack([np.sin(phase), np.cos(phase)], axis=2) @ draw.normal(0, 0.8, (2, neurons))
    rates = 0.4 * np.exp(drive)
    spikes = draw.poisson(rates).astype(np.float32)
    behavior = np.stack([np.sin(phase), np.cos(phase)], axis=2)[:, :bins]
    train, test = slice(0, trials), slice(trials, None)
    members = [[np.flatnonzero(condition[s] == c) for c in range(3)] for s in (train, test)]
    true = {
        f"{part}_rates_{group}{suffix}": rates[trial, time, unit].astype(np.float32)
        for part, trial in (("train", train), ("eval", test))
        for group, unit in (("heldin", slice(0, heldin)), ("heldout", slice(heldin, None)))
        for suffix, time in (("", slice(0, bins)), ("_forward", slice(bins, None)))
        if part == "eval" or not suffix
    }
    return ModelInput(
        bin_ms=5,
        train_spikes_heldin=spikes[train, :bins, :heldin],
        train_spikes_heldout=spikes[train, :bins, heldin:],
        eval_spikes_heldin=spikes[test, :bins, :heldin],
        train_spikes_heldin_forward=spikes[train, bins:, :heldin],
        train_spikes_heldout_forward=spikes[train, bins:, heldin:],
        train_behavior=behavior[train],
        train_condition=condition[train],
        psth_kernel_ms=20.0,
        answers={"train_cond_idx": members[0], "eval_cond_idx": members[1], "true_rates": true},
    )


def check_model(path: Path, name: str, params: dict, seed: int = 0) -> dict:
    """The contract check on tiny data: shapes, finite and not negative values, the same bytes for the same seed, a
    history of training only where the file declares one, and seeds side by side, if it has SEEDS, as each is alone.

    Returns:
        what was predicted: names and shapes, and the model's facts.

    Raises:
        NlbflowError: the model breaks the contract.
    """
    declared = read_declaration(path)
    params = {**params, **declared["CHECK"]}
    first, facts = run_model(path, name, tiny_input(), params, seed)
    if "history" in first and not declared["HISTORY"]:
        raise NlbflowError(
            f"model {name} returned a history, which {path} does not declare; write HISTORY = True there, so that its "
            "learning curves are drawn."
        )
    again, _ = run_model(path, name, tiny_input(), params, seed)
    if declared[SEEDS]:
        _check_seeds(path, name, params, seed, first)
    first, again = ({**arrays.pop("history", {}), **arrays} for arrays in (first, again))
    for key, array in first.items():
        if array.tobytes() != again[key].tobytes():
            raise NlbflowError(
                f"model {name} gave two different {key} for the same seed; draw every random number from the seed that "
                "predict is given."
            )
    return {"arrays": {key: list(array.shape) for key, array in first.items()}, "facts": facts}


def _check_seeds(path: Path, name: str, params: dict, seed: int, first: dict) -> None:
    """Refuse a model with which a seed becomes something else side by side with another than alone.

    Args:
        first: the arrays that `seed` gives alone.
    """
    alone = [first, run_model(path, name, tiny_input(), params, seed + 1)[0]]
    together = run_seeds(path, name, tiny_input(), params, [seed, seed + 1])
    for number, (one, (other, _)) in enumerate(zip(alone, together, strict=True)):
        one, other = ({**arrays, **arrays.get("history", {})} for arrays in (one, other))
        if one.keys() != other.keys():
            differ = ", ".join(sorted(one.keys() ^ other.keys()))
            raise NlbflowError(
                f"model {name} returned {differ} with only one of predict and predict_seeds; let both return the same."
            )
        one.pop("history", None)
        for key, array in one.items():
            found = other[key]
            if found.shape != array.shape or not np.allclose(
                found, array, rtol=LAST_DIGITS, atol=LAST_DIGITS, equal_nan=True
            ):
                raise NlbflowError(
                    f"model {name} gave another {key} for seed {seed + number} with predict_seeds than with predict; "
                    f"each seed must become what it is alone, within {LAST_DIGITS:g}."
                )
