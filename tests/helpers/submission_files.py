"""A good submission of a small dataset, as the tests of submissions write and read it."""

from pathlib import Path

import h5py
import numpy as np

from nlbflow.models.submissions import read_submission

GROUP = "mc_maze_small"
SIZES = {"train": 7, "eval": 5}
SHAPES = {
    f"{part}_rates_{units}{suffix}": (SIZES[part], 4 if suffix else 6, 9 if units == "heldin" else 3)
    for part, suffix in (("train", ""), ("eval", ""), ("eval", "_forward"))
    for units in ("heldin", "heldout")
}
REQUIRED = [name for name in SHAPES if "forward" not in name]
NAME = "eval_rates_heldout"
SHAPE = SHAPES[NAME]


def rates(shape: tuple = SHAPE, dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(0).gamma(2, 0.05, shape).astype(dtype)


def write(
    path: Path, dtype=np.float32, group: str | None = GROUP, names=tuple(SHAPES), libver: str = "earliest", **packing
) -> None:
    with h5py.File(path, "w", libver=libver) as file:
        for name in names:
            place = file.require_group(group) if group else file
            place.create_dataset(name, data=rates(SHAPES[name], dtype), **packing)


def read(path: Path, **changes) -> dict[str, np.ndarray]:
    settings = {"shapes": SHAPES, "required": REQUIRED, "spikes_mean": 0.1, "bin_ms": 5, "group": GROUP} | changes
    return read_submission(path, **settings)[0]
