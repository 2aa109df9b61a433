"""The metric of decoded behaviour: its name, its place among the benchmark's metrics, and what it leaves out.

The benchmark decodes a hand's or a finger's velocity and calls it vel R2. A user's own dataset may decode a
torque or muscles. That R2 is named after the series, `emg R2`, so that nobody takes it for the benchmark's.
"""

import re
from collections.abc import Iterable, Mapping

import numpy as np

from nlbflow.metrics.decoder import counted_channels
from nlbflow.metrics.formulas import METRICS

VELOCITY_R2 = "vel R2"
# `vel` or `velocity` as a word of the name: hand_vel, cursorVelocity, VEL_X, but not level, travel or envelope
VELOCITY = re.compile(r"[Vv]elocit|VELOCIT|(?<![A-Za-z])(?:vel|VEL)(?![A-Za-z])|Vel(?![a-z])")
# these have the same ending, but are about rates and latents
OTHER_R2 = ("psth R2", "rate R2", "state R2")


def is_velocity(series: str | None) -> bool:
    """Whether a series of behaviour is a velocity, by its name; without a name it is the benchmark's, which is one."""
    return series is None or VELOCITY.search(series) is not None


def series_of(definition: Mapping) -> str | None:
    """The name of the series that a dataset's definition decodes, without the path to it; None without one."""
    series = (definition.get("behavior") or {}).get("series")
    return series and series.rsplit("/", 1)[-1]


def name_of(series: str | None) -> str:
    """The name of the R2 of a decoded series."""
    if is_velocity(series):
        return VELOCITY_R2
    name = f"{series} R2"
    return f"decoded {name}" if name in OTHER_R2 else name


def renamed(found: Mapping, series: str | None) -> dict:
    """Metrics by name, as `nlbflow.metrics.formulas` gives them, with vel R2 under the name that fits the series."""
    return {name_of(series) if metric == VELOCITY_R2 else metric: value for metric, value in found.items()}


def is_decoded(metric: str) -> bool:
    """Whether a metric is of decoded behaviour, whatever the series."""
    return metric.endswith(" R2") and metric not in OTHER_R2


def benchmark_metrics(found: Iterable[str]) -> list[str]:
    """The benchmark's metrics among those given, in its order; decoded series take the place of vel R2."""
    places = {metric: VELOCITY_R2 if is_decoded(metric) else metric for metric in found}
    known = [metric for metric, place in places.items() if place in METRICS]
    return sorted(known, key=lambda metric: (METRICS.index(places[metric]), metric != VELOCITY_R2, metric))


def left_out(target: Mapping, definition: Mapping) -> tuple[list[str], str]:
    """Sentences that tell which channels do not count (`decoder.counted_channels`), and why none does, or "".

    Args:
        target: arrays of target.h5.
        definition: the dataset's, for the names of series and decoders.
    """
    if np.ndim(target.get("eval_behavior")) != 3:
        return [], ""
    masks = [target.get(f"{part}_decode_mask") for part in ("train", "eval")]
    counted = counted_channels(target["train_behavior"], target["eval_behavior"], *masks)
    series, name = series_of(definition) or "behaviour", name_of(series_of(definition))
    if not counted.any():
        reason = f"no channel of {series} varies both in the training and in the evaluation trials"
        return [f"There is no {name}: {reason}."], reason
    kinds = [""] * len(counted)
    if rule := definition.get("decoders"):
        kinds = [f" with {rule['column']} {value:g}" for value in rule["values"]]
    return [
        f"{name} leaves out channel {', '.join(map(str, np.flatnonzero(~channels)))} of the "
        f"{len(channels)} of {series} (counted from 0): a channel that does not vary both in the training and in the "
        f"evaluation trials{kind} has no R2."
        for channels, kind in zip(counted, kinds, strict=True)
        if not channels.all()
    ], ""
