"""The hyperparameters published for the benchmark's datasets, typed anew from the specification, section 5."""

from pathlib import Path

import pytest
import yaml

from nlbflow.catalogue import find_model, read_declaration, resolve_params
from workflow import ROOT

MODELS = yaml.safe_load((ROOT / "config.yaml").read_text())["models"]
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
    "slds": ("states", "latents", "l2_A", "l2_b"),
}
# A penalty of 0, whose optimum overfits: see the docstring of the model's DEFAULTS.
MENDED = {("gpfa", "poisson_alpha"): {0: 1e-5}}


def params_of(model: str, dataset: str) -> dict:
    path = find_model(MODELS[model]["file"], Path(ROOT) / "scripts/models")
    return resolve_params(model, MODELS[model], read_declaration(path)["DEFAULTS"], dataset, 5)


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_published_hyperparameters(dataset):
    for (model, names), values in zip(NAMES.items(), PUBLISHED[dataset], strict=True):
        params = params_of(model, dataset)
        for name, value in zip(names, values, strict=True):
            expected = MENDED.get((model, name), {}).get(value, value)
            assert params[name] == expected, (model, name)


@pytest.mark.parametrize("model", ["smoothing", "gpfa"])
def test_the_sweeps_hold_what_was_found_by_them(model):
    tune = MODELS[model]["tune"]
    for dataset in PUBLISHED:
        grid = {**tune["grid"], **tune.get("per_dataset", {}).get(dataset, {})}
        params = params_of(model, dataset)
        for name in NAMES[model]:
            assert params[name] in grid[name], (dataset, name)
