"""Uncertainty of a score: bootstrap over evaluation trials, with decoder and predictions held fixed.

Trials are resampled within strata (the conditions of psth R2 and tp corr, the decoders of vel R2), n - 1 of a
stratum's n with replacement. The stratum's mean then varies as the mean of n trials does; n of n would give a variance
too small by the factor (n - 1)/n (McCarthy and Snowden 1985; a condition may have n = 5).

Intervals are bootstrap-t (Efron and Tibshirani 1993, An Introduction to the Bootstrap, section 12.5): a resample's
distance from the estimate is measured in the standard error of its own trials. So the interval allows for an uncertain
spread of few trials, and for one that depends on the score. The standard error is linear: the score's derivative by a
trial's weight is what that trial contributes.

psth R2, a score of averages over trials, falls with fewer trials, because the noise left in the averages counts as
error. It is unbiased for what equally many other trials would give, and its interval is for that value: Student's t
times the linear standard error, as for differences. Resamples would mislead here, because they add noise of their own.

Two models are scored on the same trials, so their difference is judged by the difference of each trial's contributions,
as in a paired t test (the infinitesimal jackknife, chapter 21 there). Rank intervals of many models need differences at
levels like 0.999, for which a thousand resamples would be far too few. benchmarks/coverage.py measures both kinds of
interval.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

# With fewer degrees of freedom, too many resamples repeat a single unit and have no standard error.
LEAST_FREEDOM = 4
# Conditions with one trial have no measurable spread; with a larger share of them an interval would be too short.
MOST_SINGLE = 0.1
# Smaller differences are rounding, because rates are stored as float32.
ROUNDING = 1e-6
# A resample may leave the score or its error undefined; with a larger share of these an interval would mean little.
MOST_UNDEFINED = 0.05


@dataclass(frozen=True)
class TrialStatistic:
    """A metric as a function of trial weights, how often each trial counts.

    Attributes:
        score: from weights (draws, trials) to scores (draws,), NaN where undefined.
        slopes: from weights to the score's derivative by each trial's weight (draws, trials).
        strata: the trials of each group that is resampled by itself; other trials have no effect.
        trials: number of trials.
        of_averages: whether the score compares averages over trials, whose remaining noise lowers it.
        limits: the lowest and the highest possible score.
        fitted: the number of parameters fitted in each stratum: the mean, and for a correlation also the slope.
    """

    score: Callable[[np.ndarray], np.ndarray]
    slopes: Callable[[np.ndarray], np.ndarray]
    strata: Sequence[np.ndarray]
    trials: int
    of_averages: bool = False
    limits: tuple[float, float] = (-np.inf, np.inf)
    fitted: int = 1


@dataclass(frozen=True)
class Bootstrap:
    """Resampled scores of one model and metric; with the same target, seed and draws they are paired.

    A unit is a trial or a block of trials, whichever is resampled. The standard error is the root of the summed squared
    contributions.

    Attributes:
        estimate: the score itself.
        draws: (draws,) resampled scores, NaN where undefined.
        errors: (draws,) the standard error from each resample's own trials.
        contributions: (units,) what each unit contributes to the estimate.
        freedom: degrees of freedom; 0 if there can be no interval.
        limits: the lowest and the highest possible score.
        of_averages: whether the interval is Student's t, not bootstrap-t.
    """

    estimate: float
    draws: np.ndarray
    errors: np.ndarray
    contributions: np.ndarray
    freedom: int
    limits: tuple[float, float]
    of_averages: bool

    def interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """The interval, which contains the estimate; None if there are too few trials for one."""
        error = np.linalg.norm(self.contributions)
        if self.freedom < LEAST_FREEDOM:
            return None
        if error == 0 or self.of_averages:
            reach = _t_quantile(self.freedom, (1 + level) / 2) * error
            ends = self.estimate + np.array([-reach, reach])
        else:
            # A resample of equal trials has no error but rounding.
            known = np.isfinite(self.draws) & (self.errors > 1e-9 * error)
            if np.mean(known) < 1 - MOST_UNDEFINED:
                return None
            pivots = (self.draws[known] - self.estimate) / self.errors[known]
            ends = self.estimate - error * np.quantile(pivots, [(1 + level) / 2, (1 - level) / 2])
        low, high = np.clip(ends, *self.limits)
        return min(float(low), self.estimate), max(float(high), self.estimate)

    def arrays(self) -> dict[str, np.ndarray]:
        """The attributes as arrays, for a file."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Bootstrap":
        """The object whose `arrays` these are."""
        single = {"estimate": float, "freedom": int, "limits": tuple, "of_averages": bool}
        return cls(**{field.name: single.get(field.name, np.asarray)(arrays[field.name]) for field in fields(cls)})


def mean_of(bootstraps: Sequence[Bootstrap]) -> Bootstrap:
    """The mean score of several paired predictions, such as one model's seeds.

    Its interval is for the mean of these same predictions on other trials, not for predictions by other seeds.
    """

    def mean(name: str) -> np.ndarray:
        return np.mean([getattr(b, name) for b in bootstraps], axis=0)

    contributions = mean("contributions")
    alone = np.mean([np.linalg.norm(b.contributions) for b in bootstraps])
    # Averaging is taken to shrink the errors of resamples by the same factor as that of the estimate.
    shrunk = np.linalg.norm(contributions) / alone if alone > 0 else 1.0
    return Bootstrap(
        float(mean("estimate")),
        mean("draws"),
        mean("errors") * shrunk,
        contributions,
        min(b.freedom for b in bootstraps),
        bootstraps[0].limits,
        bootstraps[0].of_averages,
    )


def difference_interval(first: Bootstrap, second: Bootstrap, level: float = 0.95) -> tuple[float, float] | None:
    """The interval of the first model's score less the second's; a difference is real if 0 lies outside.

    None if there are too few trials for one. Both models must have the same target.
    """
    ((low,), (high,)) = Models.of([first, second]).differences(0, [1], level)
    return None if np.isnan(low) else (float(low), float(high))


@dataclass(frozen=True)
class Models:
    """What differences of many models by one metric are made of; there may be thousands.

    Attributes:
        estimates: (models,) the scores.
        contributions: (models, units) what each unit contributes to them.
        freedom: (models,) degrees of freedom.
    """

    estimates: np.ndarray
    contributions: np.ndarray
    freedom: np.ndarray

    @classmethod
    def of(cls, bootstraps: Sequence[Bootstrap]) -> "Models":
        """Of models with the same target."""
        return cls(*(np.array([getattr(b, n) for b in bootstraps]) for n in ("estimate", "contributions", "freedom")))

    def differences(self, one: int, others: Sequence[int], level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """(others,) both ends of `difference_interval` of one model and each of the others; NaN where it is None."""
        freedom = np.minimum(self.freedom[others], self.freedom[one])
        known, quantiles = np.unique(np.maximum(freedom, LEAST_FREEDOM), return_inverse=True)
        reach = np.array([_t_quantile(float(each), (1 + level) / 2) for each in known])[quantiles]
        reach *= np.linalg.norm(self.contributions[one] - self.contributions[others], axis=1)
        reach = np.where(freedom < LEAST_FREEDOM, np.nan, np.maximum(reach, ROUNDING))
        difference = self.estimates[one] - self.estimates[others]
        return difference - reach, difference + reach


def rank_intervals(
    models: Mapping[str, Bootstrap], level: float = 0.95, higher_is_better: bool = True
) -> dict[str, tuple[int, int]]:
    """The best and the worst rank that each model's paired differences allow; rank 1 is the best.

    A model ranks behind those that are really better and before those that are really worse (Mogstad et al.
    2024, Rev. Econ. Stud. 91:476). Each of its differences is judged at a level that makes its rank interval
    hold with probability `level` (Bonferroni); a difference without an interval leaves the order open.
    """
    pair_level = 1 - (1 - level) / max(len(models) - 1, 1)
    found, ranks = Models.of([*models.values()]), {}
    for i, name in enumerate(models):
        # no model really differs from itself
        low, high = found.differences(i, range(len(models)), pair_level)
        better, worse = (low > 0, high < 0) if higher_is_better else (high < 0, low > 0)
        ranks[name] = int(1 + worse.sum()), int(len(models) - better.sum())
    return ranks


def resample(strata: Sequence[np.ndarray], trials: int, draws: int, seed: int, block: int = 1) -> np.ndarray:
    """Weights (draws, trials): n - 1 of each stratum's n blocks of consecutive trials, with replacement.

    A stratum of one block always counts once.
    """
    rng, weights = np.random.default_rng(seed), np.zeros((draws, trials))
    for stratum in strata:
        units = -(-len(stratum) // block)
        chosen = rng.integers(units, size=(draws, max(units - 1, 1))) + units * np.arange(draws)[:, None]
        counts = np.bincount(chosen.ravel(), minlength=draws * units).reshape(draws, units)
        weights[:, stratum] = np.repeat(counts, block, axis=1)[:, : len(stratum)]
    return weights


def bootstrap(statistic: TrialStatistic, draws: int, seed: int, block: int = 1) -> Bootstrap:
    """Resampled scores of one statistic; arguments as in `resample`."""
    once = np.ones((1, statistic.trials))
    weights = resample(statistic.strata, statistic.trials, draws, seed, block)
    estimate, scores = float(statistic.score(once)[0]), statistic.score(weights)
    units = np.array([-(-len(stratum) // block) for stratum in statistic.strata])
    few = np.mean(units == 1) > MOST_SINGLE
    return Bootstrap(
        estimate,
        scores,
        np.linalg.norm(_contributions(statistic, weights, block), axis=1),
        _contributions(statistic, once, block)[0],
        0 if few else int(np.maximum(units - statistic.fitted, 0).sum()),
        statistic.limits,
        statistic.of_averages,
    )


def _contributions(statistic: TrialStatistic, weights: np.ndarray, block: int) -> np.ndarray:
    """(draws, units) each unit's effect less the mean of its stratum; a stratum of one unit is left out."""
    slopes, parts = statistic.slopes(weights), []
    for stratum in statistic.strata:
        starts = np.arange(0, len(stratum), block)
        if len(starts) > 1:
            effects = np.add.reduceat(slopes[:, stratum], starts, axis=1)
            counts = weights[:, stratum[starts]]
            drawn = counts.sum(axis=1, keepdims=True)
            # Only one unit of a pair is drawn, which has no spread; the spread of the pair replaces it.
            counts = np.where(drawn > 1, counts, drawn / len(starts))
            known = np.where(drawn > 1, drawn, len(starts))
            effects -= (counts * effects).sum(axis=1, keepdims=True) / drawn
            parts.append(np.sqrt(counts * known / (known - 1)) * effects)
    return np.concatenate(parts, axis=1) if parts else np.zeros((len(weights), 0))


def _t_quantile(freedom: float, share: float) -> float:
    """The quantile of Student's t distribution."""
    # a quarter of a second, a third of what a small score takes
    from scipy.special import stdtrit

    return stdtrit(freedom, share)
