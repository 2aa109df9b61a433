"""Submissions to the benchmark: HDF5 files of rates (specification, section 3.4), read from anyone.

A file from outside can do harm: links lead to other files, a few bytes inflate to gigabytes, damaged structures crash
the HDF5 library. So a process of its own reads it, which has little memory and little time and, once the file is
open, can open no other. That process reads an array only if its declaration is as expected, and sends float32.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import product
from math import prod
from pathlib import Path

import h5py
import numpy as np
from h5py import h5d, h5l, h5o, h5s, h5t, h5z

from nlbflow.errors import NlbflowError
from nlbflow.models.contract import FORWARD, REQUIRED, implausible
from nlbflow.running.files import open_h5

SECONDS = 300
# Python, HDF5 and the buffers of one chunk; the array itself comes on top.
MEMORY = 500 * 2**20
CHUNK = 64 * 2**20
REFUSED = 3
DEFLATE, SHUFFLE, FLETCHER32 = h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32
LINKS = {h5l.TYPE_SOFT: "a soft link", h5l.TYPE_EXTERNAL: "an external link"}
KINDS = {h5o.TYPE_GROUP: "a group", h5o.TYPE_DATASET: "a dataset"}
TYPES = {
    h5t.INTEGER: "integers",
    h5t.STRING: "strings",
    h5t.BITFIELD: "bit fields",
    h5t.OPAQUE: "opaque bytes",
    h5t.COMPOUND: "compound values",
    h5t.REFERENCE: "references",
    h5t.ENUM: "booleans or enumerated values",
    h5t.VLEN: "sequences of variable length",
    h5t.ARRAY: "arrays within each value",
}


def needed_arrays(train_behavior: np.ndarray | None) -> tuple[str, ...]:
    """The arrays that a submission must have; those of training trials are for the decoder of a behavioural series."""
    decoded = train_behavior is not None and train_behavior.ndim == 3
    return tuple(name for name in REQUIRED if decoded or name.startswith("eval"))


def read_submission(
    path: str | Path,
    shapes: Mapping[str, tuple[int, int, int]],
    required: Iterable[str],
    spikes_mean: float,
    bin_ms: int,
    group: str | None = None,
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Somebody's rates from an HDF5 file that is not trusted.

    Args:
        path: the file.
        shapes: the expected (trials, time, neurons) of every array that may be read.
        required: those of them that must be there. The forward arrays come both or not at all.
        spikes_mean: the data's mean count per bin and neuron, to recognise spikes per second.
        bin_ms: bin width.
        group: the group that holds the arrays; None if they lie at the root, as in the workflow's prediction.h5.

    Returns:
        (float32 rates in expected spikes per bin, finite and not negative; names of the group's other members, which
        are not read, the first ten of them).

    Raises:
        NlbflowError: what is wrong with the file or the array; a name that is almost that of an array which is missing.
    """
    arrays, ignored = _read_apart(Path(path), {"group": group, "shapes": dict(shapes), "required": list(required)})
    for name, rates in arrays.items():
        if fault := implausible(rates, spikes_mean, bin_ms):
            raise NlbflowError(f"{_where(path, group, name)} {fault}")
    return arrays, ignored


def _where(path: str | Path, group: str | None, name: str) -> str:
    return f"{path}: {'dataset' if name else 'group'} {'/'.join(part for part in (group, name) if part)}"


def _read_apart(path: Path, request: dict) -> tuple[dict[str, np.ndarray], list[str]]:
    """Let the other process read, and return the arrays and the ignored names that it sends."""
    environment = os.environ | {
        # an empty entry would mean the working directory
        "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")])),
        "HDF5_PLUGIN_PRELOAD": "::",  # HDF5's word for: load no plugins
        "OPENBLAS_NUM_THREADS": "1",  # every thread would take address space from the limit
    }
    with tempfile.TemporaryFile() as sent:
        # -P: whatever lies in the working directory is not imported
        command = [sys.executable, "-P", "-m", "nlbflow.models.submissions", str(path), json.dumps(request)]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=sent, stderr=subprocess.PIPE, env=environment, timeout=SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise NlbflowError(f"{path} could not be read in {SECONDS} s; write it anew with larger chunks.") from error
        told = done.stderr.decode(errors="replace").strip()
        if done.returncode == REFUSED:
            raise NlbflowError(told)
        if done.returncode:
            last = ascii(told.splitlines()[-1]) if told else "no message"
            raise NlbflowError(
                f"{path} cannot be read: the process doing so ended with code {done.returncode} ({last}), so the file "
                "is damaged or made to do harm."
            )
        sent.seek(0)
        names, ignored = json.loads(sent.readline())
        shapes = {name: tuple(request["shapes"][name]) for name in names}
        return {name: np.fromfile(sent, np.float32, prod(s)).reshape(s) for name, s in shapes.items()}, ignored


def _send(path: str, group: str | None, shapes: dict[str, list[int]], required: list[str]) -> None:
    """In the other process: check the file, read it, and write names and arrays to standard output."""
    largest = max(prod(shape) for shape in shapes.values()) * np.dtype(np.float32).itemsize
    for limit, value in ((resource.RLIMIT_AS, MEMORY + largest), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))
    with open_h5(path) as file:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
        where, datasets = str(path), {}
        try:
            parent = _member(file.id, group, h5o.TYPE_GROUP, _where(path, group, "")) if group else file.id
            names = [name for name in shapes if parent.links.exists(name.encode())]
            needed = required + [name for name in FORWARD if name not in required and {*FORWARD} & {*names}]
            if missing := [name for name in needed if name not in names]:
                raise NlbflowError(
                    f"{_where(path, group, missing[0])} is missing; expected {', '.join(needed)}, found "
                    f"{', '.join(_names(parent)) or 'nothing'}: add it."
                )
            others = _names(parent, leave_out=names)
            for other in others:
                if near := get_close_matches(other.strip("'"), [name for name in shapes if name not in names], 1, 0.9):
                    raise NlbflowError(
                        f"{_where(path, group, other)} is no array of a submission (did you mean {near[0]}?); "
                        "rename or remove it."
                    )
            for name in names:
                where = _where(path, group, name)
                datasets[name] = _expected_dataset(parent, name, shapes[name], where)
            sys.stdout.buffer.write(json.dumps([names, others]).encode() + b"\n")
            for name, dataset in datasets.items():
                where, rates = _where(path, group, name), np.empty(shapes[name], np.float32)
                dataset.read(h5s.ALL, h5s.ALL, rates)
                sys.stdout.buffer.write(rates.data)
        # h5py turns errors of HDF5 into any of these
        except (OSError, RuntimeError, ValueError, TypeError, KeyError, MemoryError) as error:
            raise NlbflowError(f"{where} cannot be read ({str(error) or 'out of memory'}); write it anew.") from error


def _member(parent: h5py.h5g.GroupID, name: str, kind: int, where: str) -> h5py.h5g.GroupID | h5d.DatasetID:
    """Open a member that is stored in the file itself and of the expected kind."""
    if not parent.links.exists(name.encode()):
        raise NlbflowError(
            f"{where} is missing; the file has {', '.join(_names(parent)) or 'nothing'}. Add it, or name the datasets "
            "that the file has in its stanza or entry (key `datasets`)."
        )
    link = parent.links.get_info(name.encode()).type
    if link != h5l.TYPE_HARD:
        raise NlbflowError(f"{where} is {LINKS.get(link, 'a link')}, which could lead anywhere; copy the data in.")
    found = h5o.get_info(parent, name.encode()).type
    if found != kind:
        raise NlbflowError(f"{where} is {KINDS.get(found, 'a named type')}; expected {KINDS[kind]}.")
    return (h5py.h5g if kind == h5o.TYPE_GROUP else h5d).open(parent, name.encode())


def _names(parent: h5py.h5g.GroupID, leave_out: Sequence[str] = ()) -> list[str]:
    """The first ten names of a group, without those to be left out, as plain ASCII in quotes."""
    names: list[str] = []

    def add(name: bytes) -> bool | None:
        if (text := name.decode(errors="replace")) not in leave_out:
            names.append(ascii(text)[:40])
        return len(names) > 9 or None

    parent.links.iterate(add)
    return names


def _expected_dataset(parent: h5py.h5g.GroupID, name: str, shape: list[int], where: str) -> h5d.DatasetID:
    """Open a dataset whose declaration shows that reading it is harmless and useful."""
    dataset = _member(parent, name, h5o.TYPE_DATASET, where)
    plan, kind = dataset.get_create_plist(), dataset.get_type()
    layout = plan.get_layout()
    if layout == h5d.VIRTUAL:
        raise NlbflowError(f"{where} is virtual, its values lie in other files; copy them in.")
    if plan.get_external_count():
        raise NlbflowError(f"{where} keeps its values in an external file; copy them in.")
    if kind.get_class() != h5t.FLOAT or kind.get_size() not in (2, 4, 8):
        found = TYPES.get(kind.get_class(), f"{kind.get_size()}-byte values of an unusual type")
        raise NlbflowError(f"{where} holds {found}; expected rates as float32: write them so.")
    found, shape = dataset.shape, tuple(shape)
    if found != shape:
        turned = found is not None and sorted(found) == sorted(shape)
        raise NlbflowError(
            f"{where} has the shape {found}; expected (trials, time, neurons) {shape}: "
            + ("the axes are in another order, transpose it." if turned else "predict these trials, bins and neurons.")
        )
    if layout == h5d.CHUNKED:
        _check_chunks(dataset, plan, where)
    elif dataset.get_storage_size() != prod(shape) * kind.get_size():
        raise NlbflowError(f"{where} declares {shape} but was never written; fill it with the predictions.")
    return dataset


def _check_chunks(dataset: h5d.DatasetID, plan: h5py.h5p.PropDCID, where: str) -> None:
    """Refuse foreign filters, chunks that take gigabytes to read, and missing chunks."""
    filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
    if any(i not in (DEFLATE, SHUFFLE, FLETCHER32) or filters.count(i) > 1 for i in filters):
        raise NlbflowError(
            f"{where} is packed by the HDF5 filters {filters}; expected at most one each of {DEFLATE} (gzip), "
            f"{SHUFFLE} (shuffle) and {FLETCHER32} (fletcher32): write it with gzip."
        )
    chunk, itemsize = plan.get_chunk(), dataset.get_type().get_size()
    grid = [-(-extent // step) for extent, step in zip(dataset.shape, chunk, strict=True)]
    size, total, declared = (itemsize * prod(n) for n in (chunk, (*chunk, *grid), dataset.shape))
    if size > CHUNK or total > 4 * declared + CHUNK:
        raise NlbflowError(
            f"{where} has chunks {chunk} of {size:,} bytes, {total:,} in all for {declared:,} bytes of data; expected "
            f"chunks of at most {CHUNK:,} bytes that fit its shape {dataset.shape}: write it without `chunks`."
        )
    wanted = set(product(*(range(0, extent, step) for extent, step in zip(dataset.shape, chunk, strict=True))))
    stored: list[h5d.StoreInfo] = []
    # an index made to do harm lists chunks without end
    dataset.chunk_iter(lambda place: stored.append(place) or len(stored) > len(wanted) or None)
    found = wanted & {place.chunk_offset for place in stored}
    if found != wanted:
        raise NlbflowError(f"{where} has only {len(found):,} of its {len(wanted):,} chunks; write all predictions.")
    if len(stored) > len(wanted):
        raise NlbflowError(f"{where} has more than its {len(wanted):,} chunks, so its index is damaged; write it anew.")
    for place in stored:
        if place.size > 2 * size + 1024 or not _is_whole(dataset, place, filters, size):
            raise NlbflowError(
                f"{where} has at {place.chunk_offset} a chunk that is damaged or of a false size; write it anew."
            )


def _is_whole(dataset: h5d.DatasetID, place: h5d.StoreInfo, filters: list[int], size: int) -> bool:
    """Whether a chunk unpacks to its declared size.

    HDF5 itself does not check this: it inflates to any size, and fills a chunk that is too short with stale memory.
    """
    mask, raw = dataset.read_direct_chunk(place.chunk_offset)
    for i, kind in reversed([*enumerate(filters)]):
        if mask >> i & 1:  # this chunk was stored without the filter
            continue
        if kind == FLETCHER32:
            raw = raw[:-4]
        elif kind == DEFLATE:
            try:
                raw = zlib.decompressobj().decompress(raw, size + 5)  # room for a checksum and one byte too many
            except zlib.error:
                return False
    return len(raw) == size


if __name__ == "__main__":
    try:
        _send(sys.argv[1], **json.loads(sys.argv[2]))
    except NlbflowError as refusal:
        print(refusal, file=sys.stderr)
        sys.exit(REFUSED)
