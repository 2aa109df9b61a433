"""The tensors a model may see (input.h5).

A dataset's definition decides everything: the event to align to, the window, the forward length, behaviour, conditions.
The names and meanings of the arrays are the benchmark's (specification, section 3).
"""

from pathlib import Path

import numpy as np

from nlbflow.recordings.conditions import find_conditions
from nlbflow.recordings.datasets import window_ranges
from nlbflow.recordings.exclusions import leave_out
from nlbflow.recordings.notes import Facts, find_facts
from nlbflow.recordings.nwb import Recording
from nlbflow.recordings.overlap import check_apart
from nlbflow.recordings.session import Session
from nlbflow.recordings.windows import bin_series, bin_spikes, choose_trials, in_splits, make_windows

SPLITS = {"val": {"train": ["train"], "eval": ["val"]}, "test": {"train": ["train", "val"], "eval": ["test"]}}


def open_session(parts: dict[str, str | Path], definition: dict, hidden: str, bin_ms: int) -> Session:
    """The session of a dataset: the evaluation file, where there is one, then the file with the training trials.

    Args:
        parts: paths by part (train, test, truth, or whole: one file with all trials and all units).
        definition: the dataset's definition.
        hidden: which file has the evaluation trials of phase test: "test", or "truth" with their answers.
        bin_ms: bin width, to which windows are widened.

    Raises:
        NlbflowError: a file cannot be read, or no trial can be used.
    """
    there = [part for part in (hidden, "train", "whole") if part in parts]
    session = Session([Recording(parts[part], definition) for part in there])
    leave_out(session, definition, [part in ("train", "whole") for part in there], bin_ms)
    return session


def make_jitter(session: Session, definition: dict, splits: list[str], bin_ms: int) -> np.ndarray:
    """(all trials of the session,) shift of each trial's event in ms, a whole number of bins; zero without jitter.

    The reference draws from numpy's legacy generator, seed 0, anew for each selection of trials, in table order
    (section 2.5): up to `max_ms`, but never more than `total_ms` less the trial's own length; none in phase test.
    """
    shift = np.zeros(session.trials, np.int64)
    rule = definition.get("jitter")
    if rule:
        trials = in_splits(session, splits)
        room = rule["total_ms"] - session.numbers(rule["column"])[trials]
        limit = np.where(session.split[trials] == "test", 0.0, np.clip(room, 0.0, rule["max_ms"]))
        steps = np.floor(np.round(limit / bin_ms, 4))
        draws = np.random.RandomState(0).random_sample(len(trials)) * steps
        shift[trials] = np.nan_to_num(np.round(draws)).astype(np.int64) * bin_ms
    return shift


def read_behavior(
    session: Session, definition: dict, trials: np.ndarray, bin_ms: int, answers: bool
) -> np.ndarray | None:
    """What is decoded, or None where the definition names nothing.

    Args:
        session: the recordings.
        definition: the dataset's definition.
        trials: table rows.
        bin_ms: bin width.
        answers: whether this is for target.h5, where some datasets let windows reach into the next trial.

    Returns:
        (trials, bins, channels) a series later than the spikes by the definition's lag, or (trials, columns) of the
        table of trials with NaN rows for outliers.
    """
    behavior = definition.get("behavior")
    if not behavior:
        return None
    if "columns" in behavior:
        values = np.stack([session.numbers(name)[trials] for name in behavior["columns"]], axis=1)
        values[is_outlier(session, definition, trials)] = np.nan
        return values
    lagged = tuple(edge + behavior["lag_ms"] for edge in definition["window_ms"])
    into_next = behavior.get("into_next", "none")
    cut = into_next == "none" or (into_next == "answers" and not answers)
    windows = make_windows(session, trials, definition["align"], lagged, bin_ms, cut)
    series = session.series(behavior["series"])
    return bin_series(series.rows, series.values, (session.first, session.rows), windows)


def is_outlier(session: Session, definition: dict, trials: np.ndarray) -> np.ndarray:
    """(trials,) whether the definition's column of outliers marks a trial; unknown counts as marked."""
    if "outliers" not in definition:
        return np.zeros(len(trials), bool)
    return session.numbers(definition["outliers"])[trials] != 0


def number_conditions(session: Session, definition: dict, trials: np.ndarray) -> np.ndarray:
    """(trials,) the condition of each trial, numbered in sorted order among these trials; -1 = none."""
    numbers = np.full(session.trials, -1)
    if definition.get("conditions"):
        for number, (_, members) in enumerate(find_conditions(session, definition["conditions"], trials)):
            numbers[members] = number
    return numbers[trials]


def make_input(parts: dict[str, str | Path], definition: dict, bin_ms: int, phase: str) -> tuple[dict, dict]:
    """The first two results of `cut_input`: the arrays and what is absent."""
    return cut_input(parts, definition, bin_ms, phase)[:2]


def cut_input(parts: dict[str, str | Path], definition: dict, bin_ms: int, phase: str) -> tuple[dict, dict, Facts]:
    """All that a model may see.

    Returns:
        arrays: train_spikes_{heldin,heldout}[_forward] (trials, bins, neurons) spikes per bin, train_behavior
        (trials, bins, channels) or (trials, columns), train_condition (trials,), eval_spikes_heldin (trials, bins,
        neurons); what cannot be made is absent.
        absent: what is absent, with the reason.
        facts: what was found in the recordings.

    Raises:
        NlbflowError: a file, a column or a series is missing, the bin width does not fit, or evaluation windows lie in
            training windows and the definition does not allow it.
    """
    observed, forward = window_ranges(definition, bin_ms)
    align, splits = definition["align"], SPLITS[phase]
    session = open_session(parts, definition, "test", bin_ms)
    facts = find_facts(session, definition, splits["train"] + splits["eval"])
    absent: dict[str, str] = {}
    arrays: dict[str, np.ndarray] = {}
    heldin = session.units(heldout=False)
    evaluated = choose_trials(session, splits["eval"], align)
    if len(evaluated) == 0:
        absent["eval"] = f"no trial of the split {splits['eval'][0]} is among this dataset's parts"
    else:
        eval_shift = make_jitter(session, definition, splits["eval"], bin_ms)[evaluated]
        windows = make_windows(session, evaluated, align, observed, bin_ms, shift_ms=eval_shift)
        arrays["eval_spikes_heldin"] = bin_spikes(heldin, windows)
    if not parts.keys() & {"train", "whole"}:
        absent["train"] = "this dataset's train file is not among its parts"
        return arrays, absent, facts
    trained = choose_trials(session, splits["train"], align)
    heldout = session.units(heldout=True)
    shift = make_jitter(session, definition, splits["train"], bin_ms)[trained]
    for suffix, window in (("", observed), ("_forward", forward)):
        windows = make_windows(session, trained, align, window, bin_ms, shift_ms=shift)
        arrays[f"train_spikes_heldin{suffix}"] = bin_spikes(heldin, windows)
        arrays[f"train_spikes_heldout{suffix}"] = bin_spikes(heldout, windows)
    behavior = read_behavior(session, definition, trained, bin_ms, answers=False)
    if behavior is None:
        absent["train_behavior"] = "the dataset's definition names no behaviour"
    else:
        arrays["train_behavior"] = behavior
    arrays["train_condition"] = number_conditions(session, definition, trained)
    if len(evaluated):
        facts.shared = check_apart(session, definition, (trained, shift), (evaluated, eval_shift), bin_ms)
    return arrays, absent, facts
