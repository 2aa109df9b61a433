"""The benchmark's answers of phase test, published as one HDF5 file after its server had closed.

The file has one group per dataset and bin width, `mc_maze` at 5 ms and `mc_maze_20` at 20 ms, each with the arrays of
the specification's section 3.3. It comes from outside, so only the expected arrays are read, and their sizes must be
those of the tensors made from the recordings.
"""

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from nlbflow.errors import NlbflowError
from nlbflow.recordings.datasets import group_name
from nlbflow.running.files import open_h5

REQUIRED = ("eval_spikes_heldout", "eval_spikes_heldin_forward", "eval_spikes_heldout_forward")
OPTIONAL = (
    *("train_behavior", "eval_behavior", "train_decode_mask", "eval_decode_mask"),
    *("psth", "train_cond_idx", "eval_cond_idx", "train_jitter", "eval_jitter"),
)


def read_published(
    path: str | Path, dataset: str, bin_ms: int, tensors: Mapping[str, np.ndarray], version: str
) -> tuple[dict, dict]:
    """The published answers of one dataset and bin width.

    Args:
        path: the published file.
        dataset, bin_ms: which group of it.
        tensors: what a model sees of the dataset in phase test, to compare sizes with.
        version: of the recordings that they were cut from.

    Returns:
        arrays as `make_target` gives them, and what is absent with the reason.

    Raises:
        NlbflowError: the group or an array is missing, is not a plain array of numbers, or has another size than the
            recordings give.
    """
    group = group_name(dataset, bin_ms)
    with open_h5(path) as file:
        if not isinstance(file.get(group, getlink=True), h5py.HardLink) or not isinstance(file[group], h5py.Group):
            raise NlbflowError(
                f"{path} has no answers for {dataset} at {bin_ms} ms (group {group}); it has "
                f"{', '.join(sorted(file))}: leave phase test of this dataset or bin width out of the config's `run`."
            )
        missing = [name for name in REQUIRED if name not in file[group]]
        if missing:
            raise NlbflowError(f"{path}: the group {group} has no {missing[0]}; fetch the file again.")
        names = [name for name in (*REQUIRED, *OPTIONAL) if name in file[group]]
        arrays = {name: _read(file[group], name, path) for name in names}
    _check_sizes(arrays, f"{path}, group {group}", tensors, version)
    return arrays, {} if "psth" in arrays else {"psth": "the published answers have none"}


def _read(group: h5py.Group, name: str, path: str | Path) -> np.ndarray | list[np.ndarray]:
    """An array of numbers, or the list of index vectors that a dataset of variable-length integers holds."""
    data = group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
    vectors = isinstance(data, h5py.Dataset) and h5py.check_vlen_dtype(data.dtype)
    numbers = isinstance(data, h5py.Dataset) and not data.is_virtual and not data.external and data.dtype.kind in "fiub"
    if not numbers and not (vectors and np.dtype(vectors).kind in "iu"):
        raise NlbflowError(f"{path}: {group.name}/{name} is not a plain array of numbers; fetch the file again.")
    try:
        values = data[()]
    except OSError as error:
        raise NlbflowError(f"{path}: {group.name}/{name} is damaged ({error}); fetch the file again.") from error
    if vectors:
        return [np.asarray(row, np.int64) for row in values]
    # counts as in our own files, everything else as it is
    return values.astype(np.float16) if "spikes" in name else values


def _check_sizes(arrays: dict, where: str, tensors: Mapping[str, np.ndarray], version: str) -> None:
    """Refuse answers that are of another release, or were cut by another definition, than the tensors."""
    evaluated, bins, heldin = tensors["eval_spikes_heldin"].shape
    trained, _, heldout = tensors["train_spikes_heldout"].shape
    ahead = tensors["train_spikes_heldin_forward"].shape[1]
    behavior = tensors.get("train_behavior")
    trials = {"train": trained, "eval": evaluated}
    expected = {
        "eval_spikes_heldout": (evaluated, bins, heldout),
        "eval_spikes_heldin_forward": (evaluated, ahead, heldin),
        "eval_spikes_heldout_forward": (evaluated, ahead, heldout),
    }
    if behavior is not None:
        expected["train_behavior"] = behavior.shape
        expected["eval_behavior"] = (evaluated, *behavior.shape[1:])
    wrong = [n for n, shape in expected.items() if n in arrays and arrays[n].shape != shape]
    wrong += [n for n in arrays if n.endswith(("jitter", "mask")) and len(arrays[n]) != trials[n.split("_")[0]]]
    if "psth" in arrays and arrays["psth"].shape[1:] != (bins, heldin + heldout):
        wrong.append("psth")
    for name in (n for n in arrays if n.endswith("cond_idx")):
        if any(len(row) and not 0 <= row.min() <= row.max() < trials[name.split("_")[0]] for row in arrays[name]):
            wrong.append(name)
    if wrong:
        raise NlbflowError(
            f"{where}: {wrong[0]} does not have the size of the recordings ({version}); the two are of different "
            "releases, or the dataset's stanza cuts other windows than the benchmark's."
        )
    published = arrays.get("train_behavior")
    # stored as float32; a wrong lag or window differs by far more
    if behavior is not None and published is not None and published.dtype.kind == "f":
        scale = np.nanmax(np.abs(behavior), initial=1.0)
        if not np.allclose(published, behavior, rtol=0, atol=1e-3 * scale, equal_nan=True):
            raise NlbflowError(
                f"{where}: train_behavior is not that of the recordings ({version}); the dataset's stanza has another "
                "window, lag or series than the benchmark's."
            )
