"""MINT: rates read from a library of condition-averaged trajectories, where the held-in spikes are likeliest.

Perkins, Amematsro, Cunningham, Wang & Churchland 2025, eLife 12:RP89421, "An emerging view of neural geometry in motor
cortex supports high-performance decoding", https://doi.org/10.7554/eLife.89421. It works offline: spikes after a bin
say as much of its state as those before (`ahead_ms` = 0 makes it causal, as in the paper). States stay near the trial's
own time, which the window's alignment to an event allows. Forward rates continue along the mixed trajectories from the
state of the last bin. Rates of a training trial come from a library without it, so that a decoder is trained on rates
like those it is tested on.

The README of the authors' code says that MINT is protected by US patent 11,429,847 (Columbia University).
nlbflow can grant no right to it; whether your use needs one is for you to find out.

Assumes: trials of a condition follow one trajectory, at nearly one speed; activity is on these trajectories or between
    two of them; spikes are Poisson and independent given the rates.
Latents: the rates along the library's principal axes across neurons. An axis is a pattern of firing across neurons;
    its sign and, among patterns of equal variance, its direction mean nothing.
Tells: which condition a trial is like, and where on its course it is, bin by bin. Whatever else was recorded along the
    trajectories, such as behaviour, is read at the same place without a decoder being trained.
Cost: 5 s on the simulated session, 11 s at MC_Maze_Large's size; grows with trials x conditions x bins x the bins that
    a state may lie from its own time. No PyTorch.
Limits: a dataset without conditions, such as MC_RTT, has no library. A trial that does what no training trial did is
    drawn to the trajectories nearest to it, and rates that vary from trial to trial within a condition are lost.
Reference code: the authors'. Its licence is unchecked: we have a description of its README, which tells of the patent,
    but not the file, and no package index has the code. Nothing of it is used here, which is written from the paper.
    The config's `mint_published` has the authors' settings and what differs from theirs.
"""

from math import ceil, floor

import numpy as np
from nlbflow.errors import NlbflowError
from nlbflow.methods.mint.library import Library, build_library
from nlbflow.methods.mint.states import StateFinder, States, Window, read_out

DEFAULTS = {
    # Standard deviation in ms of the Gaussian that smooths the averages of conditions.
    "kernel_sd_ms": 35,
    # Principal components kept across neurons; also the dimensions of the latents. 0: all.
    "neural_rank": 40,
    # Principal components kept of the differences between conditions: what makes few trials per condition suffice.
    # 0: all.
    "condition_rank": 4,
    # Lowest rate of a neuron on any trajectory, as a share of its mean rate; keeps what is denoised positive.
    "floor": 0.1,
    # Lowest rate of any neuron on any trajectory, in spikes/s.
    "lowest_hz": 0,
    # How often the training trials are moved in time, each to where it fits its condition's average; for timing that
    # varies within a condition, such as windows cut with jitter. 0: as they are.
    "align_rounds": 0,
    # Spikes that tell the state: this long before the bin, and this long after it, in ms.
    "window_ms": 300,
    "ahead_ms": 300,
    # Bins in which these spikes are counted, as long as so many of the data's bins as are nearest to it; between their
    # middles rates are interpolated, so ahead_ms = 0 is then causal only to within one and a half of them. 0: the
    # data's bins.
    "likelihood_bin_ms": 0,
    # Furthest that a state may lie from the bin's own time, and that a training trial is moved, in ms: at least the
    # spread of the timing.
    "shift_ms": 100,
    # Where trajectories begin and end, in ms from the first bin of a trial, such as [-250, 950]: a state's whole window
    # lies on them. What training trials do not show of them stays as where they end. []: a window may lie beyond.
    "trajectory_ms": [],
    # How many trajectories, the likeliest, are mixed. 1: states are on trajectories, never between two.
    "candidates": 2,
    # Parts into which the training trials are cut: the rates of each come from a library of the others. 1: from all.
    "folds": 10,
}
SEEDED = False
NEEDS = ["conditions"]


def predict(data, params: dict, seed: int) -> dict:
    """Rates in spikes per bin, (trials, time, neurons), also of the forward window where training has one; latents.

    Args:
        data: all training spikes, train_condition (trials of condition -1 are in no average), eval_spikes_heldin.
        params: see DEFAULTS.
        seed: unused, the model is deterministic.

    Raises:
        NlbflowError: no training trial has a condition, or a parameter is out of range.
    """
    _check(data, params)
    heldin, condition = data.train_spikes_heldin.shape[2], np.asarray(data.train_condition)
    spikes = _join([data.train_spikes_heldin, data.train_spikes_heldout], 2)
    if data.train_spikes_heldin_forward is not None:
        ahead = _join([data.train_spikes_heldin_forward, data.train_spikes_heldout_forward], 2)
        spikes = _join([spikes, ahead], 1)
    window = _window(data, params, spikes.shape[1])

    def library(condition: np.ndarray) -> Library:
        return build_library(
            spikes,
            condition,
            sd_bins=params["kernel_sd_ms"] / data.bin_ms,
            lowest=params["lowest_hz"] * data.bin_ms / 1000,
            shift=int(min(params["shift_ms"] / data.bin_ms, spikes.shape[1])),
            **{name: params[name] for name in ("neural_rank", "condition_rank", "floor", "align_rounds")},
        )

    whole = library(condition)
    bins = data.train_spikes_heldin.shape[1]
    finder = StateFinder(whole.rates[..., :heldin], bins, window, params["candidates"])
    found = finder.find_all(data.eval_spikes_heldin, "evaluation")
    evaluated = read_out(found, whole.rates)
    train = np.empty((len(spikes), bins, spikes.shape[2]))
    # Dealt out condition by condition, so that the parts share each condition as evenly as can be.
    part = np.empty(len(spikes), int)
    part[np.argsort(condition, kind="stable")] = np.arange(len(spikes)) % params["folds"]
    for one in range(part.max() + 1):
        mine = part == one
        others = np.where(mine, -1, condition)
        # One trial alone, or a single part: there is no library without it.
        rates = library(others).rates if (others >= 0).any() else whole.rates
        what = f"training, part {one + 1} of {part.max() + 1}"
        finder = StateFinder(rates[..., :heldin], bins, window, params["candidates"])
        states = finder.find_all(data.train_spikes_heldin[mine], what)
        train[mine] = read_out(states, rates)

    prediction = {"facts": {"parameters": whole.rates.size}}
    prediction |= {"train_latents": train @ whole.axes, "eval_latents": evaluated @ whole.axes}
    if data.train_spikes_heldin_forward is not None:
        last = States(*(array[:, -1:] for array in (found.condition, found.index, found.weight)))
        forward = _join([read_out(last, whole.rates, 1 + step) for step in range(ahead.shape[1])], 1)
        prediction |= _split("eval_rates_{}_forward", forward, heldin)
    return prediction | _split("train_rates_{}", train, heldin) | _split("eval_rates_{}", evaluated, heldin)


def _window(data, params: dict, length: int) -> Window:
    """The window of spikes and where states may lie, for trajectories of which `length` bins are known."""
    bins = data.train_spikes_heldin.shape[1]
    step = min(max(1, round(params["likelihood_bin_ms"] / data.bin_ms)), bins)
    size_ms, most = step * data.bin_ms, ceil(length / step)
    # A window or shift longer than a trajectory adds nothing.
    settings = (params[name] for name in ("window_ms", "ahead_ms", "shift_ms"))
    before, after, shift = (int(min(value / size_ms, most)) for value in settings)
    if not params["trajectory_ms"]:
        return Window(before, after, shift, step)
    start, stop = params["trajectory_ms"]
    begin, end = ceil(start / size_ms) + before, floor(stop / size_ms) - after
    if begin >= end or begin > shift or end < bins // step - shift:
        raise NlbflowError(
            f"mint's trajectory_ms is {params['trajectory_ms']}, but then a bin of the trial has no state within "
            "shift_ms whose window lies on the trajectories; expected them to be longer than window_ms and ahead_ms "
            "together, and to reach the whole trial or a larger shift_ms."
        )
    return Window(before, after, shift, step, begin, end)


def _join(arrays: list[np.ndarray], axis: int) -> np.ndarray:
    return np.concatenate(arrays, axis=axis)


def _split(name: str, rates: np.ndarray, heldin: int) -> dict[str, np.ndarray]:
    rates = rates.astype(np.float32)
    return {name.format("heldin"): rates[..., :heldin], name.format("heldout"): rates[..., heldin:]}


def _is_span(value: list) -> bool:
    if not value:
        return True
    numbers = all(isinstance(one, int | float) and np.isfinite(one) for one in value)
    return numbers and len(value) == 2 and value[0] < value[1]


def _check(data, params: dict) -> None:
    for names, allowed in (
        (("folds", "candidates"), lambda value: isinstance(value, int) and value >= 1),
        (("neural_rank", "condition_rank", "align_rounds"), lambda value: isinstance(value, int) and value >= 0),
        (("kernel_sd_ms",), lambda value: 0 < value < np.inf),
        (
            ("floor", "lowest_hz", "window_ms", "ahead_ms", "likelihood_bin_ms", "shift_ms"),
            lambda value: 0 <= value < np.inf,
        ),
        (("trajectory_ms",), _is_span),
    ):
        if bad := [name for name in names if not allowed(params[name])]:
            raise NlbflowError(
                f"mint's parameter {bad[0]} is {params[bad[0]]}; folds and candidates must be whole and at least 1, "
                "ranks and align_rounds whole, kernel_sd_ms positive, and nothing else negative; trajectory_ms is [] "
                "or two numbers, where trajectories begin and where they end."
            )
    if data.train_condition is None or not (np.asarray(data.train_condition) >= 0).any():
        raise NlbflowError(
            "mint expects training trials with a condition, but found none; name the columns that make conditions in "
            "the dataset's definition (config key datasets.*.conditions), or take mint out of this dataset's models."
        )
