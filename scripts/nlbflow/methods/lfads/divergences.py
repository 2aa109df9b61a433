"""Divergences of LFADS's posteriors from their priors, in nats, entry by entry."""

import torch
from torch import Tensor


def kl_gaussian(mean: Tensor, variance: Tensor, prior_mean: Tensor, prior_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of one-dimensional Gaussians from their priors in nats, entry by entry."""
    ratio = variance / prior_variance
    return 0.5 * (ratio + (mean - prior_mean) ** 2 / prior_variance - 1 - ratio.log())


def kl_autoregressive(mean: Tensor, log_variance: Tensor, sample: Tensor, log_tau: Tensor, log_prior: Tensor) -> Tensor:
    """Divergence of the inferred inputs' posterior from an AR(1) prior in nats, entry by entry.

    Each step's Gaussian is compared with the prior given the previous sample, which is exact in expectation. The prior
    is stationary: variance exp(log_prior) in every step, correlation exp(-1 / tau) between neighbours.

    Args:
        mean, log_variance, sample: (members, time, trials, inputs).
        log_tau: log of the time constant in bins, broadcast to mean; log_prior likewise.
    """
    correlation = (-1 / log_tau.exp()).exp()
    stationary = log_prior.exp().expand_as(mean[:, :1])
    # -expm1 keeps 1 - correlation^2 above 0 even for long time constants
    innovation = stationary * -torch.expm1(-2 / log_tau.exp())
    variance = log_variance.exp()
    start = kl_gaussian(mean[:, :1], variance[:, :1], torch.zeros_like(mean[:, :1]), stationary)
    later = kl_gaussian(mean[:, 1:], variance[:, 1:], correlation * sample[:, :-1], innovation)
    return torch.cat([start, later], dim=1)
