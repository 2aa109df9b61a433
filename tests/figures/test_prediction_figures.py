"""Figures of predictions, on made-up answers of each kind of dataset: what is drawn is what the files hold."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from fake_histories import fake_curves, fake_population
from nlbflow.figures.behavior import decoded_behavior, path_of
from nlbflow.figures.canvas import use_style
from nlbflow.figures.latents import draw_latents, principal_components
from nlbflow.figures.learning import draw_learning, lineage
from nlbflow.figures.predictions import Place, evenly, group_colors, rates
from nlbflow.figures.psths import condition_means, draw_psths, most_varied
from nlbflow.figures.speed import draw_speed
from nlbflow.figures.trials import chosen_trials, draw_trials, recorded_spikes
from nlbflow.metrics.formulas import tp_correlation, velocity_r2
from nlbflow.running.files import open_h5, write_arrays
from workflow import ROOT

use_style(ROOT / "resources/nlbflow.mplstyle")
TRIALS, BINS, HELDIN, HELDOUT = 24, 30, 8, 5


def make_place(folder: Path, kind: str, models=("good", "fair", "poor"), latents=("good",), histories=None) -> Place:
    """Answers as of MC_Maze (`maze`), Area2_Bump (`bump`), MC_RTT (`rtt`) or DMFC_RSG (`rsg`), and predictions."""
    rng = np.random.default_rng(0)
    truth = {part: rng.gamma(2, 0.1, (TRIALS, BINS, HELDIN + HELDOUT)) for part in ("train", "eval")}
    spikes = rng.poisson(truth["eval"]).astype(np.float32)
    target = {"eval_spikes_heldout": spikes[:, :, HELDIN:]}
    if kind == "rsg":
        target["eval_behavior"] = np.column_stack(
            [np.arange(TRIALS) % 2, np.zeros((TRIALS, 2)), np.full(TRIALS, 600), rng.normal(600, 60, TRIALS)]
        )
        target["eval_spikes_heldout"][:, :10] = np.nan
        target["eval_jitter"] = np.arange(TRIALS) % 3
    else:
        mixing = rng.normal(size=(HELDIN + HELDOUT, 2))
        for part in truth:
            target[f"{part}_behavior"] = truth[part] @ mixing
            if kind == "bump":
                target[f"{part}_decode_mask"] = np.arange(TRIALS)[:, None] % 2 == np.array([0, 1])
        target["eval_behavior"][:, :3] = np.nan
    if kind != "rtt":
        target["eval_cond_idx"] = [np.flatnonzero(np.arange(TRIALS) % 4 == c) for c in range(4)] + [np.zeros(0, int)]
        target["psth"] = rng.gamma(2, 0.1, (5, BINS, HELDIN + HELDOUT))
    write_arrays(folder / "input.h5", {"eval_spikes_heldin": spikes[:, :, :HELDIN]}, {})
    runs = []
    for number, model in enumerate(models):
        arrays = {}
        for part, true in truth.items():
            noisy = true * rng.gamma(50 / (number + 1), (number + 1) / 50, true.shape)
            arrays |= {f"{part}_rates_heldin": noisy[:, :, :HELDIN], f"{part}_rates_heldout": noisy[:, :, HELDIN:]}
            if model in latents:
                arrays[f"{part}_latents"] = rng.normal(size=(TRIALS, BINS, 4))
        for seed, history in enumerate((histories or {}).get(model, [None])):
            path = folder / f"{model}_{seed}.h5"
            write_arrays(path, arrays | ({"history": history} if history else {}), {})
            runs.append((model, seed, path))
    first = {model: path for model, seed, path in runs if seed == 0}
    unit = "mm/s" if kind == "maze" else ""
    return Place(f"{kind}, 20 ms bins, val phase", 20, -100, folder / "input.h5", target, first, runs, unit=unit)


KINDS = ("maze", "bump", "rtt", "rsg")


def labelled(figure, label):
    return [axes for axes in figure.axes if axes.get_ylabel() == label]


def words(figure):
    return " ".join(text.get_text() for text in figure.texts)


@pytest.mark.parametrize("kind", KINDS)
def test_example_trials(tmp_path, kind):
    place = make_place(tmp_path, kind)
    figure = draw_trials(place)
    trials = chosen_trials(place)
    assert len(trials) == 3 and len(set(trials.tolist())) == 3
    spikes = recorded_spikes(place, trials)
    rasters = [axes for axes in figure.axes if axes.get_title(loc="left").startswith("evaluation trial")]
    for axes, counts in zip(rasters, spikes, strict=True):
        drawn = next(line for line in axes.lines if line.get_marker() == "|").get_xydata()
        assert len(drawn) == (np.nan_to_num(counts) > 0).sum()
    images = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(images) == 3 * 3 and images[0].shape == (HELDIN + HELDOUT, BINS)
    # one row each for spikes and three models; the hand's path where there is a velocity
    label = "hand path, y (mm)" if kind == "maze" else "hand path, y"
    assert bool(labelled(figure, label)) == (kind != "rsg")
    if kind != "rsg":
        (first,) = labelled(figure, label)
        assert first.get_xlabel() == label.replace("hand path, y", "x")
        true = path_of(place.target["eval_behavior"][trials[0]], place.bin_ms)
        assert np.allclose(first.lines[0].get_xydata(), true) and len(first.lines) == 1 + 3 + 1


@pytest.mark.parametrize("kind", ["maze", "bump"])
def test_decoded_velocity_is_the_benchmarks(tmp_path, kind):
    place = make_place(tmp_path, kind)
    path, everything = place.predictions["fair"], np.arange(TRIALS)
    velocity = decoded_behavior(place, path, everything)
    target = place.target
    masks = [target.get(f"{part}_decode_mask", np.ones((TRIALS, 1), bool)) for part in ("train", "eval")]
    wanted = velocity_r2(
        rates(path, "train"), target["train_behavior"], rates(path, "eval"), target["eval_behavior"], *masks
    )
    found = []
    for trials in masks[1].T:
        true, guess = target["eval_behavior"][trials, 3:].reshape(-1, 2), velocity[trials, 3:].reshape(-1, 2)
        found.append(1 - ((true - guess) ** 2).sum(axis=0) / ((true - true.mean(axis=0)) ** 2).sum(axis=0))
    assert np.mean(found) == pytest.approx(wanted, abs=1e-9)


def test_path_adds_up_velocity():
    velocity = np.array([[1.0, 0.0], [np.nan, np.nan], [1.0, 2.0]])
    assert path_of(velocity, 500).tolist() == [[0, 0], [0.5, 0], [0.5, 0], [1.0, 1.0]]


@pytest.mark.parametrize("kind", ["maze", "bump", "rsg"])
def test_psths_recorded_and_predicted(tmp_path, kind):
    place = make_place(tmp_path, kind)
    figure = draw_psths(place)
    neuron = most_varied(place.target["psth"][:4], HELDOUT)[0]
    assert neuron >= HELDIN
    recorded = next(axes for axes in figure.axes if axes.get_title(loc="left") == "recorded")
    # the fifth condition has no evaluation trial
    assert len(recorded.lines) == 4
    for line, mean in zip(recorded.lines, place.target["psth"], strict=False):
        assert np.allclose(line.get_ydata(), mean[:, neuron] * 50)


def test_condition_means_undo_the_jitter(tmp_path):
    place = make_place(tmp_path, "rsg")
    ramp = np.broadcast_to(np.arange(BINS, dtype=float)[None, :, None], (TRIALS, BINS, 1))
    (mean,) = condition_means(place, ramp, [np.array([2])])
    assert np.isnan(mean[:2]).all() and mean[2:, 0].tolist() == [*range(BINS - 2)]


def test_no_conditions_no_psths(tmp_path):
    figure = draw_psths(make_place(tmp_path, "rtt"))
    assert not figure.axes and "no conditions" in words(figure).replace("\n", " ")


@pytest.mark.parametrize("kind", KINDS)
def test_latents_or_rates_by_condition(tmp_path, kind):
    place = make_place(tmp_path, kind)
    figure = draw_latents(place)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title for title in titles if title] == ["good", "fair (rates)", "poor (rates)"]
    # a line and its start for each condition, or for each single trial
    assert len(figure.axes[0].lines) == 2 * (TRIALS if kind == "rtt" else 4)


def test_principal_components_explain_the_most():
    groups, rng = [np.array([0, 1]), np.array([2])], np.random.default_rng(1)
    latents = rng.normal(size=(3, 50, 5)) * [5, 3, 2, 1, 0.1]
    paths, shares = principal_components(latents, groups)
    assert paths.shape == (2, 50, 3) and (np.diff(shares) < 0).all() and 0.9 < shares.sum() < 1
    assert paths.reshape(-1, 3).var(axis=0) / np.trace(
        np.cov(np.concatenate([latents[g].mean(axis=0) for g in groups]).T, bias=True)
    ) == pytest.approx(shares)
    again, _ = principal_components(-latents, groups)
    assert np.allclose(again, -paths)
    assert principal_components(latents[:, :, :1], groups)[0].shape == (2, 50, 1)


def test_latents_are_legible_and_explained(tmp_path):
    place = make_place(tmp_path, "maze", latents=("good", "fair", "poor"))
    place.target["true_states"] = {"eval_latents": np.random.default_rng(0).normal(size=(TRIALS, BINS, 4)) * 1e-2}
    figure = draw_latents(place)
    keys = [text.get_text() for text in figure.legends[0].get_texts()]
    assert keys == ["start of the window", "each line is a condition, coloured by mean direction of movement"]
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
        assert all(left.x1 < right.x0 for left, right in pairwise(sorted(boxes, key=lambda box: box.x0)))
        name = axes.yaxis.label.get_window_extent()
        assert name.x0 > 0 and name.x1 < min(label.get_window_extent().x0 for label in axes.get_yticklabels())
        others = [other.get_window_extent() for other in figure.axes if other is not axes]
        assert not any(
            box.x0 < name.x1 and name.x0 < box.x1 and box.y0 < name.y1 and name.y0 < box.y1 for box in others
        )


def test_constant_latents_are_said_to_be(tmp_path):
    place = make_place(tmp_path, "maze", models=("good",), latents=())
    with open_h5(place.predictions["good"]) as file:
        arrays = {name: array[()] for name, array in file.items()}
    for name in ("eval_rates_heldin", "eval_rates_heldout"):
        arrays[name] = np.broadcast_to(arrays[name][:1, :1], arrays[name].shape)
    write_arrays(place.predictions["good"], arrays, {})
    figure = draw_latents(place)
    assert not figure.axes and "the same at all times" in words(figure)


def test_one_latent_is_drawn(tmp_path):
    place = make_place(tmp_path, "maze", models=("good",), latents=())
    place.target["true_states"] = {"eval_latents": np.random.default_rng(0).normal(size=(TRIALS, BINS, 1))}
    assert draw_latents(place).axes[0].get_title(loc="left") == "true states"


def test_speed_and_produced_interval(tmp_path):
    place = make_place(tmp_path, "rsg")
    figure = draw_speed(place)
    assert len(figure.axes) == 3
    found = tp_correlation(
        rates(place.predictions["good"], "eval"), place.target["eval_spikes_heldout"], place.target["eval_behavior"]
    )
    assert f"{found:.3f}".replace("-", "−") in figure.axes[0].get_title(loc="left")
    dots = np.concatenate([line.get_xydata() for line in figure.axes[0].lines if line.get_marker() == "o"])
    assert sorted(dots[:, 1]) == pytest.approx(sorted(place.target["eval_behavior"][:, -1]))


def test_learning_curves_and_populations(tmp_path):
    histories = {
        "good": [fake_curves(), fake_curves(seed=1)],
        "fair": [fake_population(1, 12)],
        "poor": [fake_population(6, 9)],
    }
    figure = draw_learning(make_place(tmp_path, "maze", histories=histories))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:3] == ["good", "fair", "validation loss"] and len(titles) == 2 + 8
    curves = figure.axes[0].lines
    # fitting and refitting, training and validation loss, two seeds
    assert len(curves) == 8
    assert np.allclose(curves[0].get_ydata(), fake_curves()["training_loss"][:60])
    assert len(curves[1].get_xdata()) == 12 and not np.isnan(curves[1].get_ydata()).any()
    assert "a population of 6" in words(figure)
    assert np.allclose(figure.axes[1].lines[0].get_ydata(), fake_population(1, 12)["validation_loss"])


def test_no_history_is_said(tmp_path):
    figure = draw_learning(make_place(tmp_path, "maze"))
    assert not figure.axes and "No model here has kept a history" in words(figure)


def test_lineage_leads_to_the_best():
    history = {
        "generation": np.array([0, 0, 1, 1, 2, 2]),
        "member": np.array([0, 1, 0, 1, 0, 1]),
        "parent": np.array([1, 1, 0, 0, 0, 1]),
        "validation_loss": np.array([3.0, 2.0, 1.5, 1.8, 1.4, 1.2]),
    }
    segments, path = lineage(history)
    # both members of generation 1 come from member 1, both of generation 2 from member 0
    assert segments.tolist() == [[1, 2], [1, 3], [2, 4], [2, 5]] and path.tolist() == [1, 2, 5]


def test_colors_go_round_with_direction():
    angles = np.arange(6) * np.pi / 3 - 3
    behavior = np.stack([np.cos(angles), np.sin(angles)], axis=1)[:, None]
    groups = [np.array([i]) for i in range(6)]
    colors = group_colors({"eval_behavior": behavior}, groups)
    assert len(set(colors)) == 6 and colors == group_colors({"eval_behavior": behavior * 3}, groups)
    assert len(set(group_colors({}, groups))) == 6
    assert evenly([*"abcdefg"], 3) == ["a", "d", "g"] and evenly(["a"], 3) == ["a"]


def with_channels(place: Place, channels: int, series: str | None) -> Place:
    """The place with behaviour of so many channels, of which the second stands still."""
    mixing = np.random.default_rng(1).normal(size=(2, channels))
    for part in ("train", "eval"):
        place.target[f"{part}_behavior"] = place.target[f"{part}_behavior"] @ mixing
        if channels > 2:
            place.target[f"{part}_behavior"][..., 1] = 0.3
    place.series = series
    return place


@pytest.mark.parametrize(
    ("channels", "series"), [(1, "torque"), (1, "hand_vel"), (2, "emg"), (3, "hand3d"), (6, "emg")]
)
def test_channels_have_courses(tmp_path, channels, series):
    place = with_channels(make_place(tmp_path, "maze"), channels, series)
    figure, trials = draw_trials(place), chosen_trials(place)
    named = (
        labelled(figure, series)
        if channels == 1
        else [axes for axes in figure.axes if axes.get_ylabel().startswith("channel ")]
    )
    (legend,) = figure.legends
    assert legend.get_texts()[0].get_text() == f"true {series} (mm/s)"
    assert len(named) == min(channels, 4) and not labelled(figure, "hand path, y (mm)")
    found = decoded_behavior(place, place.predictions["good"], trials)
    assert found.shape == (3, BINS, channels)
    for channel, axes in enumerate(named):
        true, *models = (line.get_ydata() for line in axes.lines)
        np.testing.assert_array_equal(true, place.target["eval_behavior"][trials[0], :, channel])
        np.testing.assert_array_equal(models[0], found[0, :, channel])
        still = channels > 2 and channel == 1
        assert np.isnan(found[..., channel]).all() == still == bool(axes.texts) and len(models) == 3
    assert ("2 more channels are not shown" in words(figure)) == (channels > 4)


def test_nothing_is_decoded_where_every_channel_stands_still(tmp_path):
    place = with_channels(make_place(tmp_path, "maze"), 1, "torque")
    place.target["train_behavior"][:] = 1.0
    (axes,) = labelled(draw_trials(place), "torque")
    assert len(axes.lines) == 1


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_colors_follow_the_main_axis_of_other_channels(channels):
    rng, along = np.random.default_rng(0), np.array([0.0, 3.0, 1.0, 2.0, 5.0, 4.0])
    behavior = (along[:, None] * np.linspace(1, 2, channels) + 1e-3 * rng.normal(size=(6, channels)))[:, None]
    groups = [np.array([i]) for i in range(6)]
    colors = group_colors({"eval_behavior": behavior}, groups)
    in_order = group_colors({}, groups)
    assert colors == [in_order[int(place)] for place in along]


def test_nobody_competed(tmp_path):
    place = make_place(tmp_path, "rsg", models=())
    for draw in (draw_trials, draw_psths, draw_latents, draw_speed, draw_learning):
        figure = draw(place)
        assert not figure.axes and len(figure.texts) == 2
