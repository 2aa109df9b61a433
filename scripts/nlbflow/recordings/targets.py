"""The answers: what predictions are scored against (specification, section 3.3). Only scoring and oracles read them."""

from pathlib import Path

import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.recordings.clock import NS_PER_MS
from nlbflow.recordings.conditions import find_conditions, why_no_averages
from nlbflow.recordings.datasets import window_ranges
from nlbflow.recordings.nwb import Units
from nlbflow.recordings.psth import make_psths
from nlbflow.recordings.session import Session
from nlbflow.recordings.simulator.truth import true_rates, true_states, true_structure
from nlbflow.recordings.tensors import SPLITS, is_outlier, make_jitter, open_session, read_behavior
from nlbflow.recordings.windows import bin_spikes, choose_trials, in_splits, make_spans, make_windows, with_times


def make_target(parts: dict[str, str | Path], definition: dict, bin_ms: int, phase: str) -> tuple[dict, dict]:
    """The answers of one phase.

    Args:
        parts: paths of train and test, of truth in phase test (or whole alone); `rates` where the true rates are known.
        definition: the dataset's definition.
        bin_ms: bin width.
        phase: val or test.

    Returns:
        arrays: eval_spikes_heldout, eval_spikes_{heldin,heldout}_forward (trials, bins, neurons) spikes per bin;
        {train,eval}_behavior (trials, bins, channels) or (trials, columns); {train,eval}_decode_mask (trials,
        decoders); psth (conditions, bins, neurons) with {train,eval}_cond_idx; {train,eval}_jitter (trials,) bins;
        of simulated data also true_rates, a dict of the arrays a perfect prediction would hold, and true_states,
        {train,eval}_latents (trials, bins, latents), the simulator's states averaged over each bin, and true_structure,
        what it knows of `neuron_labels`, `couplings` and `{train,eval}_states` (`simulator.truth.true_structure`).
        absent: what is absent, with the reason.

    Raises:
        NlbflowError: a file, a column or a series is missing, or the bin width does not fit.
    """
    _, forward = window_ranges(definition, bin_ms)
    align = definition["align"]
    session = open_session(parts, definition, "truth" if phase == "test" else "test", bin_ms)
    trials = {part: choose_trials(session, SPLITS[phase][part], align) for part in ("train", "eval")}
    shift = {part: make_jitter(session, definition, SPLITS[phase][part], bin_ms)[trials[part]] for part in trials}
    heldin, heldout = session.units(heldout=False), session.units(heldout=True)

    ahead = make_windows(session, trials["eval"], align, forward, bin_ms, shift_ms=shift["eval"])
    arrays = {
        "eval_spikes_heldout": _scored_spikes(session, definition, heldout, trials["eval"], shift["eval"], bin_ms),
        "eval_spikes_heldin_forward": bin_spikes(heldin, ahead),
        "eval_spikes_heldout_forward": bin_spikes(heldout, ahead),
    }
    if phase == "test" and {"test", "truth"} <= parts.keys():
        _compare_with_test(parts, session, definition, heldin, trials["eval"], shift["eval"], bin_ms)
    absent: dict[str, str] = {}
    for part in trials:
        behavior = read_behavior(session, definition, trials[part], bin_ms, answers=True)
        if behavior is None:
            absent["behavior"] = "the dataset's definition names no behaviour"
        else:
            arrays[f"{part}_behavior"] = behavior
        if "decoders" in definition:
            kinds = session.numbers(definition["decoders"]["column"])[trials[part]]
            arrays[f"{part}_decode_mask"] = kinds[:, None] == np.array(definition["decoders"]["values"], float)
    psth_trials = in_splits(session, SPLITS[phase]["train"] + SPLITS[phase]["eval"])
    if not (definition.get("conditions") and definition.get("psth_kernel_ms")):
        absent["psth"] = "the dataset's definition names no conditions or no PSTH kernel"
    elif session.leaves_out and (reason := why_no_averages(session, definition["conditions"], psth_trials)):
        absent["psth"] = reason
    else:
        arrays |= _psths(session, definition, [heldin, heldout], trials, bin_ms, phase)
        if "jitter" in definition:
            arrays |= {f"{part}_jitter": shift[part] // bin_ms for part in trials}
    if "rates" in parts:
        arrays |= _truth_in_windows(parts["rates"], session, definition, bin_ms, trials)
    return arrays, absent


def _compare_with_test(
    parts: dict, truth: Session, definition: dict, heldin: Units, trials: np.ndarray, shift_ms: np.ndarray, bin_ms: int
) -> None:
    """Refuse a truth whose held-in spikes are not those of the test file, or whose trials are in another order."""
    observed, _ = window_ranges(definition, bin_ms)
    windows = make_windows(truth, trials, definition["align"], observed, bin_ms, shift_ms=shift_ms)
    known = bin_spikes(heldin, windows)
    session = open_session(parts, definition, "test", bin_ms)
    if session.dropped_units != truth.dropped_units:
        differ = sorted(set(session.dropped_units) ^ set(truth.dropped_units))
        raise NlbflowError(
            f"the units {differ[:5]} were observed in all trials of one of {parts['truth']} and {parts['test']} only; "
            "take them out of all files, or leave them out by `units` in the dataset's stanza."
        )
    tested = choose_trials(session, SPLITS["test"]["eval"], definition["align"])
    seen = bin_spikes(
        session.units(heldout=False), make_windows(session, tested, definition["align"], observed, bin_ms)
    )
    same = known.shape == seen.shape
    if same:
        # an event off the bin grid may move a few spikes over an edge of the window, another trial moves many
        counts = [np.nansum(spikes, axis=1, dtype=float) for spikes in (known, seen)]
        same = (np.abs(counts[0] - counts[1]).sum(axis=1) <= 2 + 0.2 * counts[0].sum(axis=1)).all()
    if not same:
        raise NlbflowError(
            f"the held-in spikes of {parts['truth']} and {parts['test']} are not the same; the truth must be the test "
            "session with its answers, its trials in the same order."
        )


def _scored_spikes(
    session: Session, definition: dict, units: Units, trials: np.ndarray, shift_ms: np.ndarray, bin_ms: int
) -> np.ndarray:
    """(trials, bins, units) counts to predict; with `scored`, only those between two events, the rest NaN (2.7)."""
    observed, _ = window_ranges(definition, bin_ms)
    windows = make_windows(session, trials, definition["align"], observed, bin_ms, shift_ms=shift_ms)
    counts = bin_spikes(units, windows)
    if "scored" in definition:
        span = make_spans(session, trials, definition["align"], _span(definition), bin_ms)
        # the span's bins end where the unshifted window does, so the shift moves them towards the window's start
        last = windows.bins - shift_ms // bin_ms
        bins = np.arange(windows.bins)
        counts[(bins >= last[:, None]) | (bins < (last - span.valid)[:, None])] = np.nan
    return counts


def _span(definition: dict) -> tuple[str, str]:
    return definition["scored"]["from"], definition["scored"]["to"]


def _psths(
    session: Session, definition: dict, groups: list[Units], trials: dict[str, np.ndarray], bin_ms: int, phase: str
) -> dict:
    """psth and the index lists of the trials behind each condition (section 4.3)."""
    observed, _ = window_ranges(definition, bin_ms)
    align = definition["align"]
    averaged = in_splits(session, SPLITS[phase]["train"] + SPLITS[phase]["eval"])
    averaged = averaged[~is_outlier(session, definition, averaged)]
    spanned = "scored" in definition
    times = _span(definition) if spanned else ("start_time",)
    members, windows = [], []
    for _, rows in find_conditions(session, definition["conditions"], averaged):
        rows = with_times(session, rows, align, *times)
        if len(rows):
            members.append(rows)
            windows.append(
                make_spans(session, rows, align, _span(definition), bin_ms)
                if spanned
                else make_windows(session, rows, align, observed, bin_ms, cut=True)
            )
    length = (observed[1] - observed[0]) // bin_ms if spanned else None
    anchor = "end" if spanned else "start"
    psth, used = make_psths(groups, windows, definition["psth_kernel_ms"], anchor, length)
    members = [rows[kept] for rows, kept in zip(members, used, strict=True)]
    return {
        "psth": psth,
        **{f"{part}_cond_idx": [np.flatnonzero(np.isin(trials[part], rows)) for rows in members] for part in trials},
    }


def _truth_in_windows(
    path: str | Path, session: Session, definition: dict, bin_ms: int, trials: dict[str, np.ndarray]
) -> dict[str, dict[str, np.ndarray]]:
    """true_rates, the expected spikes per bin, true_states and true_structure, under the names of a prediction."""
    ids = [session.units(heldout).ids for heldout in (False, True)]
    heldin = np.isin(np.sort(np.concatenate(ids)), ids[0])
    first_row = np.cumsum([0] + [len(r.columns["start_time"]) for r in session.recordings])
    observed, forward = window_ranges(definition, bin_ms)
    rates, states, cut = {}, {}, {}
    for name, suffix, window in (("train", "", observed), ("eval", "", observed), ("eval", "_forward", forward)):
        windows = make_windows(session, trials[name], definition["align"], window, bin_ms)
        offset = windows.starts * bin_ms - session.times("start_time")[trials[name]] // NS_PER_MS
        source = np.searchsorted(first_row, trials[name], "right") - 1
        part = "train" if source.min() == len(session.recordings) - 1 else "truth"
        wanted = part, trials[name] - first_row[source], offset, windows.bins, bin_ms
        found = true_rates(path, *wanted)
        rates[f"{name}_rates_heldin{suffix}"] = found[:, :, heldin].astype(np.float32)
        rates[f"{name}_rates_heldout{suffix}"] = found[:, :, ~heldin].astype(np.float32)
        if window is observed:
            cut[name] = wanted
            states[f"{name}_latents"] = true_states(path, *wanted).astype(np.float32)
    structure = true_structure(path, cut, heldin)
    return {"true_rates": rates, "true_states": states} | ({"true_structure": structure} if structure else {})
