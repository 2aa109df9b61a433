"""Files whose indexes, the version 1 B-trees of HDF5's file format specification, are damaged with intent."""

from collections.abc import Callable
from pathlib import Path

import h5py

from submission_files import NAME, rates

# A node is a header and entries, each a key (a chunk's size, filters and place) and the address of what it leads to.
HEADER, KEY, ENTRY = 24, 40, 48


def indexed(damage: Callable[[bytearray, int, int], None]):
    """Chunks of one value each, whose index (a version 1 B-tree) `damage` gets with the places of root and a leaf."""

    def build(group: h5py.Group) -> None:
        group.create_dataset(NAME, data=rates(), chunks=(1, 1, 1))
        path = Path(group.file.filename)
        group.file.close()
        content = bytearray(path.read_bytes())
        damage(content, content.index(b"TREE\1\1"), content.index(b"TREE\1\0"))
        path.write_bytes(content)

    return build


def own_child(content: bytearray, root: int, leaf: int) -> None:
    content[root + HEADER + KEY : root + HEADER + ENTRY] = root.to_bytes(8, "little")


def twice(content: bytearray, root: int, leaf: int) -> None:
    start = leaf + HEADER
    content[start + ENTRY : start + 2 * ENTRY] = content[start : start + ENTRY]


def endless(content: bytearray, root: int, leaf: int) -> None:
    """64 entries that all lead to the same node, which has 64 such entries: in six levels 10^12 chunks."""
    first, last, below = content[leaf + HEADER :][:KEY], content[root + HEADER + 2 * ENTRY :][:KEY], leaf
    for level in range(1, 7):
        node = b"TREE\1" + bytes([level, 64, 0]) + b"\xff" * 16 + 64 * (first + below.to_bytes(8, "little")) + last
        below = len(content) if level < 6 else root
        content[below : below + len(node)] = node
    content[40:48] = len(content).to_bytes(8, "little")  # where the file says that it ends


def own_child_of_names(group: h5py.Group) -> None:
    """The same of the index of a group's names."""
    for i in range(400):
        group[f"name {i:03}"] = h5py.SoftLink("/")
    path = Path(group.file.filename)
    group.file.close()
    content = bytearray(path.read_bytes())
    root = content.index(b"TREE\0\1")
    for place in range(root + HEADER + 8, root + HEADER + 16 * content[root + 6], 16):
        content[place : place + 8] = root.to_bytes(8, "little")
    path.write_bytes(content)
