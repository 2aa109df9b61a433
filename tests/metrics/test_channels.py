"""Behaviour of any number of channels: R2 and its bootstrap against scikit-learn, channels that stand still, gaps."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV

from nlbflow.boards.cells import why_missing
from nlbflow.errors import NlbflowError
from nlbflow.metrics.decoded_metric import benchmark_metrics, is_decoded, left_out, name_of, renamed, series_of
from nlbflow.metrics.decoder import counted_channels
from nlbflow.metrics.formulas import score, velocity_r2
from nlbflow.scoring.bootstrap import resample
from nlbflow.scoring.trial_statistics import bootstrap_scores, score_intervals, trial_statistics

TRAIN, EVAL, BINS, HELDIN, HELDOUT = 20, 14, 12, 6, 3
CHANNELS = (1, 2, 3, 4, 7)
UNITS = np.array([1.0, 30.0, 0.02, 500.0, 1e-4, 7.0, 2.0])


def make(channels: int, masks: bool = False, seed: int = 0) -> tuple[dict, dict]:
    """A target with behaviour of so many channels in various units, and a prediction; NaN in whole bins."""
    rng = np.random.default_rng(seed)
    rates = {
        f"{part}_rates_{group}": rng.gamma(2.0, 0.1, (trials, BINS, units))
        for part, trials in (("train", TRAIN), ("eval", EVAL))
        for group, units in (("heldin", HELDIN), ("heldout", HELDOUT))
    }
    target = {"eval_spikes_heldout": rng.poisson(rates["eval_rates_heldout"]).astype(float)}
    mixing = rng.standard_normal((HELDIN + HELDOUT, channels))
    for part in ("train", "eval"):
        both = np.concatenate([rates[f"{part}_rates_heldin"], rates[f"{part}_rates_heldout"]], axis=2)
        noise = 0.2 * rng.standard_normal((*both.shape[:2], channels))
        target[f"{part}_behavior"] = (both @ mixing + noise + 1) * UNITS[:channels]
        target[f"{part}_behavior"][1, :3] = np.nan
        if masks:
            active = np.arange(len(both)) % 3 == 0
            target[f"{part}_decode_mask"] = np.stack([active, ~active], axis=1)
    return target, rates


def by_scikit_learn(target: dict, prediction: dict, channels: list[int]) -> np.ndarray:
    """(channels,) R2 of each of the channels, decoded together, over the bins in which all channels are known."""
    arrays = []
    for part in ("train", "eval"):
        rates = np.concatenate([prediction[f"{part}_rates_heldin"], prediction[f"{part}_rates_heldout"]], axis=2)
        known = ~np.isnan(target[f"{part}_behavior"]).any(axis=2)
        arrays += [rates[known], target[f"{part}_behavior"][known][:, channels]]
    x, y, x_eval, y_eval = arrays
    decoder = GridSearchCV(Ridge(), {"alpha": np.logspace(-4, 0, 9)}).fit(x, y)
    return r2_score(y_eval, decoder.predict(x_eval), multioutput="raw_values")


def decoding(target: dict, prediction: dict) -> float:
    return score(target, prediction).get("vel R2", np.nan)


@pytest.mark.parametrize("channels", CHANNELS)
def test_r2_is_the_mean_of_scikit_learns_over_channels(channels):
    target, prediction = make(channels)
    expected = by_scikit_learn(target, prediction, [*range(channels)])
    assert decoding(target, prediction) == pytest.approx(expected.mean(), abs=1e-9)


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("channels", CHANNELS)
def test_draws_are_scores_of_resampled_trials(channels, masks):
    target, prediction = make(channels, masks)
    statistic = trial_statistics(target, prediction)["vel R2"]
    for seed in range(3):
        weights = resample(statistic.strata, EVAL, 1, seed)
        chosen = np.repeat(np.arange(EVAL), weights[0].astype(int))
        part = {name: a[chosen] if name.startswith("eval") else a for name, a in target.items()}
        rates = {name: a[chosen] if name.startswith("eval") else a for name, a in prediction.items()}
        assert statistic.score(weights)[0] == pytest.approx(decoding(part, rates), abs=1e-9)


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("channels", CHANNELS)
def test_slopes_are_the_derivatives(channels, masks):
    target, prediction = make(channels, masks)
    if masks and channels > 1:
        # then one decoder has a channel less than the other
        target["eval_behavior"][target["eval_decode_mask"][:, 0], :, 1] = 0.3
    statistic, step = trial_statistics(target, prediction)["vel R2"], 1e-4
    weights = np.random.default_rng(2).integers(1, 4, (3, EVAL)).astype(float)
    slopes = statistic.slopes(weights)
    for trial in range(EVAL):
        up, down = weights.copy(), weights.copy()
        up[:, trial] += step
        down[:, trial] -= step
        change = (statistic.score(up) - statistic.score(down)) / (2 * step)
        assert slopes[:, trial] == pytest.approx(change, abs=1e-6), trial


@pytest.mark.parametrize("parts", [("train", "eval"), ("train",), ("eval",)])
@pytest.mark.parametrize("value", [0.0, 0.1, -1e7])
def test_a_channel_that_stands_still_does_not_count(value, parts):
    target, prediction = make(4)
    without = {name: np.delete(a, 2, axis=2) if "behavior" in name else a for name, a in target.items()}
    for part in parts:
        known = ~np.isnan(target[f"{part}_behavior"][..., 2])
        target[f"{part}_behavior"][known, 2] = value
    assert decoding(target, prediction) == decoding(without, prediction)
    assert decoding(target, prediction) == pytest.approx(
        by_scikit_learn(target, prediction, [0, 1, 3]).mean(), abs=1e-9
    )
    assert score_intervals(target, prediction, 50, 0)["vel R2"] == score_intervals(without, prediction, 50, 0)["vel R2"]
    (note,), reason = left_out(target, {"behavior": {"series": "emg", "lag_ms": 0}})
    assert note.startswith("emg R2 leaves out channel 2 of the 4 of emg (counted from 0)") and reason == ""


def test_a_constant_channel_is_recognised_behind_the_filters_rounding():
    target, prediction = make(3)
    rng, still = np.random.default_rng(0), make(3)[0]
    for part in ("train", "eval"):
        still[f"{part}_behavior"][..., 1] = 0.1
        target[f"{part}_behavior"][..., 1] = 0.1 + 3e-17 * rng.integers(-2, 3, target[f"{part}_behavior"].shape[:2])
    assert counted_channels(target["train_behavior"], target["eval_behavior"]).tolist() == [[True, False, True]]
    assert decoding(target, prediction) == decoding(still, prediction)


def test_a_channel_may_stand_still_for_one_decoder_alone():
    target, prediction = make(2, masks=True)
    kind = target["eval_decode_mask"][:, 0]
    target["eval_behavior"][kind, :, 0] = 5.0
    alone = {}
    for kind_of in (0, 1):
        rows = {part: target[f"{part}_decode_mask"][:, kind_of] for part in ("train", "eval")}
        cut = [{n: a[rows[n.split("_")[0]]] for n, a in group.items() if "mask" not in n} for group in
               (target, prediction)]  # fmt: skip
        alone[kind_of] = by_scikit_learn(*cut, [1] if kind_of == 0 else [0, 1]).mean()
    assert decoding(target, prediction) == pytest.approx(np.mean([*alone.values()]), abs=1e-9)
    definition = {"behavior": {"series": "hand_vel", "lag_ms": 0}, "decoders": {"column": "passive", "values": [0, 1]}}
    (note,), _ = left_out(target, definition)
    assert "vel R2 leaves out channel 0 of the 2 of hand_vel" in note and "trials with passive 0 has no R2" in note


def test_without_a_channel_that_varies_there_is_no_r2():
    target, prediction = make(3)
    target["train_behavior"][..., :2] = 1.0
    target["eval_behavior"][..., 2] = 0.1
    assert "vel R2" not in score(target, prediction) and "vel R2" not in bootstrap_scores(target, prediction, 20, 0)
    notes, reason = left_out(target, {"behavior": {"series": "torque", "lag_ms": 0}})
    assert reason == "no channel of torque varies both in the training and in the evaluation trials"
    assert notes == [f"There is no torque R2: {reason}."]


def test_bins_with_a_gap_in_any_channel_are_left_out():
    target, prediction = make(3)
    target["train_behavior"][3:6, 4, 1] = target["train_behavior"][8, :, 2] = np.nan
    target["eval_behavior"][2:5, :7, 1] = target["eval_behavior"][9, 5:, 0] = np.nan
    expected = by_scikit_learn(target, prediction, [0, 1, 2]).mean()
    assert decoding(target, prediction) == pytest.approx(expected, abs=1e-9)
    statistic = trial_statistics(target, prediction)["vel R2"]
    assert statistic.score(np.ones((1, EVAL)))[0] == pytest.approx(expected, abs=1e-9)
    target["eval_behavior"][..., 1] = np.nan
    with pytest.raises(NlbflowError, match=r"at least 5 bins .* every channel of eval_behavior is known, but found 0"):
        decoding(target, prediction)
    assert left_out(target, {"behavior": {"series": "emg", "lag_ms": 0}})[1]


def test_draws_in_which_a_channel_stands_still_have_no_score():
    target, prediction = make(2)
    target["eval_behavior"][..., 1] = 0.0
    target["eval_behavior"][4, 5:, 1] = np.arange(BINS - 5)
    statistic = trial_statistics(target, prediction)["vel R2"]
    weights = np.ones((2, EVAL))
    weights[1, 4] = 0
    assert np.isfinite(decoding(target, prediction))
    assert np.isnan(statistic.score(weights)).tolist() == [False, True]
    assert score_intervals(target, prediction, 200, 0)["vel R2"] is None


@pytest.mark.parametrize(
    ("series", "name"),
    [
        *((s, "vel R2") for s in ("hand_vel", "finger_vel", "cursorVelocity", "handVel", "VEL_X", "vel", None)),
        *((s, f"{s} R2") for s in ("emg", "torque", "level", "travel", "emg_envelope", "hand_pos", "EMG LEVEL")),
        *((s, f"decoded {s} R2") for s in ("state", "rate", "psth")),
    ],
)  # fmt: skip
def test_the_metric_is_named_after_the_series(series, name):
    assert name_of(series) == name and is_decoded(name)
    definition = {"behavior": {"series": f"nested/{series}", "lag_ms": 0}} if series else {"behavior": {"columns": []}}
    assert series_of(definition) == series
    found = {"co-bps": 0.1, "vel R2": 0.5, "psth R2": 0.2}
    assert renamed(found, series) == {"co-bps": 0.1, name: 0.5, "psth R2": 0.2}


def test_decoded_series_stand_where_velocity_does():
    found = ["rate R2", "fp-bps", "torque R2", "state R2", "psth R2", "vel R2", "latent dimension", "co-bps", "emg R2"]
    assert benchmark_metrics(found) == ["co-bps", "vel R2", "emg R2", "torque R2", "psth R2", "fp-bps"]
    here = {"co-bps", "emg R2"}
    assert why_missing("emg R2", "null", {"co-bps"}, here) == "not of the null model"
    assert why_missing("emg R2", "competitor", {"co-bps"}, {"co-bps"}, {"behavior": "it rests"}) == "it rests"
    assert why_missing("state R2", "competitor", {"co-bps"}, {"co-bps"}, {"behavior": "it rests"}) != "it rests"


def test_edges():
    rng = np.random.default_rng(0)
    rates = rng.random((1, 30, 1))
    for channels in (1, 3):
        behavior = rates * np.arange(1, channels + 1)
        assert velocity_r2(rates, behavior, rates, behavior) > 0.9
