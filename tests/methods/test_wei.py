"""The simulation of Wei 2023 (arXiv:2309.02213), rebuilt from its description: how much of its states can be found."""

import numpy as np
import pytest

from nlbflow.methods.slds.fit import Slds, fit, infer
from nlbflow.methods.slds.start import known, regress
from nlbflow.methods.slds.switching import Dynamics
from nlbflow.scoring.structure import matched_accuracy

CLUSTERS, NEURONS, BINS, DIMS, SESSIONS = 3, 30, 500, 9, 6


def simulate(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, Dynamics]:
    """Counts (1, bins, neurons) of dispersion 10, states (1, bins), latents (1, bins, dims) and their dynamics.

    Each cluster of ten neurons has a level and two factors. In one state all latents are white, in the other those of
    each cluster turn by 9 degrees a bin and grow by 1 %. A state lasts about 50 bins.
    """
    rng = np.random.default_rng(seed)
    A = np.stack([0.01 * np.eye(DIMS), np.zeros((DIMS, DIMS))])
    for k in range(CLUSTERS):
        axis = rng.standard_normal(3)
        x, y, z = axis / np.linalg.norm(axis)
        across, along = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]), np.outer([x, y, z], [x, y, z])
        turn = np.cos(np.pi / 20) * np.eye(3) + np.sin(np.pi / 20) * across + (1 - np.cos(np.pi / 20)) * along
        A[1, 3 * k : 3 * k + 3, 3 * k : 3 * k + 3] = 1.01 * turn
    state, states = int(rng.integers(2)), []
    while len(states) < BINS:
        states += [state] * (1 + int(rng.poisson(rng.gamma(100, 0.5))))
        state = 1 - state
    states, latents = np.array(states[:BINS]), np.zeros((BINS, DIMS))
    latents[0] = 0.1 * rng.standard_normal(DIMS)
    for t in range(1, BINS):
        latents[t] = A[states[t]] @ latents[t - 1] + 0.1 * rng.standard_normal(DIMS)
    gains, loadings = 0.5 * rng.standard_normal(NEURONS), 0.5 * rng.standard_normal((NEURONS, 2))
    own = latents.reshape(BINS, CLUSTERS, 3)[:, np.repeat(np.arange(CLUSTERS), NEURONS // CLUSTERS)]
    means = np.exp(gains + own[..., 0] + (own[..., 1:] * loadings).sum(axis=2))
    counts = rng.negative_binomial(10, 10 / (10 + means)).astype(float)
    transitions, noise = np.array([[0.98, 0.02], [0.02, 0.98]]), 0.01 * np.eye(DIMS)
    dynamics = Dynamics(
        np.full(2, 0.5), transitions, np.zeros(DIMS), noise, A, np.zeros((2, DIMS)), np.stack([noise, noise])
    )
    return counts[None], states[None], latents[None], dynamics


@pytest.mark.slow
def test_states_are_found_nearly_as_well_as_by_the_true_parameters():
    """The author reports 95 % of one session. True dynamics and the emission of the true latents give 79 to 94 %."""
    shares = []
    for seed in range(SESSIONS):
        counts, states, latents, dynamics = simulate(seed)
        told = infer(Slds(dynamics, regress(counts, known(latents))[0]), counts, 200)[0]
        _, fitted, _ = fit(counts, 20, 2, DIMS, 1.0, 1e-8, 30, 50, 0)
        shares.append([matched_accuracy(states, found.states.argmax(axis=2)) for found in (told, fitted)])
    (told, fitted), best = np.mean(shares, axis=0), np.max(shares, axis=0)
    assert 0.8 < fitted < told < 0.9 and fitted > told - 0.08 and best.min() > 0.9
