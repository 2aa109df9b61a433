"""The front of accuracy and interpretability: the models that no other competitor really beats in both.

One definition for the page and the figure; docs/metrics.md says what each axis measures and why this is the front.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nlbflow.boards.tables import PLACE
from nlbflow.metrics.kinds import RANKED
from nlbflow.metrics.meanings import FEW_SHOTS, direction, meaning

ACCURACY = "co-bps"
# of consistency.csv: whether single latents mean something, not only the subspace that they span
AGREEMENT = "matched correlation"
NO_LATENTS = "no latents"


@dataclass(frozen=True)
class Axis:
    """What co-bps is held against.

    Attributes:
        name: as in the tables; also the axis's label.
        about: what it is and which way is better.
        lacking: what is said of a competitor that has no value.
        less: whether less is better.
        log: whether it is drawn on a logarithmic scale, which shows nothing that is not above 0.
        cost: whether it comes from costs.csv, of which nothing has to be reproducible.
    """

    name: str
    about: str
    lacking: str
    less: bool = False
    log: bool = False
    cost: bool = False

    @property
    def headline(self) -> bool:
        """Whether its front is the one that the table of the page marks."""
        return FEW_SHOTS.fullmatch(self.name) is not None


def axes_of(metrics: Iterable[str]) -> list[Axis]:
    """The axes in the order in which they are offered, the headline axis first where some run was scored on it.

    Args:
        metrics: those that any run has.
    """
    # one number of trials is enough: a config sets one
    few = sorted(filter(FEW_SHOTS.fullmatch, set(metrics)), key=lambda name: int(name.split("-")[0]))[:1]
    agreement = (
        "Mean absolute correlation of one seed's latents with another's, paired one to one. "
        "Higher is better: single latents mean something."
    )
    parameters = "How many numbers the model has fitted, as it says itself. Fewer is better."
    seconds = "What training and predicting took, mean over seeds; devices and machines differ. Less is better."
    return [
        *(Axis(name, _about(name), NO_LATENTS) for name in few),
        Axis("latent dimension", _about("latent dimension"), NO_LATENTS, less=True),
        Axis(AGREEMENT, agreement, "fewer than two seeds with latents"),
        Axis("psth R2", _about("psth R2"), "not predicted"),
        Axis("state R2", _about("state R2"), NO_LATENTS),
        Axis("state accuracy", _about("state accuracy"), "no states"),
        Axis("parameters", parameters, "no number above 0 given", less=True, log=True, cost=True),
        Axis("seconds", seconds, "not run here", less=True, log=True, cost=True),
    ]


def _about(metric: str) -> str:
    return f"{meaning(metric)} {direction(metric)}"


def competitor_values(
    axes: list[Axis], scores: pd.DataFrame, costs: pd.DataFrame, consistency: pd.DataFrame
) -> pd.DataFrame:
    """A row per competitor of one place, best co-bps first; a column for co-bps and for each axis, means over seeds.

    Missing where there is no value. A competitor without co-bps is left out.

    Args:
        axes: as from `axes_of`.
        scores, costs, consistency: rows of scores.csv, costs.csv and consistency.csv of that place.
    """
    aside = set(scores.loc[~scores["kind"].isin(RANKED), "model"])
    means = scores[~scores["model"].isin(aside)].groupby(["model", "metric"])["value"].mean().unstack()
    values = means.reindex(columns=[ACCURACY]).dropna()
    for axis in axes:
        table = costs if axis.cost else consistency if axis.name == AGREEMENT else None
        if table is None:
            found = means.reindex(columns=[axis.name])[axis.name]
        else:
            numbers = table.get(axis.name, pd.Series(dtype=float)).map(_number)
            found = numbers.groupby(table["model"]).mean()
        found = found.reindex(values.index).astype(float)
        values[axis.name] = found.where(np.isfinite(found) & ((found > 0) | (not axis.log)))
    return values.sort_values(ACCURACY, ascending=False, kind="stable")


def _number(fact: object) -> float:
    """A fact, which is whatever a model's file says, as a number; NaN if it is none, or larger than numbers are."""
    try:
        return float(fact)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def on_front(
    values: pd.DataFrame, axis: Axis, differences: pd.DataFrame, by_bits: np.ndarray | None = None
) -> pd.Series:
    """(models,) whether no other competitor is really better both in co-bps and on the axis.

    Of metrics that were compared, trial by trial, only a real difference counts; on other axes any difference does, and
    a tie none. A competitor without a value is on no front.

    Args:
        values: as from `competitor_values`.
        axis: one of its columns.
        differences: rows of differences.csv of that place.
        by_bits: as from `really_better` of the co-bps, where it is known; of many models it takes seconds.
    """
    if by_bits is None:
        by_bits = really_better(values[ACCURACY], False, differences)
    known = values[[ACCURACY, axis.name]].notna().all(axis=1)
    shown, by_bits = values[known], by_bits[np.ix_(known, known)]
    by_axis = really_better(shown[axis.name], axis.less, differences)
    front = pd.Series(~(by_bits & by_axis).any(axis=0), index=shown.index, dtype=bool)
    return front.reindex(values.index, fill_value=False)


def really_better(values: pd.Series, less: bool, differences: pd.DataFrame) -> np.ndarray:
    """(models, models) whether the model of the row is really better than that of the column by one metric.

    Args:
        values: of one metric, whose name is the series's, by model.
        less: whether less is better.
        differences: rows of differences.csv of one place. If none is of this metric, any difference counts. A pair
            that has no row, as those far behind on a board of many models, really differs if the intervals of both
            models' differences from a third are apart: no error of a difference is larger than the sum of those two.
    """
    gains = values.to_numpy(float) * (-1 if less else 1)
    better = gains[:, None] > gains
    tested = differences[differences["metric"] == values.name]
    if tested.empty:
        return better
    first, second = (values.index.get_indexer(tested[key]) for key in ("model", "other"))
    present = (first >= 0) & (second >= 0)
    first, second = first[present], second[present]
    real, untested = np.zeros_like(better), ~np.eye(len(gains), dtype=bool)
    real[first, second] = real[second, first] = tested["real"][present].astype(bool)
    untested[first, second] = untested[second, first] = False
    if untested.any():
        reach = _reach(tested, values.index)
        real |= untested & ((gains - reach)[:, None] > gains + reach)
    return better & real


def _reach(tested: pd.DataFrame, models: pd.Index) -> np.ndarray:
    """(models,) half the interval of each model's difference from the one that most have been compared with."""
    pairs = pd.concat([tested, tested.rename(columns={"model": "other", "other": "model"})])
    found = pairs[pairs["model"] == pairs["model"].value_counts().idxmax()].set_index("other")
    return ((found["high"].astype(float) - found["low"].astype(float)) / 2).reindex(models).to_numpy()


def fronts_by_place(
    scores: pd.DataFrame, costs: pd.DataFrame, consistency: pd.DataFrame, differences: pd.DataFrame
) -> tuple[list[Axis], dict[tuple, tuple[pd.DataFrame, pd.DataFrame]]]:
    """The axes that any competitor has a value on, and by place, a row per competitor: its values, and its fronts.

    Args:
        scores, costs, consistency, differences: the long tables of all places.
    """
    axes = axes_of(scores["metric"])
    others = (costs, consistency, differences)
    grouped = [dict(tuple(table.groupby(PLACE))) for table in others]
    places = {}
    for place, here in scores.groupby(PLACE, sort=False):
        of_costs, agreement, differing = (of.get(place, table[:0]) for of, table in zip(grouped, others, strict=True))
        values = competitor_values(axes, here, of_costs, agreement)
        bits = really_better(values[ACCURACY], False, differing)
        places[place] = values, pd.DataFrame({axis.name: on_front(values, axis, differing, bits) for axis in axes})
    used = [axis for axis in axes if any(values[axis.name].notna().any() for values, _ in places.values())]
    return used, places
