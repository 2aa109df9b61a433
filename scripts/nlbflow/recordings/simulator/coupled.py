"""A session of neurons some of which drive others: who drives whom is known.

A network of generalised linear models (Pillow et al. 2008, Nature 454:995): a spike of a hub raises the log rate of its
targets, from the next ms on and less and less over some 20 ms. One slow drive that all neurons share correlates those
that are not coupled too, so couplings have to be told from it. Hubs are held in: they are what a model can see.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.recordings.simulator.clusters import GAP_MS, LENGTH_MS, WINDOW_MS
from nlbflow.recordings.simulator.session import (
    ORDER, POPULATION, SPIKES, TRAIN, TRIAL, TRUTH,
    Part, Population, Session, Trials, checked, quantiles, spike_times, stream,
)  # fmt: skip
from nlbflow.recordings.simulator.truth import rates_hz

SETTINGS = ("seed", "hubs", "targets", "train_trials", "val_trials", "test_trials", "heldin", "heldout")
GAIN, FILTER_MS = 0.8, 20.0  # of a target's log rate right after a hub's spike, and how fast that is forgotten
DRIVE_SD, DRIVE_TAU_MS = 0.4, 100.0  # of a neuron's log rate by the shared drive
RATE_HZ, RATE_LOG_SD, HUB_HZ = 8.0, 0.3, 15.0
BEFORE_MS = 500  # before a trial begins, until nothing of the start is left


def simulate_coupled(settings: Mapping[str, Any]) -> Session:
    """Draw a session. Its latents are the drive and what each hub's spikes have left behind; the true rates of a
    target are those given the hubs' spikes up to the moment.

    Args:
        settings: seed, hubs, targets of each, numbers of trials and of units.

    Raises:
        NlbflowError: a setting is missing or out of range.
    """
    settings = checked(settings, SETTINGS)
    hubs, groups = settings["hubs"], (settings["heldin"], settings["heldout"])
    if hubs > groups[0] or settings["targets"] > sum(groups) - hubs:
        raise NlbflowError(
            f"the simulator's hubs must be among the {groups[0]} held-in units and their targets among the others, but "
            f"found {hubs} hubs with {settings['targets']} targets each; lower one in the dataset's stanza."
        )
    rng = stream(settings, POPULATION)
    couplings = np.zeros((sum(groups), sum(groups)), np.int8)
    for hub in range(hubs):
        couplings[hubs + rng.permutation(sum(groups) - hubs)[: settings["targets"]], hub] = 1
    rates = np.concatenate([quantiles(rng, RATE_HZ, RATE_LOG_SD, n) for n in groups])
    rates[:hubs] = HUB_HZ
    # how much the mean of exp(trace) raises the log of a mean rate (Campbell's theorem)
    lift = HUB_HZ / 1000 * np.expm1(GAIN * np.exp(-np.arange(BEFORE_MS) / FILTER_MS)).sum() * couplings.sum(axis=1)
    # everybody follows the drive as much as any other, in one direction or the other: with a few large weights, bursts
    # of a hub in a few trials would decide every score
    weights = np.vstack([DRIVE_SD * rng.choice([-1.0, 1.0], sum(groups)), GAIN * couplings[:, :hubs].T])
    bias = np.log(rates) - lift - weights[0] ** 2 / 2
    mixed = rng.permutation(sum(groups))
    heldout, unit_id = np.repeat([False, True], groups), 1 + rng.permutation(sum(groups))

    splits = np.repeat(["train", "val"], [settings["train_trials"], settings["val_trials"]])
    parts = []
    for part, split in (
        (TRAIN, stream(settings, ORDER, 0).permutation(splits)),
        (TRUTH, np.repeat(["test"], settings["test_trials"])),
    ):
        latents, spikes = [], []
        for k in range(len(split)):
            drive = _drive(stream(settings, TRIAL, part, k))
            rng = stream(settings, SPIKES, part, k)
            driving = rng.poisson(rates_hz(drive[:, None], weights[:1, :hubs], bias[:hubs]) / 1000)
            latents.append(np.column_stack([drive, _traces(driving)])[BEFORE_MS:].astype(np.float32))
            counts = rng.poisson(rates_hz(latents[-1], weights, bias) / 1000)
            counts[:, :hubs] = driving[BEFORE_MS:]
            spikes.append(spike_times(counts[:, mixed], rng))
        trials = Trials.alike(len(split), LENGTH_MS, GAP_MS)
        parts.append(Part(trials, split, np.stack(latents), None, None, spikes))
    population = Population(unit_id, heldout[mixed], weights[:, mixed], bias[mixed])
    return Session(settings, population, None, *parts, WINDOW_MS, {"couplings": couplings[np.ix_(mixed, mixed)]})


def _drive(rng: np.random.Generator) -> np.ndarray:
    """(ms,) the shared drive: slow noise of unit variance, as float32 has it, since rates are made from that."""
    noise, keep = rng.standard_normal(BEFORE_MS + LENGTH_MS), np.exp(-1 / DRIVE_TAU_MS)
    drive = np.empty(len(noise))
    drive[0] = noise[0]
    for t in range(1, len(noise)):
        drive[t] = keep * drive[t - 1] + np.sqrt(1 - keep**2) * noise[t]
    return drive.astype(np.float32)


def _traces(spikes: np.ndarray) -> np.ndarray:
    """(ms, hubs) what spikes (ms, hubs) have left behind by each ms: those of the ms itself do not count yet."""
    left, keep = np.zeros(spikes.shape), np.exp(-1 / FILTER_MS)
    for t in range(1, len(spikes)):
        left[t] = keep * left[t - 1] + spikes[t - 1]
    return left
