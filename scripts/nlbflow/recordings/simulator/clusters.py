"""A session of neurons in clusters whose dynamics switch: who belongs together and when the dynamics change is known.

Each cluster has three latents of its own, a level that all its neurons share and two factors that each loads on in its
own way; no neuron sees another cluster's. All latents follow x[t] = A x[t-1] + noise in steps of 20 ms, where A is that
of the moment's state: all clusters turn forwards, or decay, or turn backwards. With `coupling` each cluster also pushes
the next. After the simulation of Wei 2023 (arXiv:2309.02213), as its description says: not its numbers.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.recordings.simulator.session import (
    CALIBRATION, ORDER, POPULATION, SPIKES, TRAIN, TRIAL, TRUTH,
    Part, Population, Session, Trials, checked, quantiles, spike_times, stream,
)  # fmt: skip
from nlbflow.recordings.simulator.truth import rates_hz

SETTINGS = ("seed", "clusters", "states", "train_trials", "val_trials", "test_trials", "heldin", "heldout")
STEP_MS, LENGTH_MS, GAP_MS, WINDOW_MS = 20, 1000, 100, (0, 700)
DIMS = 3  # of a cluster: its level and two factors
# How hard the states are to find rests on what follows and on the number of neurons: with the true parameters at hand
# and 90 held-in neurons of the stanza, an SLDS names the state of 95 % of the observed bins.
TURN, KEEP, DECAY = np.pi / 10, 0.98, 0.5  # per step; a turn that keeps all would never settle
STAY = 0.98  # chance that a state lasts another step: a trial has one change
ETA_SD = 1.0  # of a neuron's log rate over time
RATE_HZ, RATE_LOG_SD = 8.0, 0.3
BEFORE = 100  # steps before a trial begins, until nothing of the start is left
CALIBRATION_TRIALS = 200


def simulate_clusters(settings: Mapping[str, Any]) -> Session:
    """Draw a session; neurons of each group are dealt out to the clusters in turn.

    Args:
        settings: seed, clusters, states (2 or 3), coupling (0 to 1), numbers of trials and of units.

    Raises:
        NlbflowError: a setting is missing or out of range.
    """
    coupling = settings.get("coupling")
    settings = checked(settings, SETTINGS)
    if not isinstance(coupling, int | float) or not 0 <= coupling <= 1 or settings["states"] not in (2, 3):
        raise NlbflowError(
            f"the simulator's settings must have 2 or 3 states and a coupling from 0 to 1, but found "
            f"{settings['states']} and {coupling!r}; correct them in the dataset's stanza."
        )
    dynamics = _dynamics(settings["clusters"], settings["states"], coupling)
    rng, groups = stream(settings, POPULATION), (settings["heldin"], settings["heldout"])
    labels = np.concatenate([np.arange(n) % settings["clusters"] for n in groups])
    latents, _ = _draw(settings, CALIBRATION, dynamics, CALIBRATION_TRIALS)
    weights = _weights(rng, labels, latents[:, ::STEP_MS])
    mean = np.exp(latents[:, ::STEP_MS].reshape(-1, len(weights)) @ weights).mean(axis=0)
    bias = np.log(np.concatenate([quantiles(rng, RATE_HZ, RATE_LOG_SD, n) for n in groups]) / mean)
    mixed = rng.permutation(len(labels))
    heldout = np.repeat([False, True], groups)
    population = Population(1 + rng.permutation(len(labels)), heldout[mixed], weights[:, mixed], bias[mixed])

    splits = np.repeat(["train", "val"], [settings["train_trials"], settings["val_trials"]])
    parts = []
    for part, split in (
        (TRAIN, stream(settings, ORDER, 0).permutation(splits)),
        (TRUTH, np.repeat(["test"], settings["test_trials"])),
    ):
        latents, states = _draw(settings, part, dynamics, len(split))
        spikes = []
        for k, path in enumerate(latents):
            rng = stream(settings, SPIKES, part, k)
            spikes.append(spike_times(rng.poisson(rates_hz(path, population.weights, population.bias) / 1000), rng))
        parts.append(Part(Trials.alike(len(split), LENGTH_MS, GAP_MS), split, latents, None, None, spikes, states))
    return Session(settings, population, None, *parts, WINDOW_MS, {"labels": labels[mixed]})


def _dynamics(clusters: int, states: int, coupling: float) -> np.ndarray:
    """A (states, latents, latents) of each state: a turn about the axis on which all of a cluster's latents agree."""
    axis = np.ones(DIMS) / np.sqrt(DIMS)
    across = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    along = np.outer(axis, axis)
    turns = [np.cos(a) * np.eye(DIMS) + np.sin(a) * across + (1 - np.cos(a)) * along for a in (TURN, -TURN)]
    blocks = [KEEP * turns[0], DECAY * np.eye(DIMS), KEEP * turns[1]][:states]
    pushed = coupling * np.kron(np.eye(clusters, k=-1), np.eye(DIMS))
    return np.stack([np.kron(np.eye(clusters), block) + pushed for block in blocks])


def _draw(settings: Mapping[str, int], part: int, dynamics: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Latents (trials, ms, latents) float32 and the state that leads to each, (trials, ms); a step's are constant."""
    steps, (states, dims, _) = BEFORE + LENGTH_MS // STEP_MS, dynamics.shape
    latents, chain = np.zeros((count, steps, dims)), np.zeros((count, steps), int)
    for k in range(count):
        rng = stream(settings, TRIAL, part, k)
        noise, changes = rng.standard_normal((steps, dims)), rng.random(steps) >= STAY
        other = rng.integers(1, states, steps)
        chain[k] = (rng.integers(states) + np.cumsum(changes * other)) % states
        for t in range(1, steps):
            latents[k, t] = dynamics[chain[k, t]] @ latents[k, t - 1] + noise[t]
    shown = np.repeat(latents[:, BEFORE:], STEP_MS, axis=1).astype(np.float32)
    return shown, np.repeat(chain[:, BEFORE:], STEP_MS, axis=1)


def _weights(rng: np.random.Generator, labels: np.ndarray, latents: np.ndarray) -> np.ndarray:
    """(latents, neurons): 1 for the level and a normal number for each factor, scaled to the sd of a log rate."""
    weights = np.zeros((latents.shape[2], len(labels)))
    for neuron, label in enumerate(labels):
        weights[DIMS * label : DIMS * (label + 1), neuron] = [1, *rng.standard_normal(DIMS - 1)]
    return ETA_SD * weights / (latents.reshape(-1, len(weights)) @ weights).std(axis=0)
