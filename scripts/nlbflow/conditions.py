"""Conditions: trials whose values in some columns of the table of trials are the same."""

import numpy as np

from nlbflow.session import Session


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
