"""One run at a time in a bucket, by an object that its holder keeps renewing.

S3 has no lock that ends with its holder, but it can write an object on the condition that nobody else has (since 2024;
docs/cloud.md names servers that cannot). All times are the server's.
"""

import json
import os
import signal
import socket
import sys
import threading
import uuid
from contextlib import suppress

from nlbflow.errors import NlbflowError
from nlbflow.running.bucket import Bucket, Taken, bucket_of_run

HELD = "results/.running"
# A holder renews its lease this often, in seconds; one that has not for so long is dead.
RENEWED, ENDED = 20.0, 120.0


def holder() -> bytes | None:
    """Who holds the bucket of the run that this process belongs to, as it is written there; None without one."""
    bucket = bucket_of_run()
    return bucket.read(HELD) if bucket else None


class Lease:
    """A hold on what lies below a bucket's prefix.

    Raises:
        NlbflowError: another live run holds it, or the bucket cannot be written to.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket, self._over = bucket, threading.Event()
        who = {"holder": f"{os.getpid()} on {socket.gethostname()}", "lease": uuid.uuid4().hex}
        self._content = json.dumps(who).encode()
        self._etag = self._take()
        self._renewing = threading.Thread(target=self._renew, daemon=True)
        self._renewing.start()

    def _take(self) -> str:
        found, now = self._bucket.ask(HELD)
        age = (now - found.modified).total_seconds() if found else 0.0
        if found and age < ENDED:
            raise NlbflowError(self._refusal(f"renewed {age:.0f} s ago"))
        try:
            condition = {"IfMatch": found.etag} if found else {"IfNoneMatch": "*"}
            return self._bucket.write(HELD, self._content, **condition)
        except Taken:
            raise NlbflowError(self._refusal("just begun")) from None

    def _refusal(self, when: str) -> str:
        holder = json.loads(self._bucket.read(HELD) or b"{}").get("holder", "unknown")
        return (
            f"{self._bucket} is in use by a live run of snakemake (process {holder}, {when}); wait for it or stop it. "
            f"If it was killed, the bucket is free {ENDED:.0f} s after its last sign of life."
        )

    def _renew(self) -> None:
        while not self._over.wait(RENEWED):
            try:
                self._etag = self._bucket.write(HELD, self._content, IfMatch=self._etag)
            except Taken:
                # this run was stopped, or without a network, for so long that another took it for dead
                print(f"nlbflow: another run has taken over {self._bucket}, so this one ends.", file=sys.stderr)
                os.kill(os.getpid(), signal.SIGTERM)
                return
            except NlbflowError as error:
                print(f"nlbflow: {error}", file=sys.stderr)

    def release(self) -> None:
        """Let others have it. A holder that dies without this leaves them to wait for `ENDED` seconds."""
        self._over.set()
        self._renewing.join()
        with suppress(NlbflowError):
            if self._bucket.read(HELD) == self._content:
                self._bucket.remove(HELD)
