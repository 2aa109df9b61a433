"""Entries of a public board, and a host on loopback that serves their files."""

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import numpy as np
import yaml

ABOUT = {
    "title": "Good model",
    "family": "smoother",
    "authors": ["Zoë O'Neill", "J.-P. Serre"],
    "licence": "CC-BY-4.0",
    "date": "2026-11-29",
    "datasets": ["simulated_maze"],
    "trained_on": ["train", "val"],
    "extra_data": "none",
    "saw_test_answers": False,
    "hyperparameters": "by folds of the training trials",
    "code_reproduces": True,
}


class Host:
    """A server on loopback of the files in a folder; `moved` maps paths to the addresses that they redirect to."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.moved, self.asked = folder, {}, []
        host = self

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked.append(self.path)
                if self.path in host.moved:
                    self.send_response(302)
                    self.send_header("Location", host.moved[self.path])
                    self.end_headers()
                else:
                    super().do_GET()

            def log_message(self, *words) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def file(self, name: str, **changes) -> dict:
        """What an entry says of a file of this host."""
        content = (self.folder / name).read_bytes()
        said = {"url": f"http://127.0.0.1:{self.port}/{name}", "bytes": len(content)}
        return said | {"sha256": hashlib.sha256(content).hexdigest()} | changes


def write_rates(prediction: Path, target: Path, group: str, seed: int = 0) -> None:
    """A submission of the rates of a prediction, changed a little by the seed."""
    draws = np.random.default_rng(seed)
    with h5py.File(prediction) as source, h5py.File(target, "w") as file:
        for name in (name for name in source if "rates" in name):
            rates = source[name][()]
            file[f"{group}/{name}"] = rates * draws.uniform(0.98, 1.02, rates.shape).astype(np.float32)


def write_entry(folder: Path, name: str, **changes) -> Path:
    """An entry's folder; keys that are None are left out."""
    about = {key: value for key, value in (ABOUT | changes).items() if value is not None}
    (folder / name).mkdir(parents=True)
    (folder / name / "entry.yaml").write_text(yaml.safe_dump(about, allow_unicode=True))
    return folder / name
