"""Rates after the last bin that is observed."""

from collections.abc import Iterator

import numpy as np

from nlbflow.methods.slds.fit import Posterior, Slds
from nlbflow.methods.slds.gaussian_chain import Chain
from nlbflow.methods.slds.switching import Dynamics


def forecast(model: Slds, posterior: Posterior, bins: int) -> np.ndarray:
    """Expected spikes per bin (trials, bins, neurons) after the last bin of a posterior.

    Where nothing is observed, the posterior that `infer` finds, in which states and latents know nothing of each other,
    would follow dynamics averaged over the states, and be too sure. Here the latents of each state are taken for
    Gaussian, with the mean and covariance that they have.

    Args:
        model: as fitted.
        posterior: of the trials up to the last observed bin.
        bins: to go on for.
    """
    rates = []
    for chances, mean, cov in moments_ahead(model.dynamics, posterior, bins):
        # states stand where bins do
        given = model.emission.rates(Chain(mean, cov, cov[:, 1:], np.zeros(len(mean))))
        rates.append(np.einsum("nk,nki->ni", chances, given))
    return np.stack(rates, axis=1)


def moments_ahead(
    dynamics: Dynamics, posterior: Posterior, bins: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of each bin after the last: probabilities of the states (trials, states), and mean (trials, states, dims) and
    covariance (trials, states, dims, dims) of the latents given each state.

    They are exact (Blom & Bar-Shalom 1988, IEEE Trans. Autom. Control 33:780, without its measurement).
    """
    chances = posterior.states[:, -1]
    mean = np.repeat(posterior.latents.mean[:, -1:], chances.shape[1], axis=1)
    cov = np.repeat(posterior.latents.cov[:, -1:], chances.shape[1], axis=1)
    for _ in range(bins):
        pairs = chances[:, :, None] * dynamics.transitions
        chances = pairs.sum(axis=1)
        shares = pairs / chances[:, None]
        # given the state to come, the latents of now are a mixture over the states of now
        mixed = np.einsum("njk,nji->nki", shares, mean)
        away = mean[:, :, None] - mixed[:, None]
        spread = np.einsum("njk,njil->nkil", shares, cov) + np.einsum("njk,njki,njkl->nkil", shares, away, away)
        mean = np.einsum("kij,nkj->nki", dynamics.A, mixed) + dynamics.b
        cov = dynamics.A @ spread @ dynamics.A.transpose(0, 2, 1) + dynamics.Q
        yield chances, mean, cov
