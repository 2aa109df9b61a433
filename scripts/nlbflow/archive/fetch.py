"""Fetch a dataset's files from the DANDI archive, or a file from a plain url.

Whatever happens (a cut connection, a full disk, Ctrl-C, SIGKILL), a file gets its final name only when it is whole
and has the pinned SHA-256. An unfinished download waits in a scratch folder beside its destination, so moving it is
one atomic rename, and the next attempt or the next run continues it.
"""

import errno
import fcntl
import math
import os
import shutil
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from urllib.parse import urlsplit

from nlbflow.archive.assets import connect, find_asset
from nlbflow.archive.linking import find_pinned, is_whole, link
from nlbflow.archive.pins import Pin
from nlbflow.archive.sessions import CUT_OR_SILENT, Interrupted, OneAttempt, Wary, insist, refuse_inside
from nlbflow.errors import NlbflowError
from nlbflow.running.checksums import Log, Meter, sha256_of

CHUNK = 1 << 16  # bytes; the most that a cut connection can lose


def fetch_from_dandi(
    pin: Pin,
    destination: Path,
    instance: str,
    log: Log,
    retries: int = 8,
    stall_s: float = 60.0,
    time_limit_s: float = 600.0,
    wait_s: float = 1.0,
    tell: Log | None = None,
) -> None:
    """Download the pinned file from the archive at API url `instance`, unless it is already there.

    After a failed attempt (connection cut, 5xx, 429, `stall_s` seconds of silence) up to `retries` more follow, the
    first after `wait_s` seconds, each later one after twice as long, within `time_limit_s` seconds. Both limits start
    again whenever new bytes have arrived. Each failed attempt is told with `tell`, or else with `log`.

    Raises NlbflowError if dandiset, version or path do not exist, if the archive's file is not the pinned one, if the
    checksum is wrong (the download is deleted), and at the limits (the download is kept).
    """
    with connect(instance, stall_s) as client:
        source = _Source(
            client.session,
            lambda: find_asset(client, pin).base_download_url,
            client.api_url,
            retries,
            tell or log,
            time_limit_s,
            wait_s,
        )
        _fetch(pin, destination, source, log)


def fetch_from_url(
    pin: Pin,
    destination: Path,
    url: str,
    log: Log,
    retries: int = 8,
    stall_s: float = 60.0,
    folder: str = "",
    slowest: float = 0.0,
    inside: Collection[str] | None = None,
    tell: Log | None = None,
) -> None:
    """Download the pinned file from a plain url, unless it is there; faults and limits as in `fetch_from_dandi`.

    Args:
        folder: a folder of the user's; if the file lies below it, it is linked instead (config key `data_folder`).
        slowest: the least bytes per second that are waited for, over the whole file and two minutes more.
        inside: of a url that a stranger gave, the hosts in this machine's own network that may be asked.

    Raises:
        NlbflowError: as in `fetch_from_dandi`; the url leads to another host without https, or into this machine's own
            network.
    """
    name = Path(urlsplit(url).path).name
    if folder and name:
        found, fault = find_pinned(replace(pin, path=name), Path(folder).expanduser().absolute(), log)
        if found is not None:
            return link(found, destination, log)
        log(f"{fault}; it is fetched from {url}")
    if inside is not None:
        refuse_inside(url, inside)
    with Wary(stall_s) as session:
        until = time.monotonic() + 120 + pin.bytes / slowest if slowest else math.inf
        _fetch(pin, destination, _Source(session, lambda: url, url, retries, tell or log, until=until), log)


@dataclass(frozen=True)
class _Source:
    """Where a file comes from: how to find its url, which is done on first use, how long to try, and whom to tell."""

    session: OneAttempt
    find_url: Callable[[], str]
    name: str
    retries: int
    tell: Log
    limit_s: float = 600.0
    wait_s: float = 1.0
    until: float = math.inf


def _fetch(pin: Pin, destination: Path, source: _Source, log: Log) -> None:
    if is_whole(destination, pin, log):
        return
    # Named after the pin, because a job's `destination` is a temporary name that differs in each run.
    part = destination.parent / f".{Path(pin.path).name}.{pin.sha256[:16]}.part" / Path(pin.path).name
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab", buffering=0) as file:  # closing a buffered one would fail again on a full disk
        _lock(file, pin)
        try:
            _download(pin, file, source, log)
            if (found := sha256_of(part, log)) != pin.sha256:
                part.unlink()
                raise NlbflowError(
                    f"{pin} came with the wrong checksum (expected SHA-256 {pin.sha256}, found {found}), so "
                    "the download was deleted; run again to fetch it anew."
                )
            os.utime(part)  # a download that a killed run finished must not be older than this job's inputs
            os.replace(part, destination)
        finally:
            if file.tell() == 0 or not part.exists():  # nothing is left to continue
                shutil.rmtree(part.parent, ignore_errors=True)


def _lock(file: FileIO, pin: Pin) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as fault:  # other kinds mean a file system without locks, as on some clusters
        if isinstance(fault, BlockingIOError):
            raise NlbflowError(f"{pin} is being fetched by another process; wait for it, then run again.") from fault


def _download(pin: Pin, file: FileIO, source: _Source, log: Log) -> None:
    """Append to `file` until it has the pinned size, with further attempts if they may succeed."""
    urls: list[str] = []  # found once

    def attempt() -> None:
        if not urls:
            urls.append(source.find_url())
        _append(pin, file, source.session, urls[0], log, source.until)

    if file.tell() < pin.bytes:
        insist(attempt, file.tell, source.tell, source.name, str(pin), source.retries, source.limit_s, source.wait_s)
    os.fsync(file.fileno())


def _append(pin: Pin, file: FileIO, session: OneAttempt, url: str, log: Log, until: float) -> None:
    """Ask once for the bytes that `file` lacks; dandi's own iterator hides whether the server heeded Range."""
    have = file.tell()
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with session.get(url, stream=True, headers=headers) as response:
        if not response.ok:
            raise NlbflowError(
                f"{pin} should lie at {url}, which answers {response.status_code}; try later, or correct the address."
            )
        if have and response.status_code == 200:
            have = file.seek(file.truncate(0))
        elif have and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise Interrupted("the archive sent other bytes than asked for")
        if have:
            log(f"{pin.path}: continuing at {have / 1e6:.1f} of {pin.bytes / 1e6:.1f} MB")
        meter = Meter(pin.path, pin.bytes, have, log)
        try:
            for chunk in response.iter_content(CHUNK):
                if time.monotonic() > until:
                    raise NlbflowError(
                        f"{url} sends too slowly: {file.tell():,} of {pin.bytes:,} bytes came in the time there is; "
                        "give another address."
                    )
                if file.tell() + len(chunk) > pin.bytes:
                    file.seek(file.truncate(0))
                    raise NlbflowError(
                        f"{url} has more than the {pin.bytes:,} bytes of {pin}, so it is another file and was not "
                        "kept; correct the size or the address."
                    )
                if file.write(chunk) < len(chunk):
                    raise Interrupted("the disk took only a part of the bytes")
                meter(file.tell())
        except CUT_OR_SILENT as fault:
            raise session.interrupted(fault) from fault
        except OSError as fault:
            if fault.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NlbflowError(f"{file.name} could not grow; make room ({fault.strerror}).") from fault
            raise
    if file.tell() < pin.bytes:
        raise Interrupted("the connection was cut")
