"""Sessions with a web server: one attempt at a time, each with a time limit, and further ones where they may help."""

import ipaddress
import socket
import time
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
from requests.utils import requote_uri
from urllib3.exceptions import ProtocolError, TimeoutError

from nlbflow.errors import NlbflowError
from nlbflow.running.checksums import Log

CUT_OR_SILENT = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


class Interrupted(Exception):
    """A cut connection, a silent server or a response like 503, after which another attempt may succeed."""


class OneAttempt(requests.Session):
    """A session that gives every request a time limit and one attempt.

    dandi's client waits for ever on a silent server and repeats a failing request for minutes. It repeats only after
    errors of `requests`, so an error of our own ends its loop, and `insist` decides on further attempts.
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
            raise Interrupted(f"the archive answered {response.status_code}")
        return response

    def interrupted(self, fault: Exception) -> Interrupted:
        inner = next(iter(fault.args), fault)
        if isinstance(fault, requests.Timeout) or isinstance(inner, TimeoutError):
            return Interrupted(f"nothing came for {self.stall_s:g} s")
        if isinstance(inner, ProtocolError):
            return Interrupted("the connection was cut")
        return Interrupted(f"no connection, {type(getattr(inner, 'reason', inner)).__name__}")


def insist(
    attempt: Callable[[], None],
    have: Callable[[], int],
    log: Log,
    who: str,
    what: str,
    retries: int = 8,
    limit_s: float = 600.0,
    wait_s: float = 1.0,
) -> None:
    """Call `attempt` until it returns, and again after an interruption.

    Up to `retries` attempts follow a failed one, the first after `wait_s` seconds, each later one after twice as long,
    within `limit_s` seconds. Both limits start again whenever new bytes have arrived.

    Args:
        attempt: what may be interrupted; the next call goes on from the bytes there are.
        have: how many bytes there are.
        log: takes a line for each attempt.
        who, what: who is asked for what, for messages.

    Raises:
        NlbflowError: the limits are reached, or what answers is no archive.
    """
    failures, best, moved = 0, have(), time.monotonic()
    while True:
        try:
            return attempt()
        except Interrupted as fault:
            if have() > best:
                failures, best, moved = 0, have(), time.monotonic()
            failures += 1
            wait = min(30.0, wait_s * 2 ** (failures - 1))
            if failures > retries or time.monotonic() - moved + wait > limit_s:
                raise NlbflowError(
                    f"{who} did not deliver {what} ({failures} attempts failed, the last because {fault}); "
                    f"check the connection and run again, which continues from the {have() / 1e6:.1f} MB so far."
                ) from fault
            log(f"{what}: {fault}; attempt {failures + 1} of {retries + 1} in {wait:g} s")
            time.sleep(wait)
        except (requests.RequestException, ValueError, KeyError, TypeError) as fault:
            raise NlbflowError(
                f"{who} did not answer like an archive when asked for {what} "
                f"({' '.join(str(fault).split())[:200]}); check its url (DANDI's ends in /api) and any proxy."
            ) from fault


class Wary(OneAttempt):
    """A session for an address that a stranger gave: as far as names tell, nothing leads it into the own network."""

    def __init__(self, stall_s: float) -> None:
        super().__init__(stall_s)
        self.max_redirects = 5

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        if (target := super().get_redirect_target(resp)) is not None:
            before, after = urlsplit(resp.url), _as_asked(urljoin(resp.url, target))
            moved = (after.hostname, after.port) != (before.hostname, before.port)
            if moved and (after.scheme != "https" or _is_inside(after.hostname)):
                raise NlbflowError(
                    f"{before.hostname} redirects to another host, {after.scheme}://{after.hostname}; expected "
                    "one that is public, by https: give the address at which the file itself lies."
                )
        return target


def refuse_inside(url: str, allowed: Collection[str]) -> None:
    """Refuse an address of a stranger's in this machine's own network.

    Args:
        allowed: the hosts there that may be asked.

    Raises:
        NlbflowError: the address is of another one.
    """
    host = _as_asked(url).hostname
    if host not in allowed and _is_inside(host):
        raise NlbflowError(
            f"{host} is in this machine's own network, where no stranger's address may lead; give the address of a "
            "public host, or name this one in the config key entry_hosts if the board is yours."
        )


def _as_asked(url: str) -> SplitResult:
    """The parts of an address as requests asks for it, which makes 1 of %31."""
    return urlsplit(requote_uri(url))


def _is_inside(host: str | None) -> bool:
    """Whether a host is on this machine or in its network; one whose name is not known here is left to the proxy."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return False
    known = [ipaddress.ip_address(address.split("%")[0]) for address in found]
    return any(not address.is_global or address.is_multicast for address in known)
