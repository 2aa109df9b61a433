"""A DANDI archive on loopback: the read side of its REST API for several dandisets, with faults to order.

In a test: `with LoopbackArchive({("000140", "0.220113.0408"): folder}) as archive: ... archive.url ...`
By hand: `python tests/helpers/loopback_dandi.py --dandiset 000140:0.220113.0408=DIR --port 8000`; then
`dandi download http://127.0.0.1:8000/api/dandisets/000140/versions/0.220113.0408/` works.
"""

import argparse
import hashlib
import json
import re
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from dandischema.digests.dandietag import DandiETag

DATES = dict.fromkeys(("created", "modified"), "2026-01-01T00:00:00.000000+00:00")
SCHEMA = "0.6.10"
PIECE = 1 << 16
ID = "[0-9a-f-]{36}"
VERSION = r"dandisets/(?P<dandiset>\w+)/versions/(?P<version>[\w.]+)/"


@dataclass
class Request:
    """One request; `sent` counts the bytes of a file that have left for it."""

    method: str
    path: str
    range: str | None
    status: int = 0
    sent: int = 0


@dataclass
class Fault:
    """What goes wrong, for the next `times` requests whose path contains `path`.

    cut: half of the bytes asked for, then the connection closes. stall: half of them, then silence. corrupt:
    a byte is flipped. slow: 64 KiB every 50 ms. whole: Range is ignored. changed: another object of the same size.
    resized: of another size. html: a web page. A number, as 404: that status.
    With `on="api"` (stall and numbers only) it hits the requests for metadata, else those for bytes.
    """

    kind: str
    path: str = ""
    times: float = 1
    on: str = "blob"


@dataclass(frozen=True)
class Asset:
    file: Path
    path: str
    id: str
    size: int
    sha256: str
    etag: str

    def record(self) -> dict[str, Any]:
        return {
            "asset_id": self.id,
            "blob": self.id,
            "path": self.path,
            "size": self.size,
            **DATES,
        }

    def metadata(self, base: str) -> dict[str, Any]:
        return {
            "schemaKey": "Asset",
            "schemaVersion": SCHEMA,
            "id": f"dandiasset:{self.id}",
            "path": self.path,
            "contentSize": self.size,
            "blobDateModified": DATES["modified"],
            "contentUrl": [f"{base}/api/assets/{self.id}/download/", f"{base}/blobs/{self.id}"],
            "digest": {"dandi:dandi-etag": self.etag, "dandi:sha2-256": self.sha256},
        }


def _assets(key: tuple[str, str], folder: Path) -> Iterable[Asset]:
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        path = file.relative_to(folder).as_posix()
        with file.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        name = str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join((*key, path))))
        yield Asset(file, path, name, file.stat().st_size, sha256, DandiETag.from_file(file).as_str())


@dataclass
class LoopbackArchive:
    """Serves {(dandiset, version): folder} on 127.0.0.1 while used as a context manager.

    `url` is the archive's API url, `faults` what is to go wrong (change it at will), `log` the requests.
    The checksums it publishes are those of the files at the start. An answer begins `latency_s` after its request,
    and a connection as long after it was asked for; all bytes of files share a line of `bytes_per_s`.
    """

    dandisets: Mapping[tuple[str, str], Path]
    port: int = 0
    faults: list[Fault] = field(default_factory=list)
    log: list[Request] = field(default_factory=list)
    latency_s: float = 0.0
    bytes_per_s: float = float("inf")
    line_free: float = 0.0  # when what was sent last has passed the line

    def __enter__(self) -> "LoopbackArchive":
        self.versions = {key: list(_assets(key, Path(folder))) for key, folder in self.dandisets.items()}
        self.names = {dandiset for dandiset, _ in self.versions}
        self.assets = {asset.id: asset for assets in self.versions.values() for asset in assets}
        self.closing, self.lock = threading.Event(), threading.Lock()
        handler = type("Handler", (_Handler,), {"archive": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/api"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def blob_requests(self) -> list[Request]:
        return [request for request in self.log if request.path.startswith("/blobs/")]

    def pass_line(self, count: int) -> None:
        """Wait until so many bytes have passed the line, after those of other answers."""
        with self.lock:
            self.line_free = max(self.line_free, time.monotonic()) + count / self.bytes_per_s
            wait = self.line_free - time.monotonic()
        if wait > 0:
            time.sleep(wait)

    def take_fault(self, on: str, path: str) -> str:
        with self.lock:
            for fault in self.faults:
                if fault.on == on and fault.times > 0 and fault.path in path:
                    fault.times -= 1
                    return fault.kind
        return ""

    def version_record(self, dandiset: str, version: str) -> dict[str, Any]:
        assets = self.versions[dandiset, version]
        return {
            "version": version,
            "name": f"Loopback {dandiset}",
            **DATES,
            "status": "Valid",
            "asset_count": len(assets),
            "size": sum(asset.size for asset in assets),
        }

    def dandiset_record(self, dandiset: str) -> dict[str, Any]:
        newest = self.version_record(*max(key for key in self.versions if key[0] == dandiset))
        return {
            "identifier": dandiset,
            **DATES,
            "contact_person": "none",
            "embargo_status": "OPEN",
            "draft_version": {**newest, "version": "draft"},
            "most_recent_published_version": newest,
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    archive: LoopbackArchive

    def handle(self) -> None:
        time.sleep(self.archive.latency_s)
        with suppress(BrokenPipeError, ConnectionResetError):  # clients in these tests hang up and are killed
            super().handle()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.request_log = Request(self.command, self.path, self.headers.get("Range"))
        self.archive.log.append(self.request_log)
        time.sleep(self.archive.latency_s)
        self.route()

    def head(self, status: int, length: int, **headers: str) -> None:
        self.request_log.status = status
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def json(self, answer: object, status: int = 200) -> None:
        body = json.dumps(answer).encode()
        self.head(status, len(body), Content_Type="application/json")
        if self.command != "HEAD":
            self.wfile.write(body)

    def route(self) -> None:
        url, base = urlsplit(self.path), f"http://{self.headers['Host']}"
        path, archive = unquote(url.path), self.archive
        if match := re.fullmatch(rf"/blobs/({ID})", path):
            asset = archive.assets[match[1]]
            return self.blob(asset, archive.take_fault("blob", asset.path))
        fault = archive.take_fault("api", path)
        if fault == "stall":
            archive.closing.wait()
            self.close_connection = True
        elif fault:
            self.json({"detail": "Fault."}, int(fault))
        elif path in ("/server-info", "/api/info/"):
            versions = {"schema_version": SCHEMA, "version": "0.3.0", "cli-minimal-version": "0.60.0"}
            self.json({**versions, "cli-bad-versions": [], "services": {"api": {"url": f"{base}/api"}}})
        elif match := re.fullmatch(rf"/api/(?:{VERSION})?assets/({ID})/(|download/)", path):
            self.asset(*match.groups()[-2:], base)
        elif match := re.fullmatch(rf"/api/{VERSION}(|info/|assets/)", path):
            self.version(match["dandiset"], match["version"], match[3], base)
        elif (match := re.fullmatch(r"/api/dandisets/(\w+)/", path)) and match[1] in archive.names:
            self.json(archive.dandiset_record(match[1]))
        else:
            self.json({"detail": "Not found."}, 404)

    def asset(self, name: str, what: str, base: str) -> None:
        asset = self.archive.assets.get(name)
        if asset is None:
            self.json({"detail": "Not found."}, 404)
        elif what == "download/":
            self.head(302, 0, Location=f"{base}/blobs/{name}")
        else:
            self.json(asset.metadata(base))

    def version(self, dandiset: str, version: str, what: str, base: str) -> None:
        archive = self.archive
        if (dandiset, version) not in archive.versions:
            self.json({"detail": "Not found."}, 404)
        elif what == "assets/":
            self.json(self.listing(archive.versions[dandiset, version], base))
        elif what == "info/":
            record = archive.version_record(dandiset, version)
            record |= {"asset_validation_errors": [], "version_validation_errors": []}
            self.json({**record, "metadata": {}, "dandiset": archive.dandiset_record(dandiset)})
        else:
            name = f"DANDI:{dandiset}"
            self.json({"schemaVersion": SCHEMA, "identifier": name, "id": f"{name}/{version}", "version": version})

    def listing(self, assets: list[Asset], base: str) -> dict[str, Any]:
        query = parse_qs(urlsplit(self.path).query)
        found = [asset for asset in assets if asset.path.startswith(query.get("path", [""])[0])]
        results = [asset.record() for asset in found]
        if query.get("metadata") == ["true"]:
            results = [{**asset.record(), "metadata": asset.metadata(base)} for asset in found]
        return {"count": len(found), "next": None, "previous": None, "results": results}

    def blob(self, asset: Asset, fault: str) -> None:
        if fault.isdigit():
            return self.json({"detail": "Fault."}, int(fault))
        if fault == "html":
            self.head(200, 17, Content_Type="text/html; charset=utf-8")
            self.wfile.write(b"<h1>Log in</h1>\r\n")
            return None
        headers = {"Content_Type": "application/octet-stream", "Accept_Ranges": "bytes"}
        size = asset.size + (fault == "resized")
        first, last = 0, asset.size - 1
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if fault == "whole":
            asked = None
        elif asked:
            first, last = int(asked[1]), min(int(asked[2] or last), last)
            if first > last:
                return self.head(416, 0, Content_Range=f"bytes */{asset.size}")
            headers["Content_Range"] = f"bytes {first}-{last}/{size}"
        length = last - first + 1
        etag = f"{asset.etag[::-1] if fault == 'changed' else asset.etag}"
        self.head(206 if asked else 200, length, ETag=f'"{etag}"', **headers)
        if self.command == "HEAD":
            return
        with asset.file.open("rb") as content:
            content.seek(first)
            sent, end = 0, length // 2 if fault in ("cut", "stall") else length
            while sent < end:
                piece = bytearray(content.read(min(PIECE, end - sent)))
                if fault == "corrupt" and sent == 0:
                    piece[0] ^= 255
                self.archive.pass_line(len(piece))
                # counted first: who has read the last piece may ask at once how much came
                sent = self.request_log.sent = sent + len(piece)
                self.wfile.write(piece)
                if fault == "slow":
                    time.sleep(0.05)
        if fault == "stall":
            self.archive.closing.wait()
        self.close_connection |= fault in ("cut", "stall")


def main() -> None:
    parser = argparse.ArgumentParser(description="A DANDI archive on loopback.")
    parser.add_argument("--dandiset", action="append", required=True, metavar="ID:VERSION=DIR")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    dandisets = {}
    for text in options.dandiset:
        key, _, folder = text.partition("=")
        dandiset, _, version = key.partition(":")
        dandisets[dandiset, version] = Path(folder)
    with LoopbackArchive(dandisets, options.port) as archive:
        print(archive.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
