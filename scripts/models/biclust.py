"""Neurons and moments clustered by latent structure: a switching linear dynamical system of clusters of neurons.

After Wei 2023 (arXiv:2309.02213, "Bayesian bi-clustering of neural spiking activity with latent structures"): each
cluster of neurons has a few latents that only its neurons see; the latents of all clusters follow linear dynamics that
switch between states, in which clusters may drive each other. The clusters are not sampled, as there, but found from
the loadings of a fit that knows of none (`nlbflow.methods.slds.clusters` says how); the counts are Poisson with
softplus rates, trials are independent, and evaluation trials enter no parameter. Their number is chosen in folds
(`tune:`); with one cluster this is `slds`.

With `posterior: true` (`biclust_posterior`) the paper's model is sampled from there, by Gibbs sampling, exactly but for
the counts, which are negative binomial of dispersion 10 (`nlbflow.methods.slds.gibbs`). Its labels are nearly frozen:
given the latents of all clusters, a neuron hardly ever moves. So `neuron_similarity`, then the share of sweeps in which
two neurons are together, says how sure the labels are near those that it starts from, not whether others would do as
well. The fact `moved`, the share of labels that move in a sweep, says how frozen they were.

Assumes: each neuron belongs to one cluster; latents follow linear dynamics that switch between a few states as a Markov
  chain that all clusters share.
Latents: those of each cluster in turn, centred and turned to be uncorrelated, the largest first; their signs mean
  nothing.
Tells: which neurons go together (`neuron_labels`), how surely (`neuron_similarity`: the share of resamples of the
  trials in which two neurons are of one cluster) and when the population's dynamics switch (`eval_states`).
Cost: about three times that of `slds`: 75 s on the simulated session. The posterior takes about a second of CPU for a
  sweep, so 4 minutes on `simulated_clusters` by its defaults.
Limits: clusters whose latents go together cannot be told apart; the certainty is that of clustering the loadings, given
  the latents; a cluster needs a few neurons that fire. Predicts less well than `slds` with as many latents where
  neurons do not fall into clusters.
Reference code: https://github.com/weigcdsb/bi_clustering, which has no licence; none of it is used, this is written
  from a description of the paper's model.
"""

import logging

import numpy as np
from nlbflow.errors import NlbflowError
from nlbflow.methods.slds.clusters import Clustered, fit_clusters
from nlbflow.methods.slds.posterior import sample
from nlbflow.methods.slds.prediction import Windows, check_params, occupancy

DEFAULTS = {
    # Number of clusters of neurons; the paper infers it, here it is chosen in folds.
    "clusters": 3,
    # Number of latents of each cluster beside the level that its neurons share.
    "factors": 4,
    # Number of discrete states.
    "states": 5,
    # Length of a time step of the dynamics in ms, at least a bin.
    "step_ms": 20,
    # Penalty on the distance of the dynamics' matrices from the identity, and on their offsets.
    "l2_A": 100.0,
    "l2_b": 1.22e-8,
    # Iterations of expectation-maximisation, and of the autoregressive hidden Markov model that they start from.
    "iterations": 30,
    "start_iterations": 50,
    # Updates of the posterior of evaluation trials, at most.
    "inference_iterations": 50,
    # Resamples of the training trials, for how sure the clusters are; their labels take part in the choice too.
    "resamples": 50,
    # Whether to sample from the posterior of the paper's model; the sweeps that are kept, and those before them, of
    # which the first 20 hold the labels.
    "posterior": False,
    "sweeps": 100,
    "burn_in": 60,
}
# Its states and clusters are drawn.
STRUCTURE = True
CHECK = {
    "clusters": 2, "factors": 1, "states": 2, "iterations": 5, "start_iterations": 5, "resamples": 3, "sweeps": 3,
    "burn_in": 2,
}  # fmt: skip

log = logging.getLogger("nlbflow")


def predict(data, params: dict, seed: int) -> dict:
    """Rates in spikes per bin, (trials, time, neurons), of both windows; mean latents and likeliest state of each bin;
    the cluster of each neuron, -1 for one that never fires, and how often two are together.

    Args:
        data: all training spikes, eval_spikes_heldin and bin_ms are used.
        params: as in DEFAULTS.
        seed: of the clusterings' starts, the resamples and the clusters that the dynamics start from.

    Raises:
        NlbflowError: a parameter is out of range, or there are fewer firing neurons than latents.
    """
    check_params("biclust", params, ("clusters", "factors", "states", "resamples", "sweeps", "burn_in"))
    if params["factors"] < 0 or params["resamples"] < 0:
        raise NlbflowError(
            f"biclust needs factors and resamples >= 0; found {params['factors']} and {params['resamples']}."
        )
    if not isinstance(params["posterior"], bool) or params["sweeps"] < 1 or params["burn_in"] < 0:
        raise NlbflowError(
            f"biclust needs true or false as posterior, sweeps >= 1 and burn_in >= 0; found {params['posterior']!r}, "
            f"{params['sweeps']} and {params['burn_in']}."
        )
    windows, dims = Windows(data, params["step_ms"]), params["factors"] + 1
    options = {
        name: params[name]
        for name in ("states", "clusters", "l2_A", "l2_b", "iterations", "start_iterations", "resamples")
    }
    found = fit_clusters(windows.counts, windows.step_ms, dims=dims, **options, seed=seed)
    posterior = params["posterior"]
    prediction, labels, together, facts = (_sampled if posterior else _fitted)(found, windows, params, seed)
    places = prediction["train_latents"].shape[2] // dims
    for own in np.split(np.arange(places * dims), places):
        _turn(prediction, own)
    facts["neurons"] = ", ".join(str((labels == k).sum()) for k in range(places))
    heldin = set(labels[: data.train_spikes_heldin.shape[2]])
    if unseen := [k for k in range(places) if k not in heldin]:
        facts["unseen"] = ", ".join(map(str, unseen))
        log.warning(
            f"biclust: no held-in neuron is of cluster {facts['unseen']}; such latents are known in evaluation "
            "trials only by how others drive them: fewer clusters may predict better."
        )
    return {**prediction, "neuron_labels": labels, "neuron_similarity": together, "facts": facts}


def _fitted(found: Clustered, windows: Windows, params: dict, _: int) -> tuple[dict, np.ndarray, np.ndarray, dict]:
    """Rates, latents and states; labels; how often two neurons are together; facts: of the fit."""
    prediction = windows.predict(found.model, params["inference_iterations"])
    facts = {"parameters": found.model.parameters, "occupancy": occupancy(found.posterior.states)}
    return prediction, found.labels, found.together, facts


def _sampled(found: Clustered, windows: Windows, params: dict, seed: int) -> tuple[dict, np.ndarray, np.ndarray, dict]:
    """As `_fitted`, of the posterior; clusters without neurons are left out."""
    options = {name: params[name] for name in ("clusters", "sweeps", "burn_in", "inference_iterations")}
    cut = {part: windows.seen(part) for part in ("train", "eval")}
    told = sample(found, windows.counts, cut, windows.ahead, **options, seed=seed)
    used, labels = np.unique(told.labels[told.labels >= 0], return_inverse=True)
    places = np.full(len(told.labels), -1)
    places[told.labels >= 0] = labels
    dims, prediction = params["factors"] + 1, {}
    columns = (used[:, None] * dims + np.arange(dims)).ravel()
    for name, part in told.cut.items():
        rates = {"": part.rates}
        if name == "eval" and windows.ahead:
            rates["_forward"] = part.later
        prediction |= windows.shown(name, rates, part.latents[..., columns], part.states)
    facts = {"parameters": told.parameters, "occupancy": occupancy(told.states), "moved": told.moved}
    return prediction, places, told.together, facts


def _turn(prediction: dict, own: np.ndarray) -> None:
    """Centre a cluster's latents and turn them to their principal axes in training trials, in place."""
    rows = prediction["train_latents"][..., own].reshape(-1, len(own)).astype(float)
    mean = rows.mean(axis=0)
    axes = np.linalg.eigh((rows - mean).T @ (rows - mean))[1][:, ::-1]
    for part in ("train_latents", "eval_latents"):
        prediction[part][..., own] = (prediction[part][..., own] - mean) @ axes
