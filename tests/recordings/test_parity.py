"""Tensors and metrics against nlb_tools 0.0.4, run live on the same files (specification, section 7)."""

import logging
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from scipy.ndimage import gaussian_filter1d

from nlbflow.archive.pins import read_pins
from nlbflow.errors import NlbflowError
from nlbflow.metrics.formulas import score
from nlbflow.recordings.datasets import SIMULATED
from nlbflow.recordings.simulator.nwb import write_session
from nlbflow.recordings.simulator.session import simulate
from nlbflow.recordings.targets import make_target
from nlbflow.recordings.tensors import SPLITS, make_input
from workflow import ROOT

pytestmark = pytest.mark.filterwarnings("ignore")

PLACES = [(bin_ms, phase) for bin_ms in (5, 20) for phase in ("val", "test")]
SETTINGS = {"conditions": 4, "train_trials": 20, "val_trials": 9, "test_trials": 11, "heldin": 14, "heldout": 6}


def definition(name: str, file: str = "resources/datasets.yaml") -> dict:
    return yaml.safe_load((ROOT / file).read_text())["datasets"][name]


@pytest.fixture(scope="module", params=[3, 4])
def session(request, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("session")
    paths = {part: folder / name for part, name in SIMULATED.items()}
    write_session(simulate({"seed": request.param, **SETTINGS}), paths)
    return paths


def reference(nlb_tools, folder: Path, phase: str, bin_ms: int, stanza: dict) -> tuple[dict, dict | None]:
    """nlb_tools' input tensors and, where the folder holds the answers, its target tensors."""
    logging.disable(logging.CRITICAL)
    tools = nlb_tools.make_tensors
    dataset = tools.NWBDataset(str(folder), "")
    dataset.resample(bin_ms)
    cutting = {"align_field": stanza["align"], "align_range": tuple(stanza["window_ms"])}
    update = {
        "make_params": cutting,
        "eval_make_params": cutting,
        "lag": stanza["behavior"]["lag_ms"],
        "fp_len": stanza["forward_ms"],
        "psth_params": {
            "cond_fields": stanza["conditions"],
            "make_params": cutting,
            "kern_sd": stanza["psth_kernel_ms"],
        },
    }
    train, evaluated = SPLITS[phase]["train"], SPLITS[phase]["eval"][0]
    keep = {"update_params": update, "save_file": False}
    tensors = tools.make_train_input_tensors(
        dataset, "mc_maze_small", train, include_behavior=True, include_forward_pred=True, **keep
    )
    tensors |= tools.make_eval_input_tensors(dataset, "mc_maze_small", evaluated, **keep)
    if phase == "test" and "heldout_spikes" in tensors:
        return tensors, None
    try:
        target = tools.make_eval_target_tensors(dataset, "mc_maze_small", train, evaluated, include_psth=True, **keep)
    except ValueError:  # a real test file has no held-out spikes to stack
        return tensors, None
    logging.disable(logging.NOTSET)
    return tensors, target


def compare(ours: dict, theirs: dict) -> None:
    for name, expected in theirs.items():
        found = ours[name]
        if name.endswith("cond_idx"):
            assert [f.tolist() for f in found] == [e.tolist() for e in expected], name
        elif "spikes" in name:
            assert found.dtype == np.float16 and np.array_equal(found, expected, equal_nan=True), name
        else:
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10, equal_nan=True, err_msg=name)


def predictions(target: dict, tensors: dict, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """For scoring: rates at random, and a model's (smoothed held-in spikes and a linear readout of them)."""
    counts = {name: np.nan_to_num(values).astype(float) for name, values in tensors.items() if "spikes" in name}
    smooth = {part: gaussian_filter1d(counts[f"{part}_spikes_heldin"], 3, axis=1) for part in ("train", "eval")}
    rows = (a.reshape(-1, a.shape[2]) for a in (smooth["train"], counts["train_spikes_heldout"]))
    readout, model = np.linalg.lstsq(*rows)[0], {}
    for part, rates in smooth.items():
        # where the readout falls below 0, rates are exactly 0
        model |= {f"{part}_rates_heldin": rates, f"{part}_rates_heldout": np.maximum(rates @ readout, 0)}
    for group in ("heldin", "heldout"):
        bins = target[f"eval_spikes_{group}_forward"].shape[1]
        model[f"eval_rates_{group}_forward"] = np.repeat(model[f"eval_rates_{group}"][:, -1:], bins, axis=1)
    draw = np.random.default_rng(seed)
    return {"random": {name: draw.gamma(0.5, 0.2, rates.shape) for name, rates in model.items()}, "model": model}


def compare_scores(nlb_tools, target: dict, theirs: dict, prediction: dict, bin_ms: int) -> None:
    suffix = "" if bin_ms == 5 else f"_{bin_ms}"
    expected = nlb_tools.evaluation.evaluate(
        {f"mc_maze_small{suffix}": theirs}, {f"mc_maze_small{suffix}": {k: v.copy() for k, v in prediction.items()}}
    )
    expected = {name.removeprefix("[100] "): v for name, v in expected[0][f"mc_maze_scaling{suffix}_split"].items()}
    found = score(target, prediction)
    assert set(found) == set(expected)
    for metric, value in expected.items():
        assert found[metric] == pytest.approx(value, abs=1e-9), metric


@pytest.mark.parametrize(("bin_ms", "phase"), PLACES)
def test_simulated_session(session, tmp_path, nlb_tools, bin_ms, phase):
    stanza = definition("simulated_maze")
    seen, answers = tmp_path / "seen", tmp_path / "answers"
    for folder, hidden in ((seen, "test"), (answers, "truth" if phase == "test" else "test")):
        folder.mkdir()
        shutil.copy(session["train"], folder)
        # nlb_tools loads by name and expects the test session first
        shutil.copy(session[hidden], folder / SIMULATED["test"])
    parts = {part: session[part] for part in ("train", "test")}
    ours, absent = make_input(parts, stanza, bin_ms, phase)
    theirs, _ = reference(nlb_tools, seen, phase, bin_ms, stanza)
    theirs.pop("eval_spikes_heldout", None)
    assert not absent and set(ours) == {*theirs, "train_condition"}
    compare(ours, theirs)

    hidden = {"truth": session["truth"]} if phase == "test" else {"test": session["test"]}
    target, absent = make_target({"train": session["train"], **hidden}, stanza, bin_ms, phase)
    full, expected = reference(nlb_tools, answers, phase, bin_ms, stanza)
    expected = next(iter(expected.values()))
    assert not absent and set(target) == set(expected)
    compare(target, expected)
    # the truth and the test file tell the same about the held-in units
    assert np.array_equal(full["eval_spikes_heldin"], ours["eval_spikes_heldin"])
    for prediction in predictions(target, ours, bin_ms).values():
        compare_scores(nlb_tools, target, expected, prediction, bin_ms)


@pytest.mark.parametrize("bin_ms", [5, 20])
def test_real_excerpt(real_data, nlb_tools, bin_ms):
    stanza = definition("mc_maze_large_excerpt", "configs/mc_maze_large_excerpt.yaml")
    parts = {part: real_data / stanza["files"][part]["path"] for part in ("train", "test")}
    ours, _ = make_input(parts, stanza, bin_ms, "val")
    target, _ = make_target(parts, stanza, bin_ms, "val")
    theirs, expected = reference(nlb_tools, parts["train"].parent, "val", bin_ms, stanza)
    expected = next(iter(expected.values()))
    theirs.pop("eval_spikes_heldout")
    compare(ours, theirs)
    compare(target, expected)
    for prediction in predictions(target, ours, bin_ms).values():
        compare_scores(nlb_tools, target, expected, prediction, bin_ms)


@pytest.mark.parametrize(
    ("name", "trials", "units", "spikes"),
    [("mc_maze", 574, 137, 230_348), ("mc_maze_medium", 100, 114, 32_324), ("mc_maze_small", 100, 107, 32_897)],
)
def test_official_test_files(real_data, name, trials, units, spikes):
    pin = read_pins(ROOT / "resources/datasets.tsv")[name]["test"]
    for bin_ms, bins in ((5, 140), (20, 35)):
        arrays, absent = make_input(
            {"test": real_data / "dandi" / pin.dandiset / pin.path}, definition(name), bin_ms, "test"
        )
        assert list(arrays) == ["eval_spikes_heldin"] and "train" in absent
        assert arrays["eval_spikes_heldin"].shape == (trials, bins, units)
        assert arrays["eval_spikes_heldin"].sum(dtype=float) == spikes


def test_truth_of_another_order_is_refused(session, tmp_path):
    truth = tmp_path / "truth.nwb"
    shutil.copy(session["truth"], truth)
    with h5py.File(truth, "a") as file:
        for name in ("start_time", "stop_time", "move_onset_time"):
            file["intervals/trials"][name][:] = file["intervals/trials"][name][()][::-1]
    parts = {"train": session["train"], "test": session["test"], "truth": truth}
    with pytest.raises(NlbflowError, match="truth must be the test session"):
        make_target(parts, definition("simulated_maze"), 5, "test")
    make_target({**parts, "truth": session["truth"]}, definition("simulated_maze"), 20, "test")
