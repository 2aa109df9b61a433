"""What stands beside a score: the rank, and marks for unbeaten, best and second; or why there is no score."""

from collections.abc import Collection, Mapping

import pandas as pd

from nlbflow.boards.tables import PLACE
from nlbflow.metrics.decoded_metric import is_decoded
from nlbflow.metrics.formulas import LOWER_IS_BETTER
from nlbflow.metrics.kinds import RANKED

NO_SCORES = "no scores were made"
# The reason begins with this if a job of this run failed.
FAILED = "failed: "
# which part of the answers a metric needs
OF = {"tp corr": "behavior", "psth R2": "psth"}
OF_LATENTS = ("-shot co-bps", "latent dimension", "state R2")
KEY = [*PLACE, "metric"]


def positions(ranks: pd.DataFrame) -> pd.Series:
    """(rows,) the rank of each competitor at its place by its metric; 1 is best, ties share a rank; else missing.

    Args:
        ranks: as from `nlbflow.boards.tables.comparison_table`.
    """
    competing = ranks[ranks["kind"].isin(RANKED)]
    upwards = competing["value"].where(competing["metric"].isin(LOWER_IS_BETTER), -competing["value"])
    return upwards.groupby([competing[name] for name in KEY]).rank(method="min").reindex(ranks.index)


def unbeaten(ranks: pd.DataFrame) -> pd.Series:
    """(rows,) whether the row is a competitor that no other really beats; false without others or without an interval.

    Args:
        ranks: as from `nlbflow.boards.tables.comparison_table`.
    """
    competing = ranks["kind"].isin(RANKED)
    several = competing.groupby([ranks[name] for name in KEY]).transform("sum") > 1
    return competing & several & ranks["low"].notna() & ranks["best_rank"].eq(1).fillna(False).astype(bool)


def best_and_second(ranks: pd.DataFrame, differences: pd.DataFrame) -> dict[tuple, str]:
    """The marks `best` and `second` by (dataset, bin_ms, phase, metric, model), where competitors have earned them.

    The best is marked if its difference from every other competitor is real. Then the second is marked too, if there
    are competitors behind it and its difference from each is real. A difference that was not tested is not real.

    Args:
        ranks, differences: as from `nlbflow.boards.tables.comparison_table`.
    """
    differing = differences[differences["real"].astype(bool)]
    pairs = {
        name: {frozenset(pair) for pair in zip(rows["model"], rows["other"], strict=True)}
        for name, rows in differing.groupby(KEY)
    }
    marks = {}
    for name, rows in ranks[ranks["kind"].isin(RANKED)].groupby(KEY):
        order = rows.sort_values("value", ascending=name[-1] in LOWER_IS_BETTER, kind="stable")["model"].tolist()
        real = pairs.get(name, set())
        for mark, model, *behind in (("best", *order), ("second", *order[1:]))[: len(order)]:
            if not behind or not all(frozenset((model, other)) in real for other in behind):
                break
            marks[*name, model] = mark
    return marks


def why_missing(
    metric: str, kind: str, own: Collection[str], here: Collection[str], absent: Mapping[str, str] | None = None
) -> str:
    """Why a model has no score by a metric.

    Args:
        kind: the model's kind: competitor, control, oracle or null.
        own: the metrics by which the model has a score at the place.
        here: the metrics by which any model has a score there.
        absent: why parts of the answers (`behavior`, `psth`) are missing, as far as it is known.
    """
    if metric not in here:
        of = "behavior" if is_decoded(metric) else OF.get(metric, "")
        return (absent or {}).get(of, "does not apply here")
    if not own:
        return NO_SCORES
    if kind == "null":
        return "not of the null model"
    if metric == "fp-bps":
        return "no forecast"
    if metric.endswith(OF_LATENTS) and not any(name.endswith(OF_LATENTS) for name in own):
        return "no latents"
    return "not predicted"
