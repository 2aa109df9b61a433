"""Scores on val and test side by side: gaps against the reference, and what they mark."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from nlbflow.boards.phases import phase_gaps, phase_sheet
from nlbflow.boards.typesetting import to_markdown

# how good each model is; the test trials are easier for all
GOOD = {"ours": 0.30, "weak": 0.20, "theirs": 0.32, "peeked": 0.25}


def interval(each: np.ndarray) -> tuple[float, float]:
    half = 1.96 * each.std(ddof=1) / np.sqrt(len(each))
    return each.mean() - half, each.mean() + half


def tables(peeked: float, trials: int = 200) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ranks and differences of a dataset, whose trials are shared by all models, in both phases."""
    ranks, differences, draws = [], [], np.random.default_rng(0)
    for phase, ease in (("val", 0.0), ("test", 0.05)):
        difficulty, scores = draws.normal(ease, 0.2, trials), {}
        for model, value in GOOD.items():
            own = value + (peeked if model == "peeked" and phase == "test" else 0)
            scores[model] = own + difficulty + draws.normal(0, 0.05, trials)
        where = {"dataset": "d", "bin_ms": 5, "phase": phase, "metric": "co-bps"}
        for model, each in scores.items():
            ends = dict(zip(("low", "high"), interval(each), strict=True))
            ranks.append({**where, "model": model, "kind": "competitor", "value": each.mean(), **ends})
        for model, other in combinations(scores, 2):
            each = scores[model] - scores[other]
            ends = dict(zip(("low", "high"), interval(each), strict=True))
            differences.append({**where, "model": model, "other": other, "difference": each.mean(), **ends})
    return pd.DataFrame(ranks), pd.DataFrame(differences)


def test_a_model_that_gains_more_than_chance_allows_is_marked():
    table = phase_gaps(*tables(peeked=0.06), others={"theirs", "peeked"}).set_index("model")
    assert set(table["reference"]) == {"ours"}
    assert table["suspicious"].to_dict() == {"ours": False, "weak": False, "theirs": False, "peeked": True}
    # paired, so that neither the trials' difficulty nor the easier phase counts: about 0.05 * sqrt(2 * 2 / 200)
    assert table.loc["peeked", "gap"] == pytest.approx(0.06, abs=0.02)
    error = table.loc["peeked", "gap"] / table.loc["peeked", "standard errors"]
    assert error == pytest.approx(0.05 * np.sqrt(4 / 200), rel=0.2)
    assert pd.isna(table.loc["ours", "gap"])
    text = to_markdown(phase_sheet(table.reset_index()))
    assert text.count("better on test than val allows") == 1 and "| reference" in text


def test_honest_models_are_not_marked():
    table = phase_gaps(*tables(peeked=0.0), others={"theirs", "peeked"})
    assert not table["suspicious"].any()
    assert table["standard errors"].abs().max() < 3


def test_one_phase_is_no_comparison_and_a_model_may_lack_one():
    ranks, differences = tables(peeked=0.0)
    assert phase_gaps(ranks[ranks["phase"] == "val"], differences, []).empty
    lacking = ranks[(ranks["phase"] == "val") | (ranks["model"] != "theirs")]
    assert "theirs" not in set(phase_gaps(lacking, differences, [])["model"])
    assert phase_sheet(phase_gaps(ranks.iloc[:0], differences.iloc[:0], [])).groups == []


def test_the_reference_is_not_chosen_by_one_phase():
    ranks, differences = tables(peeked=0.0)
    lucky = (ranks["model"] == "weak") & (ranks["phase"] == "val")
    ranks.loc[lucky, "value"] = 0.31
    assert set(phase_gaps(ranks, differences, others={"theirs", "peeked"})["reference"]) == {"ours"}


def test_without_models_of_ours_the_best_is_the_reference():
    assert set(phase_gaps(*tables(peeked=0.0), others=GOOD)["reference"]) == {"theirs"}
