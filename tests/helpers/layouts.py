"""Small sessions in the four layouts of NLB'21 (specification, section 1.4), with the awkward cases of real files.

Every session has off-grid events and observed intervals, spikes on bin edges and within 1e-9 s of them, duplicate
spikes, spikes outside the observed intervals, gaps, and units in no order. What the reference cannot cut or stack is
in some seeds only: see CASES. Times are in ms until they are written.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from pynwb import NWBHDF5IO, NWBFile, TimeSeries

# nan: kinematics missing inside a window; nat: trials without their event; no_end: trials without their end;
# gap: spikes not observed within a window; overlap: two windows overlap; no_forward: the file ends soon after the
# last window.
CASES = ("nan", "nat", "no_end", "gap", "overlap", "no_forward")
FIRST = (set(), {"nan", "gap"}, {"nat"}, {"overlap", "no_forward"}, set(CASES))
HELDIN, HELDOUT = 8, 4
PAD_MS = 20.3  # an off-grid event moves its last bin up to 20 ms past the window
LEFT_MS = 90  # what is left after the last window in the case no_forward; a forward window is 200 ms
MAZE, AREA2, RTT, DMFC = (-250, 450), (-100, 500), (0, 600), (-1500, 0)


@dataclass
class Part:
    """One file: trial columns (times in ms, strings, numbers), observed intervals (n, 2) ms, spikes of each unit in ms
    and series as (rows, values, channel names), where rows None means sampled at a rate from 0 on."""

    columns: dict[str, np.ndarray]
    intervals: np.ndarray
    spikes: list[np.ndarray] = field(default_factory=list)
    series: dict[str, tuple[np.ndarray | None, np.ndarray, str]] = field(default_factory=dict)


def cases_of(seed: int) -> set[str]:
    """The cases of a seed: the first ones cover all, later ones are drawn."""
    if seed < len(FIRST):
        return FIRST[seed]
    draw = np.random.default_rng([seed, 99])
    return {case for case in CASES if draw.random() < 0.35}


def _write_session(
    make: Callable, event: str, window: tuple[int, int], subject: str, folder: Path, seed: int
) -> dict[str, Path]:
    """Write folder/seen (test, train) and folder/answers (the truth in the test file's place, train)."""
    rng = np.random.default_rng([seed, len(subject)])
    cases = cases_of(seed)
    train = make(rng, rng.permutation(["train"] * 12 + ["val"] * 8), cases)
    truth = make(rng, np.array(["test"] * 8), cases)
    ids = rng.choice(np.arange(1000, 3000), HELDIN + HELDOUT, replace=False)
    heldout = rng.permutation([False] * HELDIN + [True] * HELDOUT)
    for part in (train, truth):
        part.columns["stop_time"][_pick(rng, part.columns["split"], "no_end" in cases)] = np.nan
        part.spikes = [_spikes(rng, round(part.intervals[-1, 1])) for _ in ids]
    names = {p: f"sub-{subject}_desc-{p}_{k}.nwb" for p, k in (("train", "behavior+ecephys"), ("test", "ecephys"))}
    paths = {p: folder / "seen" / name for p, name in names.items()} | {"truth": folder / "answers" / names["test"]}
    for path in (paths["test"], paths["truth"]):
        path.parent.mkdir()
    write_nwb(paths["train"], train, ids, heldout)
    write_nwb(paths["truth"], truth, ids, heldout)
    write_nwb(paths["test"], _test_part(truth, heldout, event, window), ids[~heldout], heldout[~heldout])
    (folder / "answers" / names["train"]).symlink_to(paths["train"])
    return paths


def _test_part(truth: Part, heldout: np.ndarray, event: str, window: tuple[int, int]) -> Part:
    """The windows of the truth one after the other, moved by multiples of 20 ms."""
    pitch = window[1] - window[0] + 100
    events = truth.columns[event][~np.isnan(truth.columns[event])]
    first = events + window[0]
    shift = 100 + pitch * np.arange(len(events)) - np.floor(first / 20) * 20
    intervals, spikes = [], [[] for _ in range(HELDIN)]
    for low, by in zip(first, shift, strict=True):
        seen = truth.intervals.clip(low - 0.4, low + window[1] - window[0] + PAD_MS)
        intervals.append(seen[seen[:, 0] < seen[:, 1]] + by)
        for mine, unit in zip(spikes, np.flatnonzero(~heldout), strict=True):
            times = truth.spikes[unit]
            mine.append(times[(times > low - 5) & (times < low + window[1] - window[0] + 25)] + by)
    intervals = np.concatenate(intervals)
    columns = {"start_time": first + shift, "stop_time": first + shift + window[1] - window[0]}
    columns |= {event: events + shift, "split": np.full(len(events), "test")}
    last = np.floor(intervals[-1, 1]) - 0.9e-6
    return Part(columns, intervals, [np.concatenate(s)[np.concatenate(s) < last] for s in spikes])


def _spikes(rng: np.random.Generator, end: int) -> np.ndarray:
    times = rng.uniform(0, end, rng.poisson(end * rng.uniform(0.01, 0.06)))
    edge = rng.random(len(times)) < 0.3
    near = rng.choice([0, 0, 2e-7, 6e-7, 1e-6, -2e-7, -6e-7, -1e-6, -1.1e-6], len(times))
    times = np.where(edge, np.round(times / 5) * 5 + near, times)
    again = times[rng.random(len(times)) < 0.1]
    times = np.sort(np.concatenate([times, again, again + 0.05]))
    return times[(times > 0) & (times < end - 1)]


def _off_grid(rng: np.random.Generator) -> float:
    # never less than 1 us past a bin edge, where the reference has one row fewer (section 2.4)
    return float(rng.choice([0, 0, 0.5, 0.002, 0.999, rng.integers(2, 1000) / 1000]))


def _pick(rng: np.random.Generator, splits: np.ndarray, wanted: bool) -> np.ndarray:
    """A trial of each split that counts, never the last one."""
    if not wanted:
        return np.array([], int)
    return np.array([rng.choice(np.flatnonzero(splits[:-1] == s)) for s in ("train", "val", "test") if s in splits])


def _conditions(rng: np.random.Generator, splits: np.ndarray, count: int) -> np.ndarray:
    """(trials,) condition numbers, every one as often as possible in each split."""
    condition = np.zeros(len(splits), int)
    for split in np.unique(splits):
        condition[splits == split] = rng.permutation(np.arange((splits == split).sum()) % count)
    return condition


def _with_holes(intervals: list, holes: np.ndarray) -> np.ndarray:
    """The intervals less [h, h + 31.3) for every hole h."""
    for hole in holes:
        at = next(i for i, (low, high) in enumerate(intervals) if low < hole < high)
        low, high = intervals[at]
        intervals[at : at + 1] = [(low, hole), (hole + 31.3, high)]
    return np.array(intervals, float)


def _reaches(
    rng: np.random.Generator, splits: np.ndarray, condition: np.ndarray, cases: set[str], groups: np.ndarray, after: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Trials around an onset each: (start, stop, onset (trials,), observed intervals). Trials of one group are adjacent
    in time. In the case overlap some onsets are 500 ms apart, in one split and (so changed) one condition."""
    pairs = np.flatnonzero((splits[1:] == splits[:-1]) & (splits[1:] != "none")) if "overlap" in cases else []
    # one condition stays whole: where all are cut the reference's PSTH is shorter than its window and cannot be scored
    pairs = [k for k in pairs[::2] if k + 2 < len(splits) and condition[k] > 0][:4]
    start, stop, onset, group = [], [], [], []
    time = 0.0
    for k in range(len(splits)):
        if k - 1 in pairs:
            onset.append(onset[-1] + 500 + _off_grid(rng))
            start.append(onset[-2] + 100)
            stop[-1] = start[-1]
            group.append(group[-1])
            condition[k] = condition[k - 1]
        else:
            if k and groups[k] != groups[k - 1]:
                time = np.ceil(time / 100) * 100 + rng.choice([100, 300])
            start.append(time)
            onset.append(time + rng.integers(300, 450) + _off_grid(rng))
            group.append(groups[k])
        time = np.ceil(onset[-1] + after + 200 + PAD_MS) + rng.integers(30)
        stop.append(time)
    if "no_forward" in cases:
        stop[-1] = onset[-1] + after + LEFT_MS
    group = np.array(group)
    intervals = [(start[i[0]] + 0.4, stop[i[-1]] + 0.7) for i in (np.flatnonzero(group == g) for g in np.unique(group))]
    holes = np.array(onset)[_pick(rng, splits, "gap" in cases)] + 99.6
    return np.array(start), np.array(stop), np.array(onset), _with_holes(intervals, holes)


def _smooth(rng: np.random.Generator, rows: int, channels: int) -> np.ndarray:
    kernel = np.hanning(161) / 9
    return np.stack([np.convolve(rng.normal(0, 100, rows), kernel, "same") for _ in range(channels)], axis=1)


def _inside(rows: int, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """(rows,) which ms lie in any [first, last)."""
    inside = np.zeros(rows, bool)
    for low, high in zip(first, last, strict=True):
        inside[int(low) : int(np.ceil(high))] = True
    return inside


def _forget(rng: np.random.Generator, series: dict, times: np.ndarray) -> None:
    """Some ms from each of these times on, of every series, are NaN."""
    for time in times:
        at, length = int(np.ceil(time / 20) * 20) + rng.integers(-1, 2), rng.integers(1, 30)
        for rows, values, _ in series.values():
            rows = np.arange(len(values)) if rows is None else rows
            values[(rows >= at) & (rows < at + length)] = np.nan


def _maze(rng: np.random.Generator, splits: np.ndarray, cases: set[str]) -> Part:
    """MC_Maze: an observed interval per trial, kinematics only inside trials."""
    condition = _conditions(rng, splits, 4)
    start, stop, onset, intervals = _reaches(rng, splits, condition, cases, np.arange(len(splits)), MAZE[1])
    rows = np.flatnonzero(_inside(round(intervals[-1, 1]), start, stop))
    series = {name: (rows, _smooth(rng, len(rows), 2), "x,y") for name in ("cursor_pos", "hand_pos", "hand_vel")}
    _forget(rng, series, onset[_pick(rng, splits, "nan" in cases)] + 50)
    onset[_pick(rng, splits, "nat" in cases)] = np.nan
    columns = {"start_time": start, "stop_time": stop, "move_onset_time": onset, "trial_type": condition // 2}
    columns |= {"trial_version": condition % 2, "go_cue_time": onset - 200, "split": splits}
    return Part(columns, intervals, series=series)


def _area2(rng: np.random.Generator, splits: np.ndarray, cases: set[str]) -> Part:
    """Area2_Bump: four observed intervals, trials of split none, rate-based series with NaN gaps."""
    if "train" in splits:
        splits = np.insert(splits, rng.integers(0, len(splits) - 1, 3), "none")
    condition = _conditions(rng, splits, 4)
    groups = np.arange(len(splits)) * 4 // len(splits)
    start, stop, onset, intervals = _reaches(rng, splits, condition, cases, groups, AREA2[1])
    rows = round(intervals[-1, 1])
    series = {n: (None, _smooth(rng, rows, 2), "x,y") for n in ("hand_pos", "hand_vel")}
    series["force"] = None, _smooth(rng, rows, 6), "x,y,z,xmo,ymo,zmo"
    series["joint_ang"] = None, _smooth(rng, rows, 3), ""
    for _, values, _ in series.values():
        values[~_inside(rows, start, stop)] = np.nan
    _forget(rng, series, onset[_pick(rng, splits, "nan" in cases)] + 50)
    onset[splits == "none"] = np.nan
    onset[_pick(rng, splits, "nat" in cases)] = np.nan
    bump = condition % 2 == 1
    columns = {"start_time": start, "stop_time": stop, "result": np.where(splits == "none", "A", "R")}
    columns |= {"ctr_hold_bump": bump, "bump_dir": np.where(bump, 90.0, np.nan), "target_on_time": start + 20}
    columns |= {"go_cue_time": np.where(bump, np.nan, start + 100), "bump_time": np.where(bump, start + 100, np.nan)}
    columns |= {"move_onset_time": onset, "cond_dir": condition // 2 * 90.0, "split": splits}
    return Part(columns, intervals, series=series)


def _rtt(rng: np.random.Generator, splits: np.ndarray, cases: set[str]) -> Part:
    """MC_RTT: four segments cut to contiguous pseudo-trials, a tail of 200 ms after each."""
    segments = np.array_split(np.arange(len(splits)), 4 if "train" in splits else 2)
    start, intervals, time = [], [], 20.0
    for members in segments:
        time += _off_grid(rng)
        intervals.append((time - 0.4, time + 600 * len(members) + 200 + PAD_MS))
        start += (time + 600 * np.arange(len(members))).tolist()
        time = np.ceil(intervals[-1][1]) + rng.integers(80, 400)
    start = np.array(start)
    if "no_forward" in cases:
        intervals[-1] = intervals[-1][0], start[-1] + 600 + LEFT_MS
    rows = round(intervals[-1][1])
    names = {"cursor_pos": "x,y", "finger_pos": "x,y,z", "finger_vel": "x,y", "target_pos": "x,y"}
    series = {n: (np.arange(rows), _smooth(rng, rows, c.count(",") + 1), c) for n, c in names.items()}
    for _, values, _ in series.values():
        values[~_inside(rows, *np.transpose(intervals))] = np.nan
    _forget(rng, series, start[_pick(rng, splits, "nan" in cases)] + 200)
    intervals = _with_holes(intervals, start[_pick(rng, splits, "gap" in cases)] + 99.6)
    stop = start + 600
    start[_pick(rng, splits, "nat" in cases)] = np.nan
    return Part({"start_time": start, "stop_time": stop, "split": splits}, intervals, series=series)


def _dmfc(rng: np.random.Generator, splits: np.ndarray, cases: set[str]) -> Part:
    """DMFC_RSG: six observed intervals, events on a 0.5 ms grid, no behaviour but the trial table."""
    condition = _conditions(rng, splits, 4)
    ts = np.array([480, 560, 800, 1000])[condition]
    tp = np.clip(np.round(ts * rng.uniform(0.7, 1.45, len(ts)) * 2) / 2, 300, 1499.5)
    groups = np.arange(len(splits)) * 6 // len(splits)
    start, ready, intervals, time = [], [], [], 0.0
    for k, group in enumerate(groups):
        new = k == 0 or group != groups[k - 1]
        time += 400.5 * (new and k > 0)
        # in the case overlap a window begins before the one before it ends
        wait = 100 if "overlap" in cases and not new else 750 + rng.integers(10) / 2
        start.append(time)
        ready.append(time + wait)
        time = ready[-1] + ts[k] + tp[k] + 300 + 200 + np.ceil(PAD_MS) + rng.integers(10) / 2
        if new:
            intervals.append((start[-1] - 0.1 if k else 0.0, time + 0.2))
        intervals[-1] = intervals[-1][0], time + 0.2
    start, set_time, stop = np.array(start), np.array(ready) + ts, np.append(start[1:], time)
    go = set_time + tp
    if "no_forward" in cases:
        # the window of a trial that is not a test trial may be up to 300 ms late
        stop[-1] = go[-1] + (PAD_MS + 300 if "train" in splits else LEFT_MS)
        intervals[-1] = intervals[-1][0], stop[-1]
    intervals = _with_holes(intervals, go[_pick(rng, splits, "gap" in cases)] - 200.4)
    outlier = np.isin(np.arange(len(splits)), _pick(rng, splits, True))
    lost = _pick(rng, splits, "nat" in cases)
    go[lost] = tp[lost] = np.nan
    columns = {"start_time": start, "stop_time": stop, "ready_time": set_time - ts, "set_time": set_time, "go_time": go}
    columns |= {"bad_time": np.where(np.isnan(go), start + 50, np.nan), "is_short": condition < 2}
    columns |= {"is_eye": condition < 2, "theta": condition // 2 * 180, "ts": ts.astype(float), "tp": tp}
    columns |= {"is_outlier": outlier, "split": splits}
    return Part(columns, intervals)


def write_nwb(path: Path, part: Part, ids: np.ndarray, heldout: np.ndarray) -> None:
    """Write one file; every unit gets the same observed intervals."""
    nwb = NWBFile("simulated", path.stem, datetime(2021, 9, 1, tzinfo=UTC))
    nwb.add_unit_column("heldout", "whether the unit is to be predicted")
    for number, hidden, times in zip(ids, heldout, part.spikes, strict=True):
        observed, times = part.intervals / 1000, times / 1000
        nwb.add_unit(id=int(number), heldout=bool(hidden), spike_times=times, obs_intervals=observed)
    for name in sorted(part.columns.keys() - {"start_time", "stop_time"}):
        nwb.add_trial_column(name, name)
    for k in range(len(part.columns["start_time"])):
        row = {n: values[k].item() for n, values in part.columns.items()}
        nwb.add_trial(**{n: value / 1000 if n.endswith("_time") else value for n, value in row.items()})
    if part.series:
        module = nwb.create_processing_module("behavior", "behavior")
        for name, (rows, values, channels) in part.series.items():
            clock = {"rate": 1000.0, "starting_time": 0.0} if rows is None else {"timestamps": rows / 1000}
            comments = f"columns=[{channels}]" if channels else "no channel names"
            module.add(TimeSeries(name=name, data=values, unit="mm", comments=comments, **clock))
    with NWBHDF5IO(path, "w") as io:
        io.write(nwb)


# each is called with a folder and a seed and returns the paths of train, test and truth
write_maze = partial(_write_session, _maze, "move_onset_time", MAZE, "Jenkins")
write_area2 = partial(_write_session, _area2, "move_onset_time", AREA2, "Han")
write_rtt = partial(_write_session, _rtt, "start_time", RTT, "Indy")
write_dmfc = partial(_write_session, _dmfc, "go_time", DMFC, "Haydn")
