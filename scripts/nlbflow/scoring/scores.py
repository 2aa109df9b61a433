"""The benchmark's scores of one prediction, with the resamples behind their intervals."""

from collections.abc import Mapping
from dataclasses import replace

from nlbflow.metrics.formulas import score
from nlbflow.scoring.bootstrap import Bootstrap
from nlbflow.scoring.trial_statistics import bootstrap_scores


def benchmark_scores(
    target: Mapping, prediction: Mapping, draws: int, seed: int, block: int = 1
) -> tuple[dict[str, float], dict[str, Bootstrap]]:
    """(each metric's value, its resamples); the estimate of the resamples has the same digits as the value.

    Args:
        target, prediction: arrays by the benchmark's names, as `nlbflow.metrics.formulas.score` takes them.
        draws: number of resamples of the evaluation trials; 0 for none.
        seed: of the resamples.
        block: consecutive trials that are resampled together.
    """
    scores = score(target, prediction)
    resampled = bootstrap_scores(target, prediction, draws, seed, block) if draws else {}
    return scores, {metric: replace(found, estimate=scores[metric]) for metric, found in resampled.items()}
