"""The hyperparameters published for the benchmark's datasets, typed anew from the specification, section 5."""

from pathlib import Path

import pytest
import yaml

from nlbflow.models.catalogue import find_model, read_declaration, resolve_params
from workflow import ROOT

CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())
MODELS = CONFIG["models"]
DATASETS = yaml.safe_load((ROOT / "resources/datasets.yaml").read_text())["datasets"]
# dataset: smoothing's kernel sd (ms) and alpha; GPFA's latents, ridge and Poisson penalty; SLDS's states, latents,
# penalties on A and b
PUBLISHED = {
    "mc_maze": ((50, 0.01), (52, 0.01, 0), (6, 38, 3e4, 6.26e-5)),
    "mc_rtt": ((30, 0.1), (36, 0, 0), (8, 20, 5088.3, 2.06e-7)),
    "area2_bump": ((30, 0.01), (22, 1e-4, 0), (4, 15, 10582.8, 3.98e-5)),
    "dmfc_rsg": ((60, 0.001), (32, 1e-4, 0), (10, 30, 3e4, 1e-5)),
    "mc_maze_large": ((40, 0.1), (44, 0.01, 0), (4, 28, 5462.0, 2.17e-5)),
    "mc_maze_medium": ((60, 0.1), (28, 0, 0), (3, 20, 2391.2, 1.26e-5)),
    "mc_maze_small": ((60, 0.1), (18, 0.01, 0), (5, 15, 5837.9, 1.22e-8)),
}
NAMES = {
    "smoothing": ("kernel_sd_ms", "alpha"),
    "gpfa": ("x_dim", "ridge_alpha", "poisson_alpha"),
    "slds_published": ("states", "latents", "l2_A", "l2_b"),
}
# A penalty of 0, whose optimum overfits: see the docstring of the model's DEFAULTS.
MENDED = {("gpfa", "poisson_alpha"): {0: 1e-5}}


def params_of(model: str, dataset: str, bin_ms: int = 5) -> dict:
    path = find_model(MODELS[model]["file"], Path(ROOT) / "scripts/models")
    return resolve_params(model, MODELS[model], read_declaration(path)["DEFAULTS"], dataset, bin_ms)


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_published_hyperparameters(dataset):
    for (model, names), values in zip(NAMES.items(), PUBLISHED[dataset], strict=True):
        params = params_of(model, dataset)
        for name, value in zip(names, values, strict=True):
            expected = MENDED.get((model, name), {}).get(value, value)
            assert params[name] == expected, (model, name)


def test_slds_has_a_published_penalty_on_every_dataset():
    penalties = {params_of("slds_published", dataset)["l2_A"] for dataset in ("mine", "simulated_maze", *PUBLISHED)}
    assert penalties == {values[-1][2] for values in PUBLISHED.values()}


@pytest.mark.parametrize("model", ["smoothing", "gpfa"])
def test_the_sweeps_hold_what_was_found_by_them(model):
    tune = MODELS[model]["tune"]
    for dataset in PUBLISHED:
        grid = {**tune["grid"], **tune.get("per_dataset", {}).get(dataset, {})}
        params = params_of(model, dataset)
        for name in NAMES[model]:
            assert params[name] in grid[name], (dataset, name)


# Perkins et al. 2025, Tables 3 to 5: kernel sd (ms), neural and condition rank (0 is full), the trajectory from and to
# (ms from the event that windows are aligned to) and the observed window (ms)
MINT = {
    "area2_bump": (25, 0, 0, (-350, 750), 500),
    "dmfc_rsg": (55, 49, 17, (-1950, 750), 1500),
    "mc_maze": (30, 0, 21, (-500, 700), 500),
    "mc_maze_large": (35, 0, 16, (-500, 700), 500),
    "mc_maze_medium": (60, 0, 20, (-500, 700), 500),
    "mc_maze_small": (85, 120, 10, (-500, 700), 500),
}
# of all datasets; 0.1 spikes/s is the only bound below rates
MINT_ALL = {"likelihood_bin_ms": 20, "candidates": 2, "lowest_hz": 0.1, "floor": 0, "align_rounds": 0}


@pytest.mark.parametrize("dataset", MINT)
@pytest.mark.parametrize("bin_ms", [5, 20])
def test_mint(dataset, bin_ms):
    params = params_of("mint_published", dataset, bin_ms)
    kernel, neural, condition, trajectory, observed = MINT[dataset]
    assert [params[name] for name in ("kernel_sd_ms", "neural_rank", "condition_rank")] == [kernel, neural, condition]
    first_bin = DATASETS[dataset]["window_ms"][0]
    assert params["trajectory_ms"] == [edge - first_bin for edge in trajectory]
    assert params["window_ms"] + params["ahead_ms"] == observed
    # any state of the trajectory may be the one
    assert params["shift_ms"] >= trajectory[1] - trajectory[0]
    assert {name: params[name] for name in MINT_ALL} == MINT_ALL


# What NDT's layers, epochs, patience, start and end of the span ramp, and table columns are; width 0: none of its own.
NDT = {
    "mc_maze": (4, 50501, 3000, 8000, 12000, 0),
    "mc_rtt": (4, 50501, 3000, 8000, 12000, 0),
    "area2_bump": (4, 40001, 2500, 600, 1200, 2),
    "dmfc_rsg": (6, 50501, 4000, 8000, 12000, 0),
    "mc_maze_large": (4, 50501, 3000, 8000, 12000, 0),
    "mc_maze_medium": (4, 50501, 3000, 8000, 12000, 0),
    "mc_maze_small": (4, 50501, 2000, 5000, 10000, 0),
}
NDT_NAMES = ("layers", "epochs", "patience", "span_ramp_start", "span_ramp_end", "count_columns")
# of all datasets; what nlbflow's networks have beside the published ones is off
NDT_ALL = {"heads": 2, "hidden": 128, "batch": 64, "weight_decay": 5e-5, "clip_norm": 200, "validate_every": 20} | {
    "width": 0, "factors": 0, "latents": 0, "step_ms": 0, "input_dropout": 0, "averaging": 0, "refit": False
}  # fmt: skip
# The random search: kind and range, and where it is another one (None: the range does not differ).
NDT_SEARCH = {
    "weight_decay": ("log_uniform", [1e-8, 1e-3], None, None),
    "mask_ratio": ("uniform", [0.1, 0.4], None, None),
    "mask_zero_ratio": ("log_uniform", [0.5, 1], None, None),
    "mask_random_ratio": ("uniform", [0.8, 1], [0.9], [0.9]),
    "max_span": ("integers", [1, 6], [1, 4], None),
    "dropout": ("uniform", [0.3, 0.7], [0.2, 0.6], None),
    "dropout_rates": ("uniform", [0.3, 0.7], [0.2, 0.6], None),
    "dropout_embedding": ("uniform", [0.3, 0.7], [0.2, 0.6], None),
    "context_backward": ("integers", [10, 100], [4, 100], [40, 240]),
    "context_forward": ("integers", [10, 100], [4, 100], [40, 240]),
    "learning_rate": ("uniform", [1e-5, 5e-3], None, None),
    "warmup_epochs": ("integers", [0, 2000], None, None),
}
SEARCHES_OF_THEIR_OWN = ("area2_bump", "dmfc_rsg")


@pytest.mark.parametrize("dataset", NDT)
def test_ndt(dataset):
    params = params_of("ndt", dataset)
    assert [params[name] for name in NDT_NAMES] == list(NDT[dataset])
    assert {name: params[name] for name in NDT_ALL} == NDT_ALL
    tune = MODELS["ndt"]["tune"]
    grid = {**tune["grid"], **tune["per_dataset"].get(dataset, {})}
    assert grid.keys() == NDT_SEARCH.keys() and CONFIG["tuning"]["candidates"] == 20
    for name, (kind, usual, *others) in NDT_SEARCH.items():
        own = dict(zip(SEARCHES_OF_THEIR_OWN, others, strict=True)).get(dataset)
        span = own or usual
        assert grid[name] == (span if len(span) == 1 else {kind: span}), name
        # what the search found is not published: our value is one that it could have drawn
        assert span[0] <= params[name] <= span[-1], name


# AutoLFADS: batch at 5 and 20 ms, units of encoder for the controller and of controller, first learning rate, ranges of
# learning rate, coordinated dropout, L2 of generator and controller, KL of initial condition and of inferred inputs.
USUAL = (100, 100, 80, 4e-3, [1e-5, 5e-3], [0.01, 0.7], [1e-4, 1], [1e-6, 1e-3], [1e-6, 1e-4])
LFADS = {
    "mc_maze": USUAL,
    "mc_rtt": USUAL,
    "area2_bump": (180, 180, 80, 4e-3, [1e-5, 5e-3], [0.01, 0.7], [1e-4, 1], [1e-6, 1e-4], [1e-6, 1e-4]),
    "dmfc_rsg": (200, 300, 64, 5e-3, [1e-5, 7e-3], [0.01, 0.99], [1e-6, 0.1], [1e-7, 1e-3], [1e-7, 1e-4]),
    "mc_maze_large": USUAL,
    "mc_maze_medium": USUAL,
    "mc_maze_small": USUAL,
}
# of all datasets
LFADS_ALL = {"ic_encoder": 100, "ic_dim": 100, "generator": 100, "inferred_inputs": 4, "factors": 40} | {
    "cd_rate": 0.5, "ramp_epochs": 80, "max_epochs": 10000, "generation_epochs": 25
}  # fmt: skip
AUTOLFADS_ALL = {"population": 20, "dropout_range": [0, 0.6], "explore_rates": 0.3, "explore_penalties": 0.8}


@pytest.mark.parametrize("dataset", LFADS)
def test_autolfads(dataset):
    batch, batch_at_20ms, controls, rate, rates, cd, l2, kl_ic, kl_input = LFADS[dataset]
    sizes = LFADS_ALL | {"batch": batch, "ci_encoder": controls, "controller": controls, "learning_rate": rate}
    ranges = {"learning_rate_range": rates, "cd_rate_range": cd, "kl_ic_range": kl_ic, "kl_input_range": kl_input}
    ranges |= {"l2_generator_range": l2, "l2_controller_range": l2}
    for model, expected in (("lfads", sizes), ("autolfads", sizes | AUTOLFADS_ALL | ranges)):
        params = params_of(model, dataset)
        assert {name: params[name] for name in expected} == expected
        assert params_of(model, dataset, 20) == params | {"batch": batch_at_20ms}
    # LFADS has fixed values where AutoLFADS searches
    for name in ("learning_rate", "dropout", "cd_rate", "kl_ic", "kl_input", "l2_generator", "l2_controller"):
        low, high = params[f"{name}_range"]
        assert low <= params_of("lfads", dataset)[name] <= high, name


def test_constants_of_lfads():
    pytest.importorskip("torch")
    from nlbflow.methods.lfads import fit as lfads_fit
    from nlbflow.methods.lfads import net as lfads
    from nlbflow.methods.lfads import population, training

    assert (population.LOSS_SCALE, training.CLIP_NORM, training.ADAM_EPSILON) == (1e4, 200, 1e-8)
    assert (lfads.IC_PRIOR_VARIANCE, lfads.IC_VARIANCE_FLOOR, lfads.STATE_BOUND) == (0.1, 1e-4, 5)
    assert (lfads.INPUT_PRIOR_VARIANCE, lfads.INPUT_PRIOR_TAU) == (0.1, 10)
    assert lfads_fit.VALIDATION_EVERY == 5
