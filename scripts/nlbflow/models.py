"""Models: one file each, imported and held to a contract; nlbflow/catalogue.py reads what they declare without that.

A model file has a docstring with its source, `DEFAULTS` (a literal dict of parameters) and
`predict(data, params, seed) -> dict`. `SEEDED = False` marks a deterministic model, `ORACLE = True` one that may see
the answers and is never ranked, `NEEDS = [...]` what a dataset must have for it (conditions, behavior, true_rates),
`CHECK = {...}` parameters that make it small for the contract check.
"""

import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np

from nlbflow.catalogue import read_declaration
from nlbflow.errors import NlbflowError

REQUIRED = ("train_rates_heldin", "train_rates_heldout", "eval_rates_heldin", "eval_rates_heldout")
FORWARD = ("eval_rates_heldin_forward", "eval_rates_heldout_forward")
LATENTS = ("train_latents", "eval_latents")


@dataclass
class ModelInput:
    """What a model sees: the arrays of input.h5, spikes as float32 counts (trials, bins, neurons).

    `answers` is empty but for oracles, which get the arrays of target.h5. `work` is a folder for what a long training
    goes on from when its job was killed; whatever lies in it was made by the same input, parameters, seed and code.
    There is none in contract checks and tuning.
    """

    bin_ms: int
    train_spikes_heldin: np.ndarray
    train_spikes_heldout: np.ndarray
    eval_spikes_heldin: np.ndarray
    train_spikes_heldin_forward: np.ndarray | None = None
    train_spikes_heldout_forward: np.ndarray | None = None
    train_behavior: np.ndarray | None = None
    train_condition: np.ndarray | None = None
    psth_kernel_ms: float | None = None
    answers: dict = field(default_factory=dict)
    work: Path | None = None

    def __post_init__(self):
        for name in ("train_spikes_heldin", "train_spikes_heldout", "eval_spikes_heldin"):
            spikes = np.asarray(getattr(self, name), np.float32)
            refuse_nan(name, spikes)
            setattr(self, name, spikes)
        for name in ("train_spikes_heldin_forward", "train_spikes_heldout_forward"):
            if getattr(self, name) is not None:
                setattr(self, name, np.asarray(getattr(self, name), np.float32))

    def shapes(self) -> dict[str, tuple[int, int, int]]:
        """The shape that each predicted array must have."""
        heldin, heldout = self.train_spikes_heldin.shape[2], self.train_spikes_heldout.shape[2]
        train, evaluated = self.train_spikes_heldin.shape[:2], self.eval_spikes_heldin.shape[:2]
        shapes = {
            "train_rates_heldin": (*train, heldin),
            "train_rates_heldout": (*train, heldout),
            "eval_rates_heldin": (*evaluated, heldin),
            "eval_rates_heldout": (*evaluated, heldout),
        }
        if self.train_spikes_heldin_forward is not None:
            ahead = self.train_spikes_heldin_forward.shape[1]
            shapes["eval_rates_heldin_forward"] = (evaluated[0], ahead, heldin)
            shapes["eval_rates_heldout_forward"] = (evaluated[0], ahead, heldout)
        return shapes


def refuse_nan(name: str, spikes: np.ndarray) -> None:
    """Refuse counts that are not numbers, naming trials and bins.

    Raises:
        NlbflowError: a count is NaN or infinite.
    """
    bad = ~np.isfinite(spikes)
    if bad.any():
        trials, bins = (sorted(set(axis.tolist())) for axis in np.nonzero(bad.any(axis=2)))
        raise NlbflowError(
            f"{name} has {int(bad.sum()):,} counts that are NaN, in {len(trials)} trials (first {trials[:3]}) and "
            f"{len(bins)} bins (first {bins[:3]}); models need every bin observed: shorten the window (config key "
            "datasets.*.window_ms) or leave these trials out of the split."
        )


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


def check_prediction(prediction: object, shapes: dict[str, tuple], model: str) -> tuple[dict, dict]:
    """Hold a model's result to the contract: names, shapes, finite, not negative.

    Returns:
        (arrays as float32, with the history's columns as a dict among them; facts).

    Raises:
        NlbflowError: what is wrong, with the model's and the array's name.
    """
    if not isinstance(prediction, dict):
        raise NlbflowError(f"model {model} returned {type(prediction).__name__}; predict must return a dict of arrays.")
    facts = _check_facts(prediction.get("facts", {}), model)
    unknown = set(prediction) - set(REQUIRED) - set(FORWARD) - set(LATENTS) - {"facts", "history"}
    missing = [name for name in REQUIRED if name not in prediction]
    if any(name in prediction for name in FORWARD):
        missing += [name for name in FORWARD if name not in prediction]
    if unknown or missing:
        raise NlbflowError(
            f"model {model} returned wrong names (missing {missing or 'none'}, unknown {sorted(unknown) or 'none'}); "
            f"expected {', '.join(REQUIRED)}, optionally {', '.join(FORWARD + LATENTS)}, facts "
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
        expected = shapes.get(name, (*shapes[f"{name.split('_')[0]}_rates_heldin"][:2], "any"))
        fits = array.ndim == 3 and all(e in ("any", s) for s, e in zip(array.shape, expected, strict=True))
        if not fits or array.size == 0:
            raise NlbflowError(f"model {model} returned {name} of shape {array.shape}; expected {expected}.")
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
        if not np.isfinite(array).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise NlbflowError(
                f"model {model} returned {name} with {int((~np.isfinite(array)).sum()):,} values that are NaN or "
                f"infinite as float32, first at (trial, bin, neuron) {where}; rates must be finite: mend the model."
            )
        if "rates" in name and (array < 0).any():
            where = tuple(int(i) for i in np.argwhere(array < 0)[0])
            raise NlbflowError(
                f"model {model} returned {name} with {int((array < 0).sum()):,} negative values, first at (trial, bin, "
                f"neuron) {where}; rates are expected spikes per bin and cannot be negative."
            )
        arrays[name] = array
    if "history" in prediction:
        arrays["history"] = _check_history(prediction["history"], model)
    return arrays, facts


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
            f"model {model} returned a history that is no table; expected a dict of columns, each a list of as many "
            "numbers."
        )
    return columns


def run_model(path: Path, name: str, data: ModelInput, params: dict, seed: int) -> tuple[dict, dict]:
    """Import the model, let it predict, and hold the result to the contract: (arrays, facts)."""
    shapes = data.shapes()
    return check_prediction(load_model(path).predict(data, params, seed), shapes, name)


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
    """The contract check, on tiny data: shapes, finite, not negative, and the same seed gives the same bytes.

    Returns:
        what was predicted: names and shapes, and the model's facts.

    Raises:
        NlbflowError: the model breaks the contract.
    """
    declared = read_declaration(path)
    params = {**params, **declared["CHECK"]}
    first, facts = run_model(path, name, tiny_input(), params, seed)
    again, _ = run_model(path, name, tiny_input(), params, seed)
    first, again = ({**arrays.pop("history", {}), **arrays} for arrays in (first, again))
    for key, array in first.items():
        if array.tobytes() != again[key].tobytes():
            raise NlbflowError(
                f"model {name} gave two different {key} for the same seed; draw every random number from the seed that "
                "predict is given."
            )
    return {"arrays": {key: list(array.shape) for key, array in first.items()}, "facts": facts}
