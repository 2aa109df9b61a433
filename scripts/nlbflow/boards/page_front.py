"""The plot of the leaderboard page: what rows are drawn by beside their scores, and on which fronts they are."""

import pandas as pd

from nlbflow.boards.front import fronts_by_place
from nlbflow.boards.tables import PLACE, cost_table, score_table

# of a value that is no score
DIGITS = 6


def add_fronts(
    rows: list[dict], entries: list[dict], differences: pd.DataFrame, consistency: pd.DataFrame
) -> tuple[list[dict], list[dict]]:
    """Add to each row the axes on whose front it is (`front`) and its values that are no scores (`beside`).

    Both are left out where empty. What comes from costs.csv is not added but returned, since it is not reproducible.

    Args:
        rows: rows of the page that were scored here.
        entries: contents of scores.json files.
        differences, consistency: as from `nlbflow.boards.tables.comparison_table`.

    Returns:
        The axes (name, about, lacking, less, log, headline), and of each row `front` and `beside` by the costs.
    """
    axes, places = fronts_by_place(score_table(entries), cost_table(entries), consistency, differences)
    of_costs = []
    for row in rows:
        values, fronts = places[tuple(row[key] for key in PLACE)]
        costs: dict = {}
        of_costs.append(costs)
        if row["model"] not in values.index:
            continue
        for axis in axes:
            kept, value = costs if axis.cost else row, values.at[row["model"], axis.name]
            if fronts.at[row["model"], axis.name]:
                kept.setdefault("front", []).append(axis.name)
            if axis.name not in row["cells"] and pd.notna(value):
                kept.setdefault("beside", {})[axis.name] = float(f"{value:.{DIGITS}g}")
    keys = ("name", "about", "lacking", "less", "log", "headline")
    return [{key: getattr(axis, key) for key in keys} for axis in axes], of_costs
