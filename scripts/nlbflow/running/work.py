"""The folder `work` beside a prediction, in which a job finds what its killed predecessor left.

Snakemake removes the declared outputs of a job that fails, but not this folder, which it does not know. Where results
lie in a bucket, the folder is copied there while the model trains, as one object, so that no mixture of old and new
files is ever found there.
"""

import hashlib
import io
import logging
import shutil
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from nlbflow.errors import NlbflowError
from nlbflow.running.bucket import bucket_of_run
from nlbflow.running.code import digest_of

# Files in the folder: what it was made for, and the checkpoint from which training continues.
DIGEST = "digest"
CHECKPOINT = "checkpoint.pt"
# What the folder is in a bucket; a changed folder is copied there at most this often, in seconds.
COPY, BETWEEN_COPIES = "work.tar", 30.0


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
    _fetch(folder)
    if not (folder / DIGEST).is_file() or (folder / DIGEST).read_text() != digest:
        if (folder / CHECKPOINT).is_file():
            told = "made with another input, code, parameters or seeds"
            logging.getLogger("nlbflow").info(f"the checkpoint in {folder} was {told}; training starts anew")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / DIGEST).write_text(digest)
    return folder


def tidy_work(folder: Path) -> None:
    """Remove the checkpoint, and the folder if nothing else is in it. Call this once the prediction is written."""
    (folder / CHECKPOINT).unlink(missing_ok=True)
    if [path.name for path in folder.iterdir()] == [DIGEST]:
        shutil.rmtree(folder)


@contextmanager
def copied(folder: Path | None) -> Iterator[None]:
    """Keep a copy of the folder in the run's bucket while a model works in it; without a bucket, do nothing."""
    if folder is None or not bucket_of_run():
        yield
        return
    over = threading.Event()
    copying = threading.Thread(target=_copy_changes, args=(folder, over, _newest(folder)), daemon=True)
    copying.start()
    try:
        yield
    finally:
        over.set()
        copying.join()


def _copy_changes(folder: Path, over: threading.Event, last: int) -> None:
    copied_at = 0.0
    while not over.wait(1):
        # nothing but dates is read until the model's process, which is forked from this one, has written something
        newest = _newest(folder)
        if newest != last and time.monotonic() - copied_at > BETWEEN_COPIES:
            try:
                copy_work(folder)
            except (NlbflowError, OSError) as error:
                logging.getLogger("nlbflow").info(f"the checkpoint was not copied: {error}")
            copied_at, last = time.monotonic(), newest


def _newest(folder: Path) -> int:
    """The date of the last change in the folder, in ns."""
    dates = [0]
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # replaced meanwhile
            dates.append(path.stat().st_mtime_ns)
    return max(dates)


def copy_work(folder: Path) -> None:
    """Make the copy in the run's bucket what the folder is now; without a bucket, do nothing."""
    bucket = bucket_of_run()
    if not bucket:
        return
    name = bucket.name_of(folder.with_name(COPY))
    if not folder.exists():
        bucket.remove(name)
        return
    with ExitStack() as stack, tempfile.TemporaryFile() as packed:
        opened = []
        # all opened at once: a file that is replaced while others are packed stays what it was
        for path in sorted(folder.rglob("*")):
            with suppress(FileNotFoundError):
                if path.is_file() and not path.is_symlink():
                    opened.append((path, stack.enter_context(open(path, "rb"))))
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for path, file in opened:
                archive.addfile(archive.gettarinfo(arcname=path.relative_to(folder).as_posix(), fileobj=file), file)
        packed.seek(0)
        bucket.write(name, packed)


def _fetch(folder: Path) -> None:
    """Make the folder what its copy in the run's bucket is, if there is one."""
    bucket = bucket_of_run()
    content = bucket.read(bucket.name_of(folder.with_name(COPY))) if bucket else None
    if content is None:
        return
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        # a model's code may have written into the folder
        archive.extractall(folder, filter="data")
