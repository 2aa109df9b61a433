"""The folder `work` beside a prediction, in which a job finds what its killed predecessor left.

Snakemake removes the declared outputs of a job that fails, and knows nothing of this folder.
"""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from nlbflow.running.code import digest_of

# What the folder was made for, and from what a training continues.
DIGEST = "digest"
CHECKPOINT = "checkpoint.pt"


def work_folder(prediction: Path, data: Mapping, of: Mapping) -> Path:
    """Make the folder, and empty it unless it was made for the same work: the same arrays and the same `of`.

    Args:
        prediction: where the job's prediction will lie.
        data: what the model sees, arrays among it.
        of: what else the prediction depends on, such as code, parameters and seed.
    """
    arrays = {
        name: [value.shape, hashlib.sha256(value.tobytes()).hexdigest()]
        for name, value in data.items()
        if hasattr(value, "shape")
    }
    digest = digest_of({"input": arrays, **of})
    folder = prediction.absolute().parent / "work"
    if not (folder / DIGEST).is_file() or (folder / DIGEST).read_text() != digest:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / DIGEST).write_text(digest)
    return folder


def tidy_work(folder: Path) -> None:
    """Once the prediction is written: remove the checkpoint, and the folder where nothing else is in it."""
    (folder / CHECKPOINT).unlink(missing_ok=True)
    if [path.name for path in folder.iterdir()] == [DIGEST]:
        shutil.rmtree(folder)
