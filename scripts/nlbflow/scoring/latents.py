"""Metrics beyond the benchmark's: what a model's latents are worth and, for simulated data, how its rates and latents
compare with the truth. docs/metrics.md lists them all with their sources.

Latents are arrays (trials, time, dims) of finite numbers in any unit; rates are expected spikes per bin.
"""

from collections.abc import Callable, Mapping

import numpy as np

from nlbflow.errors import NlbflowError, values_that_are
from nlbflow.methods.glm import fit_poisson
from nlbflow.metrics.formulas import null_rates

# Precision of N(0, 0.1), the prior of few-shot weights. A weight w per sd of a latent is worth about w**2 / (2 ln 2)
# bits per spike, so one latent is expected to give 0.07, and five the 0.35 of a good model.
WEIGHT_PRECISION = 10.0
# Jeffreys' prior for a Poisson rate is Gamma(1/2, 0): half a spike, seen in no time.
PRIOR_SPIKES = 0.5
# Root mean square error allowed in the fitted log rates; it changes a draw by less than 1e-4 bits per spike.
FIT_TOLERANCE = 1e-4
# Noise assumed in each standardised latent that others are decoded from: one hundredth of its sd.
NOISE_VARIANCE = 1e-4


def latent_scores(input_arrays: Mapping, target: Mapping, prediction: Mapping, settings: Mapping) -> dict[str, float]:
    """The metrics of this module that apply to one prediction, without cross-decoding, which needs two.

    `{k}-shot co-bps` and `latent dimension` need latents, `rate R2` needs true rates, `state R2` needs latents and true
    states, and k shots need k training trials. A metric that lacks what it needs is left out.

    Args:
        input_arrays: arrays of input.h5; train_spikes_heldout is used.
        target: arrays of target.h5.
        prediction: rates and latents under the names of a prediction.
        settings: {"few_shot": {"trials": k, "draws": n}, "seed": s}; one seed draws the same trials for every model,
            so that models are compared on equal terms.

    Raises:
        NlbflowError: a metric refuses its arrays.
    """
    scores = {}
    few, latents = settings["few_shot"], [prediction.get(f"{part}_latents") for part in ("train", "eval")]
    if all(part is not None for part in latents):
        spikes = input_arrays["train_spikes_heldout"], target["eval_spikes_heldout"]
        if few["trials"] <= len(spikes[0]):
            bits = few_shot_bits(latents[0], spikes[0], latents[1], spikes[1], **few, seed=settings["seed"])
            scores[f"{few['trials']}-shot co-bps"] = float(bits.mean())
        scores["latent dimension"] = effective_dimension(latents[1])
        if "true_states" in target:
            states = [target["true_states"][f"{part}_latents"] for part in ("train", "eval")]
            scores["state R2"] = state_r2(latents[0], states[0], latents[1], states[1])
    names = "eval_rates_heldin", "eval_rates_heldout"
    if "true_rates" in target and all(name in prediction for name in names):
        true, rates = (np.concatenate([a[name] for name in names], axis=2) for a in (target["true_rates"], prediction))
        scores["rate R2"] = rate_r2(true, rates)
    return {name: value for name, value in scores.items() if not np.isnan(value)}


def few_shot_bits(
    train_latents: np.ndarray,
    train_spikes_heldout: np.ndarray,
    eval_latents: np.ndarray,
    eval_spikes_heldout: np.ndarray,
    trials: int,
    draws: int,
    seed: int,
    alpha: float = WEIGHT_PRECISION,
) -> np.ndarray:
    """k-shot co-smoothing: co-bps of held-out neurons regressed on the latents of k training trials, for each draw.

    Dabholkar and Barak 2025 (arXiv:2405.14425): a decoder needs trials to tell what matters from superfluous latents.
    The metric is the mean over draws. Each draw takes k different trials at random and fits a Poisson regression per
    neuron to latents standardised over all training trials, with the prior N(0, 1 / alpha) on its weights. An extra bin
    at the mean latent, with half a spike, keeps the rate of a neuron that is silent in the k trials above zero. Log
    rates are clipped to their range in the k trials, beyond which nothing was learnt; otherwise single draws of few
    trials would decide the mean. With many trials clipping changes nothing.

    Args:
        train_latents, eval_latents: (trials, time, dims).
        train_spikes_heldout, eval_spikes_heldout: (trials, time, neurons) spikes per bin; training bins in which a
            neuron is NaN are left out, NaN in evaluation trials are not scored.
        trials: k.
        draws: how many times k trials are drawn.
        seed: seed of the draws, which otherwise depend only on which training trials have known bins.
        alpha: precision of the weights' prior, > 0.

    Returns:
        (draws,) bits per spike; NaN if the evaluation trials have no spikes.

    Raises:
        NlbflowError: arrays do not fit, latents are not finite, there are fewer than k training trials, or draws or
            alpha is not positive.
    """
    for part, latents, spikes in (
        ("train", train_latents, train_spikes_heldout),
        ("eval", eval_latents, eval_spikes_heldout),
    ):
        _check_pair(f"{part}_latents", latents, f"{part}_spikes_heldout", spikes)
    if train_spikes_heldout.shape[2] != eval_spikes_heldout.shape[2]:
        raise NlbflowError(
            f"k-shot co-bps expects the same held-out neurons in training and evaluation trials, but found "
            f"{train_spikes_heldout.shape[2]} and {eval_spikes_heldout.shape[2]}; pass arrays of the same session."
        )
    known = ~np.isnan(train_spikes_heldout).any(axis=2)
    usable = np.flatnonzero(known.any(axis=1))
    if not (1 <= trials <= len(usable) and draws >= 1 and alpha > 0):
        raise NlbflowError(
            f"k-shot co-bps expects 1 to {len(usable)} trials (the training trials with known spikes), draws >= 1 and "
            f"alpha > 0, but found {trials}, {draws} and {alpha}; change few_shot in the settings."
        )
    train, evaluated = standardised(train_latents, eval_latents)
    features_eval, gain = evaluated.reshape(-1, evaluated.shape[2]), _bits_of(eval_spikes_heldout)
    prior_row, prior_counts = np.zeros(train.shape[2]), np.full(train_spikes_heldout.shape[2], PRIOR_SPIKES)
    rng, bits = np.random.default_rng(seed), np.empty(draws)
    for draw in range(draws):
        chosen = np.sort(rng.choice(usable, trials, replace=False))
        features = np.vstack([train[chosen][known[chosen]], prior_row])
        counts = np.vstack([train_spikes_heldout[chosen][known[chosen]], prior_counts])
        coef, intercept = fit_poisson(features, counts, alpha / len(features), FIT_TOLERANCE)
        seen = features @ coef + intercept
        bits[draw] = gain(np.clip(features_eval @ coef + intercept, seen.min(axis=0), seen.max(axis=0)))
    return bits


def _bits_of(spikes: np.ndarray) -> Callable[[np.ndarray], float]:
    """`metrics.bits_per_spike` as a function of log rates (trials * time, neurons); constant terms computed once."""
    counts, null = (part.reshape(-1, spikes.shape[2]).astype(float) for part in (spikes, null_rates(spikes)))
    known = ~np.isnan(counts)
    counts[~known] = 0
    total, null_gain = counts.sum(), np.vdot(counts, np.log(null)) - null[known].sum()

    def bits(log_rates: np.ndarray) -> float:
        gain = np.vdot(counts, log_rates) - np.vdot(known, np.exp(log_rates)) - null_gain
        return gain / total / np.log(2) if total > 0 else np.nan

    return bits


def effective_dimension(latents: np.ndarray) -> float:
    """Participation ratio of the latents' covariance over trials and time, (sum l)**2 / sum l**2 of its eigenvalues.

    Gao et al. 2017 (bioRxiv 214262); Recanatesi et al. 2022 (Patterns 3:100555). 1 if one dimension holds all
    variance, dims if all hold the same; it depends on the scale of single dimensions, not on rotations.

    Args:
        latents: (trials, time, dims).

    Returns:
        a number from 1 to dims; NaN if the latents are constant.

    Raises:
        NlbflowError: the latents are not (trials, time, dims), or not finite.
    """
    rows = _rows("latents", latents)
    centred = (rows - rows.mean(axis=0)) * _varies(rows)
    largest = np.abs(centred).max()
    if largest == 0:
        return float("nan")
    covariance = (centred / largest).T @ (centred / largest)
    return float(np.trace(covariance) ** 2 / np.sum(covariance**2))


def cross_decoding_r2(
    train_from: np.ndarray,
    train_to: np.ndarray,
    eval_from: np.ndarray,
    eval_to: np.ndarray,
    alpha: float = NOISE_VARIANCE,
) -> float:
    """R2 of one model's latents decoded linearly from the same bins of another's, fitted on training trials.

    Dabholkar and Barak 2025 (arXiv:2405.14425). It has a direction: latents that hold only what the data need can be
    decoded from those of any good model; latents that hold more cannot be decoded from them.

    Args:
        train_from, eval_from: (trials, time, dims) latents to decode from.
        train_to, eval_to: (trials, time, other dims) latents to decode.
        alpha: ridge penalty as a share of the variance of the standardised latents to decode from; weaker directions
            hardly count.

    Returns:
        1 - sum of squared errors / sum of squares about the mean over the evaluation trials. Both sum over all dims, so
        each dim counts by its variance: 1 at best, 0 for the mean. NaN if the latents to decode are constant.

    Raises:
        NlbflowError: arrays do not fit or are not finite, or alpha is not positive.
    """
    _check_pair("train_from", train_from, "train_to", train_to)
    _check_pair("eval_from", eval_from, "eval_to", eval_to)
    if train_to.shape[2] != eval_to.shape[2] or not alpha > 0:
        raise NlbflowError(
            "cross-decoding expects as many dims in train_to as in eval_to and alpha > 0, but found "
            f"{train_to.shape[2]}, {eval_to.shape[2]} and {alpha}; pass latents of the same model."
        )
    x, x_eval = (part.reshape(-1, part.shape[2]) for part in standardised(train_from, eval_from))
    y, y_eval = _rows("train_to", train_to), _rows("eval_to", eval_to)
    centre = y.mean(axis=0)
    weights = np.linalg.solve(x.T @ x / len(x) + alpha * np.eye(x.shape[1]), x.T @ (y - centre) / len(x))
    return pooled_r2(y_eval, x_eval @ weights + centre)


def state_r2(
    train_latents: np.ndarray, train_states: np.ndarray, eval_latents: np.ndarray, eval_states: np.ndarray
) -> float:
    """R2 of the simulator's true states decoded linearly from a model's latents: `cross_decoding_r2` to the truth.

    It asks whether the latents contain the truth, not whether they contain anything else.
    """
    return cross_decoding_r2(train_latents, train_states, eval_latents, eval_states)


def rate_r2(true_rates: np.ndarray, rates: np.ndarray) -> float:
    """R2 of rates with the true ones, pooled over trials, bins and neurons.

    Args:
        true_rates, rates: (trials, time, neurons) expected spikes per bin.

    Returns:
        1 - sum of squared errors / sum of squares of the true rates about each neuron's mean: 1 at best, 0 for
        every neuron's mean rate. NaN if no neuron's true rate varies.

    Raises:
        NlbflowError: shapes differ, or a rate is not finite.
    """
    if np.shape(true_rates) != np.shape(rates):
        raise NlbflowError(
            f"rate R2 expects rates of the shape of the true rates {np.shape(true_rates)}, but found "
            f"{np.shape(rates)}; predict every trial, bin and neuron."
        )
    return pooled_r2(_rows("true_rates", true_rates), _rows("rates", rates))


def pooled_r2(true: np.ndarray, predicted: np.ndarray) -> float:
    """1 - sum of squared errors / sum of squares about each column's mean, summed over all columns."""
    spread = np.sum(((true - true.mean(axis=0)) * _varies(true)) ** 2)
    return float(1 - np.sum((true - predicted) ** 2) / spread) if spread > 0 else float("nan")


def standardised(train: np.ndarray, evaluated: np.ndarray) -> list[np.ndarray]:
    """Both as float64 with mean 0 and sd 1 over the training bins; 0 in dims that are constant there."""
    rows = _rows("train latents", train)
    if train.shape[2] != evaluated.shape[2]:
        raise NlbflowError(
            f"the latents of training trials have {train.shape[2]} dims, those of evaluation trials "
            f"{evaluated.shape[2]}; pass latents of the same model."
        )
    varies = _varies(rows)
    scale = varies / np.where(varies, rows.std(axis=0), 1.0)
    return [(np.asarray(part, np.float64) - rows.mean(axis=0)) * scale for part in (train, evaluated)]


def _varies(rows: np.ndarray) -> np.ndarray:
    """(columns,) whether a column varies by more than the rounding of float32, in which predictions are stored."""
    return rows.std(axis=0) > np.finfo(np.float32).eps * np.abs(rows).max(axis=0)


def _rows(name: str, array: np.ndarray) -> np.ndarray:
    """(trials * time, dims) float64 of an array (trials, time, dims) that is finite and not empty."""
    array = np.asarray(array, np.float64)
    if array.ndim != 3 or 0 in array.shape or not np.isfinite(array).all():
        raise NlbflowError(
            f"{name} must be (trials, time, dims), none of them 0, with finite numbers, but found shape {array.shape} "
            f"with {values_that_are(int((~np.isfinite(array)).sum()))} NaN or infinite; correct the prediction."
        )
    return array.reshape(-1, array.shape[2])


def _check_pair(name: str, array: np.ndarray, other_name: str, other: np.ndarray) -> None:
    """Refuse latents that are not finite, and arrays whose trials or bins differ."""
    _rows(name, array)
    if np.ndim(other) != 3 or np.shape(other)[:2] != np.shape(array)[:2]:
        raise NlbflowError(
            f"{other_name} must have the trials and bins of {name} {np.shape(array)}, but found {np.shape(other)}; "
            "pass arrays of the same trials."
        )
