"""The tensors a model may see (input.h5) and the answers it is scored against (target.h5).

A dataset's definition says everything: the event to align to, the window, the forward length, behaviour, conditions.
Names and meaning of the arrays are the benchmark's (specification, section 3).
"""

from pathlib import Path

import numpy as np

from nlbflow.datasets import window_ranges
from nlbflow.nwb import Recording, Session
from nlbflow.psth import find_conditions
from nlbflow.windows import bin_series, bin_spikes, choose_trials, make_windows

SPLITS = {"val": {"train": ["train"], "eval": ["val"]}, "test": {"train": ["train", "val"], "eval": ["test"]}}


def open_session(parts: dict[str, str | Path], first: str) -> Session:
    """The session of a dataset: the test file, or the truth that stands for it, and then the train file.

    Args:
        parts: paths by part (train, test, truth).
        first: "test" or "truth".
    """
    return Session([Recording(parts[part]) for part in (first, "train") if part in parts])


def read_behavior(session: Session, definition: dict, trials: np.ndarray, bin_ms: int) -> np.ndarray | None:
    """(trials, bins, channels) behaviour, later than the spikes by the definition's lag, or None without a series."""
    behavior = definition.get("behavior")
    if not behavior:
        return None
    observed, _ = window_ranges(definition, bin_ms)
    lagged = (observed[0] + behavior["lag_ms"], observed[1] + behavior["lag_ms"])
    windows = make_windows(session, trials, definition["align"], lagged, bin_ms, cut=True)
    rows, values = session.series(behavior["series"])
    return bin_series(rows, values, session.rows, windows)


def number_conditions(session: Session, definition: dict, trials: np.ndarray) -> np.ndarray:
    """(trials,) the condition of each trial, numbered in sorted order among these trials; -1 = none."""
    numbers = np.full(session.trials, -1)
    if definition.get("conditions"):
        for number, (_, members) in enumerate(find_conditions(session, definition["conditions"], trials)):
            numbers[members] = number
    return numbers[trials]


def make_input(parts: dict[str, str | Path], definition: dict, bin_ms: int, phase: str) -> tuple[dict, dict]:
    """All that a model may see.

    Returns:
        arrays: train_spikes_{heldin,heldout}[_forward] (trials, bins, neurons) spikes per bin, train_behavior
        (trials, bins, channels), train_condition (trials,), eval_spikes_heldin (trials, bins, neurons); what cannot
        be made is absent.
        absent: what is absent, with the reason.

    Raises:
        NlbflowError: a file, a column or a series is missing, or the bin width does not fit.
    """
    observed, forward = window_ranges(definition, bin_ms)
    align = definition["align"]
    absent: dict[str, str] = {}
    if "train" not in parts:
        session = open_session(parts, "test")
        absent["train"] = "this dataset's train file is not among its parts"
    else:
        session = open_session(parts, "test")
    arrays: dict[str, np.ndarray] = {}
    heldin = session.units(heldout=False)
    evaluated = choose_trials(session, SPLITS[phase]["eval"], align)
    if len(evaluated) == 0:
        absent["eval"] = f"no trial of the split {SPLITS[phase]['eval'][0]} is among this dataset's parts"
    else:
        arrays["eval_spikes_heldin"] = bin_spikes(heldin, make_windows(session, evaluated, align, observed, bin_ms))
    if "train" in parts:
        trained = choose_trials(session, SPLITS[phase]["train"], align)
        heldout = session.units(heldout=True)
        for suffix, window in (("", observed), ("_forward", forward)):
            windows = make_windows(session, trained, align, window, bin_ms)
            arrays[f"train_spikes_heldin{suffix}"] = bin_spikes(heldin, windows)
            arrays[f"train_spikes_heldout{suffix}"] = bin_spikes(heldout, windows)
        behavior = read_behavior(session, definition, trained, bin_ms)
        if behavior is None:
            absent["train_behavior"] = "the dataset's definition names no behaviour"
        else:
            arrays["train_behavior"] = behavior
        arrays["train_condition"] = number_conditions(session, definition, trained)
    return arrays, absent
