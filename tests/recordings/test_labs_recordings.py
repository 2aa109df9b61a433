"""A lab's recording is read right or refused: whatever in the file or the stanza changes what the numbers mean."""

import h5py
import numpy as np
import pytest

from nlbflow.errors import NlbflowError
from nlbflow.recordings.nwb import Recording
from nlbflow.recordings.stretches import common, inside, merge_stretches
from nlbflow.recordings.targets import make_target
from nlbflow.recordings.tensors import cut_input, make_input
from own_recordings import ONSET_S, PITCH_S, RATE_HZ, STANZA, TRIALS, UNITS, movement, notes_of, series, write_recording


def rate_hz(arrays: dict) -> float:
    return float(np.mean(arrays["train_spikes_heldin"], dtype=float) / 0.005)


def test_clean(cut, tmp_path):
    made = cut()
    arrays, absent, facts = made
    assert arrays["train_spikes_heldin"].shape == (36, 140, 9) and not absent
    assert rate_hz(arrays) == pytest.approx(RATE_HZ, rel=0.05)
    assert facts.spikes_inside == 1.0 and facts.shared == (0.0, 0.0)
    assert notes_of(made) == []
    split = Recording(tmp_path / "own.nwb", STANZA).columns["split"].astype(str)
    trials = np.flatnonzero(split == "train")
    begins = trials[:, None] * PITCH_S + ONSET_S - 0.25 + 0.1 + 0.005 * np.arange(140)
    # within 250 ms of the recording's ends the anti-alias filter reaches beyond them, as in the reference
    inner = (trials > 0) & (trials < TRIALS - 1)
    expected = movement(begins[inner].ravel()).reshape(-1, 140, 2)
    assert np.abs(arrays["train_behavior"][inner] - expected).max() < 0.2


@pytest.mark.parametrize("observed", [False, True])
def test_spike_times_in_ms_are_refused(cut, observed):
    intervals = {} if observed else None
    with pytest.raises(NlbflowError, match=r"\d+% of the spikes lie outside .* median rate .* spikes/s.*in ms"):
        cut(spikes_scale=1000.0, intervals=intervals)


def test_trial_times_in_ms_are_refused(cut):
    begins = 1000 * PITCH_S * np.arange(TRIALS)
    columns = {"start_time": begins, "stop_time": begins + 2000, "move_onset_time": begins + 600}
    with pytest.raises(NlbflowError, match=r"of the trials .* begin after the last spike .* in ms"):
        cut(columns=columns)


def test_unit_observed_in_part_of_the_session_is_dropped_and_told(cut):
    part = {3: np.array([[0.0, 60.0]])}
    made = cut(intervals=part)
    arrays, _, facts = made
    assert facts.dropped_units == [3]
    assert sum(arrays[f"train_spikes_{g}"].shape[2] for g in ("heldin", "heldout")) == UNITS - 1
    assert rate_hz(arrays) == pytest.approx(RATE_HZ, rel=0.05)
    assert "1 units are left out, observed in some of the trials only: 3." in notes_of(made)


def test_or_the_trials_in_which_all_units_are_observed_are_kept(cut, tmp_path):
    made = cut({"partly_observed": "drop_trial"}, intervals={3: np.array([[0.0, 60.0]])})
    arrays, _, facts = made
    # the unit's last whole window is that of trial 29; the test trials are not of this phase
    split = Recording(tmp_path / "own.nwb", STANZA).columns["split"].astype(str)
    gone = int((split[30:] != "test").sum())
    assert facts.dropped_units == [] and facts.left_out == [("not every unit observed", gone)]
    assert sum(arrays[f"train_spikes_{g}"].shape[2] for g in ("heldin", "heldout")) == UNITS
    assert not any(np.isnan(array).any() for name, array in arrays.items() if "spikes" in name)
    assert any("more than a tenth" in note for note in notes_of(made))


def test_units_that_were_never_observed_together_are_refused(cut):
    halves = {u: np.array([[0.0, 60.0]] if u % 2 else [[60.0, 120.0]]) for u in range(UNITS)}
    with pytest.raises(NlbflowError, match=r"12 of 12 units were observed in some of the trials only.*drop_trial"):
        cut(intervals=halves)


WIDE = {"window_ms": [-1500, 2000], "behavior": {"series": "hand_vel", "lag_ms": 0}}


def test_overlap_of_evaluation_and_training_windows_is_refused_with_its_share(cut):
    with pytest.raises(NlbflowError, match=r"\d+\.\d% of the evaluation bins .*`overlap: allow`"):
        cut(WIDE)


def test_overlap_is_counted_as_in_the_arrays(cut):
    made = cut(WIDE | {"overlap": "allow"}, bin_ms=20)
    share, trials = made[2].shared
    # by hand: which ms of the evaluation trials' windows lie in a training trial's
    split = np.full(TRIALS, "train", object)
    order = np.random.default_rng(0).permutation(TRIALS)
    split[order[:12]], split[order[12:24]] = "val", "test"
    events = np.arange(TRIALS) * 2000 + 600
    # windows that reach beyond the recording are left out
    inside = (events - 1500 >= 0) & (events + 2200 + 19 <= TRIALS * 2000)
    seen = np.zeros(TRIALS * 2000, bool)
    for event in events[(split == "train") & inside]:
        seen[event - 1500 : event + 2200] = True
    windows = [seen[e - 1500 : e + 2200] for e in events[(split == "val") & inside]]
    assert share == pytest.approx(np.mean(windows))
    assert trials == pytest.approx(np.mean([w.any() for w in windows]))
    assert any("also lie in windows of training trials" in note for note in notes_of(made, WIDE, 20))


def test_overlap_is_found_between_files_of_one_session(tmp_path):
    """A test file that was cut from the training session, on its clock; other spikes at these times are none."""
    every, shift = ["train"] * TRIALS, 0.3
    train = write_recording(tmp_path / "train.nwb", columns={"split": every, "heldout": every})
    begins = PITCH_S * np.arange(TRIALS) + shift
    columns = {"start_time": begins, "move_onset_time": begins + ONSET_S, "split": ["test"] * TRIALS}
    test = write_recording(tmp_path / "test.nwb", columns=columns)
    other = write_recording(tmp_path / "other.nwb", columns=columns, seed=1)
    stanza = STANZA | {"heldout": {"ids": [2, 5]}, "split": {"column": "split"}}
    del stanza["behavior"]
    with pytest.raises(NlbflowError, match=r"evaluation bins"):
        make_input({"train": train, "test": test}, stanza, 5, "test")
    made = cut_input({"train": train, "test": other}, stanza, 5, "test")
    assert made[2].shared == (0.0, 0.0)


def test_split_in_blocks_keeps_neighbours_together(cut, tmp_path):
    cut({"split": {"val": 0.2, "test": 0.2, "seed": 0, "blocks": 10}})
    rule = {"split": {"val": 0.2, "test": 0.2, "seed": 0, "blocks": 10}, "heldout": {"ids": [1]}}
    split = Recording(tmp_path / "own.nwb", rule).columns["split"].astype(str).reshape(10, 6)
    assert (split == split[:, :1]).all()
    assert sorted(split[:, 0].tolist()) == ["test"] * 2 + ["train"] * 6 + ["val"] * 2
    with pytest.raises(NlbflowError, match=r"split\.blocks: 2"):
        cut({"split": {"val": 0.2, "test": 0.2, "seed": 0, "blocks": 2}})


@pytest.mark.parametrize("start_s", [-20.0, 20.0, 1e6])
def test_a_session_may_start_anywhere(cut, start_s):
    expected, found = cut()[0], cut(start_s=start_s)[0]
    for name, array in expected.items():
        if name == "train_behavior":
            assert np.allclose(array, found[name], atol=1e-6, equal_nan=True)
        else:
            assert np.array_equal(array, found[name]), name


def test_units_with_one_id_are_refused(cut):
    with pytest.raises(NlbflowError, match=r"more than one unit with the id 4"):
        cut(ids=[0, 1, 2, 3, 4, 4, *range(6, 12)])


def test_trials_without_their_event_are_counted(cut):
    onsets = PITCH_S * np.arange(TRIALS) + ONSET_S
    onsets[[5, 17, 40]] = np.nan
    made = cut(phase="test", columns={"move_onset_time": onsets})
    assert made[2].left_out == [("no move_onset_time", 3)]
    assert "3 of 60 trials are left out, 3 with no move_onset_time." in notes_of(made)


def test_only_selected_trials_and_units(cut, tmp_path):
    result = np.array(["R", "R", "F"] * 20)
    made = cut({"trials": {"column": "result", "values": ["R"]}}, columns={"result": result}, phase="test")
    assert made[2].not_selected == 20
    assert len(made[0]["train_spikes_heldin"]) + len(made[0]["eval_spikes_heldin"]) == 40
    with pytest.raises(NlbflowError, match=r"no row of the column 'result' holds 'X'.* it holds F, R"):
        cut({"trials": {"column": "result", "values": ["X"]}}, columns={"result": result})
    with pytest.raises(NlbflowError, match=r"has no column 'block', which `trials.column` names; it has"):
        cut({"trials": {"column": "block", "values": [2]}})
    path = write_recording(tmp_path / "quality.nwb")
    with h5py.File(path, "a") as file:
        file["units/quality"] = np.array(["good"] * 10 + ["mua"] * 2, dtype=h5py.string_dtype())
    arrays, _ = make_input({"whole": path}, STANZA | {"units": {"column": "quality", "values": ["good"]}}, 5, "val")
    assert sum(arrays[f"train_spikes_{g}"].shape[2] for g in ("heldin", "heldout")) == 10


def test_trials_in_a_table_of_another_name(cut):
    with pytest.raises(NlbflowError, match=r"no /intervals/trials.*table: NAME}` in the stanza: reaches"):
        cut(table="reaches")
    assert len(cut({"trials": {"table": "reaches"}}, table="reaches")[0]["train_spikes_heldin"]) == 36


def test_conditions_that_trials_do_not_share_have_no_psth(cut, tmp_path):
    stanza = {"conditions": ["move_onset_time"], "psth_kernel_ms": 50}
    made = cut(stanza)
    assert any("There is no psth R2: 48 of 48 trials are alone" in note for note in notes_of(made, stanza))
    target, absent = make_target({"whole": tmp_path / "own.nwb"}, STANZA | stanza, 5, "val")
    assert "alone in their condition" in absent["psth"] and "psth" not in target


def test_windows_beyond_the_recording_are_left_out(cut):
    onsets = PITCH_S * np.arange(TRIALS) + ONSET_S
    onsets[0], onsets[-1] = 0.1, TRIALS * PITCH_S - 0.2
    made = cut(phase="test", columns={"move_onset_time": onsets})
    assert made[2].left_out == [("window beyond the recording", 2)]
    assert not any(np.isnan(array).any() for name, array in made[0].items() if "spikes" in name)


def test_names_that_are_not_there_are_answered_with_those_that_are(cut):
    with pytest.raises(NlbflowError, match=r"no behaviour series named 'hand_velocity'.*processing/behavior/hand_vel"):
        cut({"behavior": {"series": "hand_velocity", "lag_ms": 0}})
    with pytest.raises(
        NlbflowError, match=r"no trial column 'go'; it has move_onset_time, start_time, stop_time"
    ) as told:
        cut({"align": "go"})
    assert "split" not in str(told.value).replace("split:", "")


def test_invalid_times_are_honoured(tmp_path):
    path = write_recording(tmp_path / "own.nwb")
    with h5py.File(path, "a") as file:
        table = file.create_group("intervals/invalid_times")
        table["start_time"], table["stop_time"] = np.array([10.5]), np.array([10.7])
    made = cut_input({"whole": path}, STANZA, 5, "test")
    assert made[2].left_out == [("window not observed throughout", 1)]


def test_constant_and_silent_are_told(cut, tmp_path):
    seconds = np.arange(0, TRIALS * PITCH_S, 0.001)
    still = movement(seconds)
    still[:, 1] = 3.0
    assert any(
        "channel 1 of 2 (counted from 0) never changes" in note for note in notes_of(cut(series=[series(data=still)]))
    )


def test_no_usable_trial_is_refused(cut):
    onsets = np.full(TRIALS, np.nan)
    with pytest.raises(NlbflowError, match=r"none of the 60 trials can be used .60 with no move_onset_time."):
        cut(columns={"move_onset_time": onsets})


def test_a_unit_that_saw_a_little_more_does_not_cost_the_others(cut):
    """The last trial was seen by one unit of twelve: the trial goes, not eleven units."""
    made = cut(phase="test", intervals={u: np.array([[0.0, 119.0]]) for u in range(UNITS - 1)})
    assert made[2].dropped_units == [] and made[2].left_out == [("window not observed throughout", 1)]


@pytest.mark.parametrize("order", ["reversed", "shuffled"])
def test_trials_need_not_be_in_the_order_of_time(cut, tmp_path, order):
    begins = PITCH_S * np.arange(TRIALS)
    begins = begins[::-1] if order == "reversed" else np.random.default_rng(0).permutation(begins)
    columns = {"start_time": begins, "stop_time": begins + PITCH_S, "move_onset_time": begins + ONSET_S}
    arrays = cut(columns={**columns, "kind": np.arange(TRIALS) % 2})[0]
    assert not np.isnan(arrays["train_behavior"]).any()
    stanza = STANZA | {"conditions": ["kind"], "psth_kernel_ms": 50}
    target, _ = make_target({"whole": tmp_path / "own.nwb"}, stanza, 5, "val")
    assert sum(map(len, target["train_cond_idx"])) == len(arrays["train_behavior"])


def test_nothing_was_recorded_before_the_first_and_after_the_last_spike(tmp_path):
    path = write_recording(tmp_path / "own.nwb")
    with h5py.File(path, "a") as file:
        times, ends = file["units/spike_times"][()], file["units/spike_times_index"][()]
        kept = [part[(part > 20) & (part < 80)] for part in np.split(times, ends[:-1].astype(int))]
        del file["units/spike_times"]
        file["units/spike_times"] = np.concatenate(kept)
        file["units/spike_times_index"][()] = np.cumsum([len(part) for part in kept])
    made = cut_input({"whole": path}, STANZA, 5, "test")
    assert made[2].left_out == [("window beyond the recording", 30)]
    assert (made[0]["train_spikes_heldin"].sum(axis=(1, 2)) > 0).all()


def test_a_session_may_end_before_0(cut):
    onsets = PITCH_S * np.arange(TRIALS) + ONSET_S - 200.0
    onsets[-1] = -80.1
    made = cut(start_s=-200.0, phase="test", columns={"move_onset_time": onsets})
    assert made[2].left_out == [("window beyond the recording", 1)]


def test_events_since_the_trial_began_are_refused(cut):
    with pytest.raises(NlbflowError, match=r"'move_onset_time' lie outside of their own trial.*session's clock"):
        cut(columns={"move_onset_time": np.full(TRIALS, ONSET_S)})


def test_a_column_of_held_out_units_must_say_yes_or_no(tmp_path):
    path = write_recording(tmp_path / "own.nwb")
    for values, fits in (([0] * 9 + [1] * 3, True), ([0.0] * 11 + [np.nan], False), (["True"] * 12, False)):
        with h5py.File(path, "a") as file:
            file.pop("units/heldout", None)
            text = h5py.string_dtype() if isinstance(values[0], str) else None
            file["units"].create_dataset("heldout", data=values, dtype=text)
        stanza = STANZA | {"heldout": {"column": "heldout"}}
        if fits:
            assert make_input({"whole": path}, stanza, 5, "val")[0]["train_spikes_heldout"].shape[2] == 3
        else:
            with pytest.raises(NlbflowError, match="expected true and false, or 1 and 0"):
                make_input({"whole": path}, stanza, 5, "val")


def test_common_stretches_are_those_of_both():
    rng = np.random.default_rng(0)
    a, b = (merge_stretches(np.sort(rng.integers(0, 300, (20, 2)), axis=1)) for _ in range(2))
    a, b = a[::2], b[1::2] if len(b) > 1 else b
    rows = np.arange(300)
    both = (inside(a, rows) >= 0) & (inside(b, rows) >= 0)
    assert np.array_equal(inside(common(a, b), rows) >= 0, both)
