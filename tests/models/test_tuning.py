"""Tuning: candidates, folds inside the training trials, and a tuned model through the workflow."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import yaml

from nlbflow.errors import NlbflowError
from nlbflow.metrics.formulas import bits_per_spike
from nlbflow.models.contract import tiny_input
from nlbflow.models.tuning import draw_candidates, fold_inputs, grid_of, rank_candidates, score_candidate
from workflow import ROOT, SMALL, planned, run

GRID = {"a": [1, 2, 3], "b": [0.1, 0.2]}


def test_a_small_grid_is_tried_whole_and_a_large_one_within_the_budget():
    whole = draw_candidates(GRID, 6, 0)
    assert len(whole) == 6 and {(c["a"], c["b"]) for c in whole.values()} == {
        (a, b) for a in (1, 2, 3) for b in (0.1, 0.2)
    }
    part = draw_candidates(GRID, 4, 0)
    assert len(part) == 4 and part.items() <= whole.items()
    assert draw_candidates(GRID, 4, 0) == part and any(draw_candidates(GRID, 4, s) != part for s in range(1, 5))


def test_ranges_are_drawn_from():
    grid = {
        "n": {"integers": [3, 5]},
        "u": {"uniform": [0.1, 0.4]},
        "l": {"log_uniform": [1e-8, 1e-3]},
        "c": ["x", "y"],
    }
    drawn = list(draw_candidates(grid, 400, 1).values())
    assert {c["n"] for c in drawn} == {3, 4, 5} and {c["c"] for c in drawn} == {"x", "y"}
    assert all(0.1 <= c["u"] <= 0.4 and 1e-8 <= c["l"] <= 1e-3 for c in drawn)
    # half of a log-uniform draw lies below the geometric mean
    assert 0.4 < np.mean([math.log10(c["l"]) < -5.5 for c in drawn]) < 0.6


def test_the_grid_of_a_dataset():
    stanza = {"tune": {"grid": GRID, "per_dataset": {"mc_rtt": {"a": [7]}}}}
    defaults = {"a": 1, "b": 0.5}
    assert grid_of("m", stanza, defaults, "mc_maze") == GRID
    assert grid_of("m", stanza, defaults, "mc_rtt") == {"a": [7], "b": [0.1, 0.2]}


@pytest.mark.parametrize(
    ("grid", "sentence"),
    [
        ({"c": [1]}, "models.m.tune.grid.c: the model has no such parameter; it has a, b"),
        ({"a": 3}, "models.m.tune.grid.a is 3; expected a list of values"),
        ({"a": []}, "expected a list of values"),
        ({"a": {"normal": [0, 1]}}, "expected a list of values"),
        ({"a": {"uniform": [2, 1]}}, "expected a list of values"),
        ({"a": {"log_uniform": [0, 1]}}, "expected a list of values"),
        ({"a": {"integers": [3.5, 6]}}, "integers has whole ends"),
        ({"a": {"uniform": [0, float("inf")]}}, "expected a list of values"),
        # 1e-3 without a point is a string to YAML
        ({"b": [0.1, "1e-3"]}, "models.m.tune.grid.b is '1e-3'; expected a value like its default 1"),
        ({"a": [True]}, "models.m.tune.grid.a is True; expected a value like its default 1"),
    ],
)
def test_a_wrong_grid_is_refused(grid, sentence):
    with pytest.raises(NlbflowError, match=sentence):
        grid_of("m", {"tune": {"grid": grid}}, {"a": 1, "b": 1}, "mc_maze")


def test_folds_hold_every_training_trial_once_and_no_evaluation_trial():
    data = tiny_input()
    data.eval_spikes_heldin[:] = 99
    trials = len(data.train_spikes_heldin)
    data.train_spikes_heldin[:, 0, 0] = np.arange(trials)
    held = []
    for seen, spikes in fold_inputs(data, 5):
        fold = seen.eval_spikes_heldin[:, 0, 0].astype(int)
        assert not set(fold) & set(seen.train_spikes_heldin[:, 0, 0].astype(int))
        assert len(fold) + len(seen.train_spikes_heldin) == trials
        np.testing.assert_array_equal(spikes, data.train_spikes_heldout[fold])
        np.testing.assert_array_equal(seen.train_condition, np.delete(data.train_condition, fold))
        assert len(seen.train_spikes_heldout_forward) == len(seen.train_behavior) == trials - len(fold)
        assert seen.eval_spikes_heldin.max() < 99
        # as nlb_tools' baselines cut: every fifth from the fold's number on
        assert (np.diff(fold) == 5).all() and fold[0] == len(held)
        held.append(fold)
    assert sorted(np.concatenate(held)) == list(range(trials))
    with pytest.raises(NlbflowError, match=r"tuning\.folds"):
        fold_inputs(data, trials + 1)


def test_forward_windows_tell_nothing_of_the_fold_where_trials_follow_each_other_without_a_gap():
    data, trials, ahead = tiny_input(), 12, 4
    recording = np.random.default_rng(0).poisson(0.5, (trials * 20 + ahead, 14)).astype(np.float32)
    # a gap after the sixth trial
    starts = np.arange(trials) * 20
    cut = np.stack([recording[start : start + 20 + ahead] for start in starts])
    cut[5, 20:] = 1.0
    for group, neurons in (("heldin", slice(0, 10)), ("heldout", slice(10, None))):
        setattr(data, f"train_spikes_{group}", cut[:, :20, neurons])
        setattr(data, f"train_spikes_{group}_forward", cut[:, 20:, neurons])
    for fold, (seen, spikes) in enumerate(fold_inputs(data, 3)):
        ahead_of = seen.train_spikes_heldout_forward
        assert not any((window == held[:ahead]).all() for window in ahead_of for held in spikes)
        kept = np.setdiff1d(np.arange(trials), np.arange(fold, trials, 3))
        before = [trial for trial in kept if (trial + 1) % 3 == fold and trial not in (5, trials - 1)]
        unknown = np.isnan(ahead_of).all(axis=(1, 2))
        assert list(kept[unknown]) == before and np.isfinite(ahead_of[~unknown]).all()
    assert not any(np.isnan(seen.train_spikes_heldout_forward).any() for seen, _ in fold_inputs(tiny_input(), 3))


def test_a_candidate_is_scored_on_what_it_has_not_seen():
    data, lines = tiny_input(), []

    def mean_of_training(seen):
        shape = (len(seen.eval_spikes_heldin), *seen.train_spikes_heldout.shape[1:])
        return {"eval_rates_heldout": np.broadcast_to(seen.train_spikes_heldout.mean(axis=(0, 1)), shape)}

    scores = score_candidate(data, 4, mean_of_training, lines.append)
    spikes = data.train_spikes_heldout
    rates = np.broadcast_to(np.delete(spikes, slice(1, None, 4), axis=0).mean(axis=(0, 1)), spikes[1::4].shape)
    assert scores[1] == pytest.approx(bits_per_spike(rates, spikes[1::4]), abs=1e-12)
    assert len(scores) == len(lines) == 4


def test_a_candidate_that_is_refused_does_not_end_the_tuning():
    lines = []

    def refuses(seen):
        raise NlbflowError("12 latents for 10 neurons")

    scores = score_candidate(tiny_input(), 3, refuses, lines.append)
    assert np.isnan(scores).all() and len(scores) == 3 and "12 latents for 10 neurons" in lines[0]


def test_the_best_candidate():
    results = [
        {"candidate": name, "params": {"a": value}, "scores": scores}
        for name, value, scores in (("c", 1, [0.1, 0.3]), ("b", 2, [0.3, 0.3]), ("a", 3, [float("nan"), 1.0]))
    ]
    ranked = rank_candidates(results)
    assert [row["candidate"] for row in ranked] == ["b", "c", "a"] and ranked[0]["co-bps"] == pytest.approx(0.3)


def test_without_a_single_number_nothing_is_chosen():
    results = [{"candidate": name, "params": {}, "scores": [0.1, float("nan")]} for name in "ab"]
    with pytest.raises(NlbflowError, match=r"none of 2 candidates .* tuning\.folds"):
        rank_candidates(results)


def test_a_tuned_model_through_the_workflow(tmp_path):
    def config(**grid):
        content = yaml.safe_load(SMALL.read_text())
        content["run"].update(models=["smoothing", "smoothing_tuned"], bin_ms=[20], phases=["val"])
        content["models"] = {"smoothing": {"tune": {"grid": {"kernel_sd_ms": [40, 60], "alpha": [0.1, 1.0], **grid}}}}
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    work = tmp_path / "work"
    tables = "results/scores.csv", "results/leaderboard.md"
    run(ROOT, work, *tables, config=config())
    place = work / "results/simulated_maze/20ms/val"
    table = pd.read_csv(place / "smoothing/tune/candidates.csv")
    assert len(table) == 4 and table["co-bps"].is_monotonic_decreasing
    best = json.loads((place / "smoothing/tune/best.json").read_text())["params"]
    assert best == {name: table[name][0] for name in ("kernel_sd_ms", "alpha")}
    params = {
        m: json.loads((place / m / "0/scores.json").read_text())["params"] for m in ("smoothing", "smoothing_tuned")
    }
    assert params["smoothing_tuned"] == best and params["smoothing"] != best
    board = (work / "results/leaderboard.md").read_text()
    assert "| smoothing_tuned" in board and "| smoothing " in board
    assert not planned(ROOT, work, *tables, config=config())
    # what was tried is not tried again, and only what follows from a new candidate is made anew
    jobs = planned(ROOT, work, *tables, config=config(alpha=[0.1, 1.0, 3.0]))
    assert sum(message.startswith("Tuning") for message in jobs) == 2
    assert {"Training"} == {m.split()[0] for m in jobs if "smoothing_tuned, seed" in m and not m.startswith("Scoring")}


@pytest.mark.slow
def test_the_shipped_grid_of_biclust_through_the_workflow(tmp_path):
    """A few candidates of it, of which one has more latents than neurons: it is told, and another is chosen."""
    shipped = yaml.safe_load((ROOT / "config.yaml").read_text())["models"]["biclust"]["tune"]["grid"]
    content = yaml.safe_load(SMALL.read_text())
    content["run"].update(models=["biclust", "biclust_tuned"], bin_ms=[20], phases=["val"])
    content["tuning"] = {"candidates": 6, "folds": 2, "seed": 0}
    content["models"] = {"biclust": {"params": {"factors": 1, "iterations": 3, "start_iterations": 3, "resamples": 2}}}
    config, work = tmp_path / "config.yaml", tmp_path / "work"
    config.write_text(yaml.safe_dump(content))
    run(ROOT, work, "results/scores.csv", config=config)
    place = work / "results/simulated_maze/20ms/val"
    table = pd.read_csv(place / "biclust/tune/candidates.csv")
    tried = [{name: int(row[name]) for name in shipped} for _, row in table.iterrows()]
    assert len(tried) == 6 and all(each[name] in shipped[name] for each in tried for name in shipped)
    many = [each["clusters"] * (each["factors"] + 1) > 18 for each in tried]
    assert 0 < sum(many) < 6 and table["co-bps"].isna().tolist() == many
    best = json.loads((place / "biclust/tune/best.json").read_text())["params"]
    assert best == tried[0] and table["co-bps"][0] == table["co-bps"].max()
    shown = json.loads((place / "biclust_tuned/0/scores.json").read_text())
    assert {name: shown["params"][name] for name in shipped} == best and shown["params"]["resamples"] == 2
    scores = pd.read_csv(work / "results/scores.csv")
    tuned = scores[(scores["model"] == "biclust_tuned") & (scores["metric"] == "co-bps")]
    assert len(tuned) == 1 and np.isfinite(tuned["value"]).all()
