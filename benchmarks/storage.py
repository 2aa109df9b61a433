"""The small run of the tests in a folder and in a bucket, on this machine: seconds, requests and bytes.

    .venv/bin/python benchmarks/storage.py [--delay MS]

The bucket is moto's server on loopback (tests/helpers/s3_server.py); `--delay` makes each of its answers wait. Both
runs have the same jobs and the same two cores; the one with the bucket fetches each job's inputs and stores its
outputs. A third call plans the finished run anew. The tables of both must be the same, byte for byte.
The last line is one JSON object.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests/helpers")]

from s3_server import S3Server, storage_options
from workflow import copy_code, reproducible, run

TABLES = ("results/scores.csv", "results/ranks.csv", "results/differences.csv", "results/leaderboard.md")
PREFIX = "benchmark"


def timed(server: S3Server, code: Path, work: Path, *options: str) -> dict:
    """Seconds of a run, and what it asked of the server meanwhile."""
    server.count, begun = Counter(), time.monotonic()
    run(code, work, *options)
    bytes_in, bytes_out = server.count.pop("in", 0), server.count.pop("out", 0)
    return {
        "seconds": round(time.monotonic() - begun, 1),
        "requests": sum(server.count.values()),
        "mb_stored": round(bytes_in / 1e6, 2),
        "mb_fetched": round(bytes_out / 1e6, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay", type=float, default=0.0, help="of each answer, in milliseconds")
    delay = parser.parse_args().delay
    server = S3Server()
    os.environ |= server.environment
    server.delay = delay / 1000
    with tempfile.TemporaryDirectory() as folder:
        code, local = copy_code(Path(folder, "code")), Path(folder, "local")
        bucket = storage_options(PREFIX)
        found = {
            "folder": timed(server, code, local),
            "bucket": timed(server, code, code, *bucket),
            "bucket_planned": timed(server, code, code, "-n", *bucket),
        }
        for table in TABLES:
            copy = Path(folder, Path(table).name)
            copy.write_bytes(server.read(f"{PREFIX}/{table}"))
            if reproducible(copy) != reproducible(local / table):
                sys.exit(f"{table} of the run in the bucket differs from that of the run in a folder.")
        objects = server.names(PREFIX)
        found |= {"objects": len(objects), "delay_ms": delay, "tables": "identical"}
        for name in ("folder", "bucket", "bucket_planned"):
            print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in found[name].items()))
    server.kill()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
