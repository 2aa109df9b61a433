"""Ensembles: the mean rates of several predictions, as the benchmark's published records were made.

`validation_co_bps` decides which predictions take part: the bits per spike of the held-out neurons in those training
trials that a network kept for its own validation. An evaluation score never does.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.models.contract import FORWARD, REQUIRED

# One rate of 0 would make the ensemble's rate 0, whatever the others are; nlb_tools clips rates here too.
LOWEST_RATE = 1e-9
# The fact in which a model gives the co-bps of its validation trials.
VALIDATION = "validation_co_bps"


def check_members(model: str, models: Mapping[str, Mapping], above: tuple[str, ...] = ()) -> None:
    """Check an ensemble's members, and the members of these.

    Args:
        model: its name.
        models: the catalogue of models.
        above: the ensembles that it is a member of.

    Raises:
        NlbflowError: a member is not in the catalogue, or has itself among its members.
    """
    key = f"config key models.{model}.ensemble.members"
    for member in models[model]["ensemble"]["members"]:
        if member not in models:
            raise NlbflowError(f"{key} names the model {member!r}, which the catalogue `models:` does not have.")
        if member in (*above, model):
            raise NlbflowError(f"{key} goes round in a circle: {' > '.join((*above, model, member))}; remove one.")
        if "ensemble" in models[member]:
            check_members(member, models, (*above, model))


def choose(facts: Mapping[tuple[str, int], Mapping], top: int | None) -> list[tuple[str, int]]:
    """The predictions that an ensemble averages: all, or those with the highest validation co-bps.

    Args:
        facts: the facts of each prediction, by model and seed.
        top: how many at most; None: all.

    Raises:
        NlbflowError: some have no validation co-bps to be chosen by.
    """
    if top is None:
        return list(facts)
    without = sorted({model for (model, _), known in facts.items() if VALIDATION not in known})
    if without:
        raise NlbflowError(
            f"the ensemble's top {top} cannot be chosen: {', '.join(without)} has no {VALIDATION}, which only "
            "models with validation trials of their own return; leave it out of `members`, or leave `top` out."
        )
    # what is not a number comes last
    scores = {run: np.nan_to_num(known[VALIDATION], nan=-np.inf) for run, known in facts.items()}
    return sorted(facts, key=lambda run: (-scores[run], run))[:top]


def average(predictions: Iterable[Mapping[str, np.ndarray]], how: str) -> dict[str, np.ndarray]:
    """Mean rates of predictions, read one after the other; forward rates where all have them.

    Args:
        predictions: the arrays of each, rates in spikes per bin (trials, time, neurons).
        how: linear, the mean; log, the exponential of the mean logarithm.
    """
    sums: dict[str, np.ndarray] = {}
    count = 0
    for prediction in predictions:
        for name in (*REQUIRED, *FORWARD):
            if name not in prediction:
                sums.pop(name, None)
            elif not count or name in sums:
                # a copy, which the arithmetic changes in place: these arrays are the largest there are
                rate = np.array(prediction[name], np.float64)
                if how == "log":
                    np.log(np.maximum(rate, LOWEST_RATE, out=rate), out=rate)
                sums[name] = np.add(sums[name], rate, out=rate) if count else rate
        count += 1
    for total in sums.values():
        total /= count
        if how == "log":
            np.exp(total, out=total)
    return sums


def cost(own: Mapping, members: Iterable[Mapping]) -> dict:
    """The provenance of an ensemble: its own, with the members' seconds added, the highest memory and all devices.

    Args:
        members: the provenance of each prediction that it could choose from, since all had to be made. What is unknown
            for one of them (a submission) is unknown for the ensemble.
    """
    everyone = [own, *members]
    known = {key for key in ("seconds", "peak_mb", "device") if all(key in one for one in everyone)}
    together = {
        "seconds": lambda values: round(sum(values), 3),
        "peak_mb": max,
        "device": lambda values: ", ".join(sorted(set(values))),
    }
    kept = {key: value for key, value in own.items() if key not in together}
    return kept | {key: together[key]([one[key] for one in everyone]) for key in sorted(known)}
