"""The front of accuracy and interpretability: who is on it, and where the page says so."""

import copy

import numpy as np
import pandas as pd
import pytest

from fake_page import block, parts
from nlbflow.boards.front import AGREEMENT, Axis, axes_of, competitor_values, fronts_by_place, on_front
from nlbflow.boards.page import leaderboard_page
from nlbflow.boards.tables import PLACE, comparison_table, cost_table, score_table
from nlbflow.scoring import comparisons
from nlbflow.scoring.bootstrap import Bootstrap

DIMENSION = Axis("latent dimension", "", "no latents", less=True)
PSTH = Axis("psth R2", "", "not predicted")


def values(**models: tuple[float, float]) -> dict[str, tuple[float, float]]:
    """co-bps and the value on an axis, by model."""
    return models


def compared(found: dict, metrics: tuple[str, ...], real: set[tuple[str, str, str]]) -> pd.DataFrame:
    """Rows of differences.csv: of each metric every pair; `real` holds (metric, model, other)."""
    names = list(found)
    rows = [
        [metric, one, other, found[one][i] - found[other][i], (metric, one, other) in real]
        for i, metric in enumerate(metrics)
        for k, one in enumerate(names)
        for other in names[k + 1 :]
    ]
    return pd.DataFrame(rows, columns=["metric", "model", "other", "difference", "real"])


def front(found: dict, axis: Axis, differences: pd.DataFrame) -> list[str]:
    table = pd.DataFrame.from_dict(found, orient="index", columns=["co-bps", axis.name], dtype=float)
    on = on_front(table, axis, differences)
    assert on.dtype == bool and list(on.index) == list(found)
    return list(on.index[on])


def test_only_a_model_that_is_really_beaten_in_both_is_off_the_front():
    found = values(best=(0.30, 5), close=(0.29, 6), beaten=(0.20, 7), small=(0.10, 2))
    real = {("co-bps", "best", "beaten"), ("co-bps", "close", "beaten"), ("co-bps", "best", "small")}
    differences = compared(found, ("co-bps",), real)
    # best has more co-bps than close, and fewer dimensions, but the difference of co-bps is not real
    assert front(found, DIMENSION, differences) == ["best", "close", "small"]
    everything = {("co-bps", one, other) for one in found for other in found}
    assert front(found, DIMENSION, compared(found, ("co-bps",), everything)) == ["best", "small"]


def test_a_metric_that_was_compared_needs_a_real_difference_too():
    found = values(best=(0.30, 0.6), other=(0.20, 0.5), last=(0.10, 0.4))
    bits = {("co-bps", "best", "other"), ("co-bps", "best", "last"), ("co-bps", "other", "last")}
    assert front(found, PSTH, compared(found, ("co-bps", "psth R2"), bits)) == ["best", "other", "last"]
    both = bits | {("psth R2", "best", "last")}
    assert front(found, PSTH, compared(found, ("co-bps", "psth R2"), both)) == ["best", "other"]
    # nobody compared this one, so what is more is better
    assert front(found, PSTH, compared(found, ("co-bps",), bits)) == ["best"]


def test_no_model_beats_another_that_it_ties_with():
    found = values(more=(0.30, 5), less=(0.20, 5), worse=(0.20, 5.5), twin=(0.30, 5))
    real = {("co-bps", one, other) for one in found for other in found}
    assert front(found, DIMENSION, compared(found, ("co-bps",), real)) == ["more", "less", "twin"]


def test_less_and_more_of_an_axis():
    found = values(best=(0.30, 0.6), other=(0.20, 0.5))
    real = {("co-bps", "best", "other")}
    assert front(found, PSTH, compared(found, ("co-bps",), real)) == ["best"]
    assert front(found, DIMENSION, compared(found, ("co-bps",), real)) == ["best", "other"]
    # whichever of a pair its row names first
    turned = compared(found, ("co-bps",), real).assign(model="other", other="best", difference=-0.1)
    assert front(found, PSTH, turned) == ["best"]


def test_a_model_without_a_value_neither_stands_on_the_front_nor_beats_another():
    found = values(best=(0.30, np.nan), other=(0.20, 5), alone=(np.nan, 1))
    assert front(found, DIMENSION, compared(found, ("co-bps",), {("co-bps", "best", "other")})) == ["other"]


def test_many_models_are_compared_as_one_by_one():
    rng = np.random.default_rng(0)
    found = {f"m{i}": tuple(rng.normal(size=2)) for i in range(30)}
    pairs = [(m, one, other) for m in ("co-bps", "psth R2") for one in found for other in found if rng.random() < 0.3]
    differences = compared(found, ("co-bps", "psth R2"), set(pairs))
    real = {(row.metric, *sorted((row.model, row.other))) for row in differences[differences["real"]].itertuples()}

    def beats(one: str, other: str) -> bool:
        return all(
            found[one][i] > found[other][i] and (metric, *sorted((one, other))) in real
            for i, metric in enumerate(("co-bps", "psth R2"))
        )

    wanted = [model for model in found if not any(beats(other, model) for other in found)]
    assert front(found, PSTH, differences) == wanted and 0 < len(wanted) < len(found)


@pytest.mark.parametrize("most_have", [True, False])
def test_pairs_that_were_not_compared_are_told_apart_by_a_third_model(monkeypatch, most_have):
    """Of many models, those that are far behind have no row with each other (nlbflow.scoring.comparisons)."""
    monkeypatch.setattr(comparisons, "MOST_PAIRED", 12)
    monkeypatch.setattr(comparisons, "FIRST_PAIRED", 3)
    rng, names = np.random.default_rng(0), [f"m{i}" for i in range(60)]
    bits, limits = rng.normal(0.2, 0.05, 60), (-np.inf, np.inf)
    # what all trials have in common is no difference of two models
    shared, each = rng.normal(0, 0.01, 100), rng.normal(0, 0.0001, (60, 100))
    scores = {
        (name, 0): {"co-bps": Bootstrap(float(b), np.zeros(9), np.zeros(9), shared + e, 99, limits, False)}
        for name, b, e in zip(names, bits, each, strict=True)
    }
    some = pd.DataFrame(comparisons.difference_table(scores))
    monkeypatch.setattr(comparisons, "MOST_PAIRED", 60)
    every = pd.DataFrame(comparisons.difference_table(scores))
    assert len(some) < len(every) / 4
    dimensions = rng.uniform(2, 60, 60)
    if not most_have:
        # nor has the model that the others were compared with a place among them
        dimensions[np.argsort(-bits)[:20]] = np.nan
    found = dict(zip(names, zip(bits, dimensions, strict=True), strict=True))
    wanted = front(found, DIMENSION, every)
    told = front(found, DIMENSION, some)
    # never one too few; one too many where a difference is barely real
    assert 1 < len(wanted) and set(wanted) <= set(told) and len(told) <= len(wanted) + 1
    # nothing is known of a pair that has no row, where the others have no interval
    assert len(front(found, DIMENSION, some.assign(low=None, high=None))) > len(wanted) + 5


def test_oracles_the_null_model_and_implausible_scores_do_not_compete():
    scores = pd.DataFrame(
        [
            ["ours", 0, "co-bps", 0.2, "competitor"],
            ["mean_rate", 0, "co-bps", 0.0, "control"],
            ["true_rates", 0, "co-bps", 0.9, "oracle"],
            ["null", 0, "co-bps", 0.0, "null"],
            # one implausible seed, and the model's others are not trusted
            ["leaky", 0, "co-bps", 0.8, "competitor"],
            ["leaky", 1, "co-bps", 5.0, "implausible"],
            ["no_bits", 0, "psth R2", 0.5, "competitor"],
        ],
        columns=["model", "seed", "metric", "value", "kind"],
    )
    nothing = pd.DataFrame(columns=["model"])
    found = competitor_values(axes_of(scores["metric"]), scores, nothing, nothing)
    assert list(found.index) == ["ours", "mean_rate"]


def test_costs_and_agreement_that_are_no_numbers_are_missing():
    models = ["a", "b", "c", "d", "e"]
    scores = pd.DataFrame({"model": models, "metric": "co-bps", "value": 0.1, "kind": "competitor"})
    costs = pd.DataFrame({"model": models, "parameters": ["many", 0, 10**400, 30, None], "seconds": [1, 2, 3, 4, 5.0]})
    agreement = pd.DataFrame({"model": ["a", "b"], AGREEMENT: ["", 0.5]})
    found = competitor_values(axes_of({"co-bps"}), scores, costs, agreement)
    assert found["parameters"].dropna().to_dict() == {"d": 30.0}
    assert found[AGREEMENT].dropna().to_dict() == {"b": 0.5}


def test_the_headline_axis_is_one_number_of_trials_and_comes_first():
    axes = axes_of({"co-bps", "256-shot co-bps", "32-shot co-bps"})
    assert [axis.name for axis in axes if axis.headline] == ["32-shot co-bps"] and axes[0].headline
    assert not any(axis.headline for axis in axes_of({"co-bps"}))
    assert all(axis.about and axis.lacking for axis in axes)


@pytest.fixture(scope="module")
def made() -> dict:
    return parts(16, (5,), 3)


def test_the_page_has_the_fronts_that_are_computed(made):
    html = leaderboard_page(**made)
    scores, runs = block(html, "scores"), block(html, "runs")
    tables = score_table(made["entries"]), cost_table(made["entries"]), made["consistency"], made["differences"]
    axes, places = fronts_by_place(*tables)
    assert [axis["name"] for axis in scores["axes"]] == [axis.name for axis in axes]
    assert {"32-shot co-bps", "latent dimension", AGREEMENT, "psth R2", "parameters", "seconds"} == {
        a.name for a in axes
    }
    seen = 0
    for row, of_costs in zip(scores["rows"], runs["axes"], strict=False):
        found, fronts = places[tuple(row[key] for key in PLACE)]
        marked = {*row.get("front", []), *of_costs.get("front", [])}
        wanted = fronts.loc[row["model"]] if row["model"] in fronts.index else pd.Series(dtype=bool)
        assert marked == set(wanted.index[wanted]) and (row["group"] == 0 or not marked)
        seen += len(marked)
        for name, value in {**row.get("beside", {}), **of_costs.get("beside", {})}.items():
            assert value == pytest.approx(found.at[row["model"], name], rel=1e-5)
    assert seen > 20 and not any(row["group"] != 0 and row.get("front") for row in scores["rows"])


def test_seconds_and_the_front_that_they_make_are_not_in_what_is_reproducible(made):
    again = copy.deepcopy(made)
    for entry in again["entries"]:
        if record := entry["provenance"]["prediction"]:
            record["seconds"] = 1 / record["seconds"]
    html, other = leaderboard_page(**made), leaderboard_page(**again)
    assert block(html, "scores") == block(other, "scores")
    assert block(html, "runs")["axes"] != block(other, "runs")["axes"]


def test_nothing_scored_has_no_axis(made):
    nothing = {name: made[name][:0] for name in ("entries", "ranks", "differences", "consistency")}
    html = leaderboard_page(**made | nothing)
    assert block(html, "scores")["axes"] == [] and block(html, "runs")["axes"] == []


def test_simulated_data_have_axes_of_their_truth(made):
    few = [entry | {"scores": dict(entry["scores"])} for entry in made["entries"] if entry["dataset"] == "mc_maze"]
    for i, entry in enumerate(few):
        if "latent dimension" in entry["scores"]:
            entry["scores"] |= {"state R2": 0.5 + i / 1000, "state accuracy": 0.9}
    html = leaderboard_page(**made | {"entries": few})
    assert {"state R2", "state accuracy"} < {axis["name"] for axis in block(html, "scores")["axes"]}
    rows = [row for row in block(html, "scores")["rows"] if "state R2" in row["cells"]]
    on = {row["model"] for row in rows if "state R2" in row.get("front", [])}
    best = max((row for row in rows if row["group"] == 0), key=lambda row: row["cells"]["state R2"]["value"])
    assert best["model"] in on and len(on) < len(rows)


def test_what_no_seeds_have_in_common_is_no_consistency():
    empty = comparison_table([], "consistency")
    scores = pd.DataFrame(columns=[*PLACE, "model", "seed", "metric", "value", "kind"])
    assert fronts_by_place(scores, pd.DataFrame(columns=PLACE), empty, comparison_table([], "differences")) == ([], {})
