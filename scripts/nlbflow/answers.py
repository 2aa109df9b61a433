"""The benchmark's hidden test targets, published as one HDF5 file when its server had closed.

The file has one group per dataset and bin width, `mc_maze` at 5 ms and `mc_maze_20` at 20 ms, each with the arrays of
the specification's section 3.3. It comes from outside, so only the arrays expected are read, and what they hold is
compared with the tensors made from the test recording.
"""

from pathlib import Path

import h5py
import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.files import open_h5, read_attributes

REQUIRED = ("eval_spikes_heldout", "eval_spikes_heldin_forward", "eval_spikes_heldout_forward")
OPTIONAL = (
    "train_behavior",
    "eval_behavior",
    "train_decode_mask",
    "eval_decode_mask",
    "psth",
    "train_cond_idx",
    "eval_cond_idx",
    "train_jitter",
    "eval_jitter",
)


def read_published(path: str | Path, dataset: str, bin_ms: int, input_path: str | Path) -> tuple[dict, dict]:
    """The published answers of one dataset and bin width.

    Args:
        path: the published file.
        dataset, bin_ms: which group of it.
        input_path: the dataset's input.h5 of phase test, to compare sizes with.

    Returns:
        arrays as `make_target` gives them, and what is absent with the reason.

    Raises:
        NlbflowError: the group or a required array is missing, or its sizes are not those of the test recording.
    """
    group = dataset if bin_ms == 5 else f"{dataset}_{bin_ms}"
    with open_h5(path) as file:
        if group not in file:
            raise NlbflowError(
                f"{path} has no answers for {dataset} at {bin_ms} ms (group {group}); it has "
                f"{', '.join(sorted(file))}: leave phase test of this dataset or bin width out of the config's `run`."
            )
        missing = [name for name in REQUIRED if name not in file[group]]
        if missing:
            raise NlbflowError(f"{path}: the group {group} has no {missing[0]}; fetch the file again.")
        arrays = {name: _read(file[group][name]) for name in (*REQUIRED, *OPTIONAL) if name in file[group]}
    with open_h5(input_path) as file:
        trials, bins, _ = file["eval_spikes_heldin"].shape
        heldout = file["train_spikes_heldout"].shape[2]
    found, expected = arrays["eval_spikes_heldout"].shape, (trials, bins, heldout)
    if found != expected:
        about = read_attributes(input_path)["provenance"]["dataset_version"]
        raise NlbflowError(
            f"{path}: the answers of {group} have the shape {found}, but the recordings ({about}) give {expected}; the "
            "two are of different releases."
        )
    absent = {} if "psth" in arrays else {"psth": "the published answers have none"}
    return arrays, absent


def _read(data: h5py.Dataset) -> np.ndarray | list[np.ndarray]:
    """An array, or the list of index vectors that a dataset of variable-length integers holds."""
    if h5py.check_vlen_dtype(data.dtype) is not None:
        return [np.asarray(row, np.int64) for row in data[()]]
    values = data[()]
    # numbers only: counts as in our own files, masks as they are
    return values.astype(np.float16) if "spikes" in data.name.rsplit("/", 1)[-1] else values
