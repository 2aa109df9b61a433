"""Ranges of bytes of an object in the archive. Another object than the one that the pointer names is refused."""

import re
from collections.abc import Callable
from typing import Self

import requests

from nlbflow.archive.pointers import Pointer
from nlbflow.archive.sessions import CUT_OR_SILENT, Interrupted, OneAttempt, insist
from nlbflow.errors import NlbflowError
from nlbflow.running.checksums import Log, Meter

CHUNK = 1 << 16  # bytes; the most that a cut connection can lose
WHOLE_INSTEAD = "set `stream: false` in the dataset's stanza, which fetches the whole file"
VERSION = "x-amz-version-id"


class Ranges:
    """Asks for ranges over one connection, and again after an interruption, for the bytes that are missing.

    Args:
        pointer: the object; with an empty version, any version is taken.
        log: takes a line for each further attempt, and progress lines.
        stall_s: how many seconds nothing may come.
        limits: of `insist`.

    Attributes: requests, bytes: how many requests were made and how many bytes came; version: the object's.
    """

    def __init__(self, pointer: Pointer, log: Log, stall_s: float = 60.0, **limits: float) -> None:
        self.pointer, self.log, self.limits = pointer, log, limits
        self.session = OneAttempt(stall_s)
        self.requests = self.bytes = 0
        self.version = pointer.version

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.session.close()

    def read(self, start: int, end: int, take: Callable[[bytes], None]) -> None:
        """Give the bytes [start, end) to `take`, in pieces as they come.

        Raises:
            NlbflowError: the server sends no ranges or another object, or nothing within the limits.
        """
        have = start
        meter = Meter(self.pointer.name, end - start, 0, self.log)

        def attempt() -> None:
            nonlocal have
            asked = {"Accept-Encoding": "identity", "Range": f"bytes={have}-{end - 1}"}
            self.requests += 1
            with self.session.get(self.pointer.url, stream=True, headers=asked) as response:
                self._check(response, have)
                try:
                    for piece in response.iter_content(CHUNK):
                        piece = piece[: end - have]
                        take(piece)
                        have += len(piece)
                        self.bytes += len(piece)
                        meter(have - start)
                except CUT_OR_SILENT as fault:
                    raise self.session.interrupted(fault) from fault
            if have < end:
                raise Interrupted("the connection was cut")

        insist(attempt, lambda: have, self.log, self.pointer.url, self.pointer.name, **self.limits)

    def _check(self, response: requests.Response, start: int) -> None:
        """Refuse what is not a range of the pinned object."""
        of = self.pointer
        kind = response.headers.get("Content-Type", "")
        if "html" in kind:
            raise NlbflowError(
                f"{of.url} answers {response.status_code} with a web page ({kind}) instead of bytes of {of.name}; a "
                "proxy or a login page may stand between: open the address in a browser."
            )
        if response.status_code == 200:
            raise NlbflowError(
                f"{of.url} sends {of.name} only as a whole (it answers 200, not 206, when asked for a range), so it "
                f"cannot be streamed; {WHOLE_INSTEAD}."
            )
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if response.status_code not in (206, 416) or (response.status_code == 206 and not found):
            raise NlbflowError(
                f"bytes of {of.name} should lie at {of.url}, which answers {response.status_code}; try later, or "
                f"{WHOLE_INSTEAD}."
            )
        etag, version = response.headers.get("ETag", "").strip('"'), response.headers.get(VERSION, "")
        self.version = self.version or version
        known = {"bytes": of.bytes, "entity tag": of.etag, "version": self.version}
        size = int(found[2]) if found else int(response.headers.get("Content-Range", "*/0").rpartition("/")[2])
        given = {"bytes": size, "entity tag": etag, "version": version}
        if changed := [name for name in known if known[name] != given[name]]:
            told = "; ".join(f"{name}: expected {known[name]}, found {given[name] or 'none'}" for name in changed)
            raise NlbflowError(
                f"{of.url} has another object than {of.name} was pinned to ({told}), so nothing more of it is used; "
                f"if the archive has moved it, delete the pointer file and run again, else {WHOLE_INSTEAD}."
            )
        if int(found[1]) != start:
            raise Interrupted("the archive sent other bytes than asked for")
