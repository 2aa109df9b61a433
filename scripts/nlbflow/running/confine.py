"""Confinement of a process by the kernel: it can open only certain files and no TCP connection (Linux, Landlock).

Landlock (Linux 5.13; Salaün 2017, landlock.io; man 7 landlock) permanently takes rights away from a process and from
all processes that it starts. The constants are those of linux/landlock.h.
"""

import ctypes
import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

# the same numbers on every architecture
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
ASK_VERSION, PATH_BENEATH = 1, 1
PR_SET_NO_NEW_PRIVS = 38

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
READ = EXECUTE | READ_FILE | READ_DIR
# the rights that apply to a file; the others apply to folders only
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
# the number of file rights that each version of Landlock knows
RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
MOST_RIGHTS = 16
TCP = 0b11
ABSTRACT_SOCKETS_AND_SIGNALS = 0b11
# dri and kfd are for GPU drivers; `devices` adds NVIDIA's.
DEVICES = ("null", "zero", "full", "random", "urandom", "shm", "dri", "kfd")


class _Rules(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("rights", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def version() -> int:
    """The kernel's version of Landlock; 0 if it has none."""
    if sys.platform != "linux":
        return 0
    return max(_syscall(CREATE_RULESET, None, 0, ASK_VERSION), 0)


def confine(readable: Iterable[Path], writable: Iterable[Path], hidden: Iterable[Path]) -> None:
    """Permanently deny this process all other files, TCP connections, and signals to processes outside.

    Args:
        readable: files, and folders with all that lies below them, that can be read and executed.
        writable: files and folders that can also be written.
        hidden: files and folders that cannot be read although they lie below a readable one.

    Raises:
        OSError: the kernel refuses, or has no Landlock.
    """
    found = version()
    files = (1 << RIGHTS.get(found, MOST_RIGHTS)) - 1
    rules = _Rules(files, TCP if found >= 4 else 0, ABSTRACT_SOCKETS_AND_SIGNALS if found >= 6 else 0)
    ruleset = _checked(_syscall(CREATE_RULESET, ctypes.byref(rules), ctypes.sizeof(rules), 0))
    try:
        hidden = [Path(os.path.realpath(path)) for path in hidden]
        for path in readable:
            for granted in without(Path(os.path.realpath(path)), hidden):
                _grant(ruleset, granted, READ)
        for path in writable:
            _grant(ruleset, path, files)
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")
        _checked(_syscall(RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def without(path: Path, hidden: list[Path]) -> list[Path]:
    """The path, or the largest parts of it that contain nothing hidden."""
    if any(path == one or one in path.parents for one in hidden):
        return []
    if not any(path in one.parents for one in hidden):
        return [path]
    # a link may lead out of the folder or to something hidden
    inside = [child for child in sorted(path.iterdir()) if not child.is_symlink()]
    return [part for child in inside for part in without(child, hidden)]


def devices() -> list[Path]:
    """The devices that a program may need: randomness, shared memory, GPUs; no disk."""
    found = [Path("/dev", name) for name in DEVICES]
    return [path for path in [*found, *Path("/dev").glob("nvidia*")] if path.exists()]


def system() -> list[Path]:
    """What Python programs read: Python itself, its packages, the system's libraries and settings."""
    places = {sys.prefix, sys.base_prefix, sys.exec_prefix, *filter(None, sys.path)}
    places |= {*filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep))}
    places |= {"/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc", "/proc", "/sys"}
    return [Path(place) for place in sorted(places) if Path(place).exists()]


def _grant(ruleset: int, path: Path, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # a path that is gone, or that we may not open, cannot be granted
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            rights &= OF_A_FILE
        beneath = _Beneath(rights, opened)
        _checked(_syscall(ADD_RULE, ruleset, PATH_BENEATH, ctypes.byref(beneath), 0))
    finally:
        os.close(opened)


def _syscall(number: int, *arguments) -> int:
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    plain = (ctypes.c_size_t(a) if isinstance(a, int) else a for a in arguments)
    return call(ctypes.c_long(number), *plain)


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result
