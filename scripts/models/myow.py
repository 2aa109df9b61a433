"""MYOW: a self-supervised embedding of single moments, frozen, and Poisson regressions that read rates from it.

Mine Your Own vieW (Azabou et al. 2021, arXiv:2102.10106), whose encoder is learnt from held-in counts alone, without
conditions or behaviour (`nlbflow.methods.networks.myow`). It gives no rates of its own, so the readout is ours, as for
`reservoir`: rates of held-out neurons from the embedding of boxes of counts around a step, those of held-in neurons
from boxes without the step's own counts, forecasts from the last step. Three controls have the same input and readout:
`myow_untrained` (weights as drawn), `myow_pca` (principal components) and `myow_byol` (no mining). Only what `myow` has
above them is due to self-supervision.

Assumes: moments that are close in time, or alike in other trials, have like latents.
Latents: principal components of the embedding (all of it with `pca_dims` 0); axes mean nothing by themselves and differ
  between seeds.
Tells: which moments of other trials resemble one; an embedding that needs no labels.
Cost: 60 s of CPU on the simulated session (5 ms); needs PyTorch.
Limits: it sees 200 ms around a step and has no dynamics; the embedding is of held-in neurons, and what is predictable
  between views is not what predicts held-out neurons best.
Reference code: https://github.com/nerdslab/myow-neuro (Apache-2.0); nothing of it is used, this is written from a
  description.
"""

import logging
from dataclasses import fields

import numpy as np
from nlbflow.errors import NlbflowError
from nlbflow.methods.boxes import box_weights, boxed_rates
from nlbflow.methods.networks.device import memory_mb, prepare
from nlbflow.methods.networks.myow import Recipe, embed, spread, train_encoder
from nlbflow.methods.readout import read_out
from nlbflow.methods.reservoir import principal_axes
from nlbflow.methods.steps import Steps, bins_per_step

DEFAULTS = {
    # network: the embedding. pca: as many principal components of the same input, in units of their deviation.
    "encoder": "network",
    # What an embedding is of: boxes of counts around a step. Published: one box of 100 ms.
    "boxes": 5,
    "box_ms": 40,
    # Length of a step of the embedding; of the forward window.
    "step_ms": 20,
    "forward_step_ms": 40,
    # Units of the three layers of the encoder, and dimensions of the embedding; both as published.
    "width": 64,
    "embedding": 64,
    # Passes over all moments of the training trials (published: 10,000), and moments per update (published: 512).
    "epochs": 300,
    "batch": 512,
    # Of AdamW (published: 0.0002), and its weight decay (as published).
    "learning_rate": 0.001,
    "weight_decay": 0.00002,
    # Steps by which the second view is earlier or later, at most. Published: 0 to 2 bins of 100 ms later.
    "shift": 2,
    # Weight of the mined views in the loss once it has risen, and how many neighbours one is drawn from; as published.
    "mining": 0.5,
    "neighbours": 5,
    # Principal components of the embedding that are the latents; 0: the embedding.
    "pca_dims": 16,
    # Penalties of the readouts, chosen in folds of the training trials.
    "alphas": [0.001, 0.01, 0.1, 1.0],
    "forward_alphas": [0.1, 1.0, 10.0],
    "device": "auto",
}
CHECK = {
    "epochs": 2,
    "batch": 64,
    "width": 8,
    "embedding": 6,
    "pca_dims": 3,
    "box_ms": 10,
    "step_ms": 5,
    "device": "cpu",
}
# Embeddings that fill less than this share of what they could have collapsed.
COLLAPSED = 0.3

log = logging.getLogger("nlbflow")


def predict(data, params: dict, seed: int) -> dict:
    """Rates in spikes per bin, (trials, time, neurons), of both windows, and latents (trials, time, latents).

    Args:
        data: all training spikes, eval_spikes_heldin and bin_ms are used.
        params: see DEFAULTS.
        seed: of weights, views and neighbours.

    Raises:
        NlbflowError: a parameter is out of range, there is no such device, or batches have too few trials.
    """
    steps = Steps(data.train_spikes_heldin.shape[1], bins_per_step(params["step_ms"], data.bin_ms))
    _check(params, data, steps)
    device = prepare(seed, params["device"])
    width = min(bins_per_step(params["box_ms"], data.bin_ms), steps.bins)
    rates = {}
    for without_now in (False, True):
        weights = box_weights(steps, params["boxes"], width, without_now)
        for part in ("train", "eval"):
            rates[part, without_now] = boxed_rates(getattr(data, f"{part}_spikes_heldin"), weights, data.bin_ms)
    facts: dict = {}
    if params["encoder"] == "pca":
        embedded = _components(rates, params["embedding"])
    else:
        recipe = Recipe(**{field.name: params[field.name] for field in fields(Recipe)})
        encoder, losses = train_encoder(rates["train", False], recipe, device, seed)
        embedded = {key: embed(encoder, array, device) for key, array in rates.items()}
        facts |= {"loss": losses[-1]} if losses else {}
        facts["spread"] = round(spread(embedded["train", False]), 3)
        if facts["spread"] < COLLAPSED:
            log.warning(f"myow: embeddings fill {facts['spread']:.3f} of their directions, so they have collapsed.")
    features, without_now = ({part: embedded[part, wo] for part in ("train", "eval")} for wo in (False, True))
    prediction, read = read_out(
        data, features, without_now, (params["step_ms"], params["forward_step_ms"]), params["alphas"],
        params["forward_alphas"],
    )  # fmt: skip
    facts = {**facts, **read, "device": device.type, "peak_mb": memory_mb(device)}
    rows = features["train"].reshape(-1, features["train"].shape[2])
    centre, axes = principal_axes(rows, min(params["pca_dims"] or rows.shape[1], rows.shape[1]))
    if not params["pca_dims"]:
        axes = np.eye(rows.shape[1])
    for part, array in features.items():
        prediction[f"{part}_latents"] = steps.values((array - centre) @ axes).astype(np.float32)
    return {**prediction, "facts": facts}


def _components(rates: dict, dims: int) -> dict:
    """Principal components of boxed rates, each input in units of its deviation in training."""
    rows = rates["train", False].reshape(-1, np.prod(rates["train", False].shape[2:]))
    mean, sd = rows.mean(axis=0), rows.std(axis=0)
    sd[sd == 0] = np.inf
    centre, axes = principal_axes((rows - mean) / sd, min(dims, *rows.shape))
    return {key: ((array.reshape(*array.shape[:2], -1) - mean) / sd - centre) @ axes for key, array in rates.items()}


def _check(params: dict, data, steps: Steps) -> None:
    for name in ("boxes", "width", "embedding", "batch", "neighbours", "shift", "epochs", "pca_dims"):
        # a batch of one has no variance to normalise by
        least = {"shift": 0, "epochs": 0, "pca_dims": 0, "batch": 2}.get(name, 1)
        if not isinstance(params[name], int) or params[name] < least:
            raise NlbflowError(f"myow needs a whole number >= {least} as {name}; found {params[name]}.")
    if params["encoder"] not in ("network", "pca") or not 0 <= params["mining"] < 1:
        raise NlbflowError(
            f"myow needs network or pca as encoder, and mining of at least 0 and below 1; found {params['encoder']!r} "
            f"and {params['mining']}."
        )
    # steps differ by a bin where the window is no multiple of them
    longest, width = int(steps.width.max()), min(bins_per_step(params["box_ms"], data.bin_ms), steps.bins)
    if width <= longest:
        raise NlbflowError(
            f"myow needs boxes longer than a step, since held-in neurons are read from boxes without the step's own "
            f"counts; found boxes of {width} bins (box_ms {params['box_ms']}) and steps of up to {longest} (step_ms "
            f"{params['step_ms']}) in a window of {steps.bins} bins of {data.bin_ms} ms."
        )
