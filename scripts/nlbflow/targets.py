"""The answers: what predictions are scored against (specification, section 3.3). Only scoring and oracles read them."""

from pathlib import Path

import numpy as np

from nlbflow.psth import find_conditions, make_psths
from nlbflow.rates import true_rates
from nlbflow.datasets import window_ranges
from nlbflow.tensors import SPLITS, open_session, read_behavior
from nlbflow.nwb import NS_PER_MS, Session
from nlbflow.windows import bin_spikes, choose_trials, make_windows


def make_target(parts: dict[str, str | Path], definition: dict, bin_ms: int, phase: str) -> tuple[dict, dict]:
    """The answers of one phase.

    Args:
        parts: paths of train and, for phase test, truth; `rates` where the true rates are known (simulated data).
        definition: the dataset's definition.
        bin_ms: bin width.
        phase: val or test.

    Returns:
        arrays: eval_spikes_heldout, eval_spikes_{heldin,heldout}_forward (trials, bins, neurons) spikes per bin;
        {train,eval}_behavior (trials, bins, channels); psth (conditions, bins, neurons) with {train,eval}_cond_idx;
        true_rates, a dict of the six arrays a perfect prediction would hold.
        absent: what is absent, with the reason.
    """
    observed, forward = window_ranges(definition, bin_ms)
    align = definition["align"]
    session = open_session(parts, "truth" if phase == "test" else "test")
    trained = choose_trials(session, SPLITS[phase]["train"], align)
    evaluated = choose_trials(session, SPLITS[phase]["eval"], align)
    heldin, heldout = session.units(heldout=False), session.units(heldout=True)
    ahead = make_windows(session, evaluated, align, forward, bin_ms)
    arrays = {
        "eval_spikes_heldout": bin_spikes(heldout, make_windows(session, evaluated, align, observed, bin_ms)),
        "eval_spikes_heldin_forward": bin_spikes(heldin, ahead),
        "eval_spikes_heldout_forward": bin_spikes(heldout, ahead),
    }
    absent: dict[str, str] = {}
    if definition.get("behavior"):
        arrays["train_behavior"] = read_behavior(session, definition, trained, bin_ms)
        arrays["eval_behavior"] = read_behavior(session, definition, evaluated, bin_ms)
    else:
        absent["behavior"] = "the dataset's definition names no behaviour"
    if definition.get("conditions") and definition.get("psth_kernel_ms"):
        # val averages over this phase's trials; test over every trial that belongs to a split (section 4.3)
        splits = SPLITS[phase]["train"] + SPLITS[phase]["eval"]
        averaged = np.flatnonzero(np.isin(session.split.astype(str), splits))
        conditions = [rows for _, rows in find_conditions(session, definition["conditions"], averaged)]
        psth, used = make_psths(
            session, [heldin, heldout], conditions, align, observed, bin_ms, definition["psth_kernel_ms"]
        )
        arrays["psth"] = psth
        arrays["train_cond_idx"] = [np.flatnonzero(np.isin(trained, rows)) for rows in used]
        arrays["eval_cond_idx"] = [np.flatnonzero(np.isin(evaluated, rows)) for rows in used]
    else:
        absent["psth"] = "the dataset's definition names no conditions or no PSTH kernel"
    if "rates" in parts:
        arrays["true_rates"] = _rates_in_windows(parts["rates"], session, definition, bin_ms, trained, evaluated)
    return arrays, absent


def _rates_in_windows(
    path: str | Path, session: Session, definition: dict, bin_ms: int, trained: np.ndarray, evaluated: np.ndarray
) -> dict[str, np.ndarray]:
    """The true expected spikes per bin, under the names of a prediction."""
    heldin = np.isin(np.sort(np.concatenate([session.units(h).ids for h in (False, True)])), session.units(False).ids)
    first_row = np.cumsum([0] + [len(r.columns["start_time"]) for r in session.recordings])
    rates = {}
    for name, trials in (("train", trained), ("eval", evaluated)):
        for suffix, window in zip(("", "_forward"), window_ranges(definition, bin_ms), strict=True):
            if name == "train" and suffix:
                continue
            windows = make_windows(session, trials, definition["align"], window, bin_ms)
            trial_start = session.times("start_time")[trials]
            offset = windows.starts * bin_ms - trial_start // NS_PER_MS
            source = np.searchsorted(first_row, trials, "right") - 1
            part = "train" if source.min() == len(session.recordings) - 1 else "truth"
            found = true_rates(path, part, trials - first_row[source], offset, windows.bins, bin_ms)
            rates[f"{name}_rates_heldin{suffix}"] = found[:, :, heldin].astype(np.float32)
            rates[f"{name}_rates_heldout{suffix}"] = found[:, :, ~heldin].astype(np.float32)
    return rates
