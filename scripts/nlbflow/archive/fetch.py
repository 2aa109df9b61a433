"""Fetch a dataset's files from the DANDI archive, or a file from a plain url.

Whatever happens (a cut connection, a full disk, Ctrl-C, SIGKILL), a file gets its final name only when it is whole
and has the pinned SHA-256. An unfinished download waits in a scratch folder beside its destination, so moving it is
one atomic rename, and the next attempt or the next run continues it.
"""

import errno
import fcntl
import ipaddress
import logging
import math
import os
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from dandi.consts import DandiInstance
from dandi.dandiapi import DandiAPIClient
from dandi.exceptions import NotFoundError
from urllib3.exceptions import ProtocolError, TimeoutError

from nlbflow.archive.linking import find_pinned, is_whole, link
from nlbflow.archive.pins import Pin
from nlbflow.errors import NlbflowError
from nlbflow.running.checksums import Log, Meter, sha256_of

CHUNK = 1 << 16  # bytes; the most that a cut connection can lose
CUT_OR_SILENT = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


class _Interrupted(Exception):
    """A cut connection, a silent server or a response like 503, after which another attempt may succeed."""


class _OneAttempt(requests.Session):
    """A session that gives every request a time limit and one attempt.

    dandi's client waits for ever on a silent server and repeats a failing request for minutes. It repeats only after
    errors of `requests`, so an error of our own ends its loop, and `_download` decides on further attempts.
    """

    def __init__(self, stall_s: float) -> None:
        super().__init__()
        self.stall_s = stall_s

    def request(self, method: str, url: str, **kwargs: Any) -> requests.Response:
        try:
            response = super().request(method, url, **{**kwargs, "timeout": self.stall_s})
        except CUT_OR_SILENT as fault:
            raise self.interrupted(fault) from fault
        if response.status_code >= 500 or response.status_code in (408, 429):
            response.close()
            raise _Interrupted(f"the archive answered {response.status_code}")
        return response

    def interrupted(self, fault: Exception) -> _Interrupted:
        inner = next(iter(fault.args), fault)
        if isinstance(fault, requests.Timeout) or isinstance(inner, TimeoutError):
            return _Interrupted(f"nothing came for {self.stall_s:g} s")
        if isinstance(inner, ProtocolError):
            return _Interrupted("the connection was cut")
        return _Interrupted(f"no connection, {type(getattr(inner, 'reason', inner)).__name__}")


class _Wary(_OneAttempt):
    """A session for an address that a stranger gave: as far as names tell, nothing leads it into the own network."""

    def __init__(self, stall_s: float) -> None:
        super().__init__(stall_s)
        self.max_redirects = 5

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        if (target := super().get_redirect_target(resp)) is not None:
            before, after = urlsplit(resp.url), urlsplit(urljoin(resp.url, target))
            moved = (after.hostname, after.port) != (before.hostname, before.port)
            if moved and (after.scheme != "https" or _is_inside(after.hostname)):
                raise NlbflowError(
                    f"{before.hostname} redirects to another host, {after.scheme}://{after.hostname}; expected "
                    "one that is public, by https: give the address at which the file itself lies."
                )
        return target


def _is_inside(host: str | None) -> bool:
    """Whether a host is on this machine or in its network; one whose name is not known here is left to the proxy."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    known = [ipaddress.ip_address(address.split("%")[0]) for address in found]
    return any(not address.is_global or address.is_multicast for address in known)


def fetch_from_dandi(
    pin: Pin,
    destination: Path,
    instance: str,
    log: Log,
    retries: int = 8,
    stall_s: float = 60.0,
    time_limit_s: float = 600.0,
    wait_s: float = 1.0,
) -> None:
    """Download the pinned file from the archive at API url `instance`, unless it is already there.

    After a failed attempt (connection cut, 5xx, 429, `stall_s` seconds of silence) up to `retries` more follow, the
    first after `wait_s` seconds, each later one after twice as long, within `time_limit_s` seconds. Both limits start
    again whenever new bytes have arrived.

    Raises NlbflowError if dandiset, version or path do not exist, if the archive's file is not the pinned one, if the
    checksum is wrong (the download is deleted), and at the limits (the download is kept).
    """
    with _client(instance, stall_s) as client:
        find_url = partial(_pinned_url, client, pin)
        source = _Source(client.session, find_url, client.api_url, retries, time_limit_s, wait_s)
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
) -> None:
    """Download the pinned file from a plain url, unless it is there; faults and limits as in `fetch_from_dandi`.

    Args:
        folder: a folder of the user's; if the file lies below it, it is linked instead (config key `data_folder`).
        slowest: the least bytes per second that are waited for, over the whole file and two minutes more.

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
    with _Wary(stall_s) as session:
        until = time.monotonic() + 120 + pin.bytes / slowest if slowest else math.inf
        _fetch(pin, destination, _Source(session, lambda: url, url, retries, until=until), log)


@dataclass(frozen=True)
class _Source:
    """Where a file comes from: how to find its url, which is done on first use, and how long to try."""

    session: _OneAttempt
    find_url: Callable[[], str]
    name: str
    retries: int
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


def _client(instance: str, stall_s: float) -> DandiAPIClient:
    os.environ.setdefault("DANDI_NO_ET", "1")  # the client would ask another server about its newest version
    logging.getLogger("dandi").setLevel(logging.CRITICAL)  # our own messages say the same
    # An instance, because the client would look up a url without any time limit.
    client = DandiAPIClient(dandi_instance=DandiInstance(name=instance, gui=None, api=instance))
    client.session = _OneAttempt(stall_s)
    return client


def _download(pin: Pin, file: FileIO, source: _Source, log: Log) -> None:
    """Append to `file` until it has the pinned size, with further attempts if they may succeed."""
    url, failures, best, moved = None, 0, file.tell(), time.monotonic()
    while file.tell() < pin.bytes:
        try:
            url = url or source.find_url()
            _append(pin, file, source.session, url, log, source.until)
        except _Interrupted as fault:
            if file.tell() > best:
                failures, best, moved = 0, file.tell(), time.monotonic()
            failures += 1
            wait = min(30.0, source.wait_s * 2 ** (failures - 1))
            if failures > source.retries or time.monotonic() - moved + wait > source.limit_s:
                raise NlbflowError(
                    f"{source.name} did not deliver {pin} ({failures} attempts failed, the last because {fault}); "
                    f"check the connection and run again, which continues from the {file.tell() / 1e6:.1f} MB so far."
                ) from fault
            log(f"{pin.path}: {fault}; attempt {failures + 1} of {source.retries + 1} in {wait:g} s")
            time.sleep(wait)
        except (requests.RequestException, ValueError, KeyError, TypeError) as fault:
            raise NlbflowError(
                f"{source.name} did not answer like an archive when asked for {pin} "
                f"({' '.join(str(fault).split())[:200]}); check its url (DANDI's ends in /api) and any proxy."
            ) from fault
    os.fsync(file.fileno())


def _pinned_url(client: DandiAPIClient, pin: Pin) -> str:
    """The url of the pinned file, once the archive has confirmed its size and SHA-256."""
    missing = f"dandiset {pin.dandiset}"
    try:
        dandiset = client.get_dandiset(pin.dandiset, lazy=False)
        missing = f"version {pin.version} of dandiset {pin.dandiset}"
        dandiset = dandiset.for_version(pin.version)
        missing = str(pin)
        asset = dandiset.get_asset_by_path(pin.path)
        missing = f"SHA-256 for {pin}"
        found = f"{asset.size} bytes with SHA-256 {asset.get_raw_digest('dandi:sha2-256')}"
    except NotFoundError as fault:
        raise NlbflowError(f"{client.api_url} has no {missing}; correct the table of pins or the url.") from fault
    if found != (expected := f"{pin.bytes} bytes with SHA-256 {pin.sha256}"):
        raise NlbflowError(
            f"{client.api_url} has another {pin} than the pinned one (expected {expected}, found {found}), so "
            "nothing was fetched; correct the table of pins."
        )
    return asset.base_download_url


def _append(pin: Pin, file: FileIO, session: _OneAttempt, url: str, log: Log, until: float) -> None:
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
            raise _Interrupted("the archive sent other bytes than asked for")
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
                    raise _Interrupted("the disk took only a part of the bytes")
                meter(file.tell())
        except CUT_OR_SILENT as fault:
            raise session.interrupted(fault) from fault
        except OSError as fault:
            if fault.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NlbflowError(f"{file.name} could not grow; make room ({fault.strerror}).") from fault
            raise
    if file.tell() < pin.bytes:
        raise _Interrupted("the connection was cut")
