"""The folder `work` beside a prediction, in which a job finds what its killed predecessor left.

Snakemake removes the declared outputs of a job that fails, but not this folder, which it does not know.
"""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from nlbflow.running.code import digest_of

# Files in the folder: what it was made for, and the checkpoint from which training continues.
DIGEST = "digest"
CHECKPOINT = "checkpoint.pt"


def work_folder(prediction: Path, data: Mapping, of: Mapping) -> Path:
    """Make the folder, and empty it unless it was made for the same work: the same arrays and the same `of`.

    Args:
        prediction: the path of the job's prediction.
        data: what the model sees, including arrays.
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
    """Remove the checkpoint, and the folder if nothing else is in it. Call this once the prediction is written."""
    (folder / CHECKPOINT).unlink(missing_ok=True)
    if [path.name for path in folder.iterdir()] == [DIGEST]:
        shutil.rmtree(folder)
