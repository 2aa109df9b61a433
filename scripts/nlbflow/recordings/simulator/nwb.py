"""A simulated session as files: NWB in MC_Maze's layout (Churchland and Kaufman, DANDI 000128), true rates as HDF5.

The same session gives the same bytes: dates are fixed, and the ids that pynwb draws at random are derived from names.
The layout of the rates file is described in truth.py.
"""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
from hdmf.backends.hdf5 import H5DataIO
from hdmf.common import VectorData, VectorIndex
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.base import ProcessingModule
from pynwb.behavior import SpatialSeries
from pynwb.epoch import TimeIntervals
from pynwb.file import Subject
from pynwb.misc import Units

from nlbflow.recordings.simulator.session import VERSIONS, Part, Population, Session
from nlbflow.running.files import write_arrays

DATE = datetime(2021, 9, 1, tzinfo=UTC)  # any, but fixed; the benchmark opened in that month
TEST_PITCH_MS = 800  # from one 700 ms segment of the test file to the next, as in MC_Maze
BARRIER_MM = (8.0, 24.0)  # half width and half height
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "nlbflow/simulate")


def write_session(session: Session, paths: Mapping[str, str | Path]) -> None:
    """Write `train`, `test` (held-in units, observed windows), `truth` (all there is of the test trials) and `rates`.

    Args:
        session: what `simulate` returned.
        paths: where each of the four goes; the folders exist.
    """
    population = session.population
    everyone = np.ones_like(population.heldout)
    for name, part in (("train", session.train), ("truth", session.truth)):
        trials = part.trials
        units = _units(population, part, trials.start, np.zeros_like(trials.start), trials.length, everyone)
        _write(paths[name], name, session, units, _table(_trial_columns(session, part)), _behavior(part))

    trials = session.truth.trials
    start = TEST_PITCH_MS * np.arange(len(trials.onset))
    opens, closes = session.window_ms
    first, length = trials.onset + opens, np.full(len(start), closes - opens)
    units = _units(population, session.truth, start, first, length, ~population.heldout)
    columns = {
        "start_time": start / 1000,
        "stop_time": (start + length) / 1000,
        "move_onset_time": (start - opens) / 1000,
        "split": session.truth.split,
    }
    if session.targets is None:
        del columns["move_onset_time"]
    _write(paths["test"], "test", session, units, _table(columns), None)

    order = np.argsort(population.unit_id)
    arrays = {
        "unit_id": population.unit_id[order],
        "weights": population.weights[:, order],
        "bias": population.bias[order],
    }
    arrays |= {name: array[np.ix_(*[order] * array.ndim)] for name, array in session.structure.items()}
    for name, part in (("train", session.train), ("truth", session.truth)):
        arrays[name] = {"latents": part.latents, "length_ms": part.trials.length}
        if part.states is not None:
            arrays[name]["states"] = part.states
    write_arrays(paths["rates"], arrays, {"settings": session.settings})


def _units(
    population: Population, part: Part, start: np.ndarray, first: np.ndarray, length: np.ndarray, chosen: np.ndarray
) -> Units:
    """The chosen units' spikes; trial k's stretch of `length` ms from its ms `first` on lies at `start` in the file."""
    unit = np.concatenate([spikes[:, 0] for spikes in part.spikes_us])
    trial = np.repeat(np.arange(len(start)), [len(spikes) for spikes in part.spikes_us])
    us = np.concatenate([spikes[:, 1] for spikes in part.spikes_us]) - 1000 * first[trial]
    inside = (us >= 0) & (us < 1000 * length[trial]) & chosen[unit]
    unit, us = unit[inside], (us + 1000 * start[trial])[inside]
    order = np.lexsort((us, unit))
    count = int(chosen.sum())
    spike_ends = np.cumsum(np.bincount(unit, minlength=len(chosen))[chosen])
    intervals = np.tile(np.stack([start, start + length], axis=1) / 1000, (count, 1))
    columns = [_column("heldout", "whether the unit is held out for co-smoothing", population.heldout[chosen])]
    columns += _ragged("spike_times", "the spike times of each unit in s", us[order] / 1e6, spike_ends)
    columns += _ragged(
        "obs_intervals",
        "the observed intervals, the same for each unit",
        intervals,
        len(start) * np.arange(1, count + 1),
    )
    names = ["heldout", "spike_times", "obs_intervals"]
    return Units(
        name="units", description="simulated units", id=population.unit_id[chosen], columns=columns, colnames=names
    )


def _trial_columns(session: Session, part: Part) -> dict[str, np.ndarray | list[np.ndarray]]:
    """MC_Maze's columns, or without reaches the ends of trials alone; lists of arrays are ragged ones."""
    trials = part.trials
    ends = {"start_time": trials.start / 1000, "stop_time": (trials.start + trials.length) / 1000}
    if session.targets is None:
        return ends | {"split": part.split}
    version = trials.condition % VERSIONS
    maze = trials.condition // VERSIONS
    goal = session.targets[trials.condition]
    # versions: one target, the same behind a barrier, and three targets of which one can be reached
    turned = np.stack([goal, goal @ [[0, 1], [-1, 0]], -goal], axis=1)
    barrier = np.concatenate([goal / 2, np.tile(BARRIER_MM, (len(goal), 1))], axis=1)
    return ends | {
        "trial_type": maze,
        "trial_version": version,
        "maze_id": trials.condition,
        "success": np.ones(len(maze), bool),
        "target_on_time": (trials.start + trials.target_on) / 1000,
        "go_cue_time": (trials.start + trials.go_cue) / 1000,
        "move_onset_time": (trials.start + trials.onset) / 1000,
        "rt": trials.onset - trials.go_cue,
        "delay": trials.go_cue - trials.target_on,
        "num_targets": np.where(version == 2, 3, 1),
        "target_pos": [t[: 3 if v == 2 else 1] for t, v in zip(turned, version, strict=True)],
        "num_barriers": np.where(version == 0, 0, 1),
        "barrier_pos": [b[None][: min(v, 1)] for b, v in zip(barrier, version, strict=True)],
        "active_target": np.zeros(len(maze), int),
        "split": part.split,
    }


def _table(columns: dict[str, np.ndarray | list[np.ndarray]]) -> TimeIntervals:
    data = []
    for name, values in columns.items():
        if isinstance(values, list):
            data += _ragged(name, name, np.concatenate(values), np.cumsum([len(v) for v in values]))
        else:
            data.append(_column(name, name, values.tolist() if values.dtype.kind == "U" else values))
    return TimeIntervals(name="trials", description="experimental trials", columns=data, colnames=list(columns))


def _column(name: str, description: str, values: np.ndarray | list[str]) -> VectorData:
    return VectorData(name=name, description=description, data=values)


def _ragged(name: str, description: str, values: np.ndarray, ends: np.ndarray) -> list[VectorData]:
    data = _column(name, description, values)
    return [data, VectorIndex(name=f"{name}_index", target=data, data=ends.astype(np.uint32))]


def _behavior(part: Part) -> ProcessingModule | None:
    """Kinematics at 1 kHz, inside trials only; velocity by central differences within each trial, as in MC_Maze."""
    if part.hand is None:
        return None
    lengths = part.trials.length
    ms = np.concatenate([start + np.arange(n) for start, n in zip(part.trials.start, lengths, strict=True)])
    hand = [h[:n] for h, n in zip(part.hand, lengths, strict=True)]
    velocity = np.concatenate([np.gradient(h, axis=0) * 1000 for h in hand])
    eye = np.concatenate([e[:n] for e, n in zip(part.eye, lengths, strict=True)])
    hand = np.concatenate(hand)
    module = ProcessingModule(name="behavior", description="processed behavioral data")
    first = None
    for name, values, unit in (
        ("cursor_pos", hand.round(2), "mm"),
        ("eye_pos", eye, "mm"),
        ("hand_pos", hand, "mm"),
        ("hand_vel", velocity, "mm/s"),
    ):
        kind, extra = (TimeSeries, {}) if name == "hand_vel" else (SpatialSeries, {"reference_frame": "screen centre"})
        # the series share one set of timestamps, which pynwb stores once
        times = first or _packed(ms / 1000)
        series = kind(
            name=name,
            description=name,
            data=_packed(values),
            timestamps=times,
            unit=unit,
            comments="columns=[x,y]",
            **extra,
        )
        module.add(series)
        first = first or series
    return module


def _packed(values: np.ndarray) -> H5DataIO:
    return H5DataIO(values, compression="gzip", compression_opts=4, shuffle=True)


def _write(
    path: str | Path,
    name: str,
    session: Session,
    units: Units,
    trials: TimeIntervals,
    behavior: ProcessingModule | None,
) -> None:
    nwb = NWBFile(
        session_description=f"simulated {'reaching ' if session.targets is not None else ''}session, {name}",
        identifier=f"nlbflow-{session.settings['seed']}-{name}",
        session_start_time=DATE,
        file_create_date=DATE,
        subject=Subject(subject_id="Sim", species="Macaca mulatta", sex="U", description="simulated"),
        units=units,
        trials=trials,
        processing=[behavior] if behavior else [],
    )
    for item in nwb.all_children():
        # pynwb draws an id at random for every object and offers no way to give one
        item._AbstractContainer__object_id = str(uuid.uuid5(NAMESPACE, f"{nwb.identifier}/{_place(item)}"))
    # an open file, because pynwb warns of names that do not end in .nwb, and a job's temporary file does not
    with h5py.File(path, "w") as file, NWBHDF5IO(file=file, mode="w") as io:
        io.write(nwb)


def _place(item) -> str:
    return item.name if item.parent is None else f"{_place(item.parent)}/{item.name}"
