"""Checksums of files, and progress lines for whatever takes long over their bytes."""

import hashlib
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

Log = Callable[[str], None]
SECONDS_BETWEEN_LINES = 5.0


class Meter:
    """Progress lines: what, how far, how fast, how long still; at most one every few seconds."""

    def __init__(self, what: str, total: int, done: int, log: Log) -> None:
        self.what, self.total, self.first, self.log = what, total, done, log
        self.start = self.told = time.monotonic()

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now - self.told < SECONDS_BETWEEN_LINES:
            return
        self.told, rate = now, (done - self.first) / (now - self.start)
        left = timedelta(seconds=round((self.total - done) / rate))
        far = f"{done / 1e6:.1f} of {self.total / 1e6:.1f} MB ({done / self.total:.0%})"
        self.log(f"{self.what}: {far}, {rate / 1e6:.1f} MB/s, {left} left")


def sha256_of(path: Path, log: Log) -> str:
    """The SHA-256 of the file at `path` in hexadecimal, with progress lines to `log` for a big file."""
    digest = hashlib.sha256()
    meter = Meter(f"checking {path.name}", path.stat().st_size, 0, log)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            meter(file.tell())
    return digest.hexdigest()
