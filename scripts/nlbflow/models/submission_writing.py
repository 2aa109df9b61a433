"""Submissions to the benchmark, written: HDF5 files of rates (specification, section 3.4)."""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import h5py
import numpy as np

from nlbflow import METRICS_VERSION
from nlbflow.models.contract import FORWARD, REQUIRED
from nlbflow.recordings.datasets import group_name
from nlbflow.running.files import open_h5


def write_submission(path: str | Path, predictions: Iterable[tuple[str, int, Mapping[str, np.ndarray]]]) -> None:
    """Write a submission, float32 in gzip, from (dataset, bin_ms, arrays) one after the other.

    Args:
        path: the file to make; all three scaling datasets belong in one file.
        predictions: rates (trials, time, neurons) in expected spikes per bin; other arrays, such as latents, are left
            out. A generator keeps only one prediction in memory.
    """
    with h5py.File(path, "w") as file:
        for dataset, bin_ms, arrays in predictions:
            _write_group(file.create_group(group_name(dataset, bin_ms)), arrays)


def _write_group(group: h5py.Group, arrays: Mapping[str, np.ndarray]) -> None:
    group.file.attrs["metrics_version"] = METRICS_VERSION
    for name in (n for n in REQUIRED + FORWARD if n in arrays):
        rates = np.asarray(arrays[name], np.float32)
        group.create_dataset(name, data=rates, compression="gzip", compression_opts=1, shuffle=True)


def add_to_submission(path: Path, dataset: str, bin_ms: int, arrays: Mapping[str, np.ndarray]) -> None:
    """Put a dataset's rates into a submission, replacing older ones; the file is whole at every moment.

    Args:
        path: the file; it is made if it is not there.
        arrays: as for `write_submission`.

    Raises:
        NlbflowError: the file is there and is not HDF5.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.exists():
            with open_h5(path):
                shutil.copyfile(path, unfinished)
        with h5py.File(unfinished, "a") as file:
            name = group_name(dataset, bin_ms)
            if name in file:
                del file[name]
            _write_group(file.create_group(name), arrays)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
