"""A lab's own recording, clean, as pynwb writes it; tests change one thing at a time."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pynwb import NWBHDF5IO, NWBFile, TimeSeries

from nlbflow.recordings.notes import summarise

TRIALS, UNITS, PITCH_S, ONSET_S, RATE_HZ = 60, 12, 2.0, 0.6, 20.0
STANZA = {
    "align": "move_onset_time",
    "window_ms": [-250, 450],
    "forward_ms": 200,
    "heldout": {"fraction": 0.25, "seed": 0},
    "split": {"val": 0.2, "test": 0.2, "seed": 0},
    "behavior": {"series": "hand_vel", "lag_ms": 100},
}


TIMES = np.arange(0, TRIALS * PITCH_S, 0.001)


def movement(seconds: np.ndarray) -> np.ndarray:
    """(samples, 2) hand velocity in mm/s: slow sines."""
    return 100 * np.stack([np.sin(2 * np.pi * 0.7 * seconds), np.cos(2 * np.pi * 1.1 * seconds)], axis=1)


def write_recording(
    path: Path,
    *,
    start_s: float = 0.0,
    trials: int = TRIALS,
    spikes_scale: float = 1.0,
    ids: list[int] | None = None,
    intervals: dict[int, np.ndarray] | None = None,
    columns: dict[str, list] | None = None,
    table: str = "trials",
    series: list[TimeSeries] | None = None,
    seed: int = 0,
) -> Path:
    """Write a session whose trials follow each other every 2 s, with 12 units of 20 spikes/s and hand velocity.

    Args:
        path: the file.
        start_s: when the session starts on its own clock.
        trials: how many.
        spikes_scale: spike times are multiplied by it.
        ids: of the units.
        intervals: observed intervals by unit (position); all units get some then, by default the whole session.
        columns: further trial columns, or others in the place of those that there are.
        table: name of the table of trials.
        series: in the place of `hand_vel`, which is at 1 kHz.
        seed: of the spikes.
    """
    rng = np.random.default_rng(seed)
    length = trials * PITCH_S
    file = NWBFile(session_description="session", identifier="own", session_start_time=datetime(2026, 1, 1, tzinfo=UTC))
    begins = start_s + PITCH_S * np.arange(trials)
    values = {"start_time": begins, "stop_time": begins + PITCH_S, "move_onset_time": begins + ONSET_S}
    values |= {name: np.asarray(column) for name, column in (columns or {}).items()}
    if table == "trials":
        add_column, add_row = file.add_trial_column, file.add_trial
    else:
        intervals_table = file.create_time_intervals(table, "trials under another name")
        add_column, add_row = intervals_table.add_column, intervals_table.add_row
    for name in values:
        if name not in ("start_time", "stop_time"):
            add_column(name, name)
    for trial in range(trials):
        add_row(**{name: column[trial] for name, column in values.items()})
    for unit in range(UNITS):
        times = np.sort(rng.uniform(0, length, rng.poisson(RATE_HZ * length)))
        # on the 0.1 ms, so that another start of the session rounds nothing differently
        times = np.round(times, 4) + 0.00005 + start_s
        own = None if intervals is None else intervals.get(unit, np.array([[0.0, length]])) + start_s
        file.add_unit(id=unit if ids is None else ids[unit], spike_times=times * spikes_scale, obs_intervals=own)
    behavior = file.create_processing_module(name="behavior", description="movement")
    seconds = np.arange(0, length, 0.001)
    usual = TimeSeries(name="hand_vel", data=movement(seconds), unit="mm/s", rate=1000.0, starting_time=start_s)
    for one in [usual] if series is None else series:
        behavior.add(one)
    with NWBHDF5IO(path, "w") as io:
        io.write(file)
    return path


def notes_of(made: tuple, stanza: dict | None = None, bin_ms: int = 5) -> list[str]:
    asked = {"definition": STANZA | (stanza or {}), "bin_ms": bin_ms, "version": "1"}
    return summarise(*made[:2], asked, made[2])[1]


def series(rate_hz: float = 1000.0, **changes) -> TimeSeries:
    seconds = np.arange(0, TRIALS * PITCH_S, 1 / rate_hz)
    known = {"name": "hand_vel", "data": movement(seconds), "unit": "mm/s", "rate": rate_hz, "starting_time": 0.0}
    return TimeSeries(**{key: value for key, value in {**known, **changes}.items() if value is not None})
