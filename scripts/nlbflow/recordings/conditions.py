"""Conditions: trials whose values in some columns of the table of trials are the same."""

import numpy as np

from nlbflow.recordings.session import Session


def find_conditions(session: Session, fields: list[str], trials: np.ndarray) -> list[tuple[tuple, np.ndarray]]:
    """The conditions among the given table rows, sorted: (values of the fields, table rows).

    A trial for which a field is unknown belongs to no condition.
    """
    columns = [session.column(name)[trials].tolist() for name in fields]
    groups: dict[tuple, list[int]] = {}
    for trial, values in zip(trials.tolist(), zip(*columns, strict=True), strict=True):
        if all(v == v for v in values):
            groups.setdefault(values, []).append(trial)
    return [(values, np.array(groups[values])) for values in sorted(groups)]


def why_no_averages(session: Session, fields: list[str], trials: np.ndarray) -> str:
    """Why these table rows have no PSTHs: most are alone in their condition; empty where that is not so."""
    sizes = [len(rows) for _, rows in find_conditions(session, fields, trials)]
    alone = sum(size == 1 for size in sizes)
    if not sizes:
        return f"no trial has a value in {', '.join(fields)}"
    if alone <= 0.5 * sum(sizes):
        return ""
    return (
        f"{alone} of {sum(sizes)} trials are alone in their condition ({', '.join(fields)}), and an average needs two; "
        "name columns that trials share"
    )
