"""Open a recording that stays in the archive: only the bytes that are read of it come.

HDF5 reads many small pieces of metadata, and then whole series at once. So the object is divided into blocks of BLOCK
bytes. What is read of neighbouring blocks comes with one request, and blocks are kept on disk for the next job.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
from fsspec.spec import AbstractBufferedFile

from nlbflow.archive.blocks import Blocks
from nlbflow.archive.pointers import read_pointer
from nlbflow.archive.ranges import WHOLE_INSTEAD, Ranges
from nlbflow.errors import NlbflowError
from nlbflow.running.checksums import Log

# Over 50 ms and 100 Mbit/s, 64 KB to 1 MB take about the same time (`benchmarks/stream.py`): smaller blocks save bytes,
# larger ones requests. In fsspec's blocks that file came with 11 requests in 2.5 s, with remfile with 22 in 3.8 s.
BLOCK = 1 << 18
# Blocks are kept in portions of this size as they come, so that a break loses little.
PORTION = 1 << 20
_log = logging.getLogger("nlbflow").info


class _Remote(AbstractBufferedFile):
    """A file of an object's bytes. fsspec divides what is read into blocks, and joins those that it has to ask for."""

    def __init__(self, ranges: Ranges, blocks: Blocks) -> None:
        self.ranges, self.blocks = ranges, blocks
        self.fault: BaseException | None = None
        kept = {"location": str(blocks.path), "blocks": blocks.there}
        size = ranges.pointer.bytes
        super().__init__(None, ranges.pointer.url, block_size=BLOCK, cache_type="mmap", cache_options=kept, size=size)

    def _fetch_range(self, start: int, end: int) -> bytes:
        """The bytes of whole blocks, each kept as soon as it is there."""
        if self.fault:
            raise self.fault
        content, kept = bytearray(), 0

        def take(piece: bytes) -> None:
            nonlocal kept
            content.extend(piece)
            whole = len(content) if len(content) == end - start else len(content) // BLOCK * BLOCK
            if whole - kept >= PORTION or whole == end - start:
                self.blocks.keep((start + kept) // BLOCK, bytes(content[kept:whole]))
                kept = whole

        try:
            if start < end:
                self.ranges.read(start, end, take)
        except BaseException as fault:
            self.fault = fault
            raise
        return bytes(content)


@contextmanager
def open_streamed(path: str | Path, log: Log = _log, **limits: float) -> Iterator[h5py.File]:
    """Open the recording that a pointer file names.

    Args:
        path: of the pointer (`pointers`); blocks are kept beside it.
        log: takes a line on what came from the archive.
        limits: of `Ranges`.

    Raises:
        NlbflowError: the archive does not send it, or has another than the pinned, or it is not HDF5.
    """
    pointer = read_pointer(path)
    with (
        Ranges(pointer, log, **limits) as ranges,
        Blocks(Path(path), pointer, BLOCK, log) as blocks,
        _Remote(ranges, blocks) as remote,
    ):
        try:
            with _open(remote) as file:
                yield file
        except BaseException:
            # HDF5 makes a fault of its own of what a file object raises
            if not remote.fault:
                raise
        if fault := remote.fault:
            remote.fault = None
            try:
                raise _bare(fault)
            finally:
                del fault  # or fault and frame would hold each other
        if ranges.requests:
            came, size = (f"{count / 1e6:.1f}" for count in (ranges.bytes, pointer.bytes))
            log(f"{pointer.name}: {came} of {size} MB came, in {ranges.requests} requests")


def _bare(fault: BaseException) -> BaseException:
    """A fault without the frames of h5py: what these hold crashes Python if it is still held when that ends."""
    fault.__cause__ = fault.__context__ = None
    return fault.with_traceback(None)


def _open(remote: _Remote) -> h5py.File:
    of = remote.ranges.pointer
    try:
        return h5py.File(remote, "r")
    except OSError as error:
        reason = str(error)
    raise NlbflowError(f"{of.name}, streamed from {of.url}, cannot be read as HDF5 ({reason}); {WHOLE_INSTEAD}.")
