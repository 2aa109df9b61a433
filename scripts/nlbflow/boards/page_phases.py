"""Phases val and test side by side on the leaderboard page: what a row of phase test says of the same model on val."""

import pandas as pd

# of a difference of scores, and of that in standard errors
DIGITS = 6


def add_gaps(rows: list[dict], gaps: pd.DataFrame) -> None:
    """Add to the rows of phase test that have a co-bps on val too what the two say together (`gap`): the `reference`
    and, of another model than that, as far as it is known, the gap (`value`), the same in standard `errors`, and
    whether it is `suspicious`.

    Args:
        rows: rows of the page that were scored here.
        gaps: as from `nlbflow.boards.phases.phase_gaps`.
    """
    found = {(line["dataset"], line["bin_ms"], line["model"]): line for line in gaps.to_dict("records")}
    for row in rows:
        line = found.get((row["dataset"], row["bin_ms"], row["model"]))
        if row["phase"] != "test" or line is None:
            continue
        known = {"value": line["gap"], "errors": line["standard errors"]}
        row["gap"] = {"reference": line["reference"]}
        row["gap"] |= {name: round(float(value), DIGITS) + 0.0 for name, value in known.items() if pd.notna(value)}
        if line["suspicious"]:
            row["gap"]["suspicious"] = True
