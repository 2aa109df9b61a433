"""A prior over who belongs together that leaves the number of clusters open: a mixture of finite mixtures.

The number of clusters is geometric, shares of them are symmetric Dirichlet (Miller & Harrison 2018, JASA 113:340).
Clusters have numbered places, of which some are empty, so that nothing changes its size when one begins or ends.
"""

from functools import cache

import numpy as np
from scipy.special import gammaln, logsumexp

# Terms of the sum over numbers of clusters: it falls geometrically.
TERMS = 2000


@cache
def log_weights(neurons: int, gamma: float, end: float, largest: int) -> np.ndarray:
    """log V_n(t) for t = 0 to `largest`: the chance of a partition of n neurons into t clusters of sizes s is V_n(t)
    times the product of Γ(γ + s) / Γ(γ).

    Args:
        neurons: n.
        gamma: of the Dirichlet.
        end: chance of the geometric to end, above 0.01 or so for the sum to be whole.
        largest: t up to which.
    """
    k = np.arange(1, TERMS + largest)
    shared = gammaln(gamma * k) - gammaln(gamma * k + neurons) + np.log(end) + (k - 1) * np.log1p(-end)
    places = [gammaln(k[k >= t] + 1) - gammaln(k[k >= t] - t + 1) + shared[k >= t] for t in range(largest + 1)]
    return np.array([logsumexp(terms) for terms in places])


def log_prior(sizes: np.ndarray, weights: np.ndarray, gamma: float) -> np.ndarray:
    """Log prior, up to a constant, of each place for a neuron, given the numbers of others there.

    Args:
        sizes: (places,), numbers of other neurons.
        weights: of `log_weights` for all neurons and up to as many clusters as there are places.
        gamma: of the Dirichlet.
    """
    used, places = int((sizes > 0).sum()), len(sizes)
    found = np.log(sizes + gamma)
    if used < places:
        # a new cluster takes any of the empty places
        found[sizes == 0] += weights[used + 1] - weights[used] - np.log(places - used)
    return found


def draw_labels(
    labels: np.ndarray, likelihood: np.ndarray, weights: np.ndarray, gamma: float, rng: np.random.Generator
) -> np.ndarray:
    """New labels (neurons,), one neuron after the other given all others.

    Args:
        labels: the place of each neuron.
        likelihood: (neurons, places), log likelihood of each neuron at each place.
        weights, gamma: as for `log_prior`.
        rng: draws them.
    """
    labels, places = labels.copy(), likelihood.shape[1]
    sizes = np.bincount(labels, minlength=places)
    for i, value in enumerate(likelihood):
        sizes[labels[i]] -= 1
        # the largest of logarithms plus Gumbel noise has the chances that they stand for
        labels[i] = (value + log_prior(sizes, weights, gamma) + rng.gumbel(size=places)).argmax()
        sizes[labels[i]] += 1
    return labels
