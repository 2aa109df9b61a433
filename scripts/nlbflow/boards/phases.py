"""Phases val and test side by side: whose score on test is better than its score on val allows.

The answers of phase test are public, so a model may have been chosen or trained with them. All models gain or lose
together from one phase to the other, because the trials differ and more trials are for training. So each model is
compared with one reference on the same trials, in each phase, and the two differences with each other.
"""

from collections.abc import Collection
from math import hypot

import pandas as pd

from nlbflow.boards.boards import Cell
from nlbflow.boards.sheets import Sheet
from nlbflow.boards.tables import PLACE
from nlbflow.metrics.kinds import RANKED

METRIC = "co-bps"
COLUMNS = [
    "dataset", "bin_ms", "model", "val", "val low", "val high", "test", "test low", "test high", "reference", "gap",
    "standard errors", "suspicious",
]  # fmt: skip
# half the width of a 95 % interval, in standard errors
HALF_WIDTH = 1.96
# a gap that few models in a thousand have by chance; those of one table share the reference's
MOST_ERRORS = 3
EXPLANATION = (
    "gap: how much more a model is better than the reference on test than it is on val, in co-bps and in standard "
    "errors, of differences that are paired over trials in each phase and, with two seeds or more, of the mean over "
    "seeds. The reference is the best, over both phases, of the workflow's own models. A gap of more than "
    f"{MOST_ERRORS} standard errors is marked: the score on test is better than the one on val allows. What that can "
    "and cannot show is said in docs/trust.md."
)


def phase_gaps(
    scores: pd.DataFrame, ranks: pd.DataFrame, differences: pd.DataFrame, others: Collection[str]
) -> pd.DataFrame:
    """One row per dataset, bin width and ranked model with a co-bps in both phases; columns as COLUMNS.

    A model is trained anew for phase test, so what differs from seed to seed differs from phase to phase too.

    Args:
        scores: as from `nlbflow.boards.tables.score_table`.
        ranks, differences: as from `nlbflow.boards.tables.comparison_table`.
        others: models that others made, which are no reference where there is another: one whose settings were chosen
            by test scores would hide those that gain there as much.
    """
    seeds = _errors_over_seeds(scores[scores["metric"] == METRIC])
    ranks = ranks[(ranks["metric"] == METRIC) & ranks["kind"].isin(RANKED)]
    paired = _differences(differences[differences["metric"] == METRIC])
    rows = []
    for (dataset, bin_ms), found in ranks.groupby(["dataset", "bin_ms"], sort=True):
        phases = {phase: of.set_index("model") for phase, of in found.groupby("phase")}
        if phases.keys() != {"val", "test"}:
            continue
        both = phases["val"].index.intersection(phases["test"].index)
        own = [model for model in both if model not in others] or [*both]
        # of both phases: the best on one of them would owe a part of that to chance, and all others would seem to gain
        means = phases["val"]["value"].add(phases["test"]["value"])
        reference = max(own, key=means.get, default=None)
        for model in sorted(both, key=phases["val"]["value"].get, reverse=True):
            row = {"dataset": dataset, "bin_ms": bin_ms, "model": model, "reference": reference, "suspicious": False}
            for phase, of in phases.items():
                row |= {phase: of.loc[model, "value"]}
                row |= {f"{phase} {end}": of.loc[model, end] for end in ("low", "high")}
            known = [paired.get((dataset, bin_ms, phase, model, reference)) for phase in ("val", "test")]
            if model != reference and all(known):
                (on_val, error_val), (on_test, error_test) = known
                row["gap"] = on_test - on_val
                drawn = [seeds.get((dataset, bin_ms, p, m), 0.0) for p in phases for m in (model, reference)]
                if error := hypot(error_val, error_test, *drawn):
                    row["standard errors"] = row["gap"] / error
                    row["suspicious"] = row["standard errors"] > MOST_ERRORS
            rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def _errors_over_seeds(scores: pd.DataFrame) -> dict[tuple, float]:
    """The standard error of a mean over seeds, by (dataset, bin_ms, phase, model); of one seed none is known."""
    spread = scores.groupby([*PLACE, "model"])["value"].sem()
    return {key: float(error) for key, error in spread.items() if pd.notna(error)}


def _differences(differences: pd.DataFrame) -> dict[tuple, tuple[float, float]]:
    """How much better a model is than another, and the standard error, by (dataset, bin_ms, phase, model, other)."""
    found = {}
    for row in differences.dropna(subset=["low", "high"]).itertuples():
        place, error = (row.dataset, row.bin_ms, row.phase), (row.high - row.low) / (2 * HALF_WIDTH)
        found[*place, row.model, row.other] = row.difference, error
        found[*place, row.other, row.model] = -row.difference, error
    return found


def phase_sheet(table: pd.DataFrame) -> Sheet:
    """The table, as from `phase_gaps`, for reading."""
    header, groups = ["model", "val", "test", "gap", "standard errors", "mark"], []
    for (dataset, bin_ms), rows in table.groupby(["dataset", "bin_ms"], sort=True):
        lines = [
            [
                row["model"],
                *(Cell(row[p], *_known(row[f"{p} low"], row[f"{p} high"])) for p in ("val", "test")),
                "reference" if row["model"] == row["reference"] else _signed(row["gap"], 4) or "not compared",
                _signed(row["standard errors"], 1),
                "better on test than val allows" if row["suspicious"] else "",
            ]
            for _, row in rows.iterrows()
        ]
        groups.append((f"{dataset}, {bin_ms} ms bins", lines))
    aside = [[False] * len(lines) for _, lines in groups]
    return Sheet("Phases val and test side by side, co-bps", header, groups, aside, [EXPLANATION])


def _known(*ends: float) -> tuple:
    return ends if all(map(pd.notna, ends)) else (None, None)


def _signed(value: float, digits: int) -> str:
    return "" if pd.isna(value) else f"{value:+.{digits}f}".replace("-", "−")
