"""Switching linear dynamical systems with Poisson counts, fitted by variational expectation-maximisation.

The posterior of the latents is a Gaussian chain, that of the states a Markov chain, independent of each other
(structured mean field: Zoltowski, Pillow & Linderman 2020, ICML, "variational Laplace-EM"). As in Laplace's
approximation, a banded Newton step gives the latents their mean, and minus the curvature there their precision; but
slope and curvature are averaged over the posterior instead of taken at its mode (Opper & Archambeau 2009, Neural
Computation 21:786). So every update climbs one function, the evidence lower bound plus the log prior of the
parameters, and nothing is sampled.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.methods.slds.gaussian_chain import Chain, chain_moments
from nlbflow.methods.slds.hmm import forward_backward
from nlbflow.methods.slds.softplus_poisson import HALVINGS, ROUNDING, Emission, Evaluation, climb, evaluate
from nlbflow.methods.slds.start import start_dynamics, start_latents
from nlbflow.methods.slds.switching import Dynamics, Prior, estimate, statistics

log = logging.getLogger("nlbflow")

# Trials worked on at once: bounds the memory of temporary arrays.
BATCH_TRIALS = 128
# Inference ends when an iteration adds less than this to the bound, in nats per trial.
INFERENCE_TOLERANCE = 1e-3
# Iterations with one state, before the states start.
LINEAR_ITERATIONS = 10
# Starts of the states, and the iterations after which the one with the highest bound goes on.
STARTS, FIRST_ITERATIONS = 4, 5
# Lowest variance of the noise to expect, where latents do not vary at all.
LEAST_NOISE = 1e-9
# Variance of the latents before their first update.
START_VARIANCE = 0.1
LOG_EVERY_S = 5.0


@dataclass
class Slds:
    """Dynamics of the latents and emission of the counts."""

    dynamics: Dynamics
    emission: Emission

    @property
    def parameters(self) -> int:
        """Number of free parameters."""
        return self.dynamics.parameters + self.emission.parameters


@dataclass
class Posterior:
    """Of some trials: the latents, and the probabilities of the states (trials, bins, states)."""

    latents: Chain
    states: np.ndarray


def fit(
    counts: np.ndarray,
    bin_ms: float,
    states: int,
    latents: int,
    l2_A: float,
    l2_b: float,
    iterations: int,
    start_iterations: int,
    seed: int,
) -> tuple[Slds, Posterior, list[float]]:
    """Fit a model to counts by expectation-maximisation.

    Args:
        counts: (trials, bins, neurons), spikes per bin, whole or not; NaN where not observed.
        bin_ms: width of a bin.
        states, latents: the numbers of both.
        l2_A, l2_b: penalties on the distance of A from the identity and of b from zero, relative to the noise.
        iterations: of expectation-maximisation.
        start_iterations: of the autoregressive hidden Markov model that the dynamics start from.
        seed: of the start; nothing else is random.

    Returns:
        model, posterior of the trials, and the bound plus log prior in nats, before each iteration and at the end.

    Raises:
        NlbflowError: the counts, the numbers of states, latents or iterations, or the penalties are out of range.
    """
    check(counts, states, latents, (l2_A, l2_b), (iterations, start_iterations))
    start = fit_one_state(*start_latents(counts, bin_ms, latents), counts, l2_A, l2_b)
    return fit_states(start, counts, states, iterations, start_iterations, seed)


@dataclass
class Start:
    """What a fit with one state leaves to one with several: emission, latents of all trials, prior of the dynamics."""

    emission: Emission
    chain: Chain
    prior: Prior


def fit_one_state(emission: Emission, mean: np.ndarray, counts: np.ndarray, l2_A: float, l2_b: float) -> Start:
    """A few iterations with one state: from rough latents of the counts, states would be told apart by roughness.

    Args:
        emission, mean: to start from; mean is of the latents (trials, bins, dims).
        counts, l2_A, l2_b: as for `fit`.
    """
    dims = mean.shape[2]
    steps = np.diff(mean, axis=1).reshape(-1, dims)
    prior = Prior(np.append(np.full(dims, float(l2_A)), float(l2_b)), np.maximum((steps**2).mean(axis=0), LEAST_NOISE))
    chain = _isolated(mean)
    linear = Slds(start_dynamics(chain, 1, prior, 1, np.random.default_rng(0)), emission)
    linear = _maximise(linear, chain, counts, prior, LINEAR_ITERATIONS, "slds, one state")[0]
    return Start(linear.emission, chain, prior)


def fit_states(
    start: Start, counts: np.ndarray, states: int, iterations: int, start_iterations: int, seed: int
) -> tuple[Slds, Posterior, list[float]]:
    """The rest of `fit`, whose arguments and result these are."""
    rng, name = np.random.default_rng(seed), f"slds, {states} states"
    first, best = min(iterations, FIRST_ITERATIONS), None
    starts = STARTS if states > 1 else 1
    for k in range(starts):
        # a chain is most of the memory: the last start takes the one that is given, and no loser is kept
        chain = start.chain if k + 1 == starts else start.chain.select(np.arange(len(counts)))
        dynamics = start_dynamics(start.chain, states, start.prior, start_iterations, rng)
        found = _maximise(Slds(dynamics, start.emission), chain, counts, start.prior, first, f"{name}, start {k + 1}")
        if best is None or found[2][-1] > best[2][-1]:
            best = found
        del found, chain
    model, posterior, bounds = best
    if first == iterations:
        return best
    model, posterior, more = _maximise(model, posterior.latents, counts, start.prior, iterations - first, name)
    return model, posterior, bounds + more[1:]


def _maximise(
    model: Slds, chain: Chain, counts: np.ndarray, prior: Prior, iterations: int, name: str
) -> tuple[Slds, Posterior, list[float]]:
    """Expectation-maximisation from a model and a chain of latents, which is overwritten."""
    dynamics, emission = model.dynamics, model.emission
    here = evaluate(emission, chain, counts)
    active = np.flatnonzero(np.nansum(counts, axis=(0, 1)))
    bounds, report = [], reporter(name, "iteration", iterations)
    for iteration in range(iterations + 1):
        chances, changes, evidence = update_states(dynamics, chain)
        density = prior.log_density(dynamics) + emission.log_prior()
        bounds.append(float((evidence + chain.entropy + here.value.sum(axis=1)).sum() + density))
        report(iteration, f"bound {bounds[-1] / len(counts):.2f} nats per trial")
        if iteration < iterations:
            dynamics = estimate(statistics(chain, chances), chances[:, 0].sum(axis=0), changes, prior)
            update_latents(Slds(dynamics, emission), counts, Posterior(chain, chances), here)
            emission = climb(emission, chain, counts, here, active)
    return Slds(dynamics, emission), Posterior(chain, chances), bounds


def infer(model: Slds, counts: np.ndarray, iterations: int) -> tuple[Posterior, np.ndarray]:
    """The posterior of trials under a fitted model.

    Args:
        model: with the emission of all neurons of the counts.
        counts: (trials, bins, neurons), NaN where not seen: held-out neurons.
        iterations: at most so many updates of states and latents.

    Returns:
        the posterior, and the bound (iterations, trials) in nats after each update of the states; the bound of a batch
        that has converged stays.
    """
    found, bounds = [], np.empty((iterations, len(counts)))
    for batch in _batches(len(counts)):
        seen = counts[batch]
        chain = _isolated(np.zeros((*seen.shape[:2], len(model.dynamics.first_mean))))
        # a state that the data never use must not hold the latents either
        chances = model.dynamics.chances(seen.shape[1])
        posterior = Posterior(chain, np.broadcast_to(chances, (len(seen), *chances.shape)))
        here = evaluate(model.emission, chain, seen)
        for iteration in range(iterations):
            update_latents(model, seen, posterior, here)
            posterior.states, _, evidence = update_states(model.dynamics, chain)
            bounds[iteration:, batch] = evidence + chain.entropy + here.value.sum(axis=1)
            gain = np.diff(bounds[max(iteration - 1, 0) : iteration + 1, batch], axis=0)
            if gain.size and gain.max() < INFERENCE_TOLERANCE:
                break
        found.append(posterior)
    return _joined(found), bounds


def update_states(dynamics: Dynamics, chain: Chain) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best posterior of the states given that of the latents.

    Returns:
        as `forward_backward`: probabilities, expected numbers of transitions, and the bound of each trial less the
        latents' entropy and the counts' log likelihood.
    """
    return forward_backward(dynamics.initial, dynamics.transitions, dynamics.log_density(chain))


def update_latents(model: Slds, counts: np.ndarray, posterior: Posterior, here: Evaluation) -> None:
    """One Newton step of the latents, of each trial for itself, in place; `here` is the counts' evaluation before and
    after.

    Where the full step does not climb, the covariances stay and the step of the mean is halved until it climbs.
    """
    for batch in _batches(len(counts)):
        prior = model.dynamics.precision(posterior.states[batch])
        old, seen = posterior.latents.select(batch), here.select(batch)
        value = _prior_value(prior, old) + seen.value.sum(axis=1)
        full = _newton(model.emission, prior, old, seen)
        left, length, new = np.arange(len(old.mean)), 1.0, full
        for halving in range(HALVINGS):
            there = evaluate(model.emission, new, counts[batch][left])
            reached = _prior_value(tuple(part[left] for part in prior), new) + there.value.sum(axis=1)
            climbed = reached >= value[left] - ROUNDING * np.abs(value[left])
            trials = left[climbed] + batch.start
            posterior.latents.replace(trials, new.select(climbed))
            here.replace(trials, there.select(climbed))
            left, length = left[~climbed], length / 2 if halving else 1.0
            if not len(left):
                break
            new = old.select(left)
            new.mean += length * (full.mean[left] - new.mean)


def _newton(emission: Emission, prior: tuple[np.ndarray, ...], old: Chain, seen: Evaluation) -> Chain:
    """Where slope and curvature at the old latents put the new ones."""
    diagonal, below, linear = prior
    weights = emission.weights
    curved = (seen.curvature @ emission.squares).reshape(diagonal.shape)
    pull = (seen.slope + seen.curvature * (old.mean @ weights.T)) @ weights
    return chain_moments(diagonal + curved, below, linear + pull)


def _prior_value(prior: tuple[np.ndarray, ...], chain: Chain) -> np.ndarray:
    """What the latents' prior and entropy add to the bound of each trial, up to a constant."""
    diagonal, below, linear = prior
    mean = chain.mean
    pulled = linear - 0.5 * (diagonal @ mean[..., None])[..., 0]
    pulled[:, 1:] -= (below @ mean[:, :-1, :, None])[..., 0]
    spread = 0.5 * np.einsum("ntij,ntij->n", diagonal, chain.cov) + np.einsum("ntij,ntij->n", below, chain.cross)
    return np.einsum("nti,nti->n", pulled, mean) - spread + chain.entropy


def _isolated(mean: np.ndarray) -> Chain:
    """Latents around a mean (trials, bins, dims) without any covariance between bins."""
    trials, bins, dims = mean.shape
    cov = np.broadcast_to(START_VARIANCE * np.eye(dims), (trials, bins, dims, dims)).copy()
    entropy = np.full(trials, 0.5 * bins * dims * (1 + np.log(2 * np.pi * START_VARIANCE)))
    return Chain(mean.copy(), cov, np.zeros((trials, bins - 1, dims, dims)), entropy)


def _batches(trials: int) -> Iterator[slice]:
    return (slice(first, min(first + BATCH_TRIALS, trials)) for first in range(0, trials, BATCH_TRIALS))


def _joined(parts: list[Posterior]) -> Posterior:
    names = ("mean", "cov", "cross", "entropy")
    chain = Chain(*(np.concatenate([getattr(part.latents, name) for part in parts]) for name in names))
    return Posterior(chain, np.concatenate([part.states for part in parts]))


def reporter(name: str, unit: str, count: int) -> Callable[[int, str], None]:
    """Logs how many of `count` iterations or sweeps are done, and what is said of them, at most every few seconds."""
    began = last = time.monotonic()

    def report(done: int, said: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= LOG_EVERY_S or done == count:
            each = (now - began) / max(done, 1)
            left = each * (count - done)
            log.info(f"{name}: {unit} {done} of {count}, {said}, {each:.2f} s per {unit}, {left:.0f} s left")
            last = now

    return report


def check(
    counts: np.ndarray,
    states: int,
    latents: int,
    penalties: tuple[float, float],
    iterations: tuple[int, int],
    model: str = "slds",
) -> None:
    """Refuse what `fit` cannot use, as its docstring says; `model` is named in the sentence."""
    negative, infinite = int((counts < 0).sum()), int(np.isinf(counts).sum())
    if negative or infinite or not len(counts) or counts.shape[1] < 2:
        raise NlbflowError(
            f"{model} needs counts (trials, time steps, neurons) of at least one trial and two steps, >= 0 and NaN "
            f"where not observed, but found {counts.shape} with {negative:,} negative and {infinite:,} infinite counts."
        )
    bins, firing = counts.shape[0] * counts.shape[1], int((np.nansum(counts, axis=(0, 1)) > 0).sum())
    if not 1 <= latents <= firing or not 1 <= states <= bins:
        raise NlbflowError(
            f"{model} needs 1 to {firing} latents, as many neurons fire, and 1 to {bins} states, as there are time "
            f"steps; found latents = {latents} and states = {states}: change them."
        )
    if min(iterations) < 1 or not 0 <= min(penalties) or not max(penalties) < np.inf:
        raise NlbflowError(
            f"{model} needs iterations and start_iterations >= 1, and l2_A and l2_b finite and >= 0; found "
            f"{iterations[0]}, {iterations[1]}, {penalties[0]} and {penalties[1]}."
        )
