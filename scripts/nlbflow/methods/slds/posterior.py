"""The posterior of clusters of neurons by Gibbs sampling (`gibbs`), from where `clusters` ends.

Labels of neurons are nearly frozen once their latents are known, so the chain starts from the clusters that were found
and tells how sure they are near there. Trials whose rates are told are a cut (Plummer 2015, Statistics and Computing
25:37): they follow the parameters as drawn and enter none.
"""

from dataclasses import dataclass

import numpy as np

from nlbflow.methods.slds.clusters import Clustered
from nlbflow.methods.slds.fit import infer, reporter
from nlbflow.methods.slds.gaussian_chain import Chain, chain_moments
from nlbflow.methods.slds.gibbs import (
    Assumed, Drawn, Trials, draw_dynamics, draw_paths, draw_precisions, latent_terms, log_means, sweep,
)  # fmt: skip
from nlbflow.methods.slds.hmm import draw_index
from nlbflow.methods.slds.softplus_poisson import SILENT_RATE

# Places for clusters beside those that were found; first sweeps, whose labels are held; last sweeps before the kept
# ones, in which cut trials settle; ways on from the last observed bin, which are averaged.
SPARE, HELD, SETTLING, WAYS = 1, 20, 20, 8


@dataclass
class Told:
    """Of cut trials, means over the kept sweeps: expected counts (trials, bins, neurons) of the observed and of later
    bins, latents (trials, bins, dims), and the states' shares (trials, bins, states)."""

    rates: np.ndarray
    later: np.ndarray
    latents: np.ndarray
    states: np.ndarray


@dataclass
class Sampled:
    """What the kept sweeps say: the labels (neurons,), -1 for a neuron that never fires, of the one that agrees best
    with `together`, the share of sweeps in which two neurons are of one cluster; the share of labels that move in a
    sweep; the cut trials; the states' shares of the training trials (trials, bins, states); the model's parameters."""

    labels: np.ndarray
    together: np.ndarray
    moved: float
    cut: dict[str, Told]
    states: np.ndarray
    parameters: int


def sample(
    found: Clustered, counts: np.ndarray, cut: dict[str, np.ndarray], later: int, clusters: int, sweeps: int,
    burn_in: int, inference_iterations: int, seed: int,
) -> Sampled:  # fmt: skip
    """Sample from the posterior.

    Args:
        found: clusters, and the fit to start from.
        counts: (trials, bins, neurons) of the training trials, NaN where not observed.
        cut: counts of trials that are told but not learned from, NaN where not observed.
        later: bins after the cut trials' last, which are told too.
        clusters: their number in `found`.
        sweeps, burn_in: kept, and before those.
        inference_iterations: of the fit's posterior, from which cut trials start.
        seed: of all draws.
    """
    rng, firing = np.random.default_rng(seed), found.labels >= 0
    # steps of unlike lengths have counts that were scaled
    counts = np.rint(counts[..., firing])
    assumed, largest = Assumed(level=float(np.log(np.nanmean(counts)))), float(np.nanmax(counts))
    drawn, trials = _start(found, counts, clusters, assumed, rng)
    apart = {
        name: _Cut(found, seen, later, largest, inference_iterations, own)
        for (name, seen), own in zip(cut.items(), rng.spawn(len(cut)), strict=True)
    }
    labels, states, reference = [drawn.labels], np.zeros((*trials.states.shape, len(drawn.dynamics.A))), None
    report = reporter("biclust, posterior", "sweep", burn_in + sweeps)
    for k in range(burn_in + sweeps):
        drawn = sweep(drawn, trials, assumed, k >= HELD, rng)
        labels.append(drawn.labels)
        if k >= burn_in - SETTLING:
            chains = {name: part.follow(drawn, assumed, k >= burn_in) for name, part in apart.items()}
        if k >= burn_in:
            states += np.eye(states.shape[2])[trials.states]
            means = [chain.mean for chain in chains.values()]
            reference = means if reference is None else reference
            for part, latents in zip(apart.values(), _aligned(means, reference), strict=True):
                part.latents += latents
        report(k + 1, f"{(labels[-1] != labels[-2]).sum()} labels moved")
    kept = np.stack(labels[-sweeps - 1 :])
    chosen, together = np.full(len(firing), -1), np.zeros((len(firing), len(firing)))
    chosen[firing], together[np.ix_(firing, firing)] = _agreed(kept[1:])
    return Sampled(
        chosen,
        together,
        float((kept[1:] != kept[:-1]).mean()),
        {name: part.told(sweeps, firing) for name, part in apart.items()},
        states / sweeps,
        _parameters(drawn),
    )


class _Cut:
    """Trials that follow the parameters, by random numbers of their own, and sums of what is told of them."""

    def __init__(
        self, found: Clustered, counts: np.ndarray, later: int, largest: float, iterations: int,
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        posterior, firing = infer(found.model, counts, iterations)[0], found.labels >= 0
        self._begun = np.log(np.maximum(found.model.emission.rates(posterior.latents)[..., firing], SILENT_RATE))
        counts = np.rint(counts[..., firing])
        self._trials = Trials(counts, np.empty(0), posterior.states.argmax(axis=2))
        self._largest, self._rng = largest, rng
        self._rates, self._later = np.zeros(counts.shape), np.zeros((len(counts), later, counts.shape[2]))
        self._states, self.latents = np.zeros(posterior.states.shape), 0.0

    def follow(self, drawn: Drawn, assumed: Assumed, keep: bool) -> Chain | None:
        """New latents and states; where `keep`, the moments of the latents, which rates and states are told by."""
        trials, chain = self._trials, None
        means = log_means(drawn, trials.latents, assumed) if self._begun is None else self._begun
        self._begun = None
        seen = draw_precisions(trials.counts, means, assumed, self._rng)
        terms = latent_terms(drawn, trials.states, seen, assumed)
        if keep:
            chain = chain_moments(*terms)
            self._rates += self._expected(drawn, chain.mean, chain.cov, assumed)
            self._ahead(drawn, chain, assumed)
        draw_paths(drawn, trials, terms, self._rng)
        if keep:
            self._states += np.eye(self._states.shape[2])[trials.states]
        return chain

    def told(self, sweeps: int, firing: np.ndarray) -> Told:
        """Means over the sweeps, with neurons that never fire among the others."""
        rates, later = (np.full((*sums.shape[:2], len(firing)), SILENT_RATE) for sums in (self._rates, self._later))
        rates[..., firing], later[..., firing] = self._rates / sweeps, self._later / sweeps
        return Told(rates, later, self.latents / sweeps, self._states / sweeps)

    def _ahead(self, drawn: Drawn, chain: Chain, assumed: Assumed) -> None:
        """Rates after the last bin along states drawn on, with the latents' moments given these."""
        dynamics = drawn.dynamics
        mean, cov, states = (
            np.repeat(part[:, -1], WAYS, axis=0) for part in (chain.mean, chain.cov, self._trials.states)
        )
        for t in range(self._later.shape[1]):
            states = draw_index(dynamics.transitions[states], self._rng)
            A = dynamics.A[states]
            mean = (A @ mean[..., None])[..., 0] + dynamics.b[states]
            cov = A @ cov @ A.transpose(0, 2, 1) + dynamics.Q[states]
            rates = self._expected(drawn, mean, cov, assumed)
            self._later[:, t] += rates.reshape(-1, WAYS, rates.shape[1]).mean(axis=1)

    def _expected(self, drawn: Drawn, mean: np.ndarray, cov: np.ndarray, assumed: Assumed) -> np.ndarray:
        """Expected counts under Gaussian latents; none above the largest count, as dynamics that grow may reach
        anything."""
        logs = log_means(drawn, mean, assumed)
        for members, own, _, products in drawn.clusters():
            logs[..., members] += 0.5 * cov[..., own, own].reshape(*mean.shape[:-1], -1) @ products.T
        return np.exp(np.minimum(logs, np.log(self._largest)))


def _start(
    found: Clustered, counts: np.ndarray, clusters: int, assumed: Assumed, rng: np.random.Generator
) -> tuple[Drawn, Trials]:
    """Parameters and latents near those of the fit: of each cluster's log rates the mean over neurons is its level, and
    the principal components of what is left are its factors."""
    chain, labels = found.posterior.latents, found.labels[found.labels >= 0]
    dims, places = chain.mean.shape[2] // clusters, clusters + SPARE
    rates = found.model.emission.rates(chain)[..., found.labels >= 0]
    logs = np.log(np.maximum(rates, SILENT_RATE)).reshape(-1, len(labels))
    means = logs.mean(axis=0)
    loadings, turn = np.zeros((len(labels), dims)), np.zeros((clusters * dims, places * dims))
    loadings[:, 0] = means - assumed.level
    centred = chain.mean - chain.mean.mean(axis=(0, 1))
    for k in np.unique(labels):
        members, first = np.flatnonzero(labels == k), k * dims
        rest = logs[:, members] - means[members]
        level = rest.mean(axis=1, keepdims=True)
        rest = rest - level
        axes = np.linalg.eigh(rest.T @ rest)[1][:, ::-1][:, : dims - 1]
        # loadings of mean square 1, as they are expected
        target = np.concatenate([level, rest @ axes / np.sqrt(len(members))], axis=1)
        loadings[members, 1 : target.shape[1]] = axes * np.sqrt(len(members))
        own = centred[..., first : first + dims].reshape(-1, dims)
        turn[first : first + dims, first : first + target.shape[1]] = np.linalg.lstsq(own, target)[0]
    mean, blank = centred @ turn, ~turn.any(axis=0)
    steps = rng.standard_normal((*mean.shape[:2], blank.sum())) * np.sqrt(assumed.noise)
    steps[:, 0] /= np.sqrt(assumed.noise)
    mean[..., blank] = steps.cumsum(axis=1)
    start = Chain(mean, turn.T @ chain.cov @ turn, turn.T @ chain.cross @ turn, chain.entropy)
    states = found.posterior.states.argmax(axis=2)
    dynamics = draw_dynamics(start, states, found.posterior.states.shape[2], assumed, rng)
    return Drawn(dynamics, labels, loadings, places), Trials(counts, mean, states)


def _aligned(latents: list[np.ndarray], reference: list[np.ndarray]) -> list[np.ndarray]:
    """Latents (trials, bins, dims) of some trials each, by the affine map that brings the first to its reference:
    nothing holds their axes from one sweep to the next."""
    rows = [np.concatenate([part, np.ones((*part.shape[:2], 1))], axis=2) for part in latents]
    dims = latents[0].shape[2]
    found = np.linalg.lstsq(rows[0].reshape(-1, dims + 1), reference[0].reshape(-1, dims))[0]
    return [part @ found for part in rows]


def _agreed(kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of labels (sweeps, neurons) those that agree best with the share of sweeps in which two neurons are together
    (neurons, neurons), and this share."""
    unlike, counts = np.unique(kept, axis=0, return_counts=True)
    together = sum(n * (labels[:, None] == labels) for labels, n in zip(unlike, counts, strict=True)) / len(kept)
    away = [(((labels[:, None] == labels) - together) ** 2).sum() for labels in unlike]
    return unlike[np.argmin(away)], together


def _parameters(drawn: Drawn) -> int:
    """Number of free parameters: the first state's chances are fixed."""
    return drawn.dynamics.parameters - (len(drawn.dynamics.b) - 1) + drawn.loadings.size
