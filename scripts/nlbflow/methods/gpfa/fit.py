"""Learning the parameters of `gpfa` by maximum likelihood.

EM (Yu et al. 2009, appendix) is slow: the latents start with one common timescale and separate slowly. It is
accelerated by squared extrapolation (SQUAREM; Varadhan & Roland 2008, Scand. J. Stat. 35:335-353) with a step limit
that adapts to success and failure. This stays on EM's path, which matters because fits end long before their optimum,
as the benchmark's do. Quasi-Newton climbs faster, but soon spends latents on single spikes (timescales of a bin), which
predicts worse; Anderson acceleration is drawn to the saddle where all timescales are equal.
"""

import logging
import time

import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.methods.gpfa.inference import WHITE, Gpfa, expectations, smooth_kernels

# Bounds of private noise as a share of a neuron's variance; the floor prevents Heywood cases (Martin & McDonald 1975).
NOISE_FLOOR, NOISE_CEILING = 0.01, 3.0
# Bounds of the timescale in bins and in windows; beyond them a latent is white or constant.
SHORTEST_BINS, LONGEST_WINDOWS = 0.2, 100.0
# Factor analysis, which is only the start, ends when no private noise changes by more than this share.
START_TOLERANCE, START_STEPS = 1e-3, 1000
# Newton steps for the best timescales of an EM step, and the change of their logarithm that ends them.
NEWTON_STEPS, NEWTON_TOLERANCE = 30, 1e-6
# Limit of an extrapolation in EM steps: its first and its lowest value, and its growth after a success.
FIRST_LIMIT, LEAST_LIMIT, GROWTH = 4.0, 2.0, 1.5
# Seconds between two lines of progress.
LOG_EVERY = 5.0


def fit_gpfa(y: np.ndarray, start: Gpfa, steps: int) -> tuple[Gpfa, list[float]]:
    """Parameters by accelerated EM. It is deterministic, and the log-likelihood never falls.

    Each cycle takes two EM steps, extrapolates along them, and takes a third step from there; if the log-likelihood
    there is lower than after the first step, it continues from the second instead.

    Args:
        y: (trials, bins, neurons), any real data; the benchmark's baseline takes square roots of counts.
        start: where to start, from `initial_model`.
        steps: EM steps, rounded up to a multiple of three. On recordings, 130 reach what 500 plain ones do.

    Returns:
        (parameters, log-likelihood in nats of the best parameters before each EM step).

    Raises:
        NlbflowError: there is less than one step.
    """
    if steps < 1:
        raise NlbflowError(f"GPFA needs at least one step, but found {steps}; 130 do as much as 500 plain EM steps.")
    unit = y.reshape(-1, y.shape[2]).std(axis=0, ddof=1)
    progress, limit, model = _Progress(steps), FIRST_LIMIT, start
    while len(progress.values) < steps:
        once, value = em_step(y, model)
        progress.add(value)
        twice, value = em_step(y, once)
        progress.add(value)
        begin, middle, end = (_to_vector(m, unit) for m in (model, once, twice))
        change = end - 2 * middle + begin
        length = np.linalg.norm(middle - begin) / max(np.linalg.norm(change), np.finfo(float).tiny)
        length = min(max(length, 1.0), limit)
        far = _from_vector(begin + 2 * length * (middle - begin) + length**2 * change, unit, y.shape[1])
        model, far_value = em_step(y, far)
        progress.add(far_value)
        if far_value >= value:
            limit *= GROWTH if length == limit else 1.0
        else:
            model, limit = twice, max(length / 2, LEAST_LIMIT)
    return model, progress.values


def cut_segments(y: np.ndarray, bins: int) -> np.ndarray:
    """Trials cut into segments (segments, bins, neurons): as few as cover each trial, with even overlaps.

    elephant 1.2.1 draws the overlaps at random where `bins` does not divide the trial's length.
    """
    length = y.shape[1]
    first = np.linspace(0, length - bins, -(-length // bins)).round().astype(int)
    return np.concatenate([y[:, start : start + bins] for start in first]) if bins < length else y


def initial_model(y: np.ndarray, latents: int, timescale: float) -> Gpfa:
    """Factor analysis of all bins of y (trials, bins, neurons), with one timescale (in bins) for all latents.

    The likelihood is maximised over loadings and noise in turn (Joreskog 1967, Psychometrika 32).

    Raises:
        NlbflowError: y is not finite or has a neuron that never varies, there are no latents or not fewer than
            neurons, or the timescale is not positive.
    """
    _check(y, latents, timescale)
    flat = y.reshape(-1, y.shape[2])
    covariance = np.cov(flat.T, bias=True).reshape(y.shape[2], -1)
    variance = np.diag(covariance)
    noise = variance.copy()
    for _ in range(START_STEPS):
        sd = np.sqrt(noise)
        size, axes = np.linalg.eigh(covariance / np.outer(sd, sd))
        loadings = sd[:, None] * axes[:, : -latents - 1 : -1] * np.sqrt(np.maximum(size[: -latents - 1 : -1] - 1, 0))
        old, noise = noise, np.maximum(variance - (loadings**2).sum(axis=1), NOISE_FLOOR * variance)
        if np.abs(noise / old - 1).max() < START_TOLERANCE:
            break
    return Gpfa(loadings, flat.mean(axis=0), noise, np.full(latents, float(timescale)))


def em_step(y: np.ndarray, model: Gpfa) -> tuple[Gpfa, float]:
    """One EM step on y (trials, bins, neurons): (new parameters, log-likelihood of the old ones)."""
    expected = expectations(y, model)
    latents, rows = len(model.timescale), y.shape[0] * y.shape[1]
    x_sum, y_sum = expected.mean.sum(axis=(0, 1)), expected.y_sum
    moments = np.block([[expected.xx, x_sum[:, None]], [x_sum, np.array([rows])]])
    weights = np.linalg.solve(moments, np.vstack([expected.yx.T, y_sum])).T
    loadings, offset = weights[:, :latents], weights[:, latents]
    residual = expected.y_squares - (expected.yx * loadings).sum(axis=1) - y_sum * offset
    variance = (expected.y_squares - y_sum**2 / rows) / (rows - 1)
    noise = np.maximum(residual / rows, NOISE_FLOOR * variance)
    timescale = _best_timescales(model.timescale, expected.over_time, len(y))
    return Gpfa(loadings, offset, noise, timescale), expected.log_likelihood


def _best_timescales(timescale: np.ndarray, over_time: np.ndarray, trials: int) -> np.ndarray:
    """Newton's method on the logarithms, for each latent by itself; steps are halved until the objective rises."""
    low, high = _timescale_bounds(over_time.shape[1])
    log_scale = np.log(timescale)
    value, slope, curvature = _timescale_objective(log_scale, over_time, trials)
    for _ in range(NEWTON_STEPS):
        newton = -slope / np.where(curvature < 0, curvature, -np.inf)
        step = np.where(curvature < 0, newton.clip(-1, 1), 0.5 * np.sign(slope))
        step = (log_scale + step).clip(low, high) - log_scale
        while np.abs(step).max() > NEWTON_TOLERANCE:
            new = _timescale_objective(log_scale + step, over_time, trials)
            fallen = new[0] < value
            if not fallen.any():
                break
            step[fallen] /= 2
        else:
            break
        log_scale = log_scale + step
        value, slope, curvature = new
    return np.exp(log_scale)


def _timescale_objective(
    log_scale: np.ndarray, over_time: np.ndarray, trials: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The part of the expected log-likelihood that depends on the timescales, and two derivatives, (latents,) each.

    -(trials log|K| + tr(K^-1 over_time)) / 2, differentiated by the logarithm of the timescale.
    """
    bins = over_time.shape[1]
    smooth = smooth_kernels(np.exp(log_scale), bins)
    apart = (np.arange(bins)[:, None] - np.arange(bins)) ** 2 * np.exp(-2 * log_scale)[:, None, None]
    kernel, first, second = smooth + WHITE * np.eye(bins), smooth * apart, smooth * apart * (apart - 2)
    inverse = np.linalg.inv(kernel)
    fit, twice = inverse @ over_time @ inverse, first @ inverse @ first

    def trace(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.einsum("its,its->i", a, b)

    value = trials * np.linalg.slogdet(kernel)[1] + trace(inverse, over_time)
    slope = trials * trace(inverse, first) - trace(fit, first)
    curvature = trials * (trace(inverse, second) - trace(inverse, twice)) + 2 * trace(fit, twice) - trace(fit, second)
    return -0.5 * value, -0.5 * slope, -0.5 * curvature


def _to_vector(model: Gpfa, unit: np.ndarray) -> np.ndarray:
    """Parameters without units: data in standard deviations of the neurons, logarithms of positive parameters."""
    loadings, offset = model.loadings / unit[:, None], model.offset / unit
    return np.concatenate([loadings.ravel(), offset, np.log(model.noise), np.log(model.timescale)])


def _from_vector(vector: np.ndarray, unit: np.ndarray, bins: int) -> Gpfa:
    """The parameters, with noise and timescales within their bounds."""
    neurons = len(unit)
    latents = (len(vector) - 2 * neurons) // (neurons + 1)
    loadings, offset, log_noise, log_scale = np.split(vector, np.cumsum([neurons * latents, neurons, neurons]))
    # The ceiling keeps an extrapolation from overflowing.
    noise = np.exp(log_noise.clip(*np.log(np.outer([NOISE_FLOOR, NOISE_CEILING], unit**2))))
    timescale = np.exp(log_scale.clip(*_timescale_bounds(bins)))
    return Gpfa(loadings.reshape(neurons, latents) * unit[:, None], offset * unit, noise, timescale)


def _timescale_bounds(bins: int) -> tuple[float, float]:
    """The lowest and highest logarithm of a timescale in bins."""
    return np.log(SHORTEST_BINS), np.log(LONGEST_WINDOWS * bins)


class _Progress:
    """Keeps the log-likelihoods and logs how far the fit is, at most every few seconds."""

    def __init__(self, steps: int):
        self.steps, self.values = steps, []
        self.began = self.logged = time.monotonic()

    def add(self, value: float) -> None:
        # a rejected extrapolation is not a step of the fit
        self.values.append(max([value, *self.values[-1:]]))
        now, done = time.monotonic(), len(self.values)
        if now - self.logged >= LOG_EVERY:
            self.logged, each = now, (now - self.began) / done
            logging.getLogger("nlbflow").info(
                f"GPFA: step {done} of {self.steps}, log-likelihood {self.values[-1]:.1f}, {each:.2f} s a step, "
                f"{max(self.steps - done, 0) * each:.0f} s to go"
            )


def _check(y: np.ndarray, latents: int, timescale: float) -> None:
    if y.ndim != 3 or y.shape[0] * y.shape[1] < 2:
        raise NlbflowError(
            f"GPFA expects data (trials, bins, neurons) with at least two bins, but found the shape {y.shape}."
        )
    if not np.isfinite(y).all():
        trials = np.flatnonzero(~np.isfinite(y).all(axis=(1, 2)))
        raise NlbflowError(
            f"GPFA expects finite data, but found NaN or infinity in {len(trials)} trials (first "
            f"{trials[:3].tolist()}); leave these out."
        )
    constant = np.flatnonzero(np.ptp(y, axis=(0, 1)) == 0)
    if constant.size:
        raise NlbflowError(
            f"GPFA expects neurons that vary, but {len(constant)} never do (first {constant[:3].tolist()}); leave out "
            "those that are silent."
        )
    if not 1 <= latents < y.shape[2]:
        raise NlbflowError(
            f"GPFA expects at least one latent and fewer latents than neurons, but found {latents} latents for "
            f"{y.shape[2]} neurons that vary; choose another x_dim."
        )
    if not 0 < timescale < np.inf:
        raise NlbflowError(f"GPFA expects a timescale > 0 at the start, but found {timescale}; 100 ms is usual.")
