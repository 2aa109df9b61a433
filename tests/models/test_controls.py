"""The controls and the reservoir on small synthetic recordings: what they can and cannot know."""

from pathlib import Path

import numpy as np
import pytest

from nlbflow.errors import NlbflowError
from nlbflow.metrics.formulas import bits_per_spike
from nlbflow.models.catalogue import read_declaration
from nlbflow.models.contract import check_model, check_prediction, load_model
from nlbflow.recordings.model_input import ModelInput

MODELS = Path(__file__).parents[2] / "scripts/models"
TRAIN, EVAL, BINS, AHEAD, HELDIN, HELDOUT = 60, 30, 40, 12, 12, 6
CONTROLS = ("population_coupling", "reduced_rank", "ridge_autoregression")
ALL = (*CONTROLS, "reservoir")
NARROW = {"reservoir": {"units": 100, "latents": 16}, "reduced_rank": {"rank": 3, "ridge": 10.0}}


def run(name, data, seed=0, **params):
    model = load_model(MODELS / f"{name}.py")
    return model.predict(data, {**model.DEFAULTS, **NARROW.get(name, {}), **params}, seed)


def recording(drive):
    """Counts of neurons whose log rates follow drive (trials, time, dims), bins of 10 ms; the silent 3 is held in."""
    rng = np.random.default_rng(1)
    weights = rng.normal(0, 0.5, (drive.shape[2], HELDIN + HELDOUT))
    weights[0] = 0.8
    spikes = rng.poisson(0.25 * np.exp(drive @ weights)).astype(np.float32)
    spikes[..., 3] = 0
    cut = {
        f"{part}_spikes_{group}{suffix}": spikes[trials, time, units]
        for part, trials in (("train", slice(0, TRAIN)), ("eval", slice(TRAIN, None)))
        for group, units in (("heldin", slice(0, HELDIN)), ("heldout", slice(HELDIN, None)))
        for suffix, time in (("", slice(0, BINS)), ("_forward", slice(BINS, None)))
    }
    answers = {name: cut.pop(name) for name in list(cut) if name.startswith("eval") and name != "eval_spikes_heldin"}
    return ModelInput(bin_ms=10, **cut), answers


@pytest.fixture(scope="module")
def slow():
    """Two slow latents: one that all neurons share, another that tells them apart."""
    rng = np.random.default_rng(0)
    drive = np.zeros((TRAIN + EVAL, BINS + AHEAD, 2))
    drive[:, 0] = rng.normal(size=(len(drive), 2))
    for t in range(1, drive.shape[1]):
        drive[:, t] = 0.95 * drive[:, t - 1] + 0.3 * rng.normal(size=(len(drive), 2))
    return recording(drive)


def test_they_are_marked():
    assert all(read_declaration(MODELS / f"{name}.py")["CONTROL"] for name in (*CONTROLS, "mean_rate", "flat_forecast"))
    assert not read_declaration(MODELS / "reservoir.py")["CONTROL"]


@pytest.mark.parametrize("name", ALL)
def test_contract_with_defaults_and_a_silent_neuron(name, slow):
    path = MODELS / f"{name}.py"
    check_model(path, name, read_declaration(path)["DEFAULTS"])
    silent = run(name, slow[0])["eval_rates_heldin"][..., 3]
    assert (silent > 0).all() and silent.max() < 0.02


@pytest.mark.parametrize("name", ALL)
def test_better_than_the_mean_where_there_is_something_to_know(name, slow):
    data, answers = slow
    rates, mean = run(name, data), run("mean_rate", data)

    def gain(window, groups):
        own, plain, counts = (
            np.concatenate([source[f"eval_{what}_{group}{window}"] for group in groups], axis=2)
            for source, what in ((rates, "rates"), (mean, "rates"), (answers, "spikes"))
        )
        return bits_per_spike(own, counts) - bits_per_spike(plain, counts)

    assert gain("", ["heldout"]) > 0.05
    assert ("eval_rates_heldin_forward" in rates) == (name != "population_coupling")
    if name != "population_coupling":
        assert gain("_forward", ["heldin", "heldout"]) > 0.05


@pytest.mark.parametrize("name", ALL)
def test_a_held_in_rate_does_not_copy_its_own_count(name, slow):
    data, _ = slow
    changed = data.eval_spikes_heldin.copy()
    changed[:, 20, 0] += 5
    # a step of two bins
    before, after = (
        run(name, ModelInput(**{**vars(data), "eval_spikes_heldin": spikes}))["eval_rates_heldin"][:, 20:22, 0]
        for spikes in (data.eval_spikes_heldin, changed)
    )
    # between the middles of steps the neighbours' rates, which may see it, have a part
    assert np.abs(np.log(after / before)).max() < 0.35 * np.log(5 / data.train_spikes_heldin[..., 0].mean())
    if name == "population_coupling":
        np.testing.assert_allclose(after, before, rtol=1e-6)


@pytest.mark.parametrize("name", ["reduced_rank", "ridge_autoregression", "reservoir"])
def test_a_missing_forward_window(name, slow):
    data, _ = slow
    arrays = {**vars(data), "train_spikes_heldin_forward": None, "train_spikes_heldout_forward": None}
    without = run(name, ModelInput(**arrays))
    assert not [key for key in without if key.endswith("forward")]
    np.testing.assert_array_equal(without["eval_rates_heldout"], run(name, data)["eval_rates_heldout"])
    some = data.train_spikes_heldin_forward.copy(), data.train_spikes_heldout_forward.copy()
    for window in some:
        window[::3] = np.nan
    arrays |= {"train_spikes_heldin_forward": some[0], "train_spikes_heldout_forward": some[1]}
    assert np.isfinite(run(name, ModelInput(**arrays))["eval_rates_heldout_forward"]).all()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "case", [{"silent": True}, {"train": 1}, {"train": 2}, {"heldin": 1}, {"heldout": 1}, {"bins": 1, "ahead": 1}]
)
def test_little_to_go_by(name, case):
    size = {"train": 20, "bins": 40, "ahead": 12, "heldin": 6, "heldout": 3, **case}
    rng = np.random.default_rng(0)
    train, evaluated, ahead = (
        [rng.poisson(0.3, (trials, bins, size[group])).astype(np.float32) for group in ("heldin", "heldout")]
        for trials, bins in ((size["train"], size["bins"]), (5, size["bins"]), (size["train"], size["ahead"]))
    )
    if "silent" in case:
        train[0][:] = evaluated[0][:] = 0
    data = ModelInput(10, *train, evaluated[0], *ahead)
    rates = run(name, data)
    check_prediction(rates, data.shapes(), name)
    if "silent" in case:
        # nothing tells trials apart
        np.testing.assert_allclose(np.ptp(rates["eval_rates_heldout"], axis=0), 0, atol=1e-6)


@pytest.mark.parametrize("name", ["reduced_rank", "reservoir"])
def test_forward_windows_that_were_never_recorded(name, slow):
    none = {f"train_spikes_{group}_forward": np.full((TRAIN, AHEAD, n), np.nan) for group, n in
            (("heldin", HELDIN), ("heldout", HELDOUT))}  # fmt: skip
    assert not [key for key in run(name, ModelInput(**{**vars(slow[0]), **none})) if key.endswith("forward")]


def test_autoregression_recovers_a_known_filter():
    rng = np.random.default_rng(0)
    rates = np.full((300, BINS, 2), 2.0)
    counts = np.zeros((300, BINS, 2))
    for t in range(BINS):
        if t:
            rates[:, t, 1] = 0.5 + 0.75 * counts[:, t - 1, 0]  # the first drives the second one bin later
        counts[:, t] = rng.poisson(rates[:, t])
    heldout = rng.poisson(1.0, (300, BINS, 1))
    data = ModelInput(10, counts[:200], heldout[:200], counts[200:])
    found = run("ridge_autoregression", data, step_ms=10, history_ms=20, ridge=1e-6, floor=0.01)["eval_rates_heldin"]
    assert np.abs(found[:, 5:, 1] - rates[200:, 5:, 1]).mean() < 0.1
    assert np.abs(found[:, 5:, 0] - 2).mean() < 0.1
    couplings = run("ridge_autoregression", data, step_ms=10, history_ms=20, ridge=1e-6)["neuron_similarity"]
    spread = counts[:200].std(axis=(0, 1))
    assert couplings.shape == (3, 3) and not couplings[:, 2].any()
    assert couplings[1, 0] == pytest.approx(0.75 * spread[0] / spread[1], abs=0.05)
    assert np.abs(np.delete(couplings.ravel(), 3)).max() < 0.1


def test_population_coupling_knows_the_sum_alone(slow):
    data, _ = slow
    mixed = np.random.default_rng(0).permutation(HELDIN)
    swapped = ModelInput(**{**vars(data), "train_spikes_heldin": data.train_spikes_heldin[..., mixed],
                            "eval_spikes_heldin": data.eval_spikes_heldin[..., mixed]})  # fmt: skip
    first, second = run("population_coupling", data), run("population_coupling", swapped)
    np.testing.assert_allclose(first["eval_rates_heldout"], second["eval_rates_heldout"], rtol=1e-4)
    np.testing.assert_allclose(first["eval_rates_heldin"][..., mixed], second["eval_rates_heldin"], rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "params", "sentence"),
    [
        ("population_coupling", {"kernel_sd_ms": 0}, "kernel_sd_ms > 0"),
        ("reduced_rank", {"rank": 0}, "a whole number >= 1 as rank"),
        ("reduced_rank", {"reach_ms": 5}, "reach_ms of at least a step"),
        ("ridge_autoregression", {"ridge": 0.0}, "ridge > 0"),
        ("ridge_autoregression", {"floor": 0.0}, "a floor above 0"),
        ("reservoir", {"units": 0}, "a whole number >= 1 as units"),
        ("reservoir", {"tau_ms": [300, 20]}, r"tau_ms as \[shortest, longest\]"),
        ("reservoir", {"density": 0.0}, "a density above 0"),
        ("reservoir", {"alphas": []}, "penalties >= 0"),
    ],
)
def test_parameters_out_of_range(name, params, sentence, slow):
    with pytest.raises(NlbflowError, match=sentence):
        run(name, slow[0], **params)
