"""Uncertainty of a score: bootstrap over evaluation trials, with decoder and predictions held fixed.

Trials are resampled within strata (the conditions of psth R2 and tp corr, the decoders of vel R2), n - 1 of a
stratum's n with replacement: its mean then varies as the mean of n trials does, where n of n would vary too little
by (n - 1)/n (McCarthy and Snowden 1985; n is 5 in a condition).

Intervals are BCa (Efron 1987, J. Am. Stat. Assoc. 82:171) at the levels of Student's t in place of the normal
(Hesterberg 2015, Am. Stat. 69:371). Their coverage is measured by benchmarks/coverage.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

# No interval is given where fewer units than this vary freely: measured coverage falls with them.
LEAST_FREEDOM = 4
# Conditions of one trial have no measurable spread; with a larger share of them an interval would be too short.
MOST_SINGLE = 0.1
# Resamples may leave a correlation undefined; with a larger share of these an interval would mean little.
MOST_UNDEFINED = 0.05


@dataclass(frozen=True)
class TrialStatistic:
    """A metric as a function of trial weights.

    Attributes:
        score: from weights (draws, trials), how often each trial counts, to scores (draws,).
        strata: the trials of each group that is resampled by itself; other trials have no effect.
        trials: number of trials.
        biased: whether the metric falls with fewer trials, as that of an average does through its noise.
    """

    score: Callable[[np.ndarray], np.ndarray]
    strata: Sequence[np.ndarray]
    trials: int
    biased: bool = False


@dataclass(frozen=True)
class Bootstrap:
    """Resampled scores of one model and metric; those of equal target, seed and draws are paired.

    Attributes:
        estimate: the score itself.
        centre: the score less its bootstrap estimate of bias; other than the estimate only for psth R2.
        draws: (draws,) resampled scores, shifted to lie about the centre; NaN where undefined.
        influence: (units,) effect of each unit on the score, for the skewness that BCa corrects.
        freedom: units that vary freely; 0 if there is no interval to be had.
    """

    estimate: float
    centre: float
    draws: np.ndarray
    influence: np.ndarray
    freedom: int

    def __sub__(self, other: "Bootstrap") -> "Bootstrap":
        """The difference of two models' scores, of paired resamples."""
        return Bootstrap(
            self.estimate - other.estimate,
            self.centre - other.centre,
            self.draws - other.draws,
            self.influence - other.influence,
            min(self.freedom, other.freedom),
        )

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """The BCa interval, which holds the estimate; None where the trials do not suffice for one."""
        draws = self.draws[np.isfinite(self.draws)]
        if self.freedom < LEAST_FREEDOM or len(draws) < (1 - MOST_UNDEFINED) * len(self.draws):
            return None
        below = np.mean(draws < self.centre) + np.mean(draws == self.centre) / 2
        shift = ndtri(np.clip(below, 0.5 / len(draws), 1 - 0.5 / len(draws)))
        spread = np.sum(self.influence**2) ** 1.5
        skew = np.sum(self.influence**3) / (6 * spread) if spread > 0 else 0.0
        moved = shift + stdtrit(self.freedom, (1 + level) / 2) * np.array([-1, 1])
        low, high = np.quantile(draws, ndtr(shift + moved / np.maximum(1 - skew * moved, 1e-3)))
        return min(float(low), self.estimate), max(float(high), self.estimate)


def difference_interval(first: Bootstrap, second: Bootstrap, level: float = 0.95) -> tuple[float, float] | None:
    """The interval of the first model's score less the second's; a difference is real if 0 lies outside."""
    return (first - second).interval(level)


def rank_intervals(
    models: Mapping[str, Bootstrap], level: float = 0.95, higher_is_better: bool = True
) -> dict[str, tuple[int, int]]:
    """The best and the worst rank of each model, 1 the best, that its paired differences allow.

    A model ranks behind those that are really better and before those that are really worse (Mogstad et al.
    2024, Rev. Econ. Stud. 91:476). Each of its differences is judged at a level that makes its rank interval
    hold with probability `level` (Bonferroni); a difference without interval leaves the order open.
    """
    pair_level = 1 - (1 - level) / max(len(models) - 1, 1)
    sign, ranks = 1 if higher_is_better else -1, {}
    for name, bootstrap in models.items():
        others = [difference_interval(bootstrap, b, pair_level) or (0, 0) for n, b in models.items() if n != name]
        signs = [sign * (np.sign(low) + np.sign(high)) for low, high in others]
        ranks[name] = 1 + sum(s < -1 for s in signs), len(models) - sum(s > 1 for s in signs)
    return ranks


def resample(strata: Sequence[np.ndarray], trials: int, draws: int, seed: int, block: int = 1) -> np.ndarray:
    """Weights (draws, trials): n - 1 of each stratum's n blocks of consecutive trials, with replacement.

    A stratum of one block always counts once.
    """
    rng, weights = np.random.default_rng(seed), np.zeros((draws, trials))
    for stratum in strata:
        units = -(-len(stratum) // block)
        counts = rng.multinomial(max(units - 1, 1), np.full(units, 1 / units), size=draws)
        weights[:, stratum] = np.repeat(counts, block, axis=1)[:, : len(stratum)]
    return weights


def bootstrap(statistic: TrialStatistic, draws: int, seed: int, block: int = 1) -> Bootstrap:
    """Resampled scores of one statistic; arguments as in `resample`."""
    estimate = float(statistic.score(np.ones((1, statistic.trials)))[0])
    scores = statistic.score(resample(statistic.strata, statistic.trials, draws, seed, block))
    bias = float(np.nanmean(scores)) - estimate if statistic.biased else 0.0
    influence, units = [], np.array([-(-len(stratum) // block) for stratum in statistic.strata])
    for stratum, n in zip(statistic.strata, units, strict=True):
        if n > 1:
            weights = np.ones((n, statistic.trials))
            weights[np.arange(len(stratum)) // block, stratum] = 0
            without = statistic.score(weights)
            influence.append(np.nan_to_num(np.mean(without) - without) * (n - 1) / n)
    few = not influence or np.mean(units == 1) > MOST_SINGLE
    return Bootstrap(
        estimate,
        estimate - bias,
        # Once for the draws' own bias, once for the estimate's.
        scores - 2 * bias,
        np.concatenate(influence or [np.zeros(0)]),
        0 if few else int(np.sum(units - 1)),
    )
