"""Our scores beside the published ones that they are meant to reproduce."""

import pandas as pd

from nlbflow.boards.boards import Cell
from nlbflow.boards.sheets import Sheet, citations
from nlbflow.boards.tables import PLACE, place_title
from nlbflow.metrics.decoded_metric import benchmark_metrics

NOTHING = "nothing published"
COLUMNS = [
    *PLACE, "model", "metric", "seeds", "value", "low", "high", "method", "published", "difference", "verdict",
    "differs", "grade", "source",
]  # fmt: skip
EXPLANATION = (
    "The difference is our score less the published one, for the same dataset, bin width, phase and method. Within: "
    "the published score lies in our 95 % interval over evaluation trials. As both were computed on the same trials, "
    "they can agree more closely than that. The interval does not cover other seeds or settings; known differences in "
    "the settings are listed."
)


def reproduction(ranks: pd.DataFrame, published: pd.DataFrame, reproduced: pd.DataFrame) -> pd.DataFrame:
    """One row per place, model and benchmark metric, and per published score that it reproduces; columns as COLUMNS.

    Published scores whose bin width is not stated are left out, because they are not comparable.

    Args:
        ranks: as from `nlbflow.boards.tables.comparison_table`.
        published: dataset, bin_ms, phase, method, metric, value, grade, source.
        reproduced: model, method (as in `published`) and how our settings differ.
    """
    theirs = published.rename(columns={"value": "published"}).dropna(subset=["bin_ms"]).astype({"bin_ms": int})
    theirs = theirs.merge(reproduced.fillna({"differs": ""}), on="method")
    ours = ranks[ranks["metric"].isin(benchmark_metrics(ranks["metric"]))]
    table = ours.merge(theirs, on=[*PLACE, "model", "metric"], how="left")
    table["difference"] = table["value"] - table["published"]
    table["verdict"] = [verdict(*row) for row in table[["published", "low", "high"]].itertuples(index=False)]
    return table.fillna({"method": "", "differs": "", "grade": "", "source": ""})[COLUMNS]


def verdict(published: float, low: float, high: float) -> str:
    """`within` or `outside` our interval; `no interval` or `nothing published` where one of the two is missing."""
    if pd.isna(published):
        return NOTHING
    if pd.isna(low):
        return "no interval"
    return "within" if low <= published <= high else "outside"


def compares(table: pd.DataFrame) -> bool:
    """Whether a table, as from `reproduction`, has any published score."""
    return bool((table["verdict"] != NOTHING).any())


def reproduction_sheet(table: pd.DataFrame, about: dict[str, dict]) -> Sheet:
    """The table for reading: all metrics of the models with a published score at a place; a note names the others."""
    header = ["model", "metric", "ours", "published", "difference", "verdict", "method", "source"]
    groups, keys, nothing, datasets = [], {}, [], []
    for place, rows in table.groupby(PLACE, sort=True):
        name = place_title(*place)
        known = rows.groupby("model")["published"].transform("count") > 0
        if lacking := list(dict.fromkeys(rows["model"][~known])):
            nothing.append(f"{name}: {', '.join(lacking) if known.any() else 'all models'}")
        if known.any():
            by_model = [row for _, found in rows[known].groupby("model", sort=False) for row in found.itertuples()]
            groups.append((name, [_line(row, keys) for row in by_model]))
            datasets += [place[0]] if place[0] not in datasets else []
    notes = [EXPLANATION, *([citations(datasets, about)] if datasets else [])]
    notes += [f"{key}: {what}" for what, key in keys.items()]
    notes += [f"Nothing published for {'; '.join(nothing)}."] if nothing else []
    return Sheet("Reproduction of published scores", header, groups, [[False] * len(rows) for _, rows in groups], notes)


def _line(row, keys: dict[str, str]) -> list[str | Cell]:
    """A row of the sheet; `keys` gathers what its last column refers to."""
    ours = Cell(row.value, row.low, row.high) if pd.notna(row.low) else Cell(row.value)
    if row.verdict == NOTHING:
        missing = Cell(missing="nothing published for this metric")
        return [row.model, row.metric, ours, missing, missing, row.verdict, "", ""]
    key = keys.setdefault(row.source, f"{row.grade}{len(keys) + 1}")
    if row.differs:
        key += ", " + keys.setdefault(f"our settings differ: {row.differs}", f"D{len(keys) + 1}")
    difference = f"{row.difference:+.4f}".replace("-", "−")
    return [row.model, row.metric, ours, Cell(row.published), difference, row.verdict, row.method, key]
