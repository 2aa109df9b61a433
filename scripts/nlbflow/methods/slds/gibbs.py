"""Gibbs sampling of a switching linear dynamical system whose neurons fall into clusters: its full conditionals.

The model of Wei 2023 (arXiv:2309.02213): each cluster has a level, which all its neurons share, and factors, which each
loads on in its own way; the latents of all clusters follow dynamics that switch between states. Counts are negative
binomial of a fixed dispersion, so that with Pólya-Gamma numbers each conditional is of a known kind (Linderman et al.
2017, AISTATS). Each function draws from one conditional exactly; nothing is centred, turned or rejected.
"""

from dataclasses import dataclass, replace

import numpy as np

from nlbflow.methods.slds.gaussian_chain import Chain, chain_draw
from nlbflow.methods.slds.hmm import draw_states
from nlbflow.methods.slds.mixture import draw_labels, log_weights
from nlbflow.methods.slds.polyagamma import polya_gamma
from nlbflow.methods.slds.start import known
from nlbflow.methods.slds.switching import Dynamics, statistics


@dataclass(frozen=True)
class Assumed:
    """What is fixed: the counts' kind and the priors.

    `level` is the log mean count of a neuron without loadings and latents. A count of mean m has the variance
    m + m^2 / `dispersion`. `loading` is the variance of a neuron's log gain and of its loadings. A state's noise is
    inverse Wishart of mean `noise` / (`noise_count` - 1) and dims + `noise_count` degrees of freedom; A and b, given
    the noise, are normal about identity and zero as if seen in `tightness` steps. So is the covariance of a trial's
    first latents, of mean `first` / (`noise_count` - 1), and their mean about zero as if seen in `tightness` trials.
    Chances to go to another state are Dirichlet of `change` in all, with `stay` more to stay; the first state is any.
    `gamma` and `end` are of the mixture of clusters.
    """

    level: float
    dispersion: int = 10
    loading: float = 1.0
    noise: float = 0.01
    noise_count: float = 2.0
    first: float = 1.0
    tightness: float = 1.0
    change: float = 5.0
    stay: float = 10.0
    gamma: float = 1.0
    end: float = 0.2


@dataclass
class Drawn:
    """Parameters as last drawn: the dynamics, the place (neurons,) of each neuron's cluster among `places`, and its log
    gain and loadings (neurons, factors + 1)."""

    dynamics: Dynamics
    labels: np.ndarray
    loadings: np.ndarray
    places: int

    @property
    def dims(self) -> int:
        """Number of a cluster's latents, its level and its factors."""
        return self.loadings.shape[1]

    @property
    def weights(self) -> np.ndarray:
        """(neurons, dims) of the own cluster's latents: 1 for the level."""
        return np.concatenate([np.ones((len(self.labels), 1)), self.loadings[:, 1:]], axis=1)

    def clusters(self) -> list[tuple[np.ndarray, slice, np.ndarray, np.ndarray]]:
        """Of each cluster: its neurons, where its latents lie, their weights, and the products of these."""
        found, weights = [], self.weights
        for k in np.unique(self.labels):
            members = np.flatnonzero(self.labels == k)
            own = weights[members]
            products = (own[:, :, None] * own[:, None, :]).reshape(len(own), -1)
            found.append((members, slice(k * self.dims, (k + 1) * self.dims), own, products))
        return found


@dataclass
class Trials:
    """Counts (trials, bins, neurons), whole, NaN where not observed, and the latents (trials, bins, places * dims) and
    states (trials, bins) as last drawn."""

    counts: np.ndarray
    latents: np.ndarray
    states: np.ndarray


def log_means(drawn: Drawn, latents: np.ndarray, assumed: Assumed) -> np.ndarray:
    """Log expected counts (..., neurons) of latents (..., places * dims)."""
    means = np.empty((*latents.shape[:-1], len(drawn.labels)))
    for members, own, weights, _ in drawn.clusters():
        means[..., members] = latents[..., own] @ weights.T
    return means + drawn.loadings[:, 0] + assumed.level


def draw_precisions(
    counts: np.ndarray, means: np.ndarray, assumed: Assumed, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """What makes counts Gaussian observations of psi, the log means less the log dispersion.

    Returns:
        precision and precision times observation, (trials, bins, neurons); both zero where nothing is observed.
    """
    seen = np.isfinite(counts)
    precision, pull = np.zeros(counts.shape), np.zeros(counts.shape)
    shape, psi = counts[seen] + assumed.dispersion, means[seen] - np.log(assumed.dispersion)
    precision[seen], pull[seen] = polya_gamma(shape, psi, rng), 0.5 * (counts[seen] - assumed.dispersion)
    return precision, pull


def latent_terms(
    drawn: Drawn, states: np.ndarray, seen: tuple[np.ndarray, np.ndarray], assumed: Assumed
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The latents' conditional, as `chain_draw` and `chain_moments` take it; `seen` is of `draw_precisions`."""
    diagonal, below, linear = drawn.dynamics.precision(np.eye(len(drawn.dynamics.A))[states])
    precision, pull = seen
    pull = pull - precision * (drawn.loadings[:, 0] + assumed.level - np.log(assumed.dispersion))
    for members, own, weights, products in drawn.clusters():
        curved = precision[..., members] @ products
        diagonal[..., own, own] += curved.reshape(*states.shape, drawn.dims, drawn.dims)
        linear[..., own] += pull[..., members] @ weights
    return diagonal, below, linear


def draw_paths(drawn: Drawn, trials: Trials, terms: tuple[np.ndarray, ...], rng: np.random.Generator) -> None:
    """New latents, by `latent_terms`, and the states given them, in place. A bin's state leads to its latents from
    those of the bin before, so the first bin's leads to none."""
    dynamics = drawn.dynamics
    trials.latents = chain_draw(*terms, rng)
    density = dynamics.log_density(known(trials.latents))
    trials.states = draw_states(dynamics.initial, dynamics.transitions, density, rng)


def draw_dynamics(
    latents: Chain, states: np.ndarray, count: int, assumed: Assumed, rng: np.random.Generator
) -> Dynamics:
    """Transitions of `count` states, the dynamics of each and the first latents' moments, given latents and states
    (trials, bins)."""
    changes = np.zeros((count, count))
    np.add.at(changes, (states[:, :-1], states[:, 1:]), 1)
    rows = changes + assumed.change / count + assumed.stay * np.eye(count)
    transitions = np.stack([rng.dirichlet(row) for row in rows])
    sums, dims = statistics(latents, np.eye(count)[states]), latents.mean.shape[2]
    found = [_draw_map(pairs, np.eye(dims, dims + 1), assumed.noise, assumed, rng) for pairs in sums.pairs]
    maps, noise = (np.stack(parts) for parts in zip(*found, strict=True))
    mean, cov = _draw_map(sums.first, np.zeros((dims, 1)), assumed.first, assumed, rng)
    return Dynamics(np.full(count, 1 / count), transitions, mean[:, 0], cov, maps[..., :dims], maps[..., dims], noise)


def _draw_map(
    sums: np.ndarray, centre: np.ndarray, noise: float, assumed: Assumed, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A linear map of inputs, the last of which is 1, and the covariance of what it leaves: matrix normal given that,
    which is inverse Wishart.

    Args:
        sums: of ww', w = (outputs, inputs).
        centre: (outputs, inputs), about which the map is.
        noise: the prior scale of the covariance.
    """
    dims, inputs = centre.shape
    cross = sums[:dims, dims:] + assumed.tightness * centre
    gram = sums[dims:, dims:] + assumed.tightness * np.eye(inputs)
    best = np.linalg.solve(gram, cross.T).T
    scatter = sums[:dims, :dims] + assumed.tightness * centre @ centre.T - best @ cross.T
    scatter = (scatter + scatter.T) / 2 + noise * np.eye(dims)
    freedom = dims + assumed.noise_count + sums[-1, -1]
    # Bartlett: a Wishart matrix's root, whose inverse is one of the covariance
    bartlett = np.tril(rng.standard_normal((dims, dims)), -1)
    bartlett += np.diag(np.sqrt(rng.chisquare(freedom - np.arange(dims))))
    root = np.linalg.solve(bartlett, np.linalg.cholesky(scatter).T).T
    away = np.linalg.solve(np.linalg.cholesky(gram).T, rng.standard_normal((inputs, dims))).T
    return best + root @ away, root @ root.T


def draw_neurons(
    drawn: Drawn, trials: Trials, seen: tuple[np.ndarray, np.ndarray], assumed: Assumed, free: bool,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """New labels, where `free`, without regard to the loadings as last drawn, and new loadings given them."""
    precision, linear, evidence = neuron_terms(drawn, trials.latents, seen, assumed)
    labels, neurons = drawn.labels, np.arange(len(drawn.labels))
    if free:
        prior = log_weights(len(labels), assumed.gamma, assumed.end, drawn.places)
        labels = draw_labels(labels, evidence, prior, assumed.gamma, rng)
    precision, linear = precision[neurons, labels], linear[neurons, labels]
    mean = np.linalg.solve(precision, linear[..., None])
    roots = np.linalg.cholesky(precision).transpose(0, 2, 1)
    return labels, (mean + np.linalg.solve(roots, rng.standard_normal(mean.shape)))[..., 0]


def neuron_terms(
    drawn: Drawn, latents: np.ndarray, seen: tuple[np.ndarray, np.ndarray], assumed: Assumed
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each neuron in each place: its loadings' precision and linear term (neurons, places, ...), and its log
    likelihood with the loadings integrated out, up to what is the same in all places."""
    neurons, dims = len(drawn.labels), drawn.dims
    precision, pull = (part.reshape(-1, neurons).T for part in seen)
    blocks = latents.reshape(-1, drawn.places, dims)
    found = np.empty((neurons, drawn.places, dims, dims)), np.empty((neurons, drawn.places, dims))
    evidence = np.empty((neurons, drawn.places))
    for k in range(drawn.places):
        # all but the loadings and gain
        offset = blocks[:, k, 0] + assumed.level - np.log(assumed.dispersion)
        inputs = np.concatenate([np.ones((len(offset), 1)), blocks[:, k, 1:]], axis=1)
        products = (inputs[:, :, None] * inputs[:, None, :]).reshape(len(inputs), -1)
        found[0][:, k] = (precision @ products).reshape(neurons, dims, dims) + np.eye(dims) / assumed.loading
        found[1][:, k] = pull @ inputs - precision @ (inputs * offset[:, None])
        evidence[:, k] = pull @ offset - 0.5 * precision @ offset**2
    best = np.linalg.solve(found[0], found[1][..., None])[..., 0]
    evidence += 0.5 * (found[1] * best).sum(axis=-1) - 0.5 * np.linalg.slogdet(found[0])[1]
    return *found, evidence


def sweep(drawn: Drawn, trials: Trials, assumed: Assumed, free: bool, rng: np.random.Generator) -> Drawn:
    """All of the trials' latents and states, in place, and all parameters, once each; labels only where `free`."""
    seen = draw_precisions(trials.counts, log_means(drawn, trials.latents, assumed), assumed, rng)
    draw_paths(drawn, trials, latent_terms(drawn, trials.states, seen, assumed), rng)
    dynamics = draw_dynamics(known(trials.latents), trials.states, len(drawn.dynamics.A), assumed, rng)
    labels, loadings = draw_neurons(drawn, trials, seen, assumed, free, rng)
    return replace(drawn, dynamics=dynamics, labels=labels, loadings=loadings)
