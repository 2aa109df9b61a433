"""Scores that only the answers can give are told from those that a model can have."""

import numpy as np
import pytest

from nlbflow.metrics.formulas import bits_per_spike
from nlbflow.scoring.scores import out_of_reach

BIN_MS, DRAWS, SEED = 5, 200, 0


@pytest.fixture(params=[0.02, 0.3])
def target(request):
    """40 trials, 140 bins, 8 neurons whose rates wave around a mean."""
    rng = np.random.default_rng(0)
    phase = rng.uniform(0, 2 * np.pi, (40, 1, 8)) + np.linspace(0, 6, 140)[None, :, None]
    rates = request.param * np.exp(0.8 * np.sin(phase))
    return {"eval_spikes_heldout": rng.poisson(rates).astype(float), "true_rates": {"eval_rates_heldout": rates}}


def test_no_honest_rates_are_out_of_reach(target):
    spikes, truth = target["eval_spikes_heldout"], target["true_rates"]["eval_rates_heldout"]
    best = bits_per_spike(truth, spikes)
    assert out_of_reach(target, best, BIN_MS, DRAWS, SEED) == ""
    # nor where nobody knows the true rates
    assert out_of_reach({"eval_spikes_heldout": spikes}, best, BIN_MS, DRAWS, SEED) == ""


def test_the_answers_are(target):
    spikes = target["eval_spikes_heldout"]
    peeked = bits_per_spike(spikes + 1e-3, spikes)
    assert "the most that the true rates can have" in out_of_reach(target, peeked, BIN_MS, DRAWS, SEED)
    told = out_of_reach({"eval_spikes_heldout": spikes}, peeked, BIN_MS, DRAWS, SEED)
    assert "that of the answers themselves, smoothed over 20 ms" in told


def test_bins_that_are_not_scored_do_not_count(target):
    spikes = target["eval_spikes_heldout"].copy()
    spikes[:, :40] = np.nan
    assert out_of_reach({"eval_spikes_heldout": spikes}, 10.0, BIN_MS, DRAWS, SEED).startswith("its co-bps 10.000 is")
