"""Where a run keeps its few small files that no rule makes: in its folder or in its bucket, under the same names."""

import os
import shutil
import time
from pathlib import Path

from nlbflow.running.bucket import Bucket, bucket_of_run


class Folder:
    """The folder that a run works in; `bucket.Bucket` has the same methods."""

    def name_of(self, path: str | Path) -> str:
        return str(path)

    def read(self, name: str | Path) -> bytes | None:
        """A file's content; None if there is no such file."""
        return Path(name).read_bytes() if Path(name).is_file() else None

    def write(self, name: str | Path, content: bytes) -> None:
        Path(name).write_bytes(content)

    def remove(self, name: str | Path) -> None:
        Path(name).unlink(missing_ok=True)

    def move(self, name: str, to: str) -> None:
        """Move a file or a folder, in place of what is there."""
        Path(to).parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(to, ignore_errors=True)
        os.replace(name, to)

    def has(self, name: str) -> bool:
        return Path(name).exists()

    def children(self, folder: str) -> list[str]:
        """The names of what lies in a folder: files and folders."""
        return sorted(path.as_posix() for path in Path(folder).glob("*"))

    def bring(self, path: Path) -> None:
        """Get what another worker left for a job that works at `path`; here, it lies there."""

    def leave(self, path: Path) -> None:
        """Leave a file that no rule makes for other workers."""

    def modified(self, name: str) -> float | None:
        """When a file was last written, in seconds since the epoch; None if it does not exist."""
        return Path(name).stat().st_mtime if Path(name).exists() else None

    def now(self) -> float:
        return time.time()


def store_of_run() -> Folder | Bucket:
    """Where the run that this process belongs to keeps its results."""
    return bucket_of_run() or Folder()
