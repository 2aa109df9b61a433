"""The benchmark's scores of one prediction, with the resamples behind their intervals."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from nlbflow.methods.smoothing import gaussian_kernel, smoothing_matrix
from nlbflow.metrics.formulas import bits_per_spike, poisson_d2, score
from nlbflow.scoring.bootstrap import Bootstrap
from nlbflow.scoring.trial_statistics import bootstrap_scores


# The kind of a model whose score only the answers can give; it is shown and not ranked.
IMPLAUSIBLE = "implausible"
# sd of the kernel that smooths the answers: with it a spike adds far more to its own rate than a model can infer.
ANSWERS_SD_MS = 20


def benchmark_scores(
    target: Mapping, prediction: Mapping, draws: int, seed: int, block: int = 1
) -> tuple[dict[str, float], dict[str, Bootstrap]]:
    """(value, resamples) by metric; the resamples' estimate has the same digits as the value.

    Args:
        target, prediction: arrays by the benchmark's names, as `nlbflow.metrics.formulas.score` takes them.
        draws: number of resamples of the evaluation trials; 0 for none.
        seed: seed of the resamples.
        block: consecutive trials that are resampled together.
    """
    scores = score(target, prediction)
    resampled = bootstrap_scores(target, prediction, draws, seed, block) if draws else {}
    return scores, {metric: replace(found, estimate=scores[metric]) for metric, found in resampled.items()}


def further_scores(target: Mapping, prediction: Mapping) -> dict[str, float]:
    """Metrics of the rates beyond the benchmark's; arguments as for `benchmark_scores`."""
    explained = poisson_d2(prediction["eval_rates_heldout"], target["eval_spikes_heldout"])
    return {} if np.isnan(explained) else {"Poisson D2": explained}


def out_of_reach(target: Mapping, co_bps: float, bin_ms: int, draws: int, seed: int, block: int = 1) -> str:
    """Why a model that has not seen the answers cannot have this co-bps; empty if it can.

    It cannot be higher than that of the true rates, if they are known (the upper end of their interval), nor than that
    of the smoothed answers, in which each spike is part of its own rate.

    Args:
        target: the answers.
        co_bps: the prediction's, in bits per spike.
        bin_ms: bin width.
        draws, seed, block: the resamples, as for `benchmark_scores`.
    """
    spikes = np.asarray(target["eval_spikes_heldout"], np.float64)
    kernel = gaussian_kernel(2 * (3 * ANSWERS_SD_MS // bin_ms) + 1, ANSWERS_SD_MS / bin_ms)
    smoothed = smoothing_matrix(kernel, spikes.shape[1]) @ np.nan_to_num(spikes)
    bounds = [(bits_per_spike(smoothed, spikes), f"that of the answers themselves, smoothed over {ANSWERS_SD_MS} ms")]
    if "true_rates" in target:
        truth = {"eval_rates_heldout": target["true_rates"]["eval_rates_heldout"]}
        found = benchmark_scores({"eval_spikes_heldout": target["eval_spikes_heldout"]}, truth, draws, seed, block)
        interval = found[1]["co-bps"].interval()
        if interval is not None:
            bounds.append((interval[1], "the most that the true rates can have"))
    bound, whose = min(bounds)
    return f"its co-bps {co_bps:.3f} is above {bound:.3f}, {whose}" if co_bps > bound else ""
