"""Comparisons of many models: which pairs are told, and that each is what two models alone would give."""

from itertools import combinations

import numpy as np
import pytest

from nlbflow.scoring import comparisons
from nlbflow.scoring.bootstrap import Bootstrap, difference_interval, rank_intervals
from nlbflow.scoring.comparisons import difference_table


def models(count: int, freedom: int = 29) -> dict[str, Bootstrap]:
    draws = np.random.default_rng(0)
    # the first is the best
    values = 0.3 - 0.02 * np.arange(count)
    return {
        f"m{i}": Bootstrap(
            float(value), np.zeros(0), np.zeros(0), draws.normal(0, 0.004, 30), freedom, (-np.inf, np.inf), False
        )
        for i, value in enumerate(values)
    }


def table(found: dict[str, Bootstrap]) -> dict[tuple[str, str], dict]:
    scores = {(name, 0): {"co-bps": each} for name, each in found.items()}
    return {(row["model"], row["other"]): row for row in difference_table(scores)}


def test_each_pair_is_as_of_two_models_alone():
    found = models(6)
    rows = table(found)
    assert [*rows] == [*combinations(found, 2)]
    for (name, other), row in rows.items():
        assert (row["low"], row["high"]) == pytest.approx(difference_interval(found[name], found[other]), abs=1e-15)
        assert row["difference"] == found[name].estimate - found[other].estimate
        assert row["real"] == (row["low"] > 0)
    assert any(row["real"] for row in rows.values()) and not all(row["real"] for row in rows.values())


def test_few_trials_have_no_interval_and_leave_the_order_open():
    found = models(4, freedom=2)
    assert all(row["low"] is None and row["real"] is False for row in table(found).values())
    assert set(rank_intervals(found).values()) == {(1, 4)}


def test_of_many_models_pairs_far_behind_are_not_told(monkeypatch):
    found = models(9)
    whole = table(found)
    monkeypatch.setattr(comparisons, "MOST_PAIRED", 4)
    monkeypatch.setattr(comparisons, "FIRST_PAIRED", 1)
    rows = table(dict(reversed(found.items())))
    names = [*found]
    told = {frozenset(pair) for pair in combinations(names[:4], 2)} | {frozenset((names[0], n)) for n in names[1:]}
    assert {frozenset(pair) for pair in rows} == told
    for (name, other), row in rows.items():
        assert row["difference"] == -whole[other, name]["difference"] and row["real"] == whole[other, name]["real"]
