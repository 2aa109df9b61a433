"""Best and second best, only where the paired differences say so."""

import pandas as pd

from nlbflow.metrics import LOWER_IS_BETTER
from nlbflow.tables import PLACE


def best_and_second(ranks: pd.DataFrame, differences: pd.DataFrame) -> dict[tuple, str]:
    """`best` and `second` by (dataset, bin_ms, phase, metric, model), for the competitors that have earned it.

    The best is marked if its difference from every other competitor is real. Then the second is marked too, if its
    difference from every competitor behind it is real, and there is one. A pair without a test is no real difference.

    Args:
        ranks, differences: as from `nlbflow.tables.comparison_table`.
    """
    key = [*PLACE, "metric"]
    differing = differences[differences["real"].astype(bool)]
    pairs = {
        name: {frozenset(pair) for pair in zip(rows["model"], rows["other"], strict=True)}
        for name, rows in differing.groupby(key)
    }
    marks = {}
    for name, rows in ranks[ranks["kind"] == "competitor"].groupby(key):
        order = rows.sort_values("value", ascending=name[-1] in LOWER_IS_BETTER, kind="stable")["model"].tolist()
        real = pairs.get(name, set())
        for mark, model, *behind in (("best", *order), ("second", *order[1:]))[: len(order)]:
            if not behind or not all(frozenset((model, other)) in real for other in behind):
                break
            marks[*name, model] = mark
    return marks
