"""A simulated reaching session with the structure of MC_Maze: the true rates are known, the spikes are Poisson.

Four damped rotations start from a prepared state that depends on condition and trial. A gate sets them going shortly
before the movement: preparation in output-null dimensions, movement by rotation out of them (Churchland et al. 2012,
Nature 487:51; Kaufman et al. 2014, Nature Neuroscience 17:440). The gate also drives a transient that is the same for
all conditions (Kaufman et al. 2016, eNeuro 3(4)). What differs from trial to trial within a condition (plan, speed,
latency, slow drift) is shared by all units, so only the population reveals it.

Times are whole ms unless a name says otherwise; arrays of a part are padded with NaN to its longest trial.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.recordings.simulator.truth import rates_hz

SETTINGS = ("seed", "conditions", "train_trials", "val_trials", "test_trials", "heldin", "heldout")

# The difficulty of the default dataset rests on the constants below; tests/recordings/test_difficulty.py holds it fast.
# jPCA finds 1 to 3 Hz in monkey M1; the faster ones are lost to a 50 ms kernel, but not to a model of the dynamics.
ROTATIONS_HZ = np.array([0.9, 1.7, 2.5, 3.4])
LATENTS = 2 * len(ROTATIONS_HZ) + 1  # a real and an imaginary part of each rotation, and the transient
# The plan of a reach is two numbers and all rotations start from it: time and few numbers determine nine latents, so
# a model of the dynamics knows more than a model of their smoothness.
PLAN_TO_ROTATIONS = np.array([[1, 0, 0.7, 0.7], [0, 1, 0.7, -0.7]])
EXTENT = 1.4 * np.array([0.8, 1.0, 1.2])  # length of the plan by trial version; gives each rotation an rms near 1
ANGLE_SD = 0.55  # radians between a trial's plan and its condition's: with speed and latency all a condition mean lacks
EXTENT_LOG_SD = 0.2  # no larger, or a few trials of large extent decide a score
SPEED_LOG_SD = 0.15  # reaches of one condition differ in speed by about this much
LATENCY_SD_MS = 25.0  # between gate and movement onset: onsets are detected with about this error
DRIFT_SD, DRIFT_TAU_MS = 0.5, 100.0  # slow push on the rotations, per second: the plan alone does not fix a trial
GATE_MS, GATE_WIDTH_MS = 150, 15.0  # neurons lead the onset by 150 ms; the gate opens within about 60 ms
TRANSIENT_TAU_MS, TRANSIENT_GAIN = 200.0, 2.5  # lasts as long as a reach; about the variance of one rotation
GROWTH_HZ, DECAY_HZ = 4.0, 4.0  # per second: rotations grow while the transient lasts and die away after it
PREPARATION_TAU_MS = 60.0  # the shortest delay, 200 ms, is enough to prepare
VISUAL_LATENCY_MS = 70  # from target on to the first preparatory activity
LAG_MS = 120  # hand after neurons: the benchmark's decoding lag for the MC_Maze scaling sets
# Imaginary parts of the rotations to hand velocity in mm/s: reaches of some 100 mm, no movement while preparing.
TO_VELOCITY = np.array([[260.0, 0.0, 90.0, 90.0], [0.0, 260.0, 90.0, -90.0]])
RATE_HZ, RATE_LOG_SD = 8.0, 0.6  # median and spread of the units' mean rates, log-normal: mean near 9.5 spikes/s
BITS, BITS_LOG_SD = 0.32, 0.4  # bits per spike that a unit's rate holds on the moment in the window, log-normal
BITS_STEPS = 10  # of the iteration for the size of the weights: bits go nearly with its square, so it converges
SACCADE_MS, EYE_NOISE_MM = 180, 0.5  # the eyes go to the target after the go cue

WINDOW_MS = (-250, 450)  # the benchmark's window around movement onset
AFTER_ONSET_MS = (700, 850)  # room for the forward window (to 650 ms), the lag and rounding up to a bin
GRID_MS = 100  # trials start on it, as in MC_Maze
VERSIONS = 3  # of each maze: without barriers, with barriers, and with two more targets
CALIBRATION_REPEATS = 8  # simulated trials per condition that fix rates and weights, whatever the trial counts

# One random stream per purpose, part and trial: another number of trials leaves the other draws as they are.
POPULATION, ORDER, EVENTS, TRIAL, SPIKES = range(5)
TRAIN, TRUTH, CALIBRATION, AVERAGE = range(4)


@dataclass(frozen=True)
class Population:
    """Units in file order, not ascending: `unit_id`, `heldout`, `bias` (neurons,); `weights` (latents, neurons)."""

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

    @classmethod
    def alike(cls, count: int, length_ms: int, gap_ms: int) -> "Trials":
        """Trials of equal length without events: all of them lie at their start."""
        none = np.zeros(count, int)
        return cls(none, np.arange(count) * (length_ms + gap_ms), none, none, none, np.full(count, length_ms))


@dataclass(frozen=True)
class Part:
    """Trials of one file: `split` (trials,), `latents` (trials, time, latents) float32 and `hand` and `eye`
    (trials, time, 2) in mm, at 1 kHz, None where nothing moves; `spikes_us`: per trial (spikes, 2), the unit's index
    and us from trial start; `states` (trials, time), the numbers of the states where the dynamics switch.
    """

    trials: Trials
    split: np.ndarray
    latents: np.ndarray
    hand: np.ndarray | None
    eye: np.ndarray | None
    spikes_us: list[np.ndarray]
    states: np.ndarray | None = None


@dataclass(frozen=True)
class Session:
    """A session: `targets` (conditions, 2) in mm, None without reaches; `truth` holds the test trials with all there is
    to know of them; `window_ms` is the window of the test file around the onset; `structure` what else is true of the
    units in their order: `labels` (neurons,), `couplings` (neurons, neurons).
    """

    settings: dict[str, int]
    population: Population
    targets: np.ndarray | None
    train: Part
    truth: Part
    window_ms: tuple[int, int] = WINDOW_MS
    structure: dict[str, np.ndarray] = field(default_factory=dict)


def simulate(settings: Mapping[str, Any]) -> Session:
    """Draw a session: `train_trials` + `val_trials` in random order, and `test_trials` of their own.

    Raises NlbflowError where a setting is missing, not a whole number, or out of range.
    """
    settings = checked(settings)
    population, targets = _population(settings)
    splits = np.repeat(["train", "val"], [settings["train_trials"], settings["val_trials"]])
    splits = stream(settings, ORDER, 0).permutation(splits)
    train = _part(settings, population, targets, TRAIN, splits)
    truth = _part(settings, population, targets, TRUTH, np.repeat(["test"], settings["test_trials"]))
    return Session(settings, population, targets, train, truth)


def condition_mean_rates(settings: Mapping[str, Any], bin_ms: int, repeats: int = 60) -> np.ndarray:
    """Expected spikes per bin of each condition, averaged over what differs from trial to trial.

    A Monte Carlo mean over `repeats` fresh trials per condition, aligned to movement onset: it depends on no spike and
    on no trial of the session. The rate in the middle of a bin stands for the bin.

    Returns (conditions, bins of the benchmark's window, neurons in ascending unit id).
    """
    settings = checked(settings)
    population, _ = _population(settings)
    trials = _draw_trials(settings, AVERAGE, np.tile(np.arange(settings["conditions"]), repeats))
    middle = np.arange(*WINDOW_MS, bin_ms) + bin_ms // 2
    latents = _around_onset(_latents(settings, AVERAGE, trials), trials, middle)
    order = np.argsort(population.unit_id)
    mean = np.zeros((settings["conditions"], len(middle), len(order)))
    for block in latents.reshape(repeats, *mean.shape[:2], LATENTS):
        mean += rates_hz(block, population.weights[:, order], population.bias[order])
    return mean / repeats * bin_ms / 1000


def checked(settings: Mapping[str, Any], keys: tuple[str, ...] = SETTINGS) -> dict[str, int]:
    """The settings of these names.

    Raises:
        NlbflowError: one is missing, not a whole number, or out of range.
    """
    for key in keys:
        value = settings.get(key)
        least = 0 if key == "seed" else 1
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise NlbflowError(
                f"the simulator's setting {key} must be a whole number of at least {least}, but found {value!r}; "
                "correct it in the dataset's stanza."
            )
    return {key: settings[key] for key in keys}


def stream(settings: Mapping[str, int], *purpose: int) -> np.random.Generator:
    """A random stream for each purpose, part and trial."""
    return np.random.default_rng([settings["seed"], *purpose])


def quantiles(rng: np.random.Generator, median: float, log_sd: float, count: int) -> np.ndarray:
    """A log-normal sample whose histogram is the same for every seed: only its order is drawn."""
    normal = [NormalDist().inv_cdf((i + 0.5) / count) for i in range(count)]
    return rng.permutation(median * np.exp(log_sd * np.array(normal)))


def _population(settings: Mapping[str, int]) -> tuple[Population, np.ndarray]:
    """The units, and the conditions' targets (conditions, 2) in mm: both rest on the calibration trials."""
    rng = stream(settings, POPULATION)
    # MC_Maze's ids: array (1 = PMd, 2 = M1), electrode in two digits, unit on the electrode
    ids = np.add.outer(np.add.outer([1000, 2000], np.arange(10, 970, 10)), np.arange(1, 5)).ravel()
    groups = (settings["heldin"], settings["heldout"])
    if sum(groups) > len(ids):
        raise NlbflowError(
            f"the simulator's settings heldin and heldout must be at most {len(ids)} units together, but found "
            f"{sum(groups)}; lower one in the dataset's stanza."
        )
    # each group has the whole distribution, so that the held-out units are as hard for every seed
    rate = np.concatenate([quantiles(rng, RATE_HZ, RATE_LOG_SD, n) for n in groups])
    bits = np.concatenate([quantiles(rng, BITS, BITS_LOG_SD, n) for n in groups])
    weights = rng.standard_normal((LATENTS, sum(groups)))
    unit_id, heldout = rng.choice(ids, sum(groups), replace=False), np.repeat([False, True], groups)

    condition = np.tile(np.arange(settings["conditions"]), CALIBRATION_REPEATS)
    trials = _draw_trials(settings, CALIBRATION, condition)
    latents = _latents(settings, CALIBRATION, trials)
    # every 10 ms is dense enough for means over the window
    samples = _around_onset(latents, trials, np.arange(*WINDOW_MS, 10)).astype(float).reshape(-1, LATENTS)
    for _ in range(BITS_STEPS):
        relative = np.exp(samples @ weights)
        relative /= relative.mean(0)
        weights *= np.sqrt(bits / (relative * np.log2(relative)).mean(0))
    bias = np.log(rate) - np.log(np.exp(samples @ weights).mean(0))
    end = _hand(latents, trials)[np.arange(len(condition)), trials.length - 1]
    targets = end.reshape(CALIBRATION_REPEATS, -1, 2).mean(0).round()
    mixed = rng.permutation(len(unit_id))
    return Population(unit_id[mixed], heldout[mixed], weights[:, mixed], bias[mixed]), targets


def _part(
    settings: Mapping[str, int], population: Population, targets: np.ndarray, part: int, split: np.ndarray
) -> Part:
    """The trials of one file, their conditions as balanced as their number allows."""
    cycle = np.resize(np.arange(settings["conditions"]), len(split))
    trials = _draw_trials(settings, part, stream(settings, ORDER, part).permutation(cycle))
    latents = _latents(settings, part, trials)
    hand, eye = _hand(latents, trials), np.full((*latents.shape[:2], 2), np.nan)
    spikes = []
    for k, length in enumerate(trials.length):
        rng = stream(settings, SPIKES, part, k)
        counts = rng.poisson(rates_hz(latents[k, :length], population.weights, population.bias) / 1000)
        spikes.append(spike_times(counts, rng))
        looks = np.where(np.arange(length) >= trials.go_cue[k] + SACCADE_MS, 1.0, 0.0)
        gaze = np.outer(looks, targets[trials.condition[k]])
        eye[k, :length] = (gaze + rng.normal(0, EYE_NOISE_MM, (length, 2))).round(2)
    return Part(trials, split, latents, hand, eye, spikes)


def spike_times(counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(spikes, 2), the unit's index and us from the start, of counts (ms, neurons): anywhere within their ms."""
    ms, unit = np.nonzero(counts)
    ms, unit = np.repeat(ms, counts[ms, unit]), np.repeat(unit, counts[ms, unit])
    return np.stack([unit, 1000 * ms + rng.integers(0, 1000, len(ms))], axis=1)


def _draw_trials(settings: Mapping[str, int], part: int, condition: np.ndarray) -> Trials:
    """Event times of a part's trials; a trial's draws depend on its number only."""
    events = np.array([_events(stream(settings, EVENTS, part, k)) for k in range(len(condition))])
    target_on, go_cue, onset, length, gap = events.T
    if part == TRUTH:
        # the test file holds the window alone, from a bin's start: it starts on the grid here too, or counts differ
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

    With z the rotations, g the gate, c = g - f the transient: dz/dt = (1 - g) (x - z) / tau + g s (a + i w) z + drift
    and df/dt = s c / tau', where x is the trial's prepared state, s its speed, a = growth c - decay f. Euler, 1 ms.
    """
    count, steps, planes = len(trials.onset), int(trials.length.max()), len(ROTATIONS_HZ)
    prepared, speed, latency = np.empty((count, planes)), np.empty(count), np.empty(count)
    push = np.empty((count, steps, planes), complex)
    for k, condition in enumerate(trials.condition):
        rng = stream(settings, TRIAL, part, k)
        angle = 2 * np.pi * condition / settings["conditions"] + ANGLE_SD * rng.standard_normal()
        extent = EXTENT[condition % VERSIONS] * np.exp(EXTENT_LOG_SD * rng.standard_normal())
        prepared[k] = extent * np.array([np.cos(angle), np.sin(angle)]) @ PLAN_TO_ROTATIONS
        speed[k], latency[k] = np.exp(SPEED_LOG_SD * rng.standard_normal()), LATENCY_SD_MS * rng.standard_normal()
        push[k] = rng.standard_normal((steps, planes, 2)) @ (1, 1j)

    time = np.arange(steps)
    opening = trials.onset + latency - GATE_MS
    gate = 0.5 + 0.5 * np.tanh((time - opening[:, None]) / (2 * GATE_WIDTH_MS))
    seen = time >= trials.target_on[:, None] + VISUAL_LATENCY_MS
    turn = 2j * np.pi * ROTATIONS_HZ
    keep = np.exp(-1 / DRIFT_TAU_MS)
    z, drift, follow = np.zeros((count, planes), complex), np.zeros((count, planes), complex), np.zeros(count)
    out = np.empty((count, steps, LATENTS), np.float32)
    for t in range(steps):
        g = gate[:, t, None]
        transient = gate[:, t] - follow
        out[:, t, :planes], out[:, t, planes:-1], out[:, t, -1] = z.real, z.imag, TRANSIENT_GAIN * transient
        growth = (GROWTH_HZ * transient - DECAY_HZ * follow)[:, None]
        prepare = (prepared * seen[:, t, None] - z) / PREPARATION_TAU_MS
        drift = keep * drift + np.sqrt(1 - keep**2) * DRIFT_SD * push[:, t]
        z = z + (1 - g) * prepare + (g * speed[:, None] * (growth + turn) * z + drift) / 1000
        follow = follow + speed * transient / TRANSIENT_TAU_MS
    out[time >= trials.length[:, None]] = np.nan
    return out


def _around_onset(latents: np.ndarray, trials: Trials, offset: np.ndarray) -> np.ndarray:
    """(trials, offsets, latents) at `offset` ms from each trial's movement onset."""
    return latents[np.arange(len(latents))[:, None], trials.onset[:, None] + offset]


def _hand(latents: np.ndarray, trials: Trials) -> np.ndarray:
    """Hand position (trials, time, 2) in mm: imaginary parts of the rotations drive its velocity `LAG_MS` later."""
    planes = len(ROTATIONS_HZ)
    velocity = latents[..., planes:-1].astype(float) @ TO_VELOCITY.T
    position = np.zeros_like(velocity)
    position[:, LAG_MS + 1 :] = np.cumsum(velocity[:, : -LAG_MS - 1], axis=1) / 1000
    position[np.isnan(velocity)] = np.nan
    return position
