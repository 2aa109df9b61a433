"""Behavior of a lab's recording: series of any rate, with gaps, units and faults, are read right or refused."""

import h5py
import numpy as np
import pytest

from nlbflow.errors import NlbflowError
from nlbflow.recordings.notes import summarise
from nlbflow.recordings.tensors import make_input
from own_recordings import PITCH_S, STANZA, TIMES, TRIALS, movement, series, write_recording


@pytest.mark.parametrize("rate", [100.0, 250.0, 500.0, 30_000.0])
def test_behaviour_of_any_rate_is_brought_to_1_khz(cut, rate):
    expected = cut()[0]["train_behavior"]
    made = cut(series=[series(rate)], trials=TRIALS)
    found = made[0]["train_behavior"]
    # linear interpolation of a 1.1 Hz sine of 100 mm/s between samples 10 ms apart errs by 0.06 mm/s
    assert np.abs(found - expected).max() < 0.1
    assert made[2].series["rate_hz"] == pytest.approx(rate)
    notes = summarise(*made[:2], {"definition": STANZA, "bin_ms": 5, "version": "1"}, made[2])[1]
    told = "hand_vel has 100 samples per second, fewer than the 200 bins"
    assert any(told in note for note in notes) == (rate == 100.0)


def test_a_fast_series_is_filtered_against_aliasing(cut):
    seconds = np.arange(0, TRIALS * PITCH_S, 1 / 5000)
    noisy = movement(seconds) + 100 * np.sin(2 * np.pi * 1003 * seconds)[:, None]  # would look like 3 Hz at 1 kHz
    expected = cut()[0]["train_behavior"]
    assert np.abs(cut(series=[series(5000.0, data=noisy)])[0]["train_behavior"] - expected).max() < 1.0


def test_jittered_timestamps_and_gaps(cut):
    rng = np.random.default_rng(0)
    seconds = np.arange(0, TRIALS * PITCH_S, 0.004)
    seconds = seconds + rng.uniform(-0.001, 0.001, len(seconds))
    seconds = seconds[(seconds < 30.0) | (seconds > 34.0)]
    jittered = series(data=movement(seconds), timestamps=seconds, rate=None, starting_time=None)
    expected, found = cut()[0]["train_behavior"], cut(series=[jittered])[0]["train_behavior"]
    unknown = np.isnan(found)
    assert 0 < unknown.mean() < 0.1 and (unknown[..., 0] == unknown[..., 1]).all()
    away = ~unknown & ~np.isnan(expected)
    # near the gap the anti-alias filter reaches into what was interpolated, as in the reference
    assert np.percentile(np.abs(found - expected)[away], 90) < 0.2


def test_conversion_and_offset_are_applied(cut):
    expected = cut()[0]["train_behavior"]
    made = cut(
        series=[series(data=movement(np.arange(0, 120, 0.001)) * 1000, conversion=0.001, offset=5.0, unit="m/s")]
    )
    assert np.allclose(made[0]["train_behavior"], expected + 5.0, atol=1e-6)
    assert made[2].series["unit"] == "m/s"
    summary = summarise(*made[:2], {"definition": STANZA, "bin_ms": 5, "version": "1"}, made[2])[0]
    assert any("hand_vel in m/s, 1000 Hz" in text for _, text in summary)


def spoil(times: np.ndarray, **at: float) -> np.ndarray:
    times = times.copy()
    for index, value in at.items():
        times[int(index[1:])] = value
    return times


@pytest.mark.parametrize(
    ("times", "sentence"),
    [
        (spoil(TIMES, i5=0.001), "timestamps that are not ascending"),
        (spoil(TIMES, i5=0.004), "timestamps that are repeated"),
        (spoil(TIMES, i5=np.nan), "1 timestamps that are not numbers"),
        (TIMES[:-3], "120,000 samples and 119,997 timestamps"),
        (TIMES[:, None], r"timestamps of the series hand_vel have the shape \(120000, 1\)"),
    ],
)
def test_times_that_make_no_series_are_refused(tmp_path, times, sentence):
    path = write_recording(tmp_path / "own.nwb", series=[])
    with h5py.File(path, "a") as file:
        group = file.require_group("processing/behavior/hand_vel")
        group["data"], group["timestamps"] = movement(TIMES), times
    with pytest.raises(NlbflowError, match=sentence):
        make_input({"whole": path}, STANZA, 5, "val")


def test_behaviour_times_in_ms_are_refused(cut):
    in_ms = series(data=movement(TIMES), timestamps=TIMES * 1000, rate=None, starting_time=None)
    with pytest.raises(NlbflowError, match=r"of the samples of the series hand_vel .* outside of the recording .* ms"):
        cut(series=[in_ms])


def test_swapped_axes_are_refused(cut):
    with pytest.raises(NlbflowError, match="2 samples of 500 channels"):
        cut(series=[series(data=np.zeros((2, 500)))])
