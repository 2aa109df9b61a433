"""Tensors and answers of a streamed recording (`stream: true`) beside those of a whole download: bytes and seconds.

    python benchmarks/stream.py            a recording of 230 MB: an eighth of Area2_Bump's length
    python benchmarks/stream.py --quick    one of 25 MB over a ten times faster line, which the bars are not for

The file has the layout of Area2_Bump (specification, section 1.4): one train file that pynwb wrote, whose seven series
at 1 kHz, 102 channels of float64 as they are, are all but a hundredth of it, and of which the benchmark needs one with
two channels; 65 units and 826 trials in 37 minutes. The archive is on loopback, where an answer begins 50 ms after its
request, a connection takes 50 ms, and all bytes share a line of 100 Mbit/s. What a real line has besides (TLS, slow
start, jitter) is not simulated. Each side runs once, in this process, which serves too.
The last line is one JSON object.
"""

import argparse
import gc
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from side_by_side import ROOT

sys.path += [str(ROOT / "scripts"), str(ROOT / "tests/helpers")]

import numpy as np
import yaml

import nlbflow.running.job  # noqa: F401  (one BLAS thread, as in every job)
from layouts import Part, write_nwb
from loopback_dandi import LoopbackArchive
from nlbflow.archive import streaming
from nlbflow.archive.assets import point_at
from nlbflow.archive.fetch import fetch_from_dandi
from nlbflow.archive.pins import Pin
from nlbflow.recordings.targets import make_target
from nlbflow.recordings.tensors import make_input

LATENCY_S, BYTES_PER_S = 0.05, 100e6 / 8
# Area2_Bump: channels of its series, its length, trials and units.
SERIES = {"force": 6, "hand_pos": 2, "hand_vel": 2, "joint_ang": 7, "joint_vel": 7, "muscle_len": 39, "muscle_vel": 39}
LENGTH_MS, TRIALS, HELDIN, HELDOUT = 2_223_449, 826, 49, 16
RATE_HZ = 8.0
NAMES = {
    "train": "sub-Han/sub-Han_desc-train_behavior+ecephys.nwb",
    "test": "sub-Han/sub-Han_desc-test_ecephys.nwb",
}
DANDISET = ("000127", "0.220113.0359")
BIN_MS, PHASE = 5, "val"
MOST_BYTES = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small file over a faster line")
    quick = parser.parse_args().quick
    os.environ["NO_PROXY"] = "127.0.0.1"
    # h5py holds its lock while it reads; the archive, a thread here, would wait for it to throw h5py's garbage away
    gc.disable()
    with tempfile.TemporaryDirectory() as folder:
        if quick:
            result = compare(Path(folder), 1 / 72, 10 * BYTES_PER_S, [])
        else:
            result = compare(Path(folder), 1 / 8, BYTES_PER_S, [streaming.BLOCK >> 2, streaming.BLOCK << 2])
    print(json.dumps(result))


def compare(folder: Path, part: float, bytes_per_s: float, other_blocks: list[int]) -> dict:
    """Write the files, then download and stream them, also in blocks of other sizes; the figures."""
    pins = write_session(folder / "archive", part)
    size = sum(pin.bytes for pin in pins.values())
    definition = yaml.safe_load((ROOT / "resources/datasets.yaml").read_text())["datasets"]["area2_bump"]
    print(f"{size / 1e6:.0f} MB, {LATENCY_S * 1000:.0f} ms, {bytes_per_s * 8 / 1e6:.0f} Mbit/s, {BIN_MS} ms bins")
    with LoopbackArchive({DANDISET: folder / "archive"}, latency_s=LATENCY_S, bytes_per_s=bytes_per_s) as archive:

        def measure(work: Callable[[], dict | None]) -> tuple[dict | None, dict[str, float]]:
            archive.log.clear()
            started = time.perf_counter()
            made = work()
            seconds = time.perf_counter() - started
            sent = archive.blob_requests()
            return made, {"s": seconds, "bytes": sum(r.sent for r in sent), "requests": len(archive.log)}

        def fetch() -> None:
            for name, pin in pins.items():
                fetch_from_dandi(pin, folder / f"{name}.nwb", archive.url, no_lines)

        def stream(to: Path) -> dict:
            to.mkdir(exist_ok=True)
            paths = {name: to / f"{name}.nwb.json" for name in pins}
            for name, pin in pins.items():
                if not paths[name].exists():
                    point_at(pin, paths[name], archive.url, {}, no_lines)
            return cut(paths, definition)

        _, whole = measure(fetch)
        expected, cutting = measure(lambda: cut({name: folder / f"{name}.nwb" for name in pins}, definition))
        rows = {"whole file, fetched": whole, "whole file, cut": cutting}
        used, equal = streaming.BLOCK, True
        for block in (*other_blocks, used):
            streaming.BLOCK = block
            made, streamed = measure(lambda n=block: stream(folder / str(n)))
            equal &= digest(made) == digest(expected)
            rows[f"streamed, blocks of {block >> 10} KB"] = streamed
        _, rows["streamed once more"] = measure(lambda: stream(folder / str(used)))
    print(f"\n{'':<32}{'seconds':>9}{'MB':>9}{'requests':>10}")
    for name, row in rows.items():
        print(f"{name:<32}{row['s']:>9.2f}{row['bytes'] / 1e6:>9.2f}{row['requests']:>10}")
    share, speedup = streamed["bytes"] / whole["bytes"], whole["s"] / streamed["s"]
    held = share <= MOST_BYTES and speedup >= 1
    print(f"\nTensors and answers are {'those' if equal else 'NOT those'} of the whole file, byte for byte.")
    print(f"Streamed: {share:.1%} of the bytes, {speedup:.1f} times as fast as the download alone.")
    print(f"The bars (at most {MOST_BYTES:.0%} of the bytes, no slower) are {'held' if held else 'NOT held'}.")
    return {
        "bytes_share": round(share, 4),
        "speedup": round(speedup, 2),
        "held": held,
        "equal": equal,
        "whole": whole,
        "streamed": streamed,
        "again": rows["streamed once more"],
    }


def no_lines(line: str) -> None:
    """A log that is not kept."""


def cut(paths: dict[str, Path], definition: dict) -> dict[str, np.ndarray]:
    """Tensors and answers, as the rules tensors and targets make them."""
    tensors, _ = make_input(paths, definition, BIN_MS, PHASE)
    answers, _ = make_target(paths, definition, BIN_MS, PHASE)
    return {**tensors, **{f"answers {name}": value for name, value in answers.items()}}


def digest(arrays: dict) -> str:
    """A checksum of names, types, shapes and bytes."""
    found = hashlib.sha256()
    for name, value in sorted(arrays.items()):
        for array in value if isinstance(value, list) else [value]:
            found.update(f"{name} {array.dtype} {array.shape}".encode())
            found.update(np.ascontiguousarray(array))
    return found.hexdigest()


def write_session(folder: Path, part: float) -> dict[str, Pin]:
    """Write a train and a test file of that part of Area2_Bump's length; their pins."""
    rng = np.random.default_rng(2021)
    pitch = LENGTH_MS // TRIALS
    ids, heldout = np.arange(1, HELDIN + HELDOUT + 1), np.arange(HELDIN + HELDOUT) >= HELDIN
    pins = {}
    for name, count in (("train", round(TRIALS * part)), ("test", round(98 * part) + 1)):
        rows, start = count * pitch, np.arange(count) * float(pitch)
        columns = {"start_time": start, "stop_time": start + pitch - 100, "move_onset_time": start + 500}
        columns["split"] = np.array(["test"] * count)
        series = {}
        if name == "train":
            columns["split"] = rng.permutation(np.resize(["train", "train", "train", "val", "none"], count))
            columns |= {"result": np.array(["R"] * count), "ctr_hold_bump": rng.permutation(np.arange(count) % 2 == 0)}
            columns |= {"cond_dir": rng.permutation(np.resize([0.0, 90.0, 180.0, 270.0], count))}
            columns |= dict.fromkeys(("target_on_time", "go_cue_time", "bump_time"), start + 200)
            series = {key: (None, wave(rng, rows, channels), "x,y") for key, channels in SERIES.items()}
        chosen = slice(None) if name == "train" else ~heldout
        # four stretches in the train file, each up to the next
        edges = np.linspace(0, rows, 5 if name == "train" else 2)
        intervals = np.stack([edges[:-1], edges[1:]], axis=1)
        spikes = [np.sort(rng.uniform(0, rows - 2, rng.poisson(RATE_HZ * rows / 1000))) for _ in ids[chosen]]
        path = folder / NAMES[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_nwb(path, Part(columns, intervals, spikes, series), ids[chosen], heldout[chosen])
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        pins[name] = Pin("area2_bump", *DANDISET, name, NAMES[name], len(content), sha256)
    return pins


def wave(rng: np.random.Generator, rows: int, channels: int) -> np.ndarray:
    """(rows, channels) of a smooth series."""
    phase, hertz = rng.uniform(0, 6, channels), rng.uniform(0.3, 1.5, channels)
    return np.sin(np.arange(rows)[:, None] * (hertz * 0.00628) + phase)


if __name__ == "__main__":
    main()
