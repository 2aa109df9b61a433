"""Where a pinned file lies in the DANDI archive."""

import logging
import os
from dataclasses import replace
from pathlib import Path

from dandi.consts import DandiInstance
from dandi.dandiapi import DandiAPIClient, RemoteAsset
from dandi.exceptions import NotFoundError

from nlbflow.archive.pins import Pin
from nlbflow.archive.pointers import Pointer, write_pointer
from nlbflow.archive.ranges import Ranges
from nlbflow.archive.sessions import OneAttempt, insist
from nlbflow.errors import NlbflowError
from nlbflow.running.checksums import Log


def connect(instance: str, stall_s: float) -> DandiAPIClient:
    """A client of the archive at API url `instance`; a request waits for `stall_s` seconds."""
    os.environ.setdefault("DANDI_NO_ET", "1")  # the client would ask another server about its newest version
    logging.getLogger("dandi").setLevel(logging.CRITICAL)  # our own messages say the same
    # An instance, because the client would look up a url without any time limit.
    client = DandiAPIClient(dandi_instance=DandiInstance(name=instance, gui=None, api=instance))
    client.session = OneAttempt(stall_s)
    return client


def find_asset(client: DandiAPIClient, pin: Pin) -> RemoteAsset:
    """The pinned file in the archive, which has confirmed its size and SHA-256.

    Raises:
        NlbflowError: the archive has no such file, or another one.
    """
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
    return asset


def point_at(
    pin: Pin, destination: Path, instance: str, inputs: dict[str, str], log: Log, stall_s: float = 60.0, **limits: float
) -> None:
    """Write a pointer to the object of the archive at API url `instance` that holds the pinned file.

    Args:
        pin: the file.
        destination: the pointer's path.
        instance: the archive's API url.
        inputs: pinned checksums of the file's content (`pointers`).
        log: takes lines.
        stall_s: how many seconds a request waits.
        limits: of `insist`.

    Raises:
        NlbflowError: the archive has not the pinned file, does not answer, or sends no ranges of its bytes.
    """
    pointer = None
    with connect(instance, stall_s) as client:

        def attempt() -> None:
            nonlocal pointer
            known = find_asset(client, pin).get_raw_metadata()
            # not the API's own address, which redirects to the object and would double the time of each request
            url, *_ = [url for url in known["contentUrl"] if not url.startswith(client.api_url)]
            pointer = Pointer(str(pin), url, pin.bytes, known["digest"]["dandi:dandi-etag"], "", pin.sha256, inputs)

        insist(attempt, lambda: 0, log, client.api_url, str(pin), **limits)
    with Ranges(pointer, log, stall_s, **limits) as ranges:
        # which confirms size and entity tag, and that there are ranges
        ranges.read(0, 1, lambda piece: None)
        write_pointer(destination, replace(pointer, version=ranges.version))
