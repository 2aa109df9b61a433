"""One whole run of the small config: the order of the scores, the files, their provenance, the report."""

import json

import h5py
import pandas as pd
import pytest

from workflow import run


def test_scores_table(finished):
    scores = pd.read_csv(finished[1] / "results/scores.csv", keep_default_na=False)
    assert set(scores["phase"]) == {"val", "test"} and set(scores["bin_ms"]) == {5, 20}
    assert dict(zip(scores["model"], scores["kind"], strict=True)) == {
        "null": "null",
        "mean_rate": "competitor",
        "smoothing": "competitor",
        "condition_psth": "oracle",
        "true_rates": "oracle",
    }
    bits = scores[scores["metric"] == "co-bps"].set_index(["bin_ms", "phase", "model"])["value"]
    for place in (5, "val"), (5, "test"), (20, "val"), (20, "test"):
        assert bits[(*place, "null")] == 0.0
        assert bits[(*place, "mean_rate")] <= 0.0
        assert bits[(*place, "condition_psth")] < bits[(*place, "true_rates")]
    metrics = scores[scores["model"] == "true_rates"].groupby(["bin_ms", "phase"])["metric"].agg(set)
    assert all(m == {"co-bps", "vel R2", "psth R2", "fp-bps"} for m in metrics)


def test_null_is_zero_in_every_bits_metric(finished):
    scores = pd.read_csv(finished[1] / "results/scores.csv", keep_default_na=False)
    null = scores[scores["model"] == "null"]
    assert set(null["metric"]) == {"co-bps", "fp-bps"} and (null["value"] == 0.0).all()


def test_a_model_sees_no_answer(finished):
    with h5py.File(finished[1] / "results/simulated_maze/5ms/test/input.h5") as file:
        assert set(file) == {
            "train_spikes_heldin",
            "train_spikes_heldout",
            "train_spikes_heldin_forward",
            "train_spikes_heldout_forward",
            "train_behavior",
            "train_condition",
            "eval_spikes_heldin",
        }
        assert file["train_spikes_heldin"].shape == (18, 140, 12)
        assert file["eval_spikes_heldin"].shape == (6, 140, 12)


@pytest.mark.parametrize("file", ["input.h5", "target.h5", "smoothing/0/prediction.h5"])
def test_every_file_says_where_it_comes_from(finished, file):
    with h5py.File(finished[1] / "results/simulated_maze/5ms/val" / file) as content:
        made = json.loads(content.attrs["provenance"])
    assert made["dataset_version"] == "simulated, seed 7" and len(made["code_digest"]) == 16
    assert made["device"] == "cpu" and "numpy" in made["packages"] and made["date"]


def test_costs_are_beside_the_scores_not_in_them(finished):
    costs = pd.read_csv(finished[1] / "results/costs.csv", keep_default_na=False)
    assert {"seconds", "peak_mb", "device", "commit", "date"} <= set(costs)
    assert not {"seconds", "commit", "date"} & set(pd.read_csv(finished[1] / "results/scores.csv"))


def test_leaderboard_marks_and_sorts(finished):
    board = (finished[1] / "results/leaderboard.md").read_text()
    assert board.count("## simulated_maze, ") == 4
    assert "true_rates (oracle)" in board and "| null " in board and "nan" not in board


def test_report(finished):
    run(*finished, "--report", "report.html")
    assert "Leaderboards" in (finished[1] / "report.html").read_text()


def test_nothing_half_written_is_left(finished):
    assert not [p for p in finished[1].rglob("*.tmp") if ".snakemake" not in p.parts]
