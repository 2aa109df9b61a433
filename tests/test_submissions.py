"""Submissions from anyone: refused in one sentence, in little memory, without opening another file; and our own."""

import os
import resource
import subprocess
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from nlbflow import submissions
from nlbflow.errors import NlbflowError
from nlbflow.metrics import score
from nlbflow.submissions import read_submission, write_submission

GROUP = "mc_maze_small"
SIZES = {"train": 7, "eval": 5}
SHAPES = {
    f"{part}_rates_{units}{suffix}": (SIZES[part], 4 if suffix else 6, 9 if units == "heldin" else 3)
    for part, suffix in (("train", ""), ("eval", ""), ("eval", "_forward"))
    for units in ("heldin", "heldout")
}
REQUIRED = [name for name in SHAPES if "forward" not in name]
NAME = "eval_rates_heldout"
SHAPE = SHAPES[NAME]
FORWARD = "eval_rates_heldin_forward"


def rates(shape: tuple = SHAPE, dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(0).gamma(2, 0.05, shape).astype(dtype)


def write(path: Path, dtype=np.float32, group: str | None = GROUP, names=tuple(SHAPES), **packing) -> None:
    with h5py.File(path, "w") as file:
        for name in names:
            place = file.require_group(group) if group else file
            place.create_dataset(name, data=rates(SHAPES[name], dtype), **packing)


def read(path: Path, **changes) -> dict[str, np.ndarray]:
    settings = {"shapes": SHAPES, "required": REQUIRED, "spikes_mean": 0.1, "bin_ms": 5, "group": GROUP} | changes
    return read_submission(path, **settings)


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
    # names
    "no evaluation rates": (lambda g: None, f"{NAME} is missing"),
    "no train rates": (without("train_rates_heldin"), "train_rates_heldin is missing"),
    "another name": (lambda g: g.create_dataset("rates_heldout", data=rates()), "'rates_heldout'"),
    "one forward only": (without("eval_rates_heldout_forward"), "eval_rates_heldout_forward is missing"),
    "other forward only": (without(FORWARD), f"{FORWARD} is missing"),
    "another group": (lambda g: g.file.move(GROUP, "mc_maze"), "is missing; the file has 'mc_maze'"),
    "control characters": (lambda g: g.file.move(GROUP, "\x1b[2J"), r"the file has '\x1b[2J'"),
    # values
    "NaN": (put((1, 2, 0), np.nan), "1 values that are NaN or infinite (as float32), first at (trial, bin, neuron) (1"),
    "infinite": (put((slice(2), 0, 0), np.inf), "2 values that are NaN or infinite"),
    "infinite as float32": (values(lambda a: np.full(SHAPE, 1e300)), "90 values that are NaN or infinite"),
    "NaN fill value": (
        planned(F4, lambda p: (p.set_fill_value(np.array(np.nan, "f4")), p.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY))),
        "90 values that are NaN or infinite",
    ),
    "negative": (put((0, 5, 2), -0.01), "1 values that are negative, first at (trial, bin, neuron) (0, 5, 2)"),
    "log rates": (values(np.log), "exponentiate if these are log rates"),
    "zeros": (values(np.zeros_like), "holds only zeros"),
    "per second": (values(lambda a: a * 200), "almost surely in spikes per second; divide by 200"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_submission_is_refused(tmp_path, case):
    build, sentence = HOSTILE[case]
    path = tmp_path / "theirs.h5"
    write(path, names=[name for name in SHAPES if name != NAME])
    with h5py.File(path, "a") as file:
        build(file[GROUP])
    with pytest.raises(NlbflowError) as refused:
        read(path)
    told = str(refused.value)
    assert sentence in told and told.startswith(str(path)) and "\n" not in told, told


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda p: None, "does not exist"),
        (lambda p: p.mkdir(), "does not exist"),
        (os.mkfifo, "does not exist"),
        (lambda p: p.touch(), "(0 bytes) cannot be read as an HDF5 file"),
        (lambda p: p.write_text("rates"), "cannot be read as an HDF5 file"),
        (lambda p: np.savez(p.open("wb"), rates()), "cannot be read as an HDF5 file"),
        (lambda p: (write(p), os.truncate(p, p.stat().st_size // 2)), "cannot be read as an HDF5 file"),
    ],
    ids=["nothing", "folder", "fifo", "empty", "text", "npz", "truncated"],
)
def test_what_is_no_hdf5_file_is_refused(tmp_path, make, sentence):
    make(tmp_path / "theirs.h5")
    with pytest.raises(NlbflowError, match="theirs") as refused:
        read(tmp_path / "theirs.h5")
    assert sentence in str(refused.value)


def test_per_second_depends_on_the_bin(tmp_path):
    write(tmp_path / "theirs.h5")
    with pytest.raises(NlbflowError, match=r"5\d times .* divide by 50 for spikes per bin of 20 ms"):
        read(tmp_path / "theirs.h5", spikes_mean=0.1 / 52, bin_ms=20)
    assert read(tmp_path / "theirs.h5", spikes_mean=0.1 / 52)


@pytest.mark.parametrize("seed", range(12))
def test_damaged_bytes_are_refused_or_harmless(tmp_path, seed):
    """Damage anywhere, also where it crashes the HDF5 library, ends in rates or in a sentence."""
    path = tmp_path / "theirs.h5"
    write(path, compression="gzip")
    content, draw = np.frombuffer(path.read_bytes(), np.uint8).copy(), np.random.default_rng(seed)
    # beyond the signature, so that HDF5 has something to chew on
    content[draw.integers(8, len(content), 40)] = draw.integers(0, 256, 40)
    path.write_bytes(content.tobytes())
    try:
        found = read(path)
    except NlbflowError as error:
        assert str(error).startswith(str(path))
    else:
        assert all(np.isfinite(array).all() for array in found.values())


def test_a_reader_that_dies_or_stalls_is_told(tmp_path, monkeypatch):
    write(tmp_path / "theirs.h5")
    with monkeypatch.context() as patch, pytest.raises(NlbflowError, match=r"could not be read in 0.01 s"):
        patch.setattr(submissions, "SECONDS", 0.01)
        read(tmp_path / "theirs.h5")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(NlbflowError, match="ended with code 1"):
        read(tmp_path / "theirs.h5")


@pytest.mark.parametrize(
    "packing",
    [
        {},
        {"dtype": np.float64},
        {"dtype": np.float16},
        {"dtype": ">f4"},
        {"compression": "gzip"},
        {"compression": "gzip", "shuffle": True},
        {"compression": "gzip", "shuffle": True, "fletcher32": True, "dtype": np.float64},
        {"maxshape": (None, None, None)},
        {"chunks": (2, 4, 2)},
    ],
    ids=str,
)
@pytest.mark.parametrize("group", [GROUP, None])
def test_good_submission_is_read(tmp_path, packing, group):
    write(tmp_path / "theirs.h5", group=group, **packing)
    found = read(tmp_path / "theirs.h5", group=group)
    assert set(found) == set(SHAPES)
    for name, array in found.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, rates(SHAPES[name], packing.get("dtype", "f4")).astype("f4"))


def test_what_is_not_asked_for_is_ignored(tmp_path):
    path = tmp_path / "theirs.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        group = file.create_group(GROUP)
        group.attrs.update({f"note {i}": "x" * 1000 for i in range(200)})
        for name in REQUIRED:
            group[name] = rates(SHAPES[name])
        # two names of one dataset are no link that leads anywhere
        group["again"] = group[NAME]
        group["latents"] = h5py.ExternalLink(fifo(group), "x")
        file["mc_maze"] = h5py.ExternalLink(fifo(group), "x")
    assert list(read(path)) == REQUIRED


def test_train_rates_may_be_left_out_where_not_required(tmp_path):
    names = [name for name in REQUIRED if name.startswith("eval")]
    write(tmp_path / "theirs.h5", names=names)
    assert list(read(tmp_path / "theirs.h5", required=names)) == names


BOMBS = ("huge and hollow", "huge and contiguous", "giant chunks", "many wide chunks", "inflating chunk")


@pytest.mark.parametrize("case", BOMBS)
def test_bombs_stay_small(tmp_path, case):
    """Neither the process that asks, held to 1.5 GB of address space, nor the one that reads takes 1 GB of memory."""
    path = tmp_path / "theirs.h5"
    write(path, names=[name for name in SHAPES if name != NAME])
    with h5py.File(path, "a") as file:
        HOSTILE[case][0](file[GROUP])
    script = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000,) * 2)
sys.path[:0] = {sys.path!r}
from test_submissions import NlbflowError, Path, read
try:
    read(Path({str(path)!r}))
except NlbflowError as error:
    print(error)
print(*(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    told, peaks = done.stdout.splitlines()
    assert HOSTILE[case][1] in told
    assert max(map(int, peaks.split())) < 10**9 / 1024


def test_real_size_is_read_in_little_memory(tmp_path):
    """float64 rates of MC_Maze's size, in chunks as large as are allowed."""
    shape, step, name = (2295, 140, 137), 430, "train_rates_heldin"
    with h5py.File(tmp_path / "theirs.h5", "w") as file:
        data = file.create_dataset(name, shape, "f8", chunks=(step, *shape[1:]), compression="gzip", compression_opts=1)
        for start in range(0, len(data), step):
            data[start : start + step] = np.full((min(step, len(data) - start), *shape[1:]), 0.1)
    found = read(tmp_path / "theirs.h5", shapes={name: shape}, required=[name], group=None)
    assert found[name].shape == shape and (found[name] == np.float32(0.1)).all()
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 10**9 / 1024


def test_the_reader_opens_no_other_file(tmp_path):
    """Once the submission is open, the system itself refuses the reading process any other file."""
    script = f"""
import sys
from nlbflow import submissions
def peek(*_):
    open({str(tmp_path / "secret")!r})
submissions._expected_dataset = peek
submissions._send({str(tmp_path / "theirs.h5")!r}, {GROUP!r}, {SHAPES!r}, {REQUIRED!r})
"""
    write(tmp_path / "theirs.h5")
    (tmp_path / "secret").write_text("secret")
    environment = os.environ | {"PYTHONPATH": str(Path(submissions.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert "Too many open files" in done.stderr


def truth(draw: np.random.Generator, forward: bool = True) -> tuple[dict, dict]:
    """Random answers and rates of the layout of mc_maze_small."""
    predicted = {name: draw.gamma(2, 0.1, shape).astype(np.float32) for name, shape in SHAPES_SCORED.items()}
    counts = {name.replace("rates", "spikes"): draw.poisson(array) for name, array in predicted.items()}
    kept = ("eval_spikes_heldout", "eval_spikes_heldin_forward", "eval_spikes_heldout_forward")
    target = {name: counts[name].astype(np.float16) for name in kept}
    trials = {part: SHAPES_SCORED[f"{part}_rates_heldin"][:2] for part in SIZES}
    target |= {f"{part}_behavior": draw.normal(size=(*shape, 2)) for part, shape in trials.items()}
    target["psth"] = draw.gamma(2, 0.1, (3, trials["eval"][1], 12))
    for part, (count, _) in trials.items():
        target[f"{part}_cond_idx"] = [np.arange(count)[c::3] for c in range(3)]
    return target, predicted


SHAPES_SCORED = {name: (4 * trials, bins, neurons) for name, (trials, bins, neurons) in SHAPES.items()}


def test_nlb_tools_accepts_our_submission(tmp_path, nlb_tools):
    draw = np.random.default_rng(3)
    cases = {(name, bin_ms): truth(draw) for name in ("mc_maze_small", "mc_maze_large") for bin_ms in (5, 20)}
    path = tmp_path / "submission.h5"
    latents = {"eval_latents": np.zeros((3, 3, 3))}
    write_submission(path, ((*place, predicted | latents) for place, (_, predicted) in cases.items()))
    with h5py.File(path) as file:
        assert set(file) == {"mc_maze_small", "mc_maze_small_20", "mc_maze_large", "mc_maze_large_20"}
        assert set(file["mc_maze_small"]) == set(SHAPES)
    # nlb_tools asks for arrays of objects
    targets = {
        submissions.group_name(*place): target
        | {name: np.array([*rows, None], object)[:-1] for name, rows in target.items() if isinstance(rows, list)}
        for place, (target, _) in cases.items()
    }
    results = {}
    for result in nlb_tools.evaluation.evaluate(targets, str(path)):
        results |= result
    for (name, bin_ms), (target, _) in cases.items():
        split = results[f"mc_maze_scaling{'' if bin_ms == 5 else '_20'}_split"]
        mark = "[100] " if name == "mc_maze_small" else "[500] "
        group = submissions.group_name(name, bin_ms)
        found = score(target, read(path, shapes=SHAPES_SCORED, group=group, bin_ms=bin_ms))
        assert set(found) == {"co-bps", "vel R2", "psth R2", "fp-bps"}
        for metric, value in found.items():
            assert split[mark + metric] == pytest.approx(value, abs=1e-9), metric


def test_the_same_predictions_give_the_same_bytes(tmp_path):
    predicted = {name: rates(shape) for name, shape in SHAPES.items()}
    for name in ("one.h5", "two.h5"):
        write_submission(tmp_path / name, [("mc_rtt", 20, predicted)])
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
