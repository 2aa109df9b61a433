"""The blocks of an object that have come so far, on disk beside its pointer: what is there is not asked for again.

A sparse file holds each block at its place, an index the number and CRC-32 of each. A block counts only if its CRC-32
fits, so what a kill or a power cut left half-written is asked for again.
"""

import errno
import fcntl
import json
import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Self

from nlbflow.archive.pointers import Pointer
from nlbflow.running.checksums import Log


class Blocks:
    """The blocks of one object; while open, other jobs that read the same recording wait, and then find them.

    Args:
        beside: the path of the pointer; the files' names are made from it.
        pointer: the object. Blocks of another object, or of another size, are forgotten.
        size: bytes of a block.
        log: takes a line if another job has to be waited for.

    Attributes: path: the sparse file; there: the numbers of the blocks in it.
    """

    def __init__(self, beside: Path, pointer: Pointer, size: int, log: Log) -> None:
        self.size, self.bytes = size, pointer.bytes
        self.path = beside.with_name(f".{beside.name}.blocks")
        self.index = beside.with_name(f".{beside.name}.index").open("a+b", buffering=0)
        self._lock(log)
        self.file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        self.there = self._read_index({"etag": pointer.etag, "version": pointer.version, "block": size})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self.file)
        self.index.close()

    def _lock(self, log: Log) -> None:
        with suppress(OSError):  # on a file system without locks, two jobs may ask for the same bytes
            try:
                fcntl.flock(self.index, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log(f"another job streams {self.path.name[1 : -len('.blocks')]}; waiting for what it gets")
                fcntl.flock(self.index, fcntl.LOCK_EX)

    def _read_index(self, of: dict) -> set[int]:
        self.index.seek(0)
        head, *lines = self.index.read().splitlines() or [b""]
        header = json.dumps({**of, "bytes": self.bytes}).encode()
        if head != header:
            os.ftruncate(self.file, 0)
            self.index.truncate(0)
            self.index.write(header + b"\n")
            lines = []
        os.ftruncate(self.file, self.bytes)
        known = dict(fields for line in lines if len(fields := line.split()) == 2)
        return {int(number) for number, crc in known.items() if self._crc(self._at(int(number))) == crc}

    def _at(self, number: int) -> bytes:
        return os.pread(self.file, self.size, number * self.size)

    @staticmethod
    def _crc(content: bytes) -> bytes:
        return b"%08x" % zlib.crc32(content)

    def keep(self, first: int, content: bytes) -> None:
        """Write blocks from number `first` on; the content ends with a block or with the object."""
        if os.pwrite(self.file, content, first * self.size) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        parts = [content[at : at + self.size] for at in range(0, len(content), self.size)]
        lines = [b"%d %s\n" % (number, self._crc(part)) for number, part in enumerate(parts, first)]
        self.index.write(b"".join(lines))
