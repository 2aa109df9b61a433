"""What a person should know of a dataset before its scores: a short summary, and notes on what is suspicious.

The rule `tensors` writes both to dataset.json, the rule `tables` gathers them, and tables, page, paper and the figure
of the dataset show them.
"""

from dataclasses import dataclass, field

import numpy as np

from nlbflow.recordings.conditions import why_no_averages
from nlbflow.recordings.datasets import window_ranges
from nlbflow.recordings.exclusions import count_reasons
from nlbflow.recordings.session import Session
from nlbflow.recordings.windows import in_splits

# Outside of these a unit is hardly a sorted neuron (spikes/s).
FEWEST_HZ, MOST_HZ = 0.01, 500.0
# A larger share of trials left out, or of bins without behaviour, gets a note.
MANY = 0.1


@dataclass
class Facts:
    """What was found in the recordings of a dataset beside its arrays.

    Attributes:
        trials: those that the phase's splits ask for.
        left_out: (reason, trials) of those that could not be used.
        not_selected: trials that `trials` of the stanza does not select.
        dropped_units: ids of units that were observed in some trials only.
        spikes_inside: share of the spikes that lie in the time of the trials or in observed intervals.
        series: the name, unit and rate (in samples per second) of the behaviour series; empty without one.
        shared: share of the evaluation bins that lie in training windows, and of the trials that have any.
        no_averages: why there are no PSTHs although conditions are named.
    """

    trials: int
    left_out: list[tuple[str, int]]
    not_selected: int
    dropped_units: list[int]
    spikes_inside: float
    series: dict[str, str | float] = field(default_factory=dict)
    shared: tuple[float, float] = (0.0, 0.0)
    no_averages: str = ""


def find_facts(session: Session, definition: dict, splits: list[str]) -> Facts:
    """The facts of an opened session; `splits` are those of the phase, for training and evaluation."""
    asked = np.isin(session.column("split").astype(str), splits)
    facts = Facts(
        trials=int(asked.sum()),
        left_out=count_reasons(session.reasons[asked]),
        not_selected=sum(recording.not_selected for recording in session.recordings),
        dropped_units=session.dropped_units,
        spikes_inside=min(recording.spikes_inside for recording in session.recordings),
    )
    name = definition.get("behavior", {}).get("series")
    if name and any(recording.has_series(name) for recording in session.recordings):
        series = session.series(name)
        facts.series = {"name": name, "unit": series.unit, "rate_hz": series.rate_hz}
    if (
        session.leaves_out
        and definition.get("conditions")
        and all(c in session.known_columns for c in definition["conditions"])
    ):
        facts.no_averages = why_no_averages(session, definition["conditions"], in_splits(session, splits))
    return facts


def summarise(
    arrays: dict[str, np.ndarray], absent: dict[str, str], asked: dict, facts: Facts
) -> tuple[list[list[str]], list[str]]:
    """A description of a place's tensors.

    Args:
        arrays: of input.h5.
        absent: what is absent, with the reason.
        asked: what the job was asked for: dataset, version, definition, bin_ms, phase.
        facts: what was found in the recordings.

    Returns:
        summary: [label, text] of each fact.
        notes: a sentence for each thing that changes what the scores mean, or is suspicious.
    """
    bin_ms, definition = asked["bin_ms"], asked["definition"]
    observed, forward = window_ranges(definition, bin_ms)
    counts = [
        f"{_length(arrays, f'{part}_spikes_heldin', 0)} for {words}"
        for part, words in (("train", "training"), ("eval", "evaluation"))
    ]
    seen = "train" if "train_spikes_heldin" in arrays else "eval"
    units = [f"{_length(arrays, f'{seen}_spikes_{part}', 2)} held-{part[4:]}" for part in ("heldin", "heldout")]
    bins = [(end - start) // bin_ms for start, end in (observed, forward)]
    rates = {part: _rates_hz(arrays[f"{seen}_spikes_{part}"], bin_ms) for part in ("heldin", "heldout")
             if f"{seen}_spikes_{part}" in arrays}  # fmt: skip
    every = np.concatenate([*rates.values()]) if rates else np.zeros(0)
    summary = [["trials", ", ".join(counts)]]
    if facts.left_out:
        summary.append(["left out", "; ".join(f"{n} with {reason}" for reason, n in facts.left_out)])
    if facts.not_selected:
        summary.append(["not selected", f"{facts.not_selected} trials, by `trials` of the stanza"])
    summary += [
        ["units", ", ".join(units)],
        ["bins", f"{bins[0]} of {bin_ms} ms, {bins[1]} more to forecast"],
    ]
    if len(every):
        low, middle, high = np.percentile(every, [0, 50, 100])
        summary.append(["rates", f"median {middle:.3g} spikes/s, {low:.3g} to {high:.3g}"])
    summary.append(["spikes", f"{_percent(facts.spikes_inside)} in the time of the trials or observed"])
    if facts.series:
        summary.append(["behaviour", _behaviour_words(arrays, facts)])
    summary.append(["version", asked["version"]])
    summary += [[f"{name} is absent", reason] for name, reason in absent.items()]
    return summary, _notes(arrays, rates, definition, facts, bin_ms)


def _notes(arrays: dict, rates: dict[str, np.ndarray], definition: dict, facts: Facts, bin_ms: int) -> list[str]:
    notes = []
    share, trials = facts.shared
    if share:
        notes.append(
            f"{_percent(share)} of the evaluation bins, in {_percent(trials)} of the evaluation trials, also lie in "
            "windows of training trials: a model has seen that part of the answers (`overlap: allow`)."
        )
    if facts.left_out:
        gone = sum(number for _, number in facts.left_out)
        why = ", ".join(f"{number} with {reason}" for reason, number in facts.left_out)
        much = "more than a tenth, " if gone > MANY * facts.trials else ""
        notes.append(f"{gone} of {facts.trials} trials are left out, {much}{why}.")
    if facts.dropped_units:
        ids = ", ".join(map(str, facts.dropped_units[:10])) + (", …" if len(facts.dropped_units) > 10 else "")
        notes.append(f"{len(facts.dropped_units)} units are left out, observed in some of the trials only: {ids}.")
    every = np.concatenate([*rates.values()]) if rates else np.zeros(0)
    slow, fast = int(((every < FEWEST_HZ) & (every > 0)).sum()), int((every > MOST_HZ).sum())
    if slow or fast:
        notes.append(
            f"{slow} units fire below {FEWEST_HZ:g} and {fast} above {MOST_HZ:g} spikes/s in these windows, "
            "which few sorted units do."
        )
    for part, words in (("heldin", "held-in"), ("heldout", "held-out")):
        if part in rates and (silent := int((rates[part] == 0).sum())):
            notes.append(
                f"{silent} of {len(rates[part])} {words} units have no spike in the observed training windows."
            )
    behavior = arrays.get("train_behavior")
    if behavior is not None and behavior.ndim == 3:
        flat = behavior.reshape(-1, behavior.shape[2])
        known = ~np.isnan(flat)
        constant = [c for c in range(flat.shape[1]) if _still(flat[known[:, c], c])]
        name = definition["behavior"]["series"]
        if constant:
            named = ", ".join(map(str, constant))
            notes.append(
                f"{name}: channel {named} of {flat.shape[1]} (counted from 0) never changes in the training windows."
            )
        if (unknown := 1 - known.all(axis=1).mean()) > MANY:
            notes.append(f"{name} is unknown in {_percent(unknown)} of the training bins, which are not decoded.")
    if facts.series and facts.series["rate_hz"] * bin_ms < 999:
        notes.append(
            f"{facts.series['name']} has {facts.series['rate_hz']:g} samples per second, fewer than the "
            f"{1000 / bin_ms:g} bins: what is decoded between two samples is interpolated."
        )
    if facts.no_averages:
        notes.append(f"There is no psth R2: {facts.no_averages}.")
    return notes


def _still(values: np.ndarray) -> bool:
    """Whether all known values are the same, apart from rounding when the series was decimated."""
    return len(values) > 0 and np.ptp(values) <= 1e-9 * np.abs(values).max()


def _behaviour_words(arrays: dict, facts: Facts) -> str:
    rate = facts.series["rate_hz"]
    words = f"{facts.series['name']} in {facts.series['unit']}, {rate:g} Hz" + (
        "" if abs(rate - 1000.0) < 1e-6 * rate else " brought to 1 kHz"
    )
    behavior = arrays.get("train_behavior")
    if behavior is None:
        return words
    unknown = np.isnan(behavior).any(axis=2).mean()
    return f"{words}, {behavior.shape[2]} channels, unknown in {_percent(unknown)} of the training bins"


def _rates_hz(counts: np.ndarray, bin_ms: int) -> np.ndarray:
    """(units,) mean rates in spikes/s of counts (trials, bins, units); 0 where no bin is known."""
    known = ~np.isnan(counts)
    total = np.where(known, counts, 0).sum(axis=(0, 1), dtype=float)
    return total / np.maximum(known.sum(axis=(0, 1)), 1) * 1000.0 / bin_ms


def _percent(share: float) -> str:
    return f"{share:.2%}" if 0 < share < 0.01 or 0.99 < share < 1 else f"{share:.0%}"


def _length(arrays: dict[str, np.ndarray], name: str, axis: int) -> int:
    return arrays[name].shape[axis] if name in arrays else 0
