"""Scoring a prediction: nlbflow beside nlb_tools 0.0.4, the benchmark's reference.

    python benchmarks/score.py

Both score the same arrays in memory, in turn, in one process with one BLAS thread: a simulated prediction of
MC_Maze_Large's size in phase val at 5 ms, to which co-bps, vel R2, psth R2 and fp-bps apply. Times are the best of
several. "with intervals" is score and 95 % bootstrap interval of every metric; nlb_tools gives scores alone. Then every
metric of the four layouts is compared at 5 and 20 ms, for random rates and for a smoothing model's.
The last line is one JSON object.
"""

import json
import sys
import time

from side_by_side import PYTHON, ROOT, measure, nlb_tools_python

# last, so that no rule's script hides a package
sys.path.append(str(ROOT / "scripts"))

REPEATS, DRAWS = 5, 1000
METRICS = ("co-bps", "fp-bps", "vel R2", "psth R2", "tp corr")
# As in phase val (DANDI 000138, 000140, 000129, 000127, 000130).
SIZES = {
    "mc_maze_large": {"trials": (375, 125), "units": (122, 40), "window_ms": 700, "conditions": 27},
    "mc_maze_small": {"trials": (75, 25), "units": (107, 35), "window_ms": 700, "conditions": 27},
    "mc_rtt": {"trials": (810, 270), "units": (98, 32), "window_ms": 600, "conditions": 0},
    "area2_bump": {"trials": (272, 92), "units": (49, 16), "window_ms": 600, "conditions": 16},
    "dmfc_rsg": {"trials": (741, 248), "units": (40, 14), "window_ms": 1500, "conditions": 40},
}
FORWARD_MS, JITTER_MS = 200, 300
RATE_HZ = 4.2  # the mean of MC_Maze's published test files
KERNEL_MS = 50  # standard deviation of the smoothing model's kernel


def main() -> None:
    if not PYTHON.exists():
        sys.exit(f"{PYTHON} does not exist; run `make demo` first, which makes the project's environment.")
    python = nlb_tools_python()
    size = SIZES["mc_maze_large"]
    print(
        f"A simulated prediction of mc_maze_large's size: {' + '.join(map(str, size['trials']))} trials, "
        f"{sum(size['units'])} units, {size['conditions']} conditions; 5 ms bins, phase val, one BLAS thread.",
        flush=True,
    )
    times = json.loads(measure(python, __file__, "times").output)
    print(f"\n{f'best of {REPEATS}':<36}{'seconds':>10}{'speedup':>10}")
    for side, seconds in times.items():
        print(f"{side:<36}{seconds:>10.3f}{times['nlb_tools'] / seconds:>10.1f}")
    differences = json.loads(measure(python, __file__, "differences").output)
    print(f"\n{'difference from nlb_tools':<36}" + "".join(f"{metric:>10}" for metric in METRICS))
    for case, found in differences.items():
        print(f"{case:<36}" + "".join(f"{found[m]:>10.0e}" if m in found else f"{'-':>10}" for m in METRICS))
    speedup, with_bootstrap = (times["nlb_tools"] / times[side] for side in list(times)[1:])
    largest = max(value for found in differences.values() for value in found.values())
    result = {"speedup": speedup, "speedup_with_bootstrap": with_bootstrap, "max_difference": largest}
    print(json.dumps({**result, "seconds": times}))


# The parts below run in the environment of nlb_tools, which has what nlbflow's metrics import too.


def take_times() -> dict[str, float]:
    """Best wall time in s of each side, nlb_tools first."""
    from nlbflow.metrics.formulas import score
    from nlbflow.scoring.trial_statistics import score_intervals

    arrays = simulate("mc_maze_large", 5)
    arrays = arrays["target"], arrays["smoothing"]
    sides = {
        "nlb_tools": lambda: reference("mc_maze_large", *arrays),
        "nlbflow": lambda: score(*arrays),
        f"nlbflow with intervals ({DRAWS} draws)": lambda: (score(*arrays), score_intervals(*arrays, DRAWS, 0)),
    }
    times = {side: [] for side in sides}
    for _ in range(REPEATS):
        for side, run in sides.items():
            started = time.perf_counter()
            run()
            times[side].append(time.perf_counter() - started)
    return {side: min(taken) for side, taken in times.items()}


def take_differences() -> dict[str, dict[str, float]]:
    """Of every case and metric, infinite where only one side has the metric."""
    from nlbflow.metrics.formulas import score

    differences = {}
    for name in SIZES:
        for bin_ms in (5, 20):
            arrays = simulate(name, bin_ms)
            for model in ("random", "smoothing"):
                expected = reference(name, arrays["target"], arrays[model])
                found = score(arrays["target"], arrays[model])
                case = differences[f"{name}, {bin_ms} ms, {model}"] = {}
                for metric in found.keys() | expected.keys():
                    case[metric] = abs(found.get(metric, float("inf")) - expected.get(metric, 0.0))
    return differences


def reference(name: str, target: dict, prediction: dict) -> dict[str, float]:
    """nlb_tools' scores; it goes by the dataset's name, the bin width does not enter."""
    import logging

    from nlb_tools.evaluation import evaluate

    logging.disable(logging.WARNING)  # it tells of rates that are 0
    (result,) = evaluate({name: target}, {name: prediction})
    (scores,) = result.values()
    return {metric.split("] ")[-1]: float(value) for metric, value in scores.items()}


def simulate(name: str, bin_ms: int) -> dict[str, dict]:
    """Target arrays of the dataset's layout, and predictions "random" and "smoothing", all in the files' precision."""
    import numpy as np

    size, rng = SIZES[name], np.random.default_rng([2021, bin_ms])
    (train, evaluated), (heldin, heldout) = size["trials"], size["units"]
    trials, units, bins, ahead = train + evaluated, heldin + heldout, size["window_ms"] // bin_ms, FORWARD_MS // bin_ms
    condition = rng.permutation(np.arange(trials) % max(size["conditions"], 1))
    wave = np.sin(np.linspace(0, 6, bins + ahead)[:, None] * rng.uniform(0.3, 1.5, 6) + rng.uniform(0, 6, 6))
    latents = wave * rng.standard_normal((max(size["conditions"], 1), 1, 6))[condition]
    latents = latents + 0.5 * wave * rng.standard_normal((trials, 1, 6))
    rates = RATE_HZ * bin_ms / 1000 * np.exp(latents @ (0.3 * rng.standard_normal((6, units))))
    counts = rng.poisson(rates).astype(np.float16)

    target = cut(counts, "spikes", train, heldin, bins)
    target = {key: target[key] for key in target if key.startswith("eval") and key != "eval_spikes_heldin"}
    if size["conditions"]:
        members = [np.flatnonzero(condition == c) for c in range(size["conditions"])]
        target["psth"] = np.stack([counts[m, :bins].mean(axis=0, dtype=float) for m in members])
        target["eval_cond_idx"] = np.array([*(m[m >= train] - train for m in members), None], object)[:-1]
    if name == "dmfc_rsg":
        target |= timing(rng, target, train, condition[train:], bin_ms)
    else:
        velocity = 50 * latents[:, :bins] @ rng.standard_normal((6, 2)) + 30 * rng.standard_normal((trials, bins, 2))
        velocity[rng.random((trials, bins)) < 0.01] = np.nan
        target |= {"train_behavior": velocity[:train], "eval_behavior": velocity[train:]}
    if name == "area2_bump":
        mask = np.stack([condition % 2 == 0, condition % 2 == 1], axis=1)
        target |= {"train_decode_mask": mask[:train], "eval_decode_mask": mask[train:]}

    smooth = smoothing(counts, train, heldin, bins, KERNEL_MS / bin_ms)
    random = rng.gamma(0.3, RATE_HZ * bin_ms / 300, counts.shape)
    models = {"random": random.astype(np.float32), "smoothing": smooth.astype(np.float32)}
    return {"target": target} | {m: cut(array, "rates", train, heldin, bins) for m, array in models.items()}


def cut(array, kind: str, train: int, heldin: int, bins: int) -> dict:
    """(trials, time, units) in parts under the benchmark's names."""
    parts = {"train": array[:train], "eval": array[train:]}
    units = {"heldin": slice(None, heldin), "heldout": slice(heldin, None)}
    spans = {"": slice(None, bins), "_forward": slice(bins, None)}
    return {
        f"{part}_{kind}_{group}{span}": trials[:, spans[span], units[group]].copy()
        for part, trials in parts.items()
        for group in units
        for span in (spans if part == "eval" else [""])
    }


def timing(rng, target: dict, train: int, condition, bin_ms: int) -> dict:
    """What DMFC_RSG has of its own: jitter, the produced intervals, NaN outside Set-Go and in the PSTHs' front."""
    import numpy as np

    psth, spikes = target["psth"].copy(), target["eval_spikes_heldout"].copy()
    for average in psth:
        average[: rng.integers(JITTER_MS, 700) // bin_ms] = np.nan
    jitter = rng.integers(0, JITTER_MS // bin_ms, len(spikes))
    produced = rng.uniform(500, 1100, len(spikes)).round()
    for trial, late, ms in zip(spikes, jitter, produced, strict=True):
        stop = len(trial) - late
        trial[: stop - int(ms) // bin_ms], trial[stop:] = np.nan, np.nan
    place = np.stack([condition % 2, condition // 2 % 2, condition // 4 % 2, 480 + 80 * (condition // 8)], axis=1)
    behavior = np.column_stack([place, produced])
    behavior[::20] = np.nan  # outliers
    return {
        "psth": psth,
        "eval_spikes_heldout": spikes,
        "eval_jitter": jitter,
        "eval_behavior": behavior,
        "train_behavior": np.zeros((train, 5)),
    }


def smoothing(counts, train: int, heldin: int, bins: int, deviation: float):
    """Smoothed held-in counts, held-out rates by least squares from them, the last rates for the forward window."""
    import numpy as np

    lag = np.subtract.outer(np.arange(bins), np.arange(bins)) / deviation
    kernel = np.exp(-(lag**2) / 2)
    kernel /= kernel.sum(axis=1, keepdims=True)
    seen = kernel @ counts[:, :bins, :heldin].astype(np.float64)
    answers = counts[:train, :bins, heldin:].reshape(train * bins, -1).astype(np.float64)
    weights = np.linalg.lstsq(seen[:train].reshape(train * bins, heldin), answers)[0]
    # clipped: some rates are exactly 0
    rates = np.concatenate([seen, np.maximum(seen @ weights, 0)], axis=2)
    ahead = np.repeat(rates[:, -1:], counts.shape[1] - bins, axis=1)
    return np.concatenate([rates, ahead], axis=1)


STEPS = {"times": take_times, "differences": take_differences}

if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in STEPS:
        print(json.dumps(STEPS[sys.argv[1]]()))
    else:
        main()
