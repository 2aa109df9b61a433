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


def tables(peeked: float, trials: int = 200, spread: float = 0.0) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Scores of three seeds, ranks and differences of a dataset, whose trials are shared by all models, in both phases.

    Args:
        peeked: what one model gains on test.
        spread: the standard deviation over seeds of this model.
    """
    runs, ranks, differences, draws = [], [], [], np.random.default_rng(0)
    for phase, ease in (("val", 0.0), ("test", 0.05)):
        difficulty, scores = draws.normal(ease, 0.2, trials), {}
        for model, value in GOOD.items():
            own = value + (peeked if model == "peeked" and phase == "test" else 0)
            scores[model] = own + difficulty + draws.normal(0, 0.05, trials)
        where = {"dataset": "d", "bin_ms": 5, "phase": phase, "metric": "co-bps"}
        for model, each in scores.items():
            ends = dict(zip(("low", "high"), interval(each), strict=True))
            ranks.append({**where, "model": model, "kind": "competitor", "value": each.mean(), **ends})
            apart = spread if model == "peeked" else 0.0
            runs += [{**where, "model": model, "value": each.mean() + step * apart} for step in (-1, 0, 1)]
        for model, other in combinations(scores, 2):
            each = scores[model] - scores[other]
            ends = dict(zip(("low", "high"), interval(each), strict=True))
            differences.append({**where, "model": model, "other": other, "difference": each.mean(), **ends})
    return pd.DataFrame(runs), pd.DataFrame(ranks), pd.DataFrame(differences)


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


def test_what_differs_from_seed_to_seed_is_no_gain():
    """A model is trained anew for phase test, and another training may be as much better by chance."""
    tight, loose = (
        phase_gaps(*tables(peeked=0.06, spread=spread), others={"theirs", "peeked"}).set_index("model")
        for spread in (0.0, 0.05)
    )
    assert tight.loc["peeked", "suspicious"] and not loose.loc["peeked", "suspicious"]
    assert loose["gap"].equals(tight["gap"])
    errors = [(table["gap"] / table["standard errors"])["peeked"] for table in (tight, loose)]
    # of the mean over three seeds, in each phase
    assert errors[1] ** 2 - errors[0] ** 2 == pytest.approx(2 * 0.05**2 / 3)
    # of one seed nothing is known
    scores, *compared = tables(peeked=0.06, spread=0.05)
    one = phase_gaps(scores.iloc[1::3], *compared, others={"theirs", "peeked"}).set_index("model")
    assert one.loc["peeked", "standard errors"] == tight.loc["peeked", "standard errors"]


def test_one_phase_is_no_comparison_and_a_model_may_lack_one():
    scores, ranks, differences = tables(peeked=0.0)
    assert phase_gaps(scores, ranks[ranks["phase"] == "val"], differences, []).empty
    lacking = ranks[(ranks["phase"] == "val") | (ranks["model"] != "theirs")]
    assert "theirs" not in set(phase_gaps(scores, lacking, differences, [])["model"])
    nothing = (table.iloc[:0] for table in (scores, ranks, differences))
    assert phase_sheet(phase_gaps(*nothing, [])).groups == []


def test_the_reference_is_not_chosen_by_one_phase():
    scores, ranks, differences = tables(peeked=0.0)
    lucky = (ranks["model"] == "weak") & (ranks["phase"] == "val")
    ranks.loc[lucky, "value"] = 0.31
    assert set(phase_gaps(scores, ranks, differences, others={"theirs", "peeked"})["reference"]) == {"ours"}


def test_without_models_of_ours_the_best_is_the_reference():
    assert set(phase_gaps(*tables(peeked=0.0), others=GOOD)["reference"]) == {"theirs"}
