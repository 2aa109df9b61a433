"""What made a result: digests of code, environment and parameters, kept in small stamp files.

Snakemake compares dates, but does not look at modules that a script imports. A stamp holds the digest of the code that
a job really uses. It is rewritten only when that differs, and it is an input of the job, so a result is made again
exactly when what made it has changed, even if results were copied from elsewhere.
"""

import atexit
import hashlib
import json
import os
from functools import cached_property
from pathlib import Path

from nlbflow.errors import NlbflowError
from nlbflow.running.bucket import Bucket
from nlbflow.running.code import ABOVE, code_digest, code_files, digest_of


def describe_code(scripts: list[Path], environment: Path) -> dict:
    """What a kind of job runs: digests of its code files and of its conda environment.

    Raises:
        NlbflowError: a file is missing or is not Python.
    """
    code = {}
    for script in scripts:
        for file in code_files(script):
            ours = file.is_relative_to(ABOVE)
            name = os.path.relpath(file, ABOVE if ours else script.resolve().parent)
            code[name] = code_digest(file)
    lines = [line.split("#")[0].strip() for line in environment.read_text().splitlines()]
    return {"code": code, "environment": digest_of([line for line in lines if line])}


def describe(code: dict, parameters: dict) -> dict:
    """What a job is made of: its code, as from `describe_code`, its parameters, and a digest of both."""
    content = {**code, "parameters": parameters}
    return {"digest": digest_of(content), **content}


def _text(content: dict) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def is_stamp_of(content: dict, digest: str) -> bool:
    """Whether a stamp's content is undamaged and has the digest."""
    parts = {key: value for key, value in content.items() if key != "digest"}
    return content.get("digest") == digest == digest_of(parts)


def refuse_edited(content: dict, beside: Path = ABOVE) -> None:
    """Refuse to run code that was edited after its stamp was written, because its result would pass for the old code's.

    Args:
        content: the stamp's content.
        beside: the folder of a user's model, where code lies that is not ours.

    Raises:
        NlbflowError: a file was edited.
    """
    for name, digest in content["code"].items():
        file = next((folder / name for folder in (ABOVE, beside) if (folder / name).is_file()), None)
        if file and code_digest(file) != digest:
            raise NlbflowError(f"{file} was edited since this run was planned; run again.")


class Stamps:
    """The stamp files that a run was planned with.

    Unless `keep` is called (by a run that really starts), replaced files are put back at exit, so a dry run with other
    code or parameters leaves no trace.
    """

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}
        self._replaced: dict[Path, tuple[bytes, int] | None] = {}
        atexit.register(self._restore)

    def write(self, path: Path, content: dict) -> str:
        """Write a stamp unless it has this content already; return its path as Snakemake wants it."""
        self.digests[path.as_posix()] = content["digest"]
        text = _text(content)
        before = (path.read_bytes(), path.stat().st_mtime_ns) if path.is_file() else None
        if before is None or before[0] != text:
            self._replaced.setdefault(path, before)
            self._put(path, text)
        return path.as_posix()

    def keep(self) -> None:
        self._replaced.clear()

    @staticmethod
    def _put(path: Path, text: bytes, modified_ns: int | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_bytes(text)
        if modified_ns is not None:
            os.utime(temporary, ns=(modified_ns, modified_ns))
        os.replace(temporary, path)

    def _restore(self) -> None:
        for path, before in self._replaced.items():
            if before is None:
                path.unlink(missing_ok=True)
            else:
                self._put(path, *before)


class StampsInBucket:
    """The stamps of a run whose results lie in a bucket, where no date can be put back: they are written by `keep`.

    Attributes:
        digests: of each stamp that the plan has asked for, by name.
        changed: the content of those that differ from what the bucket has, by name; for the plan, they are new.
    """

    def __init__(self, bucket: Bucket) -> None:
        self.digests: dict[str, str] = {}
        self.changed: dict[str, bytes] = {}
        self._bucket = bucket

    @cached_property
    def _etags(self) -> dict[str, str]:
        return {name: found.etag for name, found in self._bucket.below("results/stamps").items()}

    def write(self, path: Path, content: dict) -> str:
        name, text = path.as_posix(), _text(content)
        self.digests[name] = content["digest"]
        # mostly, an ETag is the MD5; with some kinds of encryption it is not, and the content has to be read
        plain = f'"{hashlib.md5(text, usedforsecurity=False).hexdigest()}"'
        if name not in self._etags or (self._etags[name] != plain and self._bucket.read(name) != text):
            self.changed[name] = text
        return name

    def keep(self) -> None:
        for name, text in self.changed.items():
            self._bucket.write(name, text)
        self.changed.clear()
