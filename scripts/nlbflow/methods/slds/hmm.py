"""Hidden Markov models: exact posteriors of the discrete states of many trials at once."""

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
    largest = log_likelihood.max(axis=2, keepdims=True)
    likelihood = np.exp(log_likelihood - largest)
    filtered, scale = np.empty((bins, trials, states)), np.empty((bins, trials, 1))
    predicted = np.broadcast_to(initial, (trials, states))
    for t in range(bins):
        joint = predicted * likelihood[:, t]
        scale[t] = joint.sum(axis=1, keepdims=True)
        filtered[t] = joint / scale[t]
        predicted = filtered[t] @ transitions
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
