"""From features of the held-in counts to rates of all neurons: Poisson regression, its penalty by cross-validation.

A held-in neuron is read from features that its own counts of the moment are not in, or its rate would copy them. The
forward window is read from the features at the end of the observed one, by a regression for each of its steps.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from nlbflow.methods.glm import fit_poisson
from nlbflow.methods.steps import Steps, bins_per_step
from nlbflow.metrics.formulas import bits_per_spike
from nlbflow.recordings.model_input import ModelInput

FOLDS = 5
# Lowest rate in spikes per bin: a neuron that is silent in training may fire in evaluation.
FLOOR = 1e-5
# Root mean square error left in the fitted log rates, far below what is told apart.
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
        data: the counts of training trials are fitted.
        features: by train and eval (trials, steps, dims), of the held-in counts; held-out neurons are read from them.
        without_now: the same in which the counts of a step itself have no part; held-in neurons are read from them.
        steps_ms: length of a step of the features, and of one of the forward window.
        alphas, forward_alphas: penalties of the regressions in the observed and in the forward window, to choose from
            by bits per spike in folds of the training trials; that of the held-out neurons serves the held-in ones.

    Returns:
        rates in spikes per bin under the names of a prediction, and facts: the penalties chosen, the number of weights.
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
    # of windows that were never recorded there is nothing to learn
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
    # a column for each neuron at each step: they share the features
    columns = counts[known].reshape(known.sum(), 1, -1)
    seen = {"train": last["train"][known], "eval": last["eval"]}
    facts["alpha_forward"] = alpha = choose_alpha(seen["train"], columns, alphas)
    log_rates = fitted_log_rates(seen, columns, alpha, facts)["eval"]
    found = steps.rates(log_rates.reshape(len(log_rates), *counts.shape[1:]))
    return np.maximum(found, FLOOR).astype(np.float32)


def fitted_log_rates(
    features: Mapping[str, np.ndarray], counts: np.ndarray, alpha: float, facts: dict | None = None
) -> dict[str, np.ndarray]:
    """Log rates (trials, steps, neurons) of each part by regressions on the training trials.

    They are kept inside the range that they have in training, beyond which nothing was learnt.

    Args:
        features: by train and eval (trials, steps, dims), standardised here over the training trials.
        counts: (trials, steps, neurons) of the training trials.
        alpha: penalty.
        facts: `parameters` is raised by the number of weights.
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
    """The penalty with the highest bits per spike in folds of the trials, every n-th from each on; the first in a tie.

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
