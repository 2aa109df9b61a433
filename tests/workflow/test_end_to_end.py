"""One whole run of the small config: the order of the scores, the files, their provenance, the report."""

import hashlib
import json
import os

import h5py
import jsonschema
import pandas as pd
import pytest

from nlbflow.boards.leaderboard_json import read_leaderboard
from workflow import ROOT, SMALL, copy_results, planned, run


def test_scores_table(finished):
    scores = pd.read_csv(finished[1] / "results/scores.csv", keep_default_na=False)
    assert set(scores["phase"]) == {"val", "test"} and set(scores["bin_ms"]) == {5, 20}
    assert dict(zip(scores["model"], scores["kind"], strict=True)) == {
        "null": "null",
        "mean_rate": "control",
        "flat_forecast": "control",
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
    assert all(m == {"co-bps", "vel R2", "psth R2", "fp-bps", "rate R2", "Poisson D2"} for m in metrics)


def test_every_interval_holds_its_score(finished):
    scores = pd.read_csv(finished[1] / "results/scores.csv", keep_default_na=False, na_values={"low": "", "high": ""})
    bits = scores[(scores["metric"] == "co-bps") & (scores["kind"] != "null")]
    assert bits["low"].notna().all() and bits["high"].notna().all()
    given = scores[scores["low"].notna()]
    assert (given["low"] <= given["value"]).all() and (given["value"] <= given["high"]).all()
    assert (given["low"] < given["high"]).mean() > 0.9
    # of the one seed that each model has, to the last digit
    ranks = pd.read_csv(finished[1] / "results/ranks.csv")
    both = ranks.merge(scores, on=["dataset", "bin_ms", "phase", "model", "metric"])
    assert len(both) == len(ranks) and (both["value_x"] == both["value_y"]).all()


def test_neurons_add_up_to_the_population(finished):
    results = finished[1] / "results"
    place = results / "simulated_maze/5ms/val"
    with h5py.File(place / "target.h5") as file:
        spikes = file["eval_spikes_heldout"][()].sum(axis=(0, 1))
    table = pd.read_csv(results / "neurons.csv").query("bin_ms == 5 and phase == 'val' and model == 'true_rates'")
    scores = pd.read_csv(results / "scores.csv").query(
        "bin_ms == 5 and phase == 'val' and model == 'true_rates' and metric == 'co-bps'"
    )
    known = spikes > 0
    assert (table["co-bps"].notna() == known).all()
    weighted = (table["co-bps"][known] * spikes[known]).sum() / spikes.sum()
    assert weighted == pytest.approx(scores["value"].item(), abs=1e-9)


def test_comparisons(finished):
    ranks, differences = (pd.read_csv(finished[1] / f"results/{name}.csv") for name in ("ranks", "differences"))
    assert set(ranks.loc[ranks["kind"] == "oracle", "best_rank"].dropna()) == set()
    competing = ranks[ranks["kind"].isin(["competitor", "control"])]
    assert (competing["best_rank"] <= competing["worst_rank"]).all() and (competing["best_rank"] >= 1).all()
    # each pair of the three that are ranked in each of the four places
    assert (differences["metric"] == "co-bps").sum() == 3 * 4
    real = differences["real"]
    assert ((differences["low"] > 0) | (differences["high"] < 0)).eq(real).all() and real.any() and not real.all()


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


def test_leaderboard_for_programs(finished):
    """It keeps its schema, and its numbers are those of scores.csv to the last digit."""
    results = finished[1] / "results"
    board = read_leaderboard(results / "leaderboard.json")
    jsonschema.validate(board, json.loads((ROOT / "schemas/leaderboard.schema.json").read_text()))
    scores = pd.read_csv(results / "scores.csv", keep_default_na=False, dtype=str).itertuples(index=False)
    wanted = {(s.bin_ms, s.phase, s.model, s.metric): (s.value, s.low, s.high, s.metrics_version) for s in scores}
    found = {
        (str(place["bin_ms"]), place["phase"], row["model"], metric): (
            *("" if value is None else repr(value) for value in score["by_seed"][0].values()),
            row["metrics_version"],
        )
        for place in board["places"]
        for row in place["rows"]
        for metric, score in row["scores"].items()
    }
    assert found == wanted
    for one in board["made"]["runs"]:
        file = results / f"{one['dataset']}/{one['bin_ms']}ms/{one['phase']}/{one['model']}/{one['seed']}/prediction.h5"
        exists = one["model"] != "null"
        assert one["prediction_sha256"] == (hashlib.sha256(file.read_bytes()).hexdigest() if exists else None)
    assert board["datasets"]["simulated_maze"]["version"] == "simulated, seed 7"


def test_leaderboard_marks_and_sorts(finished):
    board = (finished[1] / "results/leaderboard.md").read_text()
    assert board.count("phase\n") == 4 and board.count("phase: beyond the benchmark\n") == 4
    assert "true_rates (oracle)" in board and "| null " in board and "nan" not in board


def test_report(finished, tmp_path):
    work = copy_results(finished[1], tmp_path / "work", ".snakemake")
    run(finished[0], work, "--report", "report.html")
    report = (work / "report.html").read_text()
    # it opens on the leaderboard
    assert 'iframe id=\\"leaderboard\\"' in report and '"results/leaderboard.html": {' in report
    assert "Leaderboards" in report and '"Tables": {"Dataset by dataset": ' in report
    assert '"labels": {"table": "Simulated maze", "bins": "20 ms", "phase": "val"}' in report
    # a figure and its caption
    assert "Accuracy and interpretability" in report and "joins the models on the front" in report


def test_every_figure_in_every_format(finished):
    drawn = [*(finished[1] / "results/figures").glob("[!.]*")]
    # no model here keeps a history, so there are no learning curves
    kinds = ("dataset", "scores", "ranks", "front", "neurons", "trials", "psths", "latents")
    names = {f"simulated_maze_{b}ms_{p}_{kind}" for b in (5, 20) for p in ("val", "test") for kind in kinds}
    assert {path.stem for path in drawn} == names | {"pipeline"}
    for path in drawn:
        beginning = {".svg": b"<?xml", ".pdf": b"%PDF", ".png": b"\x89PNG"}[path.suffix]
        assert path.read_bytes().startswith(beginning)
    assert len(drawn) == 3 * (len(names) + 1)


def test_nothing_half_written_is_left(finished):
    assert not [p for p in finished[1].rglob("*.tmp") if ".snakemake" not in p.parts]


def test_a_submission_scores_as_the_model_that_it_is_of(finished, tmp_path):
    """Written by the workflow, read by it, and read again when another file has taken its place."""
    work, config = copy_results(finished[1], tmp_path / "work"), tmp_path / "theirs.yaml"
    run(finished[0], work, "submission")
    assert {p.name for p in (work / "results/submissions").glob("[!.]*")} == {
        f"{model}_{phase}.h5" for model in ("mean_rate", "flat_forecast", "smoothing") for phase in ("val", "test")
    }
    given = {phase: work / "results/submissions" / f"smoothing_{phase}.h5" for phase in ("val", "test")}
    for phase, path in given.items():
        path.rename(work / f"theirs_{phase}.h5")
    models = "models: {theirs: {prediction: 'theirs_{phase}.h5'}}\n"
    chosen = SMALL.read_text().replace("mean_rate, flat_forecast, ", "theirs, ").replace(", condition_psth", "")
    config.write_text(chosen + models)
    run(finished[0], work, "results/scores.csv", config=config)
    scores = pd.read_csv(work / "results/scores.csv").query("model in ['theirs', 'smoothing']")
    values = {model: rows.drop(columns="model").reset_index(drop=True) for model, rows in scores.groupby("model")}
    pd.testing.assert_frame_equal(values["theirs"], values["smoothing"], check_exact=True)
    # dates are kept by rsync -a and the like: a corrected file may be older than the scores of the first
    with h5py.File(work / "theirs_val.h5", "r+") as file:
        file["simulated_maze/eval_rates_heldout"][...] *= 2
    os.utime(work / "theirs_val.h5", (10**9, 10**9))
    jobs = planned(finished[0], work, config=config)
    assert {m for m in jobs if m.startswith("Reading")} == {
        f"Reading the submission theirs on simulated_maze ({bin_ms} ms, val)" for bin_ms in (5, 20)
    }
