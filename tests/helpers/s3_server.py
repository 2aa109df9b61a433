"""An S3 server on loopback: moto's, served by waitress, with what can go wrong on the way to a real one.

Its objects are in this process's memory, so they outlive a server that is killed and started again.
"""

import os
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from moto.server import DomainDispatcherApplication, create_backend_app
from waitress import create_server, wasyncore
from waitress.channel import HTTPChannel

FAULT = '<?xml version="1.0"?><Error><Code>{}</Code><Message>{}</Message></Error>'
# What starts a job in a folder of its own, and tells whether it has ended.
WORKERS = Path(__file__).with_name("workers.py")


class Channel(HTTPChannel):
    """Waitress waits for ever for the body of an empty object that a client announces with `Expect: 100-continue`."""

    def send_continue(self) -> None:
        whole = self.request.completed
        super().send_continue()
        self.request.completed = whole


class S3Server:
    """Serves one bucket, `lab`, to who knows the key.

    Attributes:
        delay: seconds before each answer.
        busy: how many of the next requests are answered with 503.
        count: requests by method, and bytes `in` and `out`.
    """

    bucket, access_key, secret_key = "lab", "a-key", "a-secret"

    def __init__(self) -> None:
        self.delay, self.busy, self.count = 0.0, 0, Counter()
        self._app, self._port = DomainDispatcherApplication(create_backend_app), 0
        self._lock = threading.Lock()
        self.start()
        self.client().create_bucket(Bucket=self.bucket)

    def __call__(self, environ, start_response):
        """Answer a request, as WSGI has it."""
        time.sleep(self.delay)
        head = environ["REQUEST_METHOD"] == "HEAD"
        with self._lock:
            self.count[environ["REQUEST_METHOD"]] += 1
            self.count["in"] += int(environ.get("CONTENT_LENGTH") or 0)
            busy, self.busy = self.busy > 0, max(self.busy - 1, 0)
        refused = f"Credential={self.access_key}/" not in environ.get("HTTP_AUTHORIZATION", "")
        if busy or refused:
            status, code = ("503 Slow Down", "SlowDown") if busy else ("403 Forbidden", "InvalidAccessKeyId")
            start_response(status, [("Content-Type", "application/xml")])
            return [b"" if head else FAULT.format(code, "as the test asked").encode()]
        return self._counted(self._app(environ, start_response), head)

    def _counted(self, answer, head):
        for part in answer:
            self.count["out"] += 0 if head else len(part)
            yield part
        with suppress(AttributeError):
            answer.close()

    def start(self) -> None:
        """Serve, at the same port as before."""
        self._sockets = {}
        server = create_server(self, host="127.0.0.1", port=self._port, threads=4, map=self._sockets)
        server.channel_class = Channel
        self._port = server.effective_port
        self._serving = threading.Thread(target=self._serve, args=(server,), daemon=True)
        self._serving.start()

    @staticmethod
    def _serve(server) -> None:
        with suppress(OSError):  # a socket that was closed while it was waited for
            server.run()

    def kill(self) -> None:
        """Break all connections and take no more."""
        wasyncore.close_all(self._sockets, ignore_all=True)
        self._serving.join(10)

    def client(self):
        """A client of the server's own."""
        import boto3

        keys = {"aws_access_key_id": self.access_key, "aws_secret_access_key": self.secret_key}
        return boto3.client("s3", endpoint_url=self.url, region_name="us-east-1", **keys)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a user sets."""
        keys = {"ENDPOINT_URL": self.url, "ACCESS_KEY": self.access_key, "SECRET_KEY": self.secret_key}
        return {f"SNAKEMAKE_STORAGE_S3_{name}": value for name, value in keys.items()}

    def names(self, prefix: str = "") -> list[str]:
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def read(self, name: str) -> bytes:
        return self.client().get_object(Bucket=self.bucket, Key=name)["Body"].read()

    def write(self, name: str, content: bytes) -> None:
        self.client().put_object(Bucket=self.bucket, Key=name, Body=content)


def storage_options(prefix: str) -> list[str]:
    """What makes a run's data and results lie in the bucket."""
    where = ["--default-storage-provider", "s3", "--default-storage-prefix", f"s3://{S3Server.bucket}/{prefix}"]
    # not at the end, because it takes all words that follow
    return ["--shared-fs-usage", "none", *where]


def worker_options(folder: Path) -> list[str]:
    """What makes jobs run in folders of their own below `folder`, where nothing of the run's folder is seen."""
    call = f"{sys.executable} {WORKERS}"
    commands = {"submit": f"{call} submit {folder}", "status": f"{call} status"}
    options = [word for name, command in commands.items() for word in (f"--cluster-generic-{name}-cmd", command)]
    return ["--executor", "cluster-generic", "--job-deploy-sources", "--jobs", "2", "--local-cores", "1", *options]


def worker_path() -> str:
    """A PATH on which `python` is this one, as in a worker's image."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
