"""The figure of a dataset, on made-up tensors of each kind: what is drawn is what the file holds."""

import numpy as np
import pytest
import yaml

from nlbflow.figures.canvas import make_smaller, save, use_style
from nlbflow.figures.dataset import draw_dataset
from nlbflow.figures.recorded import known_mean, read_recorded, smoothed
from nlbflow.recordings.notes import Facts, summarise
from nlbflow.running.files import write_arrays
from workflow import ROOT

use_style(ROOT / "resources/nlbflow.mplstyle")
CATALOGUE = yaml.safe_load((ROOT / "resources/datasets.yaml").read_text())["datasets"]
HELDIN, HELDOUT, BIN_MS = 6, 3, 20


def write_input(path, dataset: str, train=True, trials=16, channels=2, phase="val"):
    """input.h5 of a dataset of the catalogue with made-up counts; (its arrays, what the job was asked for)."""
    rng = np.random.default_rng(0)
    definition = CATALOGUE[dataset]
    bins = (definition["window_ms"][1] - definition["window_ms"][0]) // BIN_MS
    arrays = {"eval_spikes_heldin": rng.poisson(0.2, (5, bins, HELDIN)).astype(np.float16)}
    if train:
        for part, units in (("heldin", HELDIN), ("heldout", HELDOUT)):
            for suffix, length in (("", bins), ("_forward", 200 // BIN_MS)):
                counts = rng.poisson(0.2, (trials, length, units)).astype(np.float16)
                counts[..., -1] = 0
                arrays[f"train_spikes_{part}{suffix}"] = counts
        arrays["train_spikes_heldin"][:, :2] = np.nan
        if "behavior" in definition:
            columns = definition["behavior"].get("columns")
            shape = (trials, len(columns)) if columns else (trials, bins, channels)
            arrays["train_behavior"] = rng.normal(600, 50, shape)
            arrays["train_behavior"][0] = np.nan
        conditions = np.arange(trials) % 12 if "conditions" in definition else np.full(trials, -1)
        arrays["train_condition"] = conditions
    asked = {"dataset": dataset, "bin_ms": BIN_MS, "phase": phase, "definition": definition, "version": "1"}
    write_arrays(path, arrays, asked)
    return arrays, asked


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


@pytest.mark.parametrize("dataset", CATALOGUE)
def test_every_dataset_is_drawn(tmp_path, dataset):
    arrays, asked = write_input(tmp_path / "input.h5", dataset)
    recorded = read_recorded(tmp_path / "input.h5")
    figure = draw_dataset(recorded, dataset, summarise(arrays, {}, asked, Facts(16, [], 0, [], 1.0))[0])
    shown = titles(figure)
    assert sum(title.startswith("training trial") for title in shown) == 4
    raster = figure.axes[0]
    counts = recorded.spikes[int(shown[0].split()[2].rstrip(","))]
    ticks = sum(len(line.get_xdata()) for line in raster.lines if line.get_marker() == "|")
    assert ticks == (np.nan_to_num(counts) > 0).sum()
    # the bins that were not recorded, and the event by its name
    assert raster.images[0].get_array().count() == np.isnan(counts).sum() > 0
    assert CATALOGUE[dataset]["align"] in [text.get_text() for text in raster.texts]
    assert raster.get_xlim() == (recorded.observed[0], recorded.forward[1])
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert f"{HELDIN} held-in, 1 silent" in labels and f"{HELDOUT} held-out, 1 silent" in labels
    named = CATALOGUE[dataset].get("behavior")
    wanted = 0 if named is None else 4 if "columns" in named else 2
    assert len(figure.axes) == 4 + 2 + wanted
    assert "trials: 16 for training, 5 for evaluation" in figure.texts[1].get_text()


def written(figure):
    """All words of a figure, of ticks those that are in sight."""
    texts = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        texts += [*axes.texts, axes.xaxis.label, axes.yaxis.label, axes.title, axes._left_title]
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, sorted(axes.get_ylim()))):
            texts += [tick.label1 for tick in axis.get_major_ticks() if limits[0] <= tick.get_loc() <= limits[1]]
    return [text for text in texts if text.get_text()]


def test_nothing_lies_over_another(tmp_path):
    for dataset in ("simulated_maze", "mc_rtt", "dmfc_rsg"):
        write_input(tmp_path / "input.h5", dataset)
        figure = draw_dataset(read_recorded(tmp_path / "input.h5"), "title", [["trials", "many " * 60]])
        figure.draw_without_rendering()
        boxes = [(text.get_text(), text.get_window_extent()) for text in written(figure)]
        for i, (text, one) in enumerate(boxes):
            for other_text, other in boxes[i + 1 :]:
                across = min(one.x1, other.x1) - max(one.x0, other.x0)
                down = min(one.y1, other.y1) - max(one.y0, other.y0)
                assert min(across, down) < 1, (dataset, text, other_text)


@pytest.mark.parametrize("channels", [1, 5])
def test_any_number_of_channels(tmp_path, channels):
    write_input(tmp_path / "input.h5", "simulated_maze", channels=channels)
    figure = draw_dataset(read_recorded(tmp_path / "input.h5"), "title", [])
    assert sum("hand_vel" in title for title in titles(figure)) == min(channels, 4)
    assert "hand_vel, channel 1 of" in " ".join(titles(figure))


def test_test_files_alone(tmp_path):
    write_input(tmp_path / "input.h5", "mc_maze_small", train=False, phase="test")
    figure = draw_dataset(read_recorded(tmp_path / "input.h5"), "title", [])
    assert titles(figure)[0].startswith("evaluation trial") and len(figure.axes) == 6
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert not any("held-out" in label or "training" in label for label in labels)
    write_arrays(tmp_path / "none.h5", {}, {"dataset": "mine", "bin_ms": 5, "phase": "test", "definition": {}})
    assert not draw_dataset(read_recorded(tmp_path / "none.h5"), "title", []).axes


def test_the_same_bytes_again(tmp_path):
    write_input(tmp_path / "input.h5", "area2_bump")
    for name in ("a", "b"):
        figure = draw_dataset(read_recorded(tmp_path / "input.h5"), "title", [])
        save(figure, {form: tmp_path / f"{name}.{form}" for form in ("svg", "png")})
        before = (tmp_path / f"{name}.png").stat().st_size
        make_smaller(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size < before
    for form in ("svg", "png"):
        assert (tmp_path / f"a.{form}").read_bytes() == (tmp_path / f"b.{form}").read_bytes()


def test_means_of_what_is_known():
    assert np.allclose(known_mean(np.array([[1, np.nan], [3, np.nan]]), 0), [2, np.nan], equal_nan=True)
    rates = smoothed(np.array([1.0, 1.0, np.nan, 1.0]), 20)
    assert np.allclose(rates[[0, 1, 3]], 1) and np.isnan(rates[2])
