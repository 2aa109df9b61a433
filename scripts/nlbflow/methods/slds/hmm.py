"""Hidden Markov models: exact posteriors of the discrete states of many trials at once, and draws from them."""

import numpy as np


def forward_backward(
    initial: np.ndarray, transitions: np.ndarray, log_likelihood: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Posterior of the states given the observations (Rabiner 1989, Proc. IEEE 77:257, with scaling).

    Args:
        initial: (states,), probabilities of the first bin's state, all positive.
        transitions: (states, states), [j, k] the probability of k after j, all positive; rows sum to 1.
        log_likelihood: (trials, bins, states), of a bin's observation given its state.

    Returns:
        probabilities (trials, bins, states); expected numbers of transitions (states, states), summed over trials
        and bins; log likelihood of each trial (trials,).
    """
    trials, bins, states = log_likelihood.shape
    filtered, scale, likelihood, largest = _filtered(initial, transitions, log_likelihood)
    counts = np.zeros((states, states))
    probabilities = filtered.copy()
    later = np.ones((trials, states))
    for t in range(bins - 2, -1, -1):
        arriving = likelihood[:, t + 1] * later / scale[t + 1]
        counts += filtered[t].T @ arriving
        later = arriving @ transitions.T
        probabilities[t] *= later
    log_evidence = np.log(scale).sum(axis=(0, 2)) + largest.sum(axis=(1, 2))
    return probabilities.transpose(1, 0, 2), counts * transitions, log_evidence


def draw_states(
    initial: np.ndarray, transitions: np.ndarray, log_likelihood: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """States (trials, bins) drawn from their posterior, backward in time; the arguments are `forward_backward`'s."""
    filtered, *_ = _filtered(initial, transitions, log_likelihood)
    drawn = np.empty(filtered.shape[:2], int)
    drawn[-1] = draw_index(filtered[-1], rng)
    for t in range(len(filtered) - 2, -1, -1):
        drawn[t] = draw_index(filtered[t] * transitions[:, drawn[t + 1]].T, rng)
    return drawn.T


def draw_index(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One index of each row, with the chances of its weights."""
    steps = weights.cumsum(axis=1)
    return (steps < rng.random((len(weights), 1)) * steps[:, -1:]).sum(axis=1)


def _filtered(initial: np.ndarray, transitions: np.ndarray, log_likelihood: np.ndarray) -> tuple[np.ndarray, ...]:
    """Chances of the states given the bins up to each (bins, trials, states), their scales (bins, trials, 1), and the
    likelihood over its largest value, with that value's log."""
    trials, bins, states = log_likelihood.shape
    largest = log_likelihood.max(axis=2, keepdims=True)
    likelihood = np.exp(log_likelihood - largest)
    filtered, scale = np.empty((bins, trials, states)), np.empty((bins, trials, 1))
    predicted = np.broadcast_to(initial, (trials, states))
    for t in range(bins):
        joint = predicted * likelihood[:, t]
        scale[t] = joint.sum(axis=1, keepdims=True)
        filtered[t] = joint / scale[t]
        predicted = filtered[t] @ transitions
    return filtered, scale, likelihood, largest
