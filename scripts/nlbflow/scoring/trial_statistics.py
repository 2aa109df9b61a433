"""The metrics as functions of trial weights (how often each evaluation trial counts), for the bootstrap.

Each is computed from sums made once per trial, so a thousand resamples are a few matrix products.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from nlbflow.metrics.decoder import decodings
from nlbflow.metrics.formulas import ZERO_RATE, metric_arguments, shifted
from nlbflow.scoring.bootstrap import Bootstrap, TrialStatistic, bootstrap

# As a share of the squares from which a spread is computed; a smaller spread is rounding.
LEAST_SPREAD = 1e-12


def score_intervals(
    target: Mapping, prediction: Mapping, draws: int, seed: int, level: float = 0.95, block: int = 1
) -> dict[str, tuple[float, float] | None]:
    """The interval of each metric that `nlbflow.metrics.formulas.score` gives; arguments as in `bootstrap_scores`."""
    scores = bootstrap_scores(target, prediction, draws, seed, block)
    return {name: score.interval(level) for name, score in scores.items()}


def bootstrap_scores(
    target: Mapping, prediction: Mapping, draws: int, seed: int, block: int = 1
) -> dict[str, Bootstrap]:
    """Resampled scores, the same resamples for every prediction of one target.

    Args:
        target, prediction: arrays that `nlbflow.metrics.formulas.score` has accepted.
        draws: number of resamples.
        seed: seed of the resamples.
        block: consecutive trials resampled together, for pseudo-trials cut from one stretch.
    """
    return {
        name: bootstrap(statistic, draws, seed, block)
        for name, statistic in trial_statistics(target, prediction).items()
    }


def bits_per_neuron(rates: np.ndarray, spikes: np.ndarray) -> np.ndarray:
    """Bits per spike of each neuron (neurons,), NaN for one without spikes.

    Their mean, weighted by spikes, is the population's score. Arguments as for
    `nlbflow.metrics.formulas.bits_per_spike`.
    """
    loss, total, known = (a.sum(axis=0) for a in _likelihood_sums(rates, spikes))
    gain = _null_loss(total, known) - loss
    return np.divide(gain, total * np.log(2), out=np.full(len(total), np.nan), where=total > 0)


def trial_statistics(target: Mapping, prediction: Mapping) -> dict[str, TrialStatistic]:
    """The statistic of every metric of `nlbflow.metrics.formulas.score`, under the same names."""
    functions = {
        "co-bps": _bits_statistic,
        "vel R2": _velocity_statistic,
        "psth R2": _psth_statistic,
        "tp corr": _tp_statistic,
        "fp-bps": _bits_statistic,
    }
    statistics = {name: functions[name](*of) for name, of in metric_arguments(target, prediction).items()}
    whole = {name: s.score(np.ones((1, s.trials)))[0] for name, s in statistics.items()}
    return {name: s for name, s in statistics.items() if not np.isnan(whole[name])}


def _likelihood_sums(rates: np.ndarray, spikes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per trial and neuron the loss sum(r - n log r), the spikes and the known bins, each (trials, neurons)."""
    known = ~np.isnan(spikes)
    counts = np.where(known, spikes, 0.0)
    rates = np.where(known, np.where(rates == 0, ZERO_RATE, np.asarray(rates, dtype=np.float64)), 1.0)
    loss = (rates * known).sum(axis=1) - np.einsum("ijk,ijk->ik", counts, np.log(rates))
    return loss, counts.sum(axis=1), known.sum(axis=1).astype(np.float64)


def _mean_counts(total: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The null model's rates, from the spikes and known bins of each neuron."""
    mean = total / np.maximum(known, 1)
    return np.where(mean > 0, mean, ZERO_RATE)


def _null_loss(total: np.ndarray, known: np.ndarray) -> np.ndarray:
    """sum(r - n log r) of each neuron's mean count r, from its spikes and known bins."""
    mean = _mean_counts(total, known)
    return mean * known - total * np.log(mean)


def _bits_statistic(rates: np.ndarray, spikes: np.ndarray) -> TrialStatistic:
    loss, total, known = _likelihood_sums(rates, spikes)
    loss, nats_per_bit = loss.sum(axis=1), np.log(2)

    def score(weights: np.ndarray) -> np.ndarray:
        sums = weights @ total
        gain, count = _null_loss(sums, weights @ known).sum(axis=1) - weights @ loss, sums.sum(axis=1)
        return _quotient(gain, count * nats_per_bit)

    def slopes(weights: np.ndarray) -> np.ndarray:
        sums = weights @ total
        mean = _mean_counts(sums, weights @ known)
        gain = mean @ known.T - np.log(mean) @ total.T - loss
        gain -= np.outer(score(weights) * nats_per_bit, total.sum(axis=1))
        return _quotient(gain, sums.sum(axis=1, keepdims=True) * nats_per_bit)

    return TrialStatistic(score, slopes, [np.flatnonzero(known.any(axis=1))], len(loss))


def _quotient(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, NaN where b is 0."""
    return np.divide(a, b, out=np.full(a.shape, np.nan), where=b > 0)


def _velocity_statistic(*arrays: np.ndarray | None) -> TrialStatistic:
    """Arguments as for `nlbflow.metrics.formulas.velocity_r2`."""
    parts = decodings(*arrays)
    sums, trials = [], len(arrays[2])
    for part in parts:
        y = part.true - part.true.mean(axis=0)
        rows = np.concatenate([np.ones((len(y), 1)), y, y**2, (part.true - part.predicted) ** 2], axis=1)
        per_trial = np.zeros((trials, rows.shape[1]))
        np.add.at(per_trial, np.nonzero(part.known)[0], rows)
        sums.append(per_trial)

    def score(weights: np.ndarray) -> np.ndarray:
        scores = []
        for per_trial in sums:
            n, y, squares, error = _moments(weights @ per_trial)
            scores.append(np.mean(1 - error / _spread(n, y, squares), axis=1))
        return np.mean(scores, axis=0) if scores else np.full(len(weights), np.nan)

    def slopes(weights: np.ndarray) -> np.ndarray:
        slope = np.zeros(weights.shape)
        for per_trial in sums:
            n, y, squares, error = _moments(weights @ per_trial)
            n_each, y_each, squares_each, error_each = _moments(per_trial)
            mean, spread = y / np.maximum(n, 1), _spread(n, y, squares)
            for channel in range(y.shape[1]):
                m, whole = mean[:, channel, None], spread[:, channel, None]
                widened = squares_each[:, channel] - 2 * m * y_each[:, channel] + m**2 * n_each[:, 0]
                missed_slope = error_each[:, channel] - error[:, channel, None] / whole * widened
                slope -= missed_slope / whole / (y.shape[1] * len(sums))
        return slope

    counted = np.stack([np.zeros(trials, bool), *(per_trial[:, 0] > 0 for per_trial in sums)], axis=1)
    _, group = np.unique(counted, axis=0, return_inverse=True)
    group = np.where(counted.any(axis=1), group.ravel(), -1)
    strata = [np.flatnonzero(group == g) for g in np.unique(group[group >= 0])]
    return TrialStatistic(score, slopes, strata, trials, limits=(-np.inf, 1.0))


def _moments(sums: np.ndarray) -> list[np.ndarray]:
    """Bins (…, 1), and each channel's sums of values, of their squares and of squared errors, (…, channels) each."""
    channels = sums.shape[1] // 3
    return np.split(sums, [1, 1 + channels, 1 + 2 * channels], axis=1)


def _spread(n: np.ndarray, y: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """(draws, channels) squares about the mean; NaN where a channel is constant in the drawn trials and has no R2."""
    spread = squares - y**2 / np.maximum(n, 1)
    return np.where(spread > LEAST_SPREAD * squares, spread, np.nan)


def _psth_statistic(
    psth: np.ndarray, cond_idx: Sequence[np.ndarray], eval_rates: np.ndarray, jitter: np.ndarray | None
) -> TrialStatistic:
    """psth R2: the error of an average is a quadratic form in the weights, with one Gram matrix per condition."""
    psth = np.asarray(psth, dtype=np.float64)
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
    # A neuron whose PSTH is constant scores 0 as soon as any of its bins is missed.
    constant = np.mean(missed & ~varies)

    def errors(weights: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        for trials, gram in zip(strata, grams, strict=True):
            n = np.maximum(weights[:, trials].sum(axis=1, keepdims=True), 1)
            share = weights[:, trials] / n
            products = share @ gram
            yield n, products, np.einsum("ij,ij->i", products, share)

    def score(weights: np.ndarray) -> np.ndarray:
        whole = np.full(len(weights), 1 - constant if grams else np.nan)
        return whole - sum(squared for *_, squared in errors(weights))

    def slopes(weights: np.ndarray) -> np.ndarray:
        slope = np.zeros(weights.shape)
        for trials, (n, products, squared) in zip(strata, errors(weights), strict=True):
            slope[:, trials] = 2 * (squared[:, None] - products) / n
        return slope

    return TrialStatistic(score, slopes, strata, len(eval_rates), of_averages=True, limits=(-np.inf, 1.0))


def speeds_by_condition(
    rates: np.ndarray, spikes: np.ndarray, behavior: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """What tp corr correlates. For each condition with two or more trials: the trials, their neural speeds (distance
    that the rates move per bin, NaN without a step) and their produced intervals in ms.

    Arguments as for `nlbflow.metrics.formulas.tp_correlation`.
    """
    behavior = np.asarray(behavior, dtype=np.float64)
    between, conditions = ~np.isnan(spikes[..., 0]), np.unique(behavior[:, :3], axis=0)
    found = []
    for condition in conditions[~np.isnan(conditions).all(axis=1)]:
        trials = np.flatnonzero((behavior[:, :3] == condition).all(axis=1))
        if len(trials) > 1:
            steps = [np.diff(np.asarray(rates[i, between[i]], dtype=np.float64), axis=0) for i in trials]
            speed = np.array([np.linalg.norm(s, axis=1).mean() if len(s) else np.nan for s in steps])
            found.append((trials, speed, behavior[trials, -1]))
    return found


def _tp_statistic(rates: np.ndarray, spikes: np.ndarray, behavior: np.ndarray) -> TrialStatistic:
    strata, pairs = [], []
    for trials, *pair in speeds_by_condition(rates, spikes, behavior):
        strata.append(trials)
        # Unit variance keeps rounding far below any true variance.
        pairs.append([(v - v.mean()) / v.std() if np.ptp(v) else np.full(len(v), np.nan) for v in pair])

    def correlations(weights: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        for trials, (a, b) in zip(strata, pairs, strict=True):
            n = weights[:, trials].sum(axis=1, keepdims=True)
            with np.errstate(invalid="ignore", divide="ignore"):
                share = weights[:, trials] / n
                a, b = (v - (share @ v)[:, None] for v in (a, b))
                spread_a, spread_b = (np.sqrt((share * v * v).sum(axis=1, keepdims=True)) for v in (a, b))
                a, b = (np.where(spread_a * spread_b > 1e-6, v, np.nan) for v in (a / spread_a, b / spread_b))
            yield n, a, b, (share * a * b).sum(axis=1, keepdims=True)

    def score(weights: np.ndarray) -> np.ndarray:
        each = [r[:, 0] for *_, r in correlations(weights)]
        return np.mean(each, axis=0) if each else np.full(len(weights), np.nan)

    def slopes(weights: np.ndarray) -> np.ndarray:
        slope = np.zeros(weights.shape)
        for trials, (n, a, b, r) in zip(strata, correlations(weights), strict=True):
            slope[:, trials] = (a * b - r * (a * a + b * b) / 2) / (n * len(strata))
        return slope

    # two parameters, because any two trials have a correlation of 1 or -1
    return TrialStatistic(score, slopes, strata, len(rates), limits=(-1.0, 1.0), fitted=2)
