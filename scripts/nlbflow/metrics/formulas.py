"""The metrics of the Neural Latents Benchmark (Pei et al. 2021, arXiv:2109.04463).

Rates are expected spikes per bin, arrays (trials, time, neurons), a count of NaN is unknown. The numbers are
those of `nlb_tools.evaluation` 0.0.4 within 1e-9. A metric without a value, such as bits per spike where no
spike is known, is NaN; `score` leaves it out.
"""

from collections.abc import Mapping, Sequence
from typing import NoReturn

import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.metrics.decoder import decodings, r2

# In the order of the benchmark's leaderboard; higher is better except for those named below.
METRICS = ("co-bps", "vel R2", "psth R2", "tp corr", "fp-bps")
LOWER_IS_BETTER = {"tp corr"}
# The reference's stand-in for a rate of zero, whose logarithm would make one spike cost infinitely many bits.
ZERO_RATE = 1e-9
FORWARD = {f"eval_rates_{part}_forward": f"eval_spikes_{part}_forward" for part in ("heldin", "heldout")}


def score(target: Mapping, prediction: Mapping) -> dict[str, float]:
    """The metrics that apply: co-bps and, as far as the target has what they need, vel R2, psth R2, tp corr and fp-bps.

    Args:
        target: arrays of target.h5; eval_behavior is decoded if 3-d, and has tp as last column if 2-d.
        prediction: rates under the benchmark's names. Without the forward arrays there is no fp-bps.

    Raises:
        NlbflowError: rates that a metric needs are missing, or a metric refuses its arrays.
    """
    functions = {
        "co-bps": bits_per_spike,
        "vel R2": velocity_r2,
        "psth R2": psth_r2,
        "tp corr": tp_correlation,
        "fp-bps": bits_per_spike,
    }
    scores = {name: functions[name](*of) for name, of in metric_arguments(target, prediction).items()}
    return {name: value for name, value in scores.items() if not np.isnan(value)}


def metric_arguments(target: Mapping, prediction: Mapping) -> dict[str, tuple]:
    """The arguments of each metric that applies, in their order.

    Args and errors as of `score`.
    """
    behavior = target.get("eval_behavior")
    dimensions = 0 if behavior is None else behavior.ndim
    needed = ["eval_rates_heldout"]
    if dimensions or "psth" in target:
        needed += ["eval_rates_heldin"]
    if dimensions == 3:
        needed += ["train_rates_heldin", "train_rates_heldout"]
    if any(name in prediction for name in FORWARD):
        needed += FORWARD
    if missing := [name for name in needed if name not in prediction]:
        raise NlbflowError(
            f"The metrics of this target need {', '.join(needed)}, but the prediction lacks "
            f"{', '.join(missing)}; let the model predict these too."
        )
    arguments = {"co-bps": (prediction["eval_rates_heldout"], target["eval_spikes_heldout"])}
    if "eval_rates_heldin" in needed:
        rates = np.concatenate([prediction["eval_rates_heldin"], prediction["eval_rates_heldout"]], axis=2)
    if dimensions == 3:
        train = np.concatenate([prediction["train_rates_heldin"], prediction["train_rates_heldout"]], axis=2)
        masks = target.get("train_decode_mask"), target.get("eval_decode_mask")
        arguments["vel R2"] = (train, target["train_behavior"], rates, behavior, *masks)
    if "psth" in target:
        arguments["psth R2"] = (target["psth"], target["eval_cond_idx"], rates, target.get("eval_jitter"))
    if dimensions == 2:
        arguments["tp corr"] = (rates, target["eval_spikes_heldout"], behavior)
    if all(rates in prediction and spikes in target for rates, spikes in FORWARD.items()):
        ahead = np.concatenate([prediction[name] for name in FORWARD], axis=2)
        arguments["fp-bps"] = (ahead, np.concatenate([target[name] for name in FORWARD.values()], axis=2))
    return arguments


def score_null(target: Mapping) -> dict[str, float]:
    """co-bps and fp-bps of the null model, 0 wherever they are defined."""
    spikes = {name: array for name, array in target.items() if name.startswith("eval_spikes")}
    return score(spikes, null_prediction(spikes))


def null_prediction(target: Mapping) -> dict[str, np.ndarray]:
    """The null model's rates, one array per array of evaluation spikes, under the benchmark's names."""
    spikes_of = {"eval_rates_heldout": "eval_spikes_heldout", **FORWARD}
    return {rates: null_rates(target[spikes]) for rates, spikes in spikes_of.items() if spikes in target}


def poisson_nll(rates: np.ndarray, spikes: np.ndarray) -> float:
    """Total Poisson negative log likelihood in nats, sum(r - n log r + log n!), over the known counts.

    Args:
        rates: (trials, time, neurons); zeros count as 1e-9, and the array is not changed.
        spikes: same shape, NaN where unknown.

    Raises:
        NlbflowError: the shapes differ, or a rate is NaN, infinite or negative where the count is known.
    """
    spikes = np.asarray(spikes, dtype=np.float64)
    # a quarter of a second, which no plan and no table should wait for
    from scipy.special import gammaln

    return _poisson_loss(rates, spikes) + float(np.sum(gammaln(spikes[~np.isnan(spikes)] + 1.0)))


def _poisson_loss(rates: np.ndarray, spikes: np.ndarray) -> float:
    """`poisson_nll` without its term log n!, which is the same for all rates."""
    rates, spikes = np.asarray(rates, dtype=np.float64), np.asarray(spikes, dtype=np.float64)
    if rates.shape != spikes.shape:
        raise NlbflowError(
            f"Expected rates of the shape of the spikes {spikes.shape}, but found {rates.shape}; predict one "
            "rate for every trial, bin and neuron of the target."
        )
    known = ~np.isnan(spikes)
    if not ((rates >= 0) & (rates < np.inf) | ~known).all():
        _refuse(rates, known)
    rates, spikes = np.where(rates[known] == 0, ZERO_RATE, rates[known]), spikes[known]
    # Most bins hold no spike and need no logarithm.
    spiking = spikes > 0
    return float(np.sum(rates) - np.sum(spikes[spiking] * np.log(rates[spiking])))


def _refuse(rates: np.ndarray, known: np.ndarray) -> NoReturn:
    for fault, bad in (("NaN", np.isnan(rates)), ("infinite", np.isinf(rates)), ("negative", rates < 0)):
        where = np.argwhere(bad & known)
        if len(where):
            axes = ("trial", "bin", "neuron")[-rates.ndim :]
            first = ", ".join(f"{axis} {i}" for axis, i in zip(axes, where[0], strict=True))
            raise NlbflowError(
                f"Expected finite rates >= 0 wherever the spikes are known, but found {len(where):,} {fault} "
                f"rates, the first at {first} (counted from 0); mend the model's prediction."
            )


def bits_per_spike(rates: np.ndarray, spikes: np.ndarray) -> float:
    """Bits per spike by which the rates beat each neuron's mean count, over the whole population.

    For held-out neurons this is co-bps, for all neurons in the forward window fp-bps. Arguments and errors as in
    `poisson_nll`; NaN where no spike is known.
    """
    spikes = np.asarray(spikes, dtype=np.float64)
    gain = _poisson_loss(null_rates(spikes), spikes) - _poisson_loss(rates, spikes)
    total = np.nansum(spikes)
    return float(gain / total / np.log(2)) if total > 0 else float("nan")


def null_rates(spikes: np.ndarray) -> np.ndarray:
    """Each neuron's mean known count in every bin, 1e-9 if that is 0, in the shape of `spikes`."""
    leading = tuple(range(spikes.ndim - 1))
    total = np.nansum(spikes, axis=leading, dtype=np.float64)
    mean = total / np.maximum((~np.isnan(spikes)).sum(axis=leading), 1)
    return np.broadcast_to(np.where(mean > 0, mean, ZERO_RATE), spikes.shape)


def poisson_d2(rates: np.ndarray, spikes: np.ndarray) -> float:
    """Share of each neuron's Poisson deviance that the rates explain, mean over the neurons that fire.

    1 - D(counts, rates) / D(counts, mean count), scikit-learn's d2_tweedie_score of power 1 (Hastie, Tibshirani and
    Wainwright 2015, Statistical Learning with Sparsity, section 3.1) for each neuron, each of the same weight, where
    bits per spike weigh a neuron by its spikes. 1 at best, 0 for the mean. Arguments and errors as in `poisson_nll`;
    NaN where no neuron's count is known to vary.
    """
    spikes, shares = np.asarray(spikes, dtype=np.float64), []
    for neuron in range(spikes.shape[2]):
        counts = spikes[..., neuron : neuron + 1]
        known = counts[~np.isnan(counts)]
        if not len(known) or np.ptp(known) == 0:
            continue
        fired = counts[counts > 0]
        null, own = _poisson_loss(null_rates(counts), counts), np.sum(fired - fired * np.log(fired))
        shares.append((null - _poisson_loss(rates[..., neuron : neuron + 1], counts)) / (null - own))
    return float(np.mean(shares)) if shares else float("nan")


def velocity_r2(
    train_rates: np.ndarray,
    train_behavior: np.ndarray,
    eval_rates: np.ndarray,
    eval_behavior: np.ndarray,
    train_mask: np.ndarray | None = None,
    eval_mask: np.ndarray | None = None,
) -> float:
    """R2 of behaviour, in the benchmark a hand's velocity, decoded from the same bin's rates by ridge regression.

    The penalty is the one of 1e-4 ... 1 with the best mean R2 over five unshuffled folds of the training
    bins, the smallest in a tie. Bins in which a channel is NaN are left out. The mean is over the channels that count
    (`nlbflow.metrics.decoder.counted_channels`): one that stands still has no R2. NaN where none counts.

    Args:
        train_rates, eval_rates: (trials, time, neurons).
        train_behavior, eval_behavior: (trials, time, channels), shifted by the dataset's lag already.
        train_mask, eval_mask: (trials, decoders) bool, the trials of each decoder; their R2 are averaged.

    Raises:
        NlbflowError: arrays do not fit, values in use are not finite, or there are fewer than five bins.
    """
    parts = decodings(train_rates, train_behavior, eval_rates, eval_behavior, train_mask, eval_mask)
    return float(np.mean([r2(part.true, part.predicted) for part in parts])) if parts else float("nan")


def psth_r2(
    psth: np.ndarray, cond_idx: Sequence[np.ndarray], eval_rates: np.ndarray, jitter: np.ndarray | None = None
) -> float:
    """R2 of the trial-averaged rates with the recorded PSTHs over all conditions and bins, mean over neurons.

    Args:
        psth: (conditions, time, neurons), held-in first; bins whose first neuron is NaN are left out.
        cond_idx: the evaluation trials of each condition; a condition without any is left out.
        eval_rates: (trials, time, neurons).
        jitter: (trials,) bins by which each trial's window was cut too late, undone before averaging.

    Raises:
        NlbflowError: arrays that do not fit, or NaN in the average rates where the PSTH is known.
    """
    psth = np.asarray(psth, dtype=np.float64)
    if psth.shape[1:] != eval_rates.shape[1:] or len(psth) != len(cond_idx):
        raise NlbflowError(
            f"psth R2 expects rates with the bins and neurons of psth {psth.shape} and as many conditions, "
            f"but found {eval_rates.shape} and {len(cond_idx)}; predict all held-in and held-out neurons."
        )
    if jitter is not None:
        eval_rates = np.stack([shifted(rates, bins) for rates, bins in zip(eval_rates, jitter, strict=True)])
    true, predicted = [], []
    for average, trials in zip(psth, cond_idx, strict=True):
        if len(trials):
            known = ~np.isnan(average[:, 0])
            true.append(average[known])
            predicted.append(eval_rates[trials].mean(axis=0, dtype=np.float64)[known])
    if not true:
        return float("nan")
    true, predicted = np.concatenate(true), np.concatenate(predicted)
    if not (np.isfinite(true).all() and np.isfinite(predicted).all()):
        raise NlbflowError(
            "psth R2 expects finite rates and PSTHs in every bin in which a condition's PSTH is known, but "
            "found NaN or infinity; predict every bin of every evaluation trial."
        )
    return r2(true, predicted)


def shifted(rates: np.ndarray, bins: int) -> np.ndarray:
    """Rates (time, neurons) moved later by `bins` (earlier if negative), NaN where nothing moved in."""
    moved, later, earlier = np.full_like(rates, np.nan), max(bins, 0), max(-bins, 0)
    moved[later : len(rates) - earlier] = rates[earlier : len(rates) - later]
    return moved


def tp_correlation(eval_rates: np.ndarray, eval_spikes_heldout: np.ndarray, eval_behavior: np.ndarray) -> float:
    """Pearson's r of neural speed with the produced interval, mean over conditions; better is more negative.

    Neural speed is the mean distance that the rates move per bin between Set and Go; NaN if it does not vary.

    Args:
        eval_rates: (trials, time, neurons), all neurons.
        eval_spikes_heldout: (trials, time, neurons), the first neuron NaN outside Set-Go.
        eval_behavior: (trials, 5), is_eye, theta and is_short, which make the conditions, ts and tp in ms; NaN
            and conditions of a single trial are left out.

    Raises:
        NlbflowError: arrays that do not fit.
    """
    eval_rates, eval_behavior = (np.asarray(a, dtype=np.float64) for a in (eval_rates, eval_behavior))
    if eval_rates.shape[:2] != eval_spikes_heldout.shape[:2] or len(eval_behavior) != len(eval_rates):
        raise NlbflowError(
            f"tp corr expects rates that fit eval_spikes_heldout {eval_spikes_heldout.shape} and "
            f"eval_behavior {eval_behavior.shape}, but found {eval_rates.shape}; predict every trial."
        )
    between, conditions = ~np.isnan(eval_spikes_heldout[..., 0]), np.unique(eval_behavior[:, :3], axis=0)
    correlations = []
    for condition in conditions[~np.isnan(conditions).all(axis=1)]:
        trials = np.flatnonzero((eval_behavior[:, :3] == condition).all(axis=1))
        if len(trials) > 1:
            steps = [np.diff(eval_rates[i, between[i]], axis=0) for i in trials]
            speed = [np.linalg.norm(step, axis=1).mean() if len(step) else np.nan for step in steps]
            correlations.append(_pearson(np.array(speed), eval_behavior[trials, -1]))
    return float(np.mean(correlations)) if correlations else float("nan")


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
