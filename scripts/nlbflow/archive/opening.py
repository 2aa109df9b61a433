"""Open a recording: a file on disk, or one that stays in the archive, where a pointer says that it lies."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from nlbflow.archive.pointers import is_pointer
from nlbflow.running.files import open_h5


@contextmanager
def open_recording(path: str | Path) -> Iterator[h5py.File]:
    """Open an NWB file, or the recording in the archive that a pointer file names.

    Raises:
        NlbflowError: the file cannot be read as HDF5; or the archive does not send it, or has another than the pinned.
    """
    if is_pointer(path):
        # here, because whoever has whole files needs nothing to stream with
        from nlbflow.archive.streaming import open_streamed

        with open_streamed(path) as file:
            yield file
    else:
        with open_h5(path) as file:
            yield file
