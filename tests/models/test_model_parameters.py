"""Parameters that no model can work with are refused in a sentence, before anything is computed."""

import pytest

from nlbflow.errors import NlbflowError
from nlbflow.models.catalogue import read_declaration
from nlbflow.models.contract import run_model, tiny_input
from workflow import ROOT


@pytest.mark.parametrize(
    ("model", "parameter", "value"),
    [
        ("gpfa", "x_dim", 2.5),
        ("gpfa", "steps", 2.5),
        ("gpfa", "segment_bins", 7.5),
        ("gpfa", "ridge_alpha", float("nan")),
        ("slds", "states", 2.0),
        ("slds", "latents", 3.0),
        ("slds", "iterations", 2.5),
        ("slds", "start_iterations", 2.5),
        ("slds", "inference_iterations", 0),
        ("mint", "neural_rank", 5.0),
        ("mint", "align_rounds", 1.5),
        ("flat_forecast", "history_ms", float("nan")),
        ("flat_forecast", "prior_ms", float("inf")),
    ],
)
def test_a_parameter_out_of_range_is_refused(model, parameter, value):
    path = ROOT / f"scripts/models/{model}.py"
    declared = read_declaration(path)
    params = {**declared["DEFAULTS"], **declared["CHECK"], parameter: value}
    with pytest.raises(NlbflowError, match=parameter):
        run_model(path, model, tiny_input(), params, 0)


def test_a_history_of_a_fraction_of_bins_counts_the_whole_ones():
    path = ROOT / "scripts/models/flat_forecast.py"
    params = read_declaration(path)["DEFAULTS"]
    whole, part = (run_model(path, "f", tiny_input(), {**params, "history_ms": ms}, 0)[0] for ms in (10, 12.5))
    assert all((whole[name] == part[name]).all() for name in whole)
