"""The perceptron: it can learn anything by heart, and to it the order of steps means nothing."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is an extra (pip install torch at the pin in pyproject.toml)")

from nlbflow.methods.networks.common import TimeSteps, poisson_loss
from nlbflow.metrics.formulas import bits_per_spike
from nlbflow.models.contract import load_model
from nlbflow.recordings.model_input import ModelInput

MODELS = Path(__file__).parents[2] / "scripts/models"
MODEL = load_model(MODELS / "mlp.py")
TRAIN, EVAL, BINS, HELDIN, NEURONS = 60, 40, 16, 20, 28


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def network(steps: TimeSteps, heldin: int, neurons: int, **changes):
    return MODEL.Perceptron(steps, heldin, neurons, {**MODEL.DEFAULTS, "width": 64, "dropout": 0.0, **changes})


@pytest.mark.parametrize("latents", [6, 1])
def test_it_overfits_four_trials_to_the_saturated_likelihood(latents):
    """As many latents as neurons make each rate its count; a single one cannot."""
    counts = torch.poisson(torch.full((4, 12, 6), 1.0))
    net = network(TimeSteps(10, 2, 1), 4, 6, latents=latents)
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    everything = torch.ones_like(counts, dtype=torch.bool)
    for _ in range(300):
        optimizer.zero_grad()
        loss = poisson_loss(net(counts[:, :10, :4])[0], counts, everything)
        loss.backward()
        optimizer.step()
    saturated = (counts - torch.xlogy(counts, counts)).mean()
    assert (loss.item() - saturated.item() < 0.005) == (latents == 6)
    assert loss.item() > saturated.item() - 1e-6


def test_every_step_may_depend_on_every_count_and_none_that_is_ahead():
    net = network(TimeSteps(10, 4, 2), 3, 5).eval()
    assert net.layers[0].in_features == 5 * 3
    counts = torch.poisson(torch.ones(1, 10, 3))
    for at in (0, 9):
        moved = counts.clone()
        moved[0, at, 1] += 3
        assert (net(moved)[0] != net(counts)[0]).all()


def test_steps_that_change_places_change_the_names_of_weights_alone():
    steps, latents, order = TimeSteps(8, 0, 1), MODEL.DEFAULTS["latents"], torch.randperm(8)
    net, other = network(steps, 3, 5).eval(), network(steps, 3, 5).eval()
    with torch.no_grad():
        state = net.state_dict()
        state["layers.0.weight"] = state["layers.0.weight"].reshape(-1, 8, 3)[:, order].flatten(1)
        for name in ("weight", "bias"):
            rows = state[f"readout.bottleneck.{name}"]
            state[f"readout.bottleneck.{name}"] = rows.reshape(8, latents, -1)[order].reshape(rows.shape)
        other.load_state_dict(state)
    counts = torch.poisson(torch.ones(4, 8, 3))
    np.testing.assert_allclose(other(counts[:, order])[0].detach(), net(counts)[0][:, order].detach(), atol=1e-6)


def recording(order: np.ndarray) -> tuple[ModelInput, np.ndarray]:
    """Counts that swing with one phase for each trial, their steps in this order; and held-out ones to be predicted."""
    rng = np.random.default_rng(0)
    phase = rng.uniform(0, 2 * np.pi, (TRAIN + EVAL, 1)) + np.linspace(0, 6, BINS)
    drive = np.stack([np.sin(phase), np.cos(phase)], axis=2) @ rng.normal(0, 0.8, (2, NEURONS))
    spikes = rng.poisson(np.exp(drive)).astype(np.float32)[:, order]
    heldin, heldout = np.split(spikes, [HELDIN], axis=2)
    return ModelInput(40, heldin[:TRAIN], heldout[:TRAIN], heldin[TRAIN:]), heldout[TRAIN:]


def test_a_shuffle_of_the_steps_changes_the_score_only_as_another_seed_does():
    def scores(name, order, seeds, **params):
        model, (data, answers) = load_model(MODELS / f"{name}.py"), recording(order)
        params = {**model.DEFAULTS, "width": 32, "device": "cpu", "refit": False, **params}
        found = [model.predict(data, params, seed)["eval_rates_heldout"] for seed in seeds]
        return np.array([bits_per_spike(rates, answers) for rates in found])

    quick = {"epochs": 60, "learning_rate": 0.005, "dropout": 0.2, "input_dropout": 0.5}
    orders = np.arange(BINS), np.random.default_rng(1).permutation(BINS)
    here, there = (scores("mlp", order, range(3), **quick) for order in orders)
    assert here.min() > 0.2
    assert abs(here.mean() - there.mean()) < 3 * np.hypot(here.std(ddof=1), there.std(ddof=1))
    # to a network that goes from step to step it matters
    straight, shuffled = (scores("gru", order, [0], epochs=40) for order in orders)
    assert straight - shuffled > 0.03 > 3 * abs(here.mean() - there.mean())
