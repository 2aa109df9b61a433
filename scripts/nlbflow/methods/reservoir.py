"""A reservoir: a fixed random recurrent network that is driven by counts and not trained.

Jaeger 2001 (GMD report 148, "echo state networks"); Lukoševičius and Jaeger 2009, Computer Science Review 3:127.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Reservoir:
    """Weights `recurrent` (units, units) and `inputs` (units, neurons), `bias` (units,), and `leak` (units,), the share
    of a unit's state that is replaced in each step."""

    recurrent: np.ndarray
    inputs: np.ndarray
    bias: np.ndarray
    leak: np.ndarray


def draw_reservoir(
    rng: np.random.Generator,
    neurons: int,
    units: int,
    radius: float,
    density: float,
    input_scale: float,
    tau_ms: tuple[float, float],
    step_ms: float,
) -> Reservoir:
    """A random network.

    Args:
        neurons: the number of inputs, whose variance is 1 on average.
        radius: spectral radius of the recurrent weights.
        density: share of the recurrent weights that are not zero.
        input_scale: standard deviation of a unit's summed input.
        tau_ms: the shortest and the longest time constant of a unit in ms; units are log-uniform between them.
        step_ms: length of a step.
    """
    recurrent = rng.standard_normal((units, units)) * (rng.random((units, units)) < density)
    largest = np.abs(np.linalg.eigvals(recurrent)).max()
    recurrent *= radius / largest if largest > 0 else 0.0
    inputs = rng.standard_normal((units, neurons)) * input_scale / np.sqrt(neurons)
    tau = np.exp(rng.uniform(*np.log(tau_ms), units))
    return Reservoir(recurrent, inputs, 0.1 * rng.standard_normal(units), np.minimum(step_ms / tau, 1.0))


def states(
    reservoir: Reservoir,
    inputs: np.ndarray,
    start: np.ndarray | float = 0.0,
    activation: Callable[[np.ndarray], np.ndarray] = np.tanh,
) -> np.ndarray:
    """States after each step, s[t] = (1 - a) s[t-1] + a f(W s[t-1] + U x[t] + b): (trials, steps, units).

    Args:
        inputs: x (trials, steps, neurons).
        start: the state before the first step, (trials, units) or one number.
    """
    trials, steps, _ = inputs.shape
    drive = inputs @ reservoir.inputs.T + reservoir.bias
    state = np.broadcast_to(start, (trials, len(reservoir.leak)))
    found = np.empty((trials, steps, len(reservoir.leak)))
    for t in range(steps):
        state = state + reservoir.leak * (activation(state @ reservoir.recurrent.T + drive[:, t]) - state)
        found[:, t] = state
    return found


def both_ways(reservoir: Reservoir, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """States of a run forwards in time and of one backwards, side by side: (trials, steps, 2 units), twice.

    The first array has the states after a step's own input; the second has the states just before it in each run, which
    that input has not entered. At the ends of the window these are the state that a run starts from.
    """
    forwards = states(reservoir, inputs)
    backwards = states(reservoir, inputs[:, ::-1])[:, ::-1]
    rest = np.zeros_like(forwards[:, :1])
    before = np.concatenate([rest, forwards[:, :-1]], axis=1)
    after = np.concatenate([backwards[:, 1:], rest], axis=1)
    return np.concatenate([forwards, backwards], axis=2), np.concatenate([before, after], axis=2)


def principal_axes(rows: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """(mean (p,), axes (p, components)) such that (rows - mean) @ axes has unit variances; the axis of largest variance
    comes first, and there are fewer axes if fewer vary."""
    mean = rows.mean(axis=0)
    values, axes = np.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
    values, axes = values[::-1][:components], axes[:, ::-1][:, :components]
    kept = values > 1e-10 * values[0]
    axes = axes[:, kept] / np.sqrt(values[kept])
    return mean, axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
