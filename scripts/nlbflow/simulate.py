"""A simulated reaching session with the structure of MC_Maze: the true rates are known, the spikes are Poisson.

Four damped rotations start from a preparatory state that depends on condition and trial, and are set going by a gate
shortly before the movement (the picture of Churchland et al. 2012, Nature 487:51, and Kaufman et al. 2014, Nature
Neuroscience 17:440: preparation in output-null dimensions, movement by rotation out of them). The gate also drives a
condition-independent transient (Kaufman et al. 2016, eNeuro 3(4)). What differs from trial to trial within a
condition (initial state, speed, latency, slow noise) is shared by all units, so only the population reveals it.

Times are whole milliseconds unless a name says otherwise; the arrays of a part are padded with NaN to its longest trial.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from nlbflow.errors import NlbflowError

SETTINGS = ("seed", "conditions", "train_trials", "val_trials", "test_trials", "heldin", "heldout")

# The difficulty of the default dataset rests on the constants below; tests/test_difficulty.py holds it fast.
ROTATIONS_HZ = np.array([0.9, 1.7, 2.5, 3.4])  # jPCA finds 1 to 3 Hz; faster ones are lost to a 50 ms kernel, not to a model
LATENTS = 2 * len(ROTATIONS_HZ) + 1  # a real and an imaginary part per rotation, and the transient
# The plan of a reach has two numbers and all rotations start from it: nine latents that time and a few numbers
# determine, so a model of the dynamics knows more than one of the latents' smoothness.
PLAN_TO_ROTATIONS = np.array([[1, 0, 0.7, 0.7], [0, 1, 0.7, -0.7]])
EXTENT = 1.4 * np.array([0.8, 1.0, 1.2])  # length of the plan by trial version; gives each rotation an rms near 1
ANGLE_SD = 0.55  # sd in radians of a trial's plan around its condition's direction: what the condition mean misses
EXTENT_LOG_SD = 0.2  # small, or a few large trials decide a score
SPEED_LOG_SD = 0.15  # reaches of one condition differ in speed by this much
LATENCY_SD_MS = 25.0  # between gate and movement onset; onsets are detected with about this error
DRIFT_SD, DRIFT_TAU_MS = 0.5, 100.0  # slow push on the rotations, per second: a plan does not fix the whole trial
GATE_MS = 150  # neurons lead the movement onset by about this much
GATE_WIDTH_MS = 15.0  # the change from preparation to movement takes about four of these
TRANSIENT_TAU_MS = 200.0  # decay of the transient; the movement ends with it
GROWTH_HZ = 4.0  # per second: rotations grow while the transient lasts, as units are modulated most in movement
DECAY_HZ = 4.0  # per second: and die away after it
TRANSIENT_GAIN = 2.5  # gives the transient about the variance of one rotation
PREPARATION_TAU_MS = 60.0  # a delay of 250 ms is enough to prepare
VISUAL_LATENCY_MS = 70  # from target on to the first preparatory activity
LAG_MS = 120  # hand after neurons: the benchmark's decoding lag for the MC_Maze scaling sets
# imaginary parts of the rotations to hand velocity in mm/s: reaches of 50 to 150 mm, and no movement in preparation
TO_VELOCITY = np.array([[260.0, 0.0, 90.0, 90.0], [0.0, 260.0, 90.0, -90.0]])
RATE_HZ, RATE_LOG_SD = 7.6, 0.6  # median and spread of the units' mean rates, log-normal: mean near 9 spikes/s
BITS, BITS_LOG_SD = 0.32, 0.4  # bits per spike that a unit's rate holds on the moment within the window, log-normal
BITS_STEPS = 10  # of the iteration for the size of the weights; bits go nearly with its square, so it converges fast
SACCADE_MS, EYE_NOISE_MM = 180, 0.5  # the eyes go to the target after the go cue

WINDOW_MS = (-250, 450)  # the benchmark's window around movement onset
AFTER_ONSET_MS = (700, 850)  # room for the forward window (to 650 ms), for the lag and for rounding up to a bin
VERSIONS = 3  # of each maze: MC_Maze has one without barriers, one with, and one with two more targets
GRID_MS = 100  # trials start on it, as in MC_Maze
CALIBRATION_REPEATS = 8  # simulated trials per condition that fix the units' rates and depths, whatever the trial counts

# One random stream per purpose (and trial), so that a change of one number of trials leaves the other draws as they are.
POPULATION, ORDER, EVENTS, TRIAL, SPIKES = range(5)
TRAIN, TRUTH, CALIBRATION, AVERAGE = range(4)


@dataclass(frozen=True)
class Population:
    """Units in file order (not ascending): `unit_id` (N,), `heldout` (N,), `weights` (latents, N), `bias` (N,)."""

    unit_id: np.ndarray
    heldout: np.ndarray
    weights: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Trials:
    """One entry per trial; event times in ms from the trial's start, `start` in ms from the file's start."""

    condition: np.ndarray
    start: np.ndarray
    target_on: np.ndarray
    go_cue: np.ndarray
    onset: np.ndarray
    length: np.ndarray


@dataclass(frozen=True)
class Part:
    """Trials of one file: `split` (K,), `latents` (K, T, latents) float32, `hand` and `eye` (K, T, 2) in mm at 1 kHz,
    `spikes_us`: per trial an array (spikes, 2) of unit index and microseconds from the trial's start."""

    trials: Trials
    split: np.ndarray
    latents: np.ndarray
    hand: np.ndarray
    eye: np.ndarray
    spikes_us: list[np.ndarray]


@dataclass(frozen=True)
class Session:
    """A whole session: `targets` (conditions, 2) in mm; `truth` holds the test trials with all there is to know."""

    settings: dict[str, int]
    population: Population
    targets: np.ndarray
    train: Part
    truth: Part


def simulate(settings: Mapping[str, Any]) -> Session:
    """Draw a session: `train_trials` + `val_trials` in random order, and `test_trials` of their own.

    Raises NlbflowError where a setting is missing, not a whole number, or out of range.
    """
    settings = _checked(settings)
    population, targets = _population(settings)
    splits = np.repeat(["train", "val"], [settings["train_trials"], settings["val_trials"]])
    splits = _rng(settings, ORDER, 0).permutation(splits)
    train = _part(settings, population, targets, TRAIN, splits)
    truth = _part(settings, population, targets, TRUTH, np.repeat(["test"], settings["test_trials"]))
    return Session(settings, population, targets, train, truth)


def rates_hz(latents: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Rates in spikes/s, (..., neurons), of latents (..., latents): exp(latents @ weights + bias)."""
    return np.exp(np.asarray(latents, float) @ weights + bias)


def condition_mean_rates(
    settings: Mapping[str, Any], bin_ms: int, start_ms: int = WINDOW_MS[0], bins: int | None = None, repeats: int = 60
) -> np.ndarray:
    """Expected spikes per bin of each condition, averaged over what differs from trial to trial.

    A Monte Carlo mean over `repeats` fresh trials per condition, aligned to movement onset: it depends on no spike and
    on no trial of the session. The rate in the middle of each bin stands for the bin.

    Returns (conditions, bins, neurons), neurons in ascending unit id, the first bin starting `start_ms` after onset;
    `bins` fills the benchmark's window if it is not given.
    """
    settings = _checked(settings)
    population, _ = _population(settings)
    bins = bins or (WINDOW_MS[1] - start_ms) // bin_ms
    condition = np.tile(np.arange(settings["conditions"]), repeats)
    trials = _draw_trials(settings, AVERAGE, condition)
    middle = start_ms + bin_ms * np.arange(bins) + bin_ms // 2
    latents = _latents(settings, AVERAGE, trials)[np.arange(len(condition))[:, None], trials.onset[:, None] + middle]
    order = np.argsort(population.unit_id)
    weights, bias = population.weights[:, order], population.bias[order]
    mean = np.zeros((settings["conditions"], bins, len(order)))
    for block in latents.reshape(repeats, settings["conditions"], bins, LATENTS):
        mean += rates_hz(block, weights, bias)
    return mean / repeats * bin_ms / 1000


def _checked(settings: Mapping[str, Any]) -> dict[str, int]:
    for key in SETTINGS:
        value = settings.get(key)
        least = 0 if key == "seed" else 1
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise NlbflowError(
                f"simulation setting {key!r} must be a whole number of at least {least}, found {value!r}; set it in the config"
            )
    return {key: settings[key] for key in SETTINGS}


def _rng(settings: Mapping[str, int], *stream: int) -> np.random.Generator:
    return np.random.default_rng([settings["seed"], *stream])


def _quantiles(rng: np.random.Generator, median: float, log_sd: float, count: int) -> np.ndarray:
    """A log-normal sample whose histogram is the same for every seed: only its order is drawn."""
    normal = [NormalDist().inv_cdf((i + 0.5) / count) for i in range(count)]
    return rng.permutation(median * np.exp(log_sd * np.array(normal)))


def _population(settings: Mapping[str, int]) -> tuple[Population, np.ndarray]:
    """The units, and the conditions' targets (conditions, 2) in mm: both rest on the calibration trials."""
    rng = _rng(settings, POPULATION)
    # MC_Maze's ids: array (1 = PMd, 2 = M1), electrode in two digits, unit on the electrode
    ids = np.array([1000 * array + 10 * site + unit for array in (1, 2) for site in range(1, 97) for unit in range(1, 5)])
    groups = (settings["heldin"], settings["heldout"])
    if sum(groups) > len(ids):
        raise NlbflowError(
            f"simulation settings 'heldin' + 'heldout' must be at most {len(ids)} units, found {sum(groups)}; lower them"
        )
    # each group has the whole distribution, so that the held-out units are as hard for every seed
    rate = np.concatenate([_quantiles(rng, RATE_HZ, RATE_LOG_SD, n) for n in groups])
    bits = np.concatenate([_quantiles(rng, BITS, BITS_LOG_SD, n) for n in groups])
    weights = rng.standard_normal((LATENTS, sum(groups)))
    unit_id, heldout = rng.choice(ids, sum(groups), replace=False), np.repeat([False, True], groups)

    trials = _draw_trials(settings, CALIBRATION, np.tile(np.arange(settings["conditions"]), CALIBRATION_REPEATS))
    latents = _latents(settings, CALIBRATION, trials)
    window = trials.onset[:, None] + np.arange(*WINDOW_MS, 10)
    samples = latents[np.arange(len(window))[:, None], window].astype(float).reshape(-1, LATENTS)
    for _ in range(BITS_STEPS):
        relative = np.exp(samples @ weights)
        relative /= relative.mean(0)
        weights *= np.sqrt(bits / (relative * np.log2(relative)).mean(0))
    bias = np.log(rate) - np.log(np.exp(samples @ weights).mean(0))
    end = _hand(latents, trials)[np.arange(len(window)), trials.length - 1]
    targets = end.reshape(CALIBRATION_REPEATS, -1, 2).mean(0).round()
    mixed = rng.permutation(len(unit_id))
    return Population(unit_id[mixed], heldout[mixed], weights[:, mixed], bias[mixed]), targets


def _part(
    settings: Mapping[str, int], population: Population, targets: np.ndarray, part: int, split: np.ndarray
) -> Part:
    """The trials of one file, their conditions as balanced as their number allows."""
    cycle = np.resize(np.arange(settings["conditions"]), len(split))
    trials = _draw_trials(settings, part, _rng(settings, ORDER, part).permutation(cycle))
    latents = _latents(settings, part, trials)
    hand, eye = _hand(latents, trials), np.full((*latents.shape[:2], 2), np.nan)
    spikes = []
    for k, length in enumerate(trials.length):
        rng = _rng(settings, SPIKES, part, k)
        counts = rng.poisson(rates_hz(latents[k, :length], population.weights, population.bias) / 1000)
        ms, unit = np.nonzero(counts)
        ms, unit = np.repeat(ms, counts[ms, unit]), np.repeat(unit, counts[ms, unit])
        spikes.append(np.stack([unit, 1000 * ms + rng.integers(0, 1000, len(ms))], axis=1))
        looks = np.where(np.arange(length)[:, None] < trials.go_cue[k] + SACCADE_MS, 0.0, targets[trials.condition[k]])
        eye[k, :length] = (looks + rng.normal(0, EYE_NOISE_MM, (length, 2))).round(2)
    return Part(trials, split, latents, hand, eye, spikes)


def _draw_trials(settings: Mapping[str, int], part: int, condition: np.ndarray) -> Trials:
    """Event times of a part's trials; a trial's draws depend on its number only."""
    events = np.array([_events(_rng(settings, EVENTS, part, k)) for k in range(len(condition))])
    target_on, go_cue, onset, length, gap = events.T
    if part == TRUTH:
        # the test file cuts the window out at whole bins: here too it starts on the grid, or counts would differ
        shift = -(onset + WINDOW_MS[0]) % GRID_MS
        target_on, go_cue, onset, length = target_on + shift, go_cue + shift, onset + shift, length + shift
    duration = -(-(length + gap) // GRID_MS) * GRID_MS
    return Trials(condition, np.cumsum(duration) - duration, target_on, go_cue, onset, length)


def _events(rng: np.random.Generator) -> tuple[int, int, int, int, int]:
    """Target on, go cue, movement onset and end in ms from the trial's start, and the gap to the next trial."""
    target_on = rng.integers(50, 150)
    go_cue = target_on + rng.integers(200, 500)
    onset = go_cue + int(np.clip(rng.normal(300, 40), 200, 400))
    return target_on, go_cue, onset, onset + rng.integers(*AFTER_ONSET_MS), rng.integers(100, 500)


def _latents(settings: Mapping[str, int], part: int, trials: Trials) -> np.ndarray:
    """Latents (trials, time, latents) in float32, the numbers that rates and behaviour are made from.

    With z the rotations, g the gate and c the transient: dz/dt = (1 - g) (x - z) / tau + g s (a + i w) z + drift, where
    a is growth while c lasts and decay after it, x the trial's prepared state and s its speed; Euler steps of 1 ms.
    """
    count, steps, planes = len(trials.onset), int(trials.length.max()), len(ROTATIONS_HZ)
    prepared, speed, latency = np.empty((count, planes)), np.empty(count), np.empty(count)
    push = np.empty((count, steps, planes), complex)
    for k, condition in enumerate(trials.condition):
        rng = _rng(settings, TRIAL, part, k)
        angle = 2 * np.pi * condition / settings["conditions"] + ANGLE_SD * rng.standard_normal()
        extent = EXTENT[condition % VERSIONS] * np.exp(EXTENT_LOG_SD * rng.standard_normal())
        prepared[k] = extent * np.array([np.cos(angle), np.sin(angle)]) @ PLAN_TO_ROTATIONS
        speed[k], latency[k] = np.exp(SPEED_LOG_SD * rng.standard_normal()), LATENCY_SD_MS * rng.standard_normal()
        push[k] = rng.standard_normal((steps, planes, 2)) @ (1, 1j)

    dt = 1e-3
    time = np.arange(steps)
    gate = 1 / (1 + np.exp(np.clip((trials.onset + latency - GATE_MS)[:, None] - time, -500, 500) / GATE_WIDTH_MS))
    seen = time >= trials.target_on[:, None] + VISUAL_LATENCY_MS
    turn = 2j * np.pi * ROTATIONS_HZ
    z, drift, follow = np.zeros((count, planes), complex), np.zeros((count, planes), complex), np.zeros(count)
    out = np.empty((count, steps, LATENTS), np.float32)
    keep = np.exp(-1 / DRIFT_TAU_MS)
    for t in range(steps):
        g = gate[:, t]
        transient = g - follow
        out[:, t, :planes], out[:, t, planes:-1], out[:, t, -1] = z.real, z.imag, TRANSIENT_GAIN * transient
        follow = follow + speed * transient / TRANSIENT_TAU_MS
        drift = keep * drift + np.sqrt(1 - keep**2) * DRIFT_SD * push[:, t]
        growth = (GROWTH_HZ * transient - DECAY_HZ * follow)[:, None]
        prepare = (prepared * seen[:, t, None] - z) / PREPARATION_TAU_MS * 1000
        z = z + dt * ((1 - g)[:, None] * prepare + (g * speed)[:, None] * (growth + turn) * z + drift)
    out[time >= trials.length[:, None]] = np.nan
    return out


def _hand(latents: np.ndarray, trials: Trials) -> np.ndarray:
    """Hand position (trials, time, 2) in mm: the imaginary parts of the rotations drive its velocity, `LAG_MS` later."""
    planes = len(ROTATIONS_HZ)
    velocity = latents[..., planes:-1].astype(float) @ TO_VELOCITY.T
    position = np.zeros_like(velocity)
    position[:, LAG_MS + 1 :] = np.cumsum(velocity[:, : -LAG_MS - 1], axis=1) / 1000
    position[np.isnan(velocity)] = np.nan
    return position
