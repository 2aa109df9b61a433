"""What the comparisons say of the competitors: their ranks, who is unbeaten, and who is really best and second."""

import pandas as pd

from nlbflow.metrics import LOWER_IS_BETTER
from nlbflow.tables import PLACE


KEY = [*PLACE, "metric"]


def positions(ranks: pd.DataFrame) -> pd.Series:
    """(rows,) the rank of each competitor among those of its place and metric, 1 the best, equals alike; else missing.

    Args:
        ranks: as from `nlbflow.tables.comparison_table`.
    """
    competing = ranks[ranks["kind"] == "competitor"]
    upwards = competing["value"].where(competing["metric"].isin(LOWER_IS_BETTER), -competing["value"])
    return upwards.groupby([competing[name] for name in KEY]).rank(method="min").reindex(ranks.index)


def unbeaten(ranks: pd.DataFrame) -> pd.Series:
    """(rows,) whether it is a competitor that no other really beats; no one is without others, or without an interval.

    Args:
        ranks: as from `nlbflow.tables.comparison_table`.
    """
    competing = ranks["kind"] == "competitor"
    several = competing.groupby([ranks[name] for name in KEY]).transform("sum") > 1
    return competing & several & ranks["low"].notna() & ranks["best_rank"].eq(1).fillna(False).astype(bool)


def best_and_second(ranks: pd.DataFrame, differences: pd.DataFrame) -> dict[tuple, str]:
    """`best` and `second` by (dataset, bin_ms, phase, metric, model), for the competitors that have earned it.

    The best is marked if its difference from every other competitor is real. Then the second is marked too, if its
    difference from every competitor behind it is real, and there is one. A pair without a test is no real difference.

    Args:
        ranks, differences: as from `nlbflow.tables.comparison_table`.
    """
    differing = differences[differences["real"].astype(bool)]
    pairs = {
        name: {frozenset(pair) for pair in zip(rows["model"], rows["other"], strict=True)}
        for name, rows in differing.groupby(KEY)
    }
    marks = {}
    for name, rows in ranks[ranks["kind"] == "competitor"].groupby(KEY):
        order = rows.sort_values("value", ascending=name[-1] in LOWER_IS_BETTER, kind="stable")["model"].tolist()
        real = pairs.get(name, set())
        for mark, model, *behind in (("best", *order), ("second", *order[1:]))[: len(order)]:
            if not behind or not all(frozenset((model, other)) in real for other in behind):
                break
            marks[*name, model] = mark
    return marks
