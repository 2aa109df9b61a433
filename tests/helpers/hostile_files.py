"""The ways in which a submission can be wrong, broken or made to do harm: makers of files, each with its sentence."""

import os
import zlib
from pathlib import Path

import h5py
import numpy as np

from hostile_indexes import endless, indexed, own_child, own_child_of_names, twice
from submission_files import GROUP, NAME, SHAPE, rates

FORWARD = "eval_rates_heldin_forward"


def declared(**settings):
    """Put a dataset of these properties in the place of a good one."""
    return lambda group: group.create_dataset(NAME, **settings)


def planned(kind: h5py.h5t.TypeID, change=lambda plan: None, shape: tuple = SHAPE, data: np.ndarray | None = None):
    """The same by HDF5's own calls, for what h5py does not make."""

    def build(group: h5py.Group) -> None:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        change(plan)
        made = h5py.h5d.create(group.id, NAME.encode(), kind, h5py.h5s.create_simple(shape), plan)
        if data is not None:
            made.write(h5py.h5s.ALL, h5py.h5s.ALL, data)

    return build


def filtered(*calls: tuple):
    """Chunked, through these filters of HDF5."""

    def change(plan: h5py.h5p.PropDCID) -> None:
        plan.set_chunk(SHAPE)
        for name, *arguments in calls:
            getattr(plan, name)(*arguments)

    return planned(h5py.h5t.IEEE_F32LE, change, data=rates())


def poured(raw: bytes, mask: int = 0, **settings):
    """One chunk that holds these bytes, whatever they are."""

    def build(group: h5py.Group) -> None:
        made = group.create_dataset(NAME, SHAPE, "f4", **{"chunks": SHAPE, "compression": "gzip"} | settings)
        made.id.write_direct_chunk((0, 0, 0), raw, mask)

    return build


def bomb(group: h5py.Group) -> None:
    """A chunk as large as is allowed, of 1.5 MB that inflate to 1.5 GB."""
    deflate = zlib.compressobj(9)
    block = deflate.compress(bytes(10**7)) + deflate.flush(zlib.Z_FULL_FLUSH)
    poured(block + 149 * block[2:], chunks=(1000, 1000, 16), maxshape=(None,) * 3)(group)


def linked(link):
    def build(group: h5py.Group) -> None:
        group[NAME] = link

    return build


def virtual(group: h5py.Group) -> None:
    layout = h5py.VirtualLayout(SHAPE, "f4")
    layout[:] = h5py.VirtualSource(fifo(group), NAME, SHAPE)
    group.create_virtual_dataset(NAME, layout)


def growing_virtual(group: h5py.Group) -> None:
    """Of a size that HDF5 finds out by opening the source."""
    source = h5py.VirtualSource(fifo(group), NAME, SHAPE, "f4", (None, *SHAPE[1:]))
    layout = h5py.VirtualLayout(SHAPE, "f4", (None, *SHAPE[1:]))
    layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
    group.create_virtual_dataset(NAME, layout)


def own_link(group: h5py.Group) -> None:
    """A link whose meaning is a program's own: an external link, renumbered in the file."""
    group[NAME] = h5py.ExternalLink(fifo(group), "/")
    group.file.flush()
    path = Path(group.file.filename)
    content = bytearray(path.read_bytes())
    at = content.rindex(NAME.encode())
    assert content[at - 2] == 64, "the link's type stands before the length of its name"
    content[at - 2] = 99
    group.file.close()
    path.write_bytes(content)


def crowd(group: h5py.Group) -> None:
    for i in range(2000):
        group[f"a\x1b[2J\n{i}"] = h5py.SoftLink("/")


def unusual(group: h5py.Group) -> None:
    """Floats of one bit of exponent."""
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(31, 30, 1, 0, 30)
    planned(kind, data=rates())(group)


def values(change):
    """The good rates, changed."""

    def build(group: h5py.Group) -> None:
        array = rates()
        changed = change(array)
        group[NAME] = array if changed is None else changed

    return build


def put(at, value):
    return values(lambda array: array.__setitem__(at, value))


def fifo(group: h5py.Group) -> str:
    """A file that nobody writes to: who opens it waits for ever."""
    path = Path(group.file.filename).with_name("fifo")
    if not path.exists():
        os.mkfifo(path)
    return str(path)


def external(group: h5py.Group) -> None:
    group.create_dataset(NAME, SHAPE, "f4", external=[(fifo(group), 0, h5py.h5f.UNLIMITED)])


def partial(group: h5py.Group) -> None:
    group.create_dataset(NAME, SHAPE, "f4", chunks=(1, *SHAPE[1:]))[:2] = rates()[:2]


def only_forward(group: h5py.Group) -> None:
    group[NAME] = rates()
    del group["eval_rates_heldout_forward"]


def without(name: str):
    def build(group: h5py.Group) -> None:
        group[NAME] = rates()
        del group[name]

    return build


def moved_group(link):
    """The whole group behind a link."""

    def build(group: h5py.Group) -> None:
        file = group.file
        group[NAME] = rates()
        file.move(GROUP, "elsewhere")
        file[GROUP] = link(file)

    return build


def replaced_group(content):
    def build(group: h5py.Group) -> None:
        file = group.file
        del file[GROUP]
        file[GROUP] = content

    return build


F4 = h5py.h5t.IEEE_F32LE
RAW = rates().tobytes()
FALSE = "has at (0, 0, 0) a chunk that is damaged or of a false size"
VARIABLE = h5py.vlen_dtype(np.float32)
HOSTILE = {
    # links
    "soft link": (linked(h5py.SoftLink("/mc_maze_small/train_rates_heldout")), "is a soft link"),
    "dangling soft link": (linked(h5py.SoftLink("/nowhere")), "is a soft link"),
    "soft link to itself": (linked(h5py.SoftLink(f"/{GROUP}/{NAME}")), "is a soft link"),
    "external link": (lambda g: linked(h5py.ExternalLink(fifo(g), NAME))(g), "is an external link"),
    "external link to a device": (linked(h5py.ExternalLink("/dev/zero", NAME)), "is an external link"),
    "link of a program's own": (own_link, "is a link, which could lead anywhere"),
    "group behind soft link": (moved_group(lambda f: h5py.SoftLink("/elsewhere")), "group mc_maze_small is a soft"),
    "group behind external link": (moved_group(lambda f: h5py.ExternalLink(fifo(f), "/")), "small is an external"),
    # values elsewhere
    "virtual": (virtual, "is virtual"),
    "virtual of unknown size": (growing_virtual, "is virtual"),
    "external storage": (external, "keeps its values in an external file"),
    # not a dataset
    "group for dataset": (lambda g: g.create_group(NAME), "is a group; expected a dataset"),
    "type for dataset": (linked(np.dtype("f4")), "is a named type; expected a dataset"),
    "dataset for group": (replaced_group(np.zeros(3)), "group mc_maze_small is a dataset; expected a group"),
    # types
    "objects": (declared(shape=SHAPE, dtype=h5py.ref_dtype), "holds references"),
    "regions": (declared(shape=SHAPE, dtype=h5py.regionref_dtype), "holds references"),
    "strings": (declared(shape=SHAPE, dtype=h5py.string_dtype()), "holds strings"),
    "fixed strings": (declared(shape=SHAPE, dtype="S4"), "holds strings"),
    "compound": (declared(shape=SHAPE, dtype=[("a", "f4"), ("b", "f4")]), "holds compound values"),
    "complex": (declared(shape=SHAPE, dtype="c8"), "holds compound values"),
    "booleans": (declared(shape=SHAPE, dtype=bool), "holds booleans or enumerated"),
    "opaque": (declared(shape=SHAPE, dtype="V8"), "holds opaque bytes"),
    "variable length": (declared(shape=SHAPE, dtype=VARIABLE), "holds sequences of variable length"),
    "arrays": (declared(shape=SHAPE[:2], dtype="(3,)f4"), "holds arrays within each value"),
    "integers": (declared(data=rates().astype(int)), "holds integers; expected rates as float32"),
    "unsigned bytes": (declared(shape=SHAPE, dtype="u1"), "holds integers"),
    "bit fields": (planned(h5py.h5t.STD_B32LE), "holds bit fields"),
    "long double": (declared(data=rates().astype(np.longdouble)), "16-byte values of an unusual type"),
    # shapes
    "one trial more": (declared(data=rates((6, 6, 3))), "shape (6, 6, 3); expected (trials, time, neurons) (5, 6, 3)"),
    "two axes": (declared(data=rates((30, 3))), "shape (30, 3); expected"),
    "four axes": (declared(data=rates((1, *SHAPE))), "shape (1, 5, 6, 3); expected"),
    "scalar": (declared(data=np.float32(1)), "shape (); expected"),
    "no values": (linked(h5py.Empty("f4")), "shape None; expected"),
    "no trials": (declared(shape=(0, 6, 3), dtype="f4"), "shape (0, 6, 3); expected"),
    "neurons first": (declared(data=rates((3, 6, 5))), "the axes are in another order, transpose it"),
    "time first": (declared(data=rates((6, 5, 3))), "the axes are in another order, transpose it"),
    "neurons before time": (declared(data=rates((5, 3, 6))), "the axes are in another order, transpose it"),
    # bombs
    "huge and hollow": (
        declared(shape=(10**6, 10**6, 100), dtype="f4", chunks=(100, 100, 100), compression="gzip"),
        "shape (1000000, 1000000, 100); expected",
    ),
    "huge and contiguous": (declared(shape=(10**6, 10**6, 100), dtype="f4"), "shape (1000000, 1000000, 100)"),
    "giant chunks": (
        declared(shape=SHAPE, dtype="f4", maxshape=(None,) * 3, chunks=(1000, 1000, 1000), compression="gzip"),
        "chunks (1000, 1000, 1000) of 4,000,000,000 bytes",
    ),
    "many wide chunks": (
        declared(shape=SHAPE, dtype="f4", maxshape=(None,) * 3, chunks=(1, 1, 8_000_000), compression="gzip"),
        "960,000,000 in all for 360 bytes",
    ),
    "inflating chunk": (bomb, FALSE),
    "twice inflating chunk": (filtered(("set_deflate", 9), ("set_deflate", 9)), "by the HDF5 filters [1, 1]"),
    "twice shuffled": (filtered(("set_shuffle",), ("set_shuffle",)), "by the HDF5 filters [2, 2]"),
    # filters
    "lzf": (declared(data=rates(), compression="lzf"), "by the HDF5 filters [32000]"),
    "scale offset": (declared(data=rates(), scaleoffset=3), "by the HDF5 filters [6]"),
    "foreign filter": (filtered(("set_filter", 32015, h5py.h5z.FLAG_OPTIONAL, (3,))), "by the HDF5 filters [32015]"),
    "unknown filter": (filtered(("set_filter", 511, h5py.h5z.FLAG_OPTIONAL, ())), "by the HDF5 filters [511]"),
    # damaged or unfinished
    "no gzip in the chunk": (poured(b"not a deflate stream"), FALSE),
    "short chunk": (poured(zlib.compress(bytes(RAW[:-4]))), FALSE),
    "long chunk": (poured(zlib.compress(RAW + b"1234")), FALSE),
    "short chunk without its filter": (poured(RAW[:-4], mask=1), FALSE),
    "empty chunk with checksum": (poured(b"12", compression=None, fletcher32=True), FALSE),
    "bloated chunk": (poured(zlib.compress(RAW) + bytes(2000)), FALSE),
    "false checksum": (poured(RAW + b"0000", compression=None, fletcher32=True), "cannot be read"),
    "never written": (declared(shape=SHAPE, dtype="f4", fillvalue=0.1), "was never written"),
    "partly written": (partial, "has only 2 of its 5 chunks"),
    "chunk listed twice": (indexed(twice), "has only 89 of its 90 chunks"),
    "chunk index within itself": (indexed(own_child), "cannot be read"),
    "endless chunk index": (indexed(endless), "of its 90 chunks"),
    "index of names within itself": (own_child_of_names, "cannot be read"),
    # names
    "no evaluation rates": (lambda g: None, f"{NAME} is missing"),
    "no train rates": (without("train_rates_heldin"), "train_rates_heldin is missing"),
    "another name": (lambda g: g.create_dataset("rates_heldout", data=rates()), "'rates_heldout'"),
    "one forward only": (without("eval_rates_heldout_forward"), "eval_rates_heldout_forward is missing"),
    "other forward only": (without(FORWARD), f"{FORWARD} is missing"),
    "another group": (lambda g: g.file.move(GROUP, "mc_maze"), "is missing; the file has 'mc_maze'"),
    "control characters": (lambda g: g.file.move(GROUP, "\x1b[2J"), r"the file has '\x1b[2J'"),
    "crowd of control characters": (crowd, r"found 'a\x1b[2J\n"),
    "its own group": (lambda g: linked(g)(g), "is a group; expected a dataset"),
    # values
    "NaN": (put((1, 2, 0), np.nan), "1 value that is NaN or infinite (as float32), first at (trial, bin, neuron) (1"),
    "infinite": (put((slice(2), 0, 0), np.inf), "2 values that are NaN or infinite"),
    "signalling NaN": (values(lambda a: a.view("u4").__setitem__((0, 0, 0), 0x7FA00001)), "1 value that is NaN"),
    "infinite as float16": (values(lambda a: np.full(SHAPE, np.inf, np.float16)), "90 values that are NaN or infinite"),
    "unusual float": (unusual, "90 values that are NaN or infinite"),
    "vanishing as float32": (values(lambda a: np.full(SHAPE, 1e-300)), "holds only zeros"),
    "negative and tiny": (put((0, 0, 0), -1e-45), "1 value that is negative"),
    "infinite as float32": (values(lambda a: np.full(SHAPE, 1e300)), "90 values that are NaN or infinite"),
    "NaN fill value": (
        planned(F4, lambda p: (p.set_fill_value(np.array(np.nan, "f4")), p.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY))),
        "90 values that are NaN or infinite",
    ),
    "negative": (put((0, 5, 2), -0.01), "1 value that is negative, first at (trial, bin, neuron) (0, 5, 2)"),
    "log rates": (values(np.log), "exponentiate if these are log rates"),
    "zeros": (values(np.zeros_like), "holds only zeros"),
    "per second": (values(lambda a: a * 200), "almost surely in spikes per second; divide by 200"),
}
