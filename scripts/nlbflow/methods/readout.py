"""From features of the held-in counts to rates of all neurons: Poisson regression, its penalty by cross-validation.

A held-in neuron is read from features without the counts of the same step, otherwise its rate would copy its own
counts. The forward window is read from the last features of the observed window, with a regression for each step.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from nlbflow.methods.glm import fit_poisson
from nlbflow.methods.steps import Steps, bins_per_step
from nlbflow.metrics.formulas import bits_per_spike
from nlbflow.recordings.model_input import ModelInput

FOLDS = 5
# Lowest rate in spikes per bin; not 0, because a neuron that is silent in training may fire in evaluation.
FLOOR = 1e-5
# Root mean square error allowed in the fitted log rates, far below any difference that matters.
TOLERANCE = 1e-5


def read_out(
    data: ModelInput,
    features: Mapping[str, np.ndarray],
    without_now: Mapping[str, np.ndarray],
    steps_ms: tuple[float, float],
    alphas: Sequence[float],
    forward_alphas: Sequence[float],
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Rates of a model from its features.

    Args:
        data: the model's input; the counts of training trials are fitted.
        features: by train and eval (trials, steps, dims), of the held-in counts; held-out neurons are read from them.
        without_now: the same, without the counts of the step itself; held-in neurons are read from them.
        steps_ms: length of a step of the features, and of a step of the forward window.
        alphas, forward_alphas: penalties of the regressions in the observed and the forward window. They are chosen by
            bits per spike in folds of the training trials; held-in neurons get the penalty of the held-out ones.

    Returns:
        rates in spikes per bin under the names of a prediction; and facts: the chosen penalties, the number of weights.
    """
    step_bins, forward_bins = (bins_per_step(step, data.bin_ms) for step in steps_ms)
    steps = Steps(data.train_spikes_heldin.shape[1], step_bins)
    counts = {group: steps.sums(getattr(data, f"train_spikes_{group}")) for group in ("heldin", "heldout")}
    alpha = choose_alpha(features["train"], counts["heldout"], alphas)
    rates, facts = {}, {"alpha": alpha, "parameters": 0}
    for group, seen in (("heldin", without_now), ("heldout", features)):
        for part, log_rates in fitted_log_rates(seen, counts[group], alpha, facts).items():
            rates[f"{part}_rates_{group}"] = np.maximum(steps.rates(log_rates), FLOOR).astype(np.float32)
    ahead = data.train_spikes_heldin_forward
    # there is nothing to learn if no forward window was recorded
    if ahead is not None and np.isfinite(ahead).all(axis=(1, 2)).any():
        ahead = np.concatenate([ahead, data.train_spikes_heldout_forward], axis=2)
        last = {part: found[:, -1:] for part, found in features.items()}
        found = _forecast(last, Steps(ahead.shape[1], forward_bins), ahead, forward_alphas, facts)
        heldin = counts["heldin"].shape[2]
        rates["eval_rates_heldin_forward"], rates["eval_rates_heldout_forward"] = np.split(found, [heldin], axis=2)
    return rates, facts


def _forecast(
    last: Mapping[str, np.ndarray], steps: Steps, ahead: np.ndarray, alphas: Sequence[float], facts: dict
) -> np.ndarray:
    """Rates (trials, bins, neurons) of a forward window from the last features (trials, 1, dims)."""
    counts = steps.sums(ahead)
    known = np.isfinite(counts).all(axis=(1, 2))
    # one column for each neuron and step, because all share the features
    columns = counts[known].reshape(known.sum(), 1, -1)
    seen = {"train": last["train"][known], "eval": last["eval"]}
    facts["alpha_forward"] = alpha = choose_alpha(seen["train"], columns, alphas)
    log_rates = fitted_log_rates(seen, columns, alpha, facts)["eval"]
    found = steps.rates(log_rates.reshape(len(log_rates), *counts.shape[1:]))
    return np.maximum(found, FLOOR).astype(np.float32)


def fitted_log_rates(
    features: Mapping[str, np.ndarray], counts: np.ndarray, alpha: float, facts: dict | None = None
) -> dict[str, np.ndarray]:
    """Log rates (trials, steps, neurons) of each part, from regressions on the training trials.

    They are clipped to their range in training, beyond which nothing was learnt.

    Args:
        features: by train and eval (trials, steps, dims), standardised here over the training trials.
        counts: (trials, steps, neurons) of the training trials.
        alpha: penalty.
        facts: the number of weights is added to `parameters`.
    """
    rows = features["train"].reshape(-1, features["train"].shape[2])
    centre, scale = rows.mean(axis=0), rows.std(axis=0)
    scale[scale <= 1e-12 * np.abs(rows).max(axis=0, initial=1)] = np.inf
    coef, constant = fit_poisson((rows - centre) / scale, counts.reshape(len(rows), -1), alpha, TOLERANCE)
    if facts is not None:
        facts["parameters"] += coef.size + constant.size
    found = {part: (array - centre) / scale @ coef + constant for part, array in features.items()}
    lowest, highest = found["train"].min(axis=(0, 1)), found["train"].max(axis=(0, 1))
    return {part: np.clip(array, lowest, highest) for part, array in found.items()}


def choose_alpha(features: np.ndarray, counts: np.ndarray, alphas: Sequence[float]) -> float:
    """The penalty with the most bits per spike in folds of the trials (every n-th trial each); the first in a tie.

    Args:
        features: (trials, steps, dims).
        counts: (trials, steps, neurons).
    """
    folds = min(FOLDS, len(features))
    if len(alphas) == 1 or folds < 2:
        return float(alphas[0])
    fold = np.arange(len(features)) % folds
    bits = []
    for alpha in alphas:
        log_rates = np.empty(counts.shape)
        for left_out in range(folds):
            train, test = fold != left_out, fold == left_out
            log_rates[test] = fitted_log_rates(
                {"train": features[train], "eval": features[test]}, counts[train], alpha
            )["eval"]
        bits.append(bits_per_spike(np.maximum(np.exp(log_rates), FLOOR), counts))
    return float(alphas[int(np.nanargmax(bits))])
