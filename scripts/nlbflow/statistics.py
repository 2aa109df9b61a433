"""Uncertainty of the scores: bootstrap over evaluation trials, with decoder and predictions held fixed.

Every metric is written as a function of how often each trial counts, from sums made once per trial, so that a
thousand resamples are a few matrix products. Trials are resampled within strata (the conditions of psth R2 and
tp corr, the decoders of vel R2), n - 1 of a stratum's n with replacement: its mean then varies as the mean of n
trials does, where n of n would vary too little by (n - 1)/n (McCarthy and Snowden 1985; n is 5 in a condition).

Intervals are BCa (Efron 1987, J. Am. Stat. Assoc. 82:171) at the levels of Student's t in place of the normal
(Hesterberg 2015, Am. Stat. 69:371). Their coverage is measured by benchmarks/coverage.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from nlbflow.metrics import FORWARD, ZERO_RATE, decoded, decoder_rows, shifted

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


def score_intervals(
    target: Mapping, prediction: Mapping, draws: int, seed: int, level: float = 0.95, block: int = 1
) -> dict[str, tuple[float, float] | None]:
    """The interval of each metric that `nlbflow.metrics.score` gives; arguments as in `bootstrap_scores`."""
    scores = bootstrap_scores(target, prediction, draws, seed, block)
    return {name: bootstrap.interval(level) for name, bootstrap in scores.items()}


def bootstrap_scores(
    target: Mapping, prediction: Mapping, draws: int, seed: int, block: int = 1
) -> dict[str, Bootstrap]:
    """Resampled scores, the same resamples for every prediction of one target.

    Args:
        target, prediction: arrays that `nlbflow.metrics.score` has accepted.
        draws: number of resamples.
        seed: of the resamples.
        block: consecutive trials resampled together, for pseudo-trials cut from one stretch.
    """
    return {
        name: _bootstrap(statistic, draws, seed, block)
        for name, statistic in trial_statistics(target, prediction).items()
    }


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


def bits_per_neuron(rates: np.ndarray, spikes: np.ndarray) -> np.ndarray:
    """Bits per spike of each neuron (neurons,), NaN for one without spikes.

    Their mean weighted by spikes is the population's score. Args as in `nlbflow.metrics.bits_per_spike`.
    """
    loss, total, known = (a.sum(axis=0) for a in _likelihood_sums(rates, spikes))
    gain = _null_loss(total, known) - loss
    return np.divide(gain, total * np.log(2), out=np.full(len(total), np.nan), where=total > 0)


def trial_statistics(target: Mapping, prediction: Mapping) -> dict[str, TrialStatistic]:
    """The statistic of every metric of `nlbflow.metrics.score`, under the same names."""
    statistics = {"co-bps": _bits_statistic(prediction["eval_rates_heldout"], target["eval_spikes_heldout"])}
    behavior = target.get("eval_behavior")
    dimensions = 0 if behavior is None else behavior.ndim
    if dimensions or "psth" in target:
        rates = np.concatenate([prediction["eval_rates_heldin"], prediction["eval_rates_heldout"]], axis=2)
    if dimensions == 3:
        train = np.concatenate([prediction["train_rates_heldin"], prediction["train_rates_heldout"]], axis=2)
        masks = target.get("train_decode_mask"), target.get("eval_decode_mask")
        statistics["vel R2"] = _velocity_statistic(train, target["train_behavior"], rates, behavior, *masks)
    if "psth" in target:
        jitter = target.get("eval_jitter")
        statistics["psth R2"] = _psth_statistic(target["psth"], target["eval_cond_idx"], rates, jitter)
    if dimensions == 2:
        statistics["tp corr"] = _tp_statistic(rates, target["eval_spikes_heldout"], behavior)
    if all(rates in prediction and spikes in target for rates, spikes in FORWARD.items()):
        ahead = np.concatenate([prediction[name] for name in FORWARD], axis=2)
        spikes = np.concatenate([target[name] for name in FORWARD.values()], axis=2)
        statistics["fp-bps"] = _bits_statistic(ahead, spikes)
    whole = {name: s.score(np.ones((1, s.trials)))[0] for name, s in statistics.items()}
    return {name: s for name, s in statistics.items() if not np.isnan(whole[name])}


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


def _bootstrap(statistic: TrialStatistic, draws: int, seed: int, block: int) -> Bootstrap:
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


def _likelihood_sums(rates: np.ndarray, spikes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per trial and neuron the loss sum(r - n log r), the spikes and the known bins, each (trials, neurons)."""
    known = ~np.isnan(spikes)
    counts = np.where(known, spikes, 0.0)
    rates = np.where(known, np.where(rates == 0, ZERO_RATE, np.asarray(rates, dtype=np.float64)), 1.0)
    loss = (rates * known).sum(axis=1) - np.einsum("ijk,ijk->ik", counts, np.log(rates))
    return loss, counts.sum(axis=1), known.sum(axis=1).astype(np.float64)


def _null_loss(total: np.ndarray, known: np.ndarray) -> np.ndarray:
    """sum(r - n log r) of each neuron's mean count r, from its spikes and known bins."""
    mean = total / np.maximum(known, 1)
    mean = np.where(mean > 0, mean, ZERO_RATE)
    return mean * known - total * np.log(mean)


def _bits_statistic(rates: np.ndarray, spikes: np.ndarray) -> TrialStatistic:
    loss, total, known = _likelihood_sums(rates, spikes)
    loss = loss.sum(axis=1)

    def score(weights: np.ndarray) -> np.ndarray:
        sums = weights @ total
        gain, count = _null_loss(sums, weights @ known).sum(axis=1) - weights @ loss, sums.sum(axis=1)
        return np.divide(gain, count * np.log(2), out=np.full(len(gain), np.nan), where=count > 0)

    return TrialStatistic(score, [np.flatnonzero(known.any(axis=1))], len(loss))


def _velocity_statistic(
    train_rates: np.ndarray,
    train_behavior: np.ndarray,
    eval_rates: np.ndarray,
    eval_behavior: np.ndarray,
    train_mask: np.ndarray | None,
    eval_mask: np.ndarray | None,
) -> TrialStatistic:
    if train_mask is None or eval_mask is None:
        train_mask, eval_mask = np.ones((len(train_rates), 1)), np.ones((len(eval_rates), 1))
    sums = []
    for train_trials, eval_trials in zip(train_mask.T.astype(bool), eval_mask.T.astype(bool), strict=True):
        x, y = decoder_rows("eval", eval_rates, eval_behavior, eval_trials)
        error = (y - decoded(*decoder_rows("train", train_rates, train_behavior, train_trials), x)) ** 2
        y = y - y.mean(axis=0)
        known = ~np.isnan(eval_behavior[..., 0]) & eval_trials[:, None]
        rows = np.concatenate([np.ones((len(y), 1)), y, y**2, error], axis=1)
        per_trial = np.zeros((len(eval_rates), rows.shape[1]))
        np.add.at(per_trial, np.nonzero(known)[0], rows)
        sums.append(per_trial)

    def score(weights: np.ndarray) -> np.ndarray:
        scores = []
        for per_trial in sums:
            n, y, squares, error = np.split(weights @ per_trial, [1, 3, 5], axis=1)
            scores.append(np.mean(1 - _ratio(error, squares - y**2 / np.maximum(n, 1)), axis=1))
        return np.mean(scores, axis=0)

    counted = np.stack([per_trial[:, 0] > 0 for per_trial in sums], axis=1)
    _, group = np.unique(counted, axis=0, return_inverse=True)
    group = np.where(counted.any(axis=1), group.ravel(), -1)
    strata = [np.flatnonzero(group == g) for g in np.unique(group[group >= 0])]
    return TrialStatistic(score, strata, len(eval_rates))


def _ratio(error: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """error / spread; as in scikit-learn's r2_score a constant column counts 0 if it is met, else 1."""
    return np.divide(error, spread, out=np.where(error == 0, 0.0, 1.0), where=spread > 0)


def _psth_statistic(
    psth: np.ndarray, cond_idx: Sequence[np.ndarray], eval_rates: np.ndarray, jitter: np.ndarray | None
) -> TrialStatistic:
    """The error of a mean is a quadratic form in the weights: one Gram matrix of residuals per condition."""
    jitter = np.zeros(len(eval_rates), int) if jitter is None else jitter
    present = [c for c, trials in enumerate(cond_idx) if len(trials)]
    known = [~np.isnan(psth[c, :, 0]) for c in present]
    strata = [np.asarray(cond_idx[c]) for c in present]
    true = np.concatenate([psth[c][k] for c, k in zip(present, known, strict=True)] or [psth[0, :0]])
    spread = ((true - true.mean(axis=0)) ** 2).sum(axis=0) if len(true) else np.zeros(psth.shape[2])
    varies, missed, grams = spread > 0, np.zeros(len(spread), bool), []
    for c, k, trials in zip(present, known, strata, strict=True):
        rest = np.stack([shifted(np.asarray(eval_rates[i], dtype=np.float64), jitter[i])[k] for i in trials])
        rest -= psth[c][k]
        missed |= (rest.mean(axis=0) != 0).any(axis=0)
        scaled = (rest[..., varies] / np.sqrt(spread[varies] * len(spread))).reshape(len(trials), -1)
        grams.append(scaled @ scaled.T)
    # A neuron of constant PSTH scores 0 as soon as any of its bins is missed.
    constant = np.mean(missed & ~varies)

    def score(weights: np.ndarray) -> np.ndarray:
        error = np.full(len(weights), constant if grams else np.nan)
        for trials, gram in zip(strata, grams, strict=True):
            share = weights[:, trials] / np.maximum(weights[:, trials].sum(axis=1, keepdims=True), 1)
            error += np.einsum("ij,ij->i", share @ gram, share)
        return 1 - error

    return TrialStatistic(score, strata, len(eval_rates), biased=True)


def _tp_statistic(rates: np.ndarray, spikes: np.ndarray, behavior: np.ndarray) -> TrialStatistic:
    between, conditions = ~np.isnan(spikes[..., 0]), np.unique(behavior[:, :3], axis=0)
    strata, moments = [], []
    for condition in conditions[~np.isnan(conditions).all(axis=1)]:
        trials = np.flatnonzero((behavior[:, :3] == condition).all(axis=1))
        if len(trials) > 1:
            steps = [np.diff(np.asarray(rates[i, between[i]], dtype=np.float64), axis=0) for i in trials]
            speed = np.array([np.linalg.norm(s, axis=1).mean() if len(s) else np.nan for s in steps])
            # Unit variance, so that rounding alone stays far below any true variance.
            pair = (speed, behavior[trials, -1])
            a, b = ((v - v.mean()) / v.std() if np.ptp(v) else np.full(len(v), np.nan) for v in pair)
            strata.append(trials)
            moments.append(np.stack([np.ones(len(trials)), a, b, a * a, b * b, a * b], axis=1))

    def score(weights: np.ndarray) -> np.ndarray:
        scores = []
        for trials, moment in zip(strata, moments, strict=True):
            n, a, b, aa, bb, ab = (weights[:, trials] @ moment).T
            with np.errstate(invalid="ignore", divide="ignore"):
                a, b, aa, bb, ab = (v / n for v in (a, b, aa, bb, ab))
                spread = np.sqrt(np.maximum(aa - a * a, 0) * np.maximum(bb - b * b, 0))
                scores.append(np.where(spread > 1e-12, (ab - a * b) / spread, np.nan))
        return np.mean(scores, axis=0) if scores else np.full(len(weights), np.nan)

    return TrialStatistic(score, strata, len(rates))
