"""LMUFormer: Legendre memories against their recurrence and what they hold, both directions of time, causality."""

from pathlib import Path

import numpy as np
import pytest
from numpy.polynomial import Legendre

torch = pytest.importorskip("torch", reason="torch is an extra (pip install torch at the pin in pyproject.toml)")

from nlbflow.errors import NlbflowError
from nlbflow.methods.networks.common import TimeSteps
from nlbflow.methods.networks.lmu import LegendreMemory, LMUFormer, memory_matrices, responses
from nlbflow.models.contract import load_model, tiny_input

MODEL = load_model(Path(__file__).parents[2] / "scripts/models/lmuformer.py")
STEPS = 23


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def recurrence(signal: np.ndarray, order: int, theta: float) -> np.ndarray:
    """Memories (steps, order) of a signal (steps,), one step after another."""
    a, b = memory_matrices(order, theta)
    memory, found = np.zeros(order), []
    for now in signal:
        memory = a @ memory + b * now
        found.append(memory)
    return np.stack(found)


def network(length=1, ahead=0, **changes) -> LMUFormer:
    params = {**MODEL.DEFAULTS, "width": 12, "hidden": 20, "channels": 4, **changes}
    return LMUFormer(TimeSteps(STEPS * length, ahead, length), 5, 9, params).eval()


@pytest.mark.parametrize(("order", "theta"), [(6, 8), (6, 20), (8, 12)])
def test_product_over_all_steps_is_the_recurrence_and_the_convolution(order, theta):
    signal = np.random.default_rng(0).standard_normal(STEPS)
    stepwise, pulse = recurrence(signal, order, theta), responses(order, theta, STEPS)
    lagged = np.stack([pulse[: t + 1][::-1].T @ signal[: t + 1] for t in range(STEPS)])
    np.testing.assert_allclose(lagged, stepwise, atol=1e-13)
    padded = 2 * STEPS
    spectrum = np.fft.rfft(pulse, padded, axis=0) * np.fft.rfft(signal, padded)[:, None]
    np.testing.assert_allclose(np.fft.irfft(spectrum, padded, axis=0)[:STEPS], stepwise, atol=1e-13)
    signals = torch.tensor(np.stack([signal, -2 * signal], axis=1)[None], dtype=torch.float32)
    memory = LegendreMemory(order, theta, STEPS)(signals).reshape(STEPS, order, 2)
    np.testing.assert_allclose(memory[..., 0], stepwise, atol=1e-5)
    np.testing.assert_allclose(memory[..., 1], -2 * stepwise, atol=1e-5)


@pytest.mark.parametrize(
    ("order", "theta", "radius"), [(6, 20, 0.82), (8, 20, 0.79), (16, 20, 0.72), (8, 40, 0.89), (256, 128, 0.86)]
)
def test_a_memory_forgets(order, theta, radius):
    found = np.abs(np.linalg.eigvals(memory_matrices(order, theta)[0])).max()
    assert found == pytest.approx(radius, abs=0.006)


def test_what_a_memory_holds_is_the_signals_course_as_legendre_polynomials():
    """A smooth signal is read back at any delay up to theta; worst at the end, where polynomials are."""
    order, theta, steps = 8, 20, 500
    smooth = np.exp(-0.5 * (np.arange(-16, 17) / 4) ** 2)
    signal = np.convolve(np.random.default_rng(0).standard_normal(steps), smooth, mode="same")
    memory = recurrence(signal, order, theta)[2 * theta :]

    def error(delay):
        # a step's value was held from `delay` to one step more ago
        polynomials = [Legendre.basis(i, domain=[0, 1])((delay + 0.5) / theta) for i in range(order)]
        past = signal[2 * theta - delay : steps - delay]
        return np.linalg.norm(memory @ polynomials - past) / np.linalg.norm(past)

    errors = [error(delay) for delay in range(theta)]
    assert errors[0] == max(errors) < 0.03 and max(errors[1:]) < 0.015


def test_a_reversed_memory_is_the_memory_of_the_reversed_signal():
    signals = torch.randn(3, STEPS, 2)
    backward = LegendreMemory(6, 12, STEPS, reverse=True)(signals)
    np.testing.assert_allclose(backward, LegendreMemory(6, 12, STEPS)(signals.flip(1)).flip(1), atol=1e-5)


def test_reversing_time_reverses_the_output_where_both_directions_have_the_same_weights():
    net = network(blocks=2)
    counts = torch.poisson(torch.ones(2, STEPS, 5))
    assert not torch.allclose(net(counts.flip(1))[0].flip(1), net(counts)[0], atol=1e-3)
    with torch.no_grad():
        kernel = net.neighbours.convolution.weight
        kernel.copy_((kernel + kernel.flip(2)) / 2)
        for block in net.blocks:
            half = block.mix.weight.shape[1] - 12
            block.mix.weight[:, half // 2 : half] = block.mix.weight[:, : half // 2]
    np.testing.assert_allclose(net(counts.flip(1))[0].flip(1).detach(), net(counts)[0].detach(), atol=1e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_a_causal_network_does_not_see_what_is_to_come(causal):
    net = network(causal=causal, blocks=2)
    counts = torch.poisson(torch.ones(1, STEPS, 5))
    before = net(counts)[0]
    for step in (0, 4, STEPS - 1):
        moved = counts.clone()
        moved[0, step] += torch.tensor([3.0, 0.0, 1.0, 0.0, 5.0])
        changed = (net(moved)[0] != before)[0].any(dim=1).tolist()
        assert changed == [not causal or t >= step for t in range(STEPS)]


def test_forward_steps_follow_from_the_memories_alone():
    net = network(length=2, ahead=10)
    counts = torch.poisson(torch.ones(1, 2 * STEPS, 5))
    moved = counts.clone()
    moved[0, 2 * STEPS - 12 : 2 * STEPS - 10] += 4
    log_rates, latents = net(counts)
    assert log_rates.shape == (1, 2 * STEPS + 10, 9) and latents.shape == (1, 2 * STEPS + 10, 16)
    # further away than the convolution reaches
    assert (log_rates[:, -4:] != net(moved)[0][:, -4:]).all()


@pytest.mark.parametrize(("name", "value"), [("order", 0), ("theta", 0.0), ("theta", float("nan"))])
def test_memories_that_cannot_be_are_refused(name, value):
    with pytest.raises(NlbflowError, match="order >= 1 and theta > 0"):
        MODEL.predict(tiny_input(), {**MODEL.DEFAULTS, **MODEL.CHECK, name: value}, 0)
