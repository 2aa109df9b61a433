"""Tensors and metrics of the four layouts against nlb_tools 0.0.4, run live on small simulated sessions.

NLBFLOW_PARITY_SEEDS is the number of sessions per layout. Where nlb_tools itself fails or misaligns (specification,
section 7, item 16), its cutting is kept and only its stacking is replaced: see `lenient`.
"""

import copy
import logging
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from test_parity import PLACES, compare, definition, predictions

import layouts
from nlbflow.metrics.formulas import score
from nlbflow.recordings.nwb import Recording
from nlbflow.recordings.targets import make_target
from nlbflow.recordings.tensors import SPLITS, make_input

pytestmark = pytest.mark.filterwarnings("ignore")

WRITERS = {
    "mc_maze_small": layouts.write_maze,
    "mc_rtt": layouts.write_rtt,
    "area2_bump": layouts.write_area2,
    "dmfc_rsg": layouts.write_dmfc,
}
EVENTS = {"mc_rtt": "start_time", "dmfc_rsg": "go_time"}
SEEDS = range(int(os.environ.get("NLBFLOW_PARITY_SEEDS", "5")))


@pytest.fixture(scope="module", params=[(name, seed) for name in WRITERS for seed in SEEDS], ids=str)
def session(request, tmp_path_factory):
    """Name and seed, paths, and the sessions as nlb_tools loads them."""
    name, seed = request.param
    paths = WRITERS[name](tmp_path_factory.mktemp(name), seed)
    nlb_tools = request.getfixturevalue("nlb_tools")
    logging.disable(logging.CRITICAL)
    yield name, seed, paths, cache(lambda part: nlb_tools.nwb_interface.NWBDataset(str(paths[part].parent)))
    logging.disable(logging.NOTSET)


def lenient(tools, monkeypatch) -> None:
    """nlb_tools without its failures: rows with NaN stay, spikes of overlapping windows are not cut, trials without
    the event are left out, and rows that a file does not have are NaN. Which rows a window has is still its own."""
    jagged = tools.make_jagged_array

    def pad(dataset, fields, make_params, include_trials, **front):
        known = include_trials & dataset.trial_info[make_params["align_field"]].notna()
        if front.get("pad") == "front":
            front["jitter"] = front["jitter"][known[include_trials]]
            return jagged(dataset, fields, make_params | {"allow_nans": True}, known, **front)
        low, high = make_params["align_range"]
        bins = int(high - low) // dataset.bin_width
        cut = dict(list(dataset.make_trial_data(ignored_trials=~include_trials, **make_params).groupby("trial_id")))
        arrays = {f: np.full((known.sum(), bins, dataset.data[f].shape[1]), np.nan) for f in fields}
        for f in fields:
            for row, trial in enumerate(np.flatnonzero(known)):
                values = cut[trial][f].to_numpy() if trial in cut else np.empty((0, arrays[f].shape[2]))
                arrays[f][row, : len(values)] = values
        return [arrays]

    def stack(dataset, fields, make_params, include_trials):
        uncut = make_params | {"allow_nans": True, "allow_overlap": True}
        return {f: a.astype(np.float16) for f, a in pad(dataset, fields, uncut, include_trials)[0].items()}

    monkeypatch.setattr(tools, "make_jagged_array", pad)
    monkeypatch.setattr(tools, "make_stacked_array", stack)


def without_lost(dataset, event: str, splits: dict, tensors: dict) -> dict:
    """Arrays that nlb_tools takes from the trial table also hold the trials without the event: these go."""
    known = {p: dataset.trial_info[event][dataset.trial_info.split.isin(s)].notna() for p, s in splits.items()}
    return {
        name: values
        if name == "psth" or name.endswith("cond_idx") or len(values) != len(known[name.split("_")[0]])
        else values[known[name.split("_")[0]]]
        for name, values in tensors.items()
    }


def bin_at(dataset, bin_ms: int):
    dataset = copy.deepcopy(dataset)
    dataset.resample(bin_ms)
    return dataset


@pytest.mark.parametrize(("bin_ms", "phase"), PLACES)
def test_layout(session, nlb_tools, monkeypatch, bin_ms, phase):
    name, seed, paths, load = session
    tools, stanza, cases = nlb_tools.make_tensors, definition(name), layouts.cases_of(seed)
    splits, event = SPLITS[phase], EVENTS.get(name, "move_onset_time")
    if cases:
        lenient(tools, monkeypatch)

    ours, _ = make_input({part: paths[part] for part in ("train", "test")}, stanza, bin_ms, phase)
    dataset = bin_at(load("test"), bin_ms)
    theirs = tools.make_train_input_tensors(
        dataset, name, splits["train"], include_behavior=True, include_forward_pred=True, save_file=False
    )
    theirs |= tools.make_eval_input_tensors(dataset, name, splits["eval"][0], save_file=False)
    theirs.pop("eval_spikes_heldout", None)
    check(ours, without_lost(dataset, event, splits, theirs), {"train_condition"})

    answers = "truth" if phase == "test" else "test"
    target, _ = make_target({part: paths[part] for part in ("train", answers)}, stanza, bin_ms, phase)
    if phase == "test":
        dataset = bin_at(load("truth"), bin_ms)
    try:
        theirs = tools.make_eval_target_tensors(
            dataset, name, splits["train"], splits["eval"][0], include_psth=True, save_file=False
        )
    except TypeError as error:
        if "NaT" not in str(error):
            raise
        pytest.skip(f"nlb_tools cannot cut this session, which overlaps and has unknown events: {error}")
    theirs = without_lost(dataset, event, splits, next(iter(theirs.values())))
    if "no_forward" in cases and phase == "test":
        for forward in ("eval_spikes_heldin_forward", "eval_spikes_heldout_forward"):
            # what follows in the reference's frame is the next file's
            missing = np.isnan(theirs[forward][-1, :, 0])
            assert missing.any()
            theirs[forward][-1, missing.argmax() :] = np.nan
    check(target, theirs, set())
    if phase == "test":
        same, _ = make_input({"train": paths["train"], "test": paths["truth"]}, stanza, bin_ms, phase)
        assert np.array_equal(same["eval_spikes_heldin"], ours["eval_spikes_heldin"], equal_nan=True)
    for prediction in predictions(target, ours, seed).values():
        compare_scores(nlb_tools, name, bin_ms, target, theirs, prediction)


def check(ours: dict, theirs: dict, extra: set[str]) -> None:
    assert set(ours) == set(theirs) | extra
    exact = {n for n in theirs if n.endswith(("decode_mask", "jitter"))}
    for name in exact:
        assert np.array_equal(ours[name], theirs[name].astype(int)), name
    compare(ours, {n: v for n, v in theirs.items() if n not in exact})


def compare_scores(nlb_tools, name: str, bin_ms: int, target: dict, theirs: dict, prediction: dict) -> None:
    group = name if bin_ms == 5 else f"{name}_{bin_ms}"
    (result,) = nlb_tools.evaluation.evaluate({group: theirs}, {group: {n: r.copy() for n, r in prediction.items()}})
    (expected,) = result.values()
    expected = {metric.removeprefix("[100] "): value for metric, value in expected.items()}
    assert score(target, prediction) == pytest.approx(expected, abs=1e-9, rel=0)


@pytest.fixture
def write(tmp_path):
    """Writes a file with one held-in and one held-out unit of the same spikes, all times in s."""

    def write(spikes: list[float], intervals: list, events: list[float]) -> Path:
        count = len(events)
        columns = {"start_time": np.zeros(count), "stop_time": np.ones(count), "go_time": 1000 * np.array(events)}
        columns["split"] = np.array(["train"] * (count - 1) + ["val"])
        part = layouts.Part(columns, 1000 * np.array(intervals), [1000 * np.array(spikes)] * 2)
        layouts.write_nwb(tmp_path / "tiny.nwb", part, np.array([7, 3]), np.array([False, True]))
        return tmp_path / "tiny.nwb"

    return write


TINY = {"align": "go_time", "window_ms": [0, 100], "forward_ms": 20, "reference": "nlb_tools", "overlap": "allow"}


def test_spike_edges(write):
    edges = [1.0 - 1e-6, 1.5 - 1e-9, 2.0 - 1e-10, 2.5, 3.0 + 1e-10]
    found = Recording(write(edges, [(0, 4)], [0.1, 0.2]), TINY).units(heldout=False).spike_ms[0]
    assert found.tolist() == [999, 1499, 2000, 2500, 3000]


def test_observed_intervals(write):
    path = write([0.0005, 0.005], [(0.0004, 0.0099), (0.0200, 0.5)], [0.0, 0.1])
    assert Recording(path, TINY).units(heldout=False).stretches.tolist() == [[1, 9], [20, 500]]
    for bin_ms, unobserved in ((5, [0, 2, 3]), (20, [0])):
        # the bin of the first millisecond decides: 5 to 10 ms is known though its last ms is not
        spikes = make_input({"train": path}, TINY, bin_ms, "val")[0]["train_spikes_heldin"][0, :, 0]
        assert np.flatnonzero(np.isnan(spikes)).tolist() == unobserved
        assert np.nansum(spikes) == (bin_ms == 5)


@pytest.mark.parametrize(("bin_ms", "first"), [(5, 1.005), (20, 1.02)])
def test_event_off_the_grid(write, bin_ms, first):
    width = bin_ms / 1000
    path = write([1.0004, first, first + width - 0.001, first + width], [(0, 3)], [1.0003, 1.5])
    arrays, _ = make_input({"train": path}, TINY, bin_ms, "val")
    counts = arrays["train_spikes_heldin"][0, :, 0]
    assert counts.tolist() == [2, 1] + [0] * (100 // bin_ms - 2)
