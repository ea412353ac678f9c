"""A quota that is used up, for SQLite: each of its writes is refused as the kernel does it then.

By SQLite's own means for that (`xSetSystemCall`, "The OS Backend (VFS)"), since a real quota takes
a kernel that has them and another user than root.
"""

import contextlib
import ctypes
import ctypes.util
import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

_Write = ctypes.CFUNCTYPE(
    ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64, use_errno=True
)
_Set = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_CALLS = (b"write", b"pwrite", b"pwrite64")


class _Vfs(ctypes.Structure):
    """`sqlite3_vfs`, up to the member that is used."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("longest_path", ctypes.c_int),
        ("pointers", ctypes.c_void_p * 16),
        ("set_system_call", _Set),
    )


@contextlib.contextmanager
def used_up() -> Iterator[None]:
    """In the block SQLite writes nothing; the test is skipped where its library is not found."""
    vfs = _vfs()
    if vfs is None:
        pytest.skip("the library that Python's sqlite3 uses is not found")

    def refuse(*_: int) -> int:
        ctypes.set_errno(errno.EDQUOT)
        return -1

    refusing = _Write(refuse)
    address = ctypes.cast(refusing, ctypes.c_void_p)
    for call in _CALLS:
        vfs.contents.set_system_call(vfs, call, address)
    try:
        yield
    finally:
        for call in _CALLS:
            vfs.contents.set_system_call(vfs, call, None)


def _vfs() -> "ctypes._Pointer[_Vfs] | None":
    """Of the very library that Python has loaded; another copy would have other calls."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text().splitlines() if maps.exists() else []
    for library in {line.split()[-1] for line in lines if "libsqlite3" in line}:
        loaded = ctypes.CDLL(library)
        loaded.sqlite3_libversion.restype = ctypes.c_char_p
        if loaded.sqlite3_libversion().decode() == sqlite3.sqlite_version:
            loaded.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
            found: ctypes._Pointer[_Vfs] = loaded.sqlite3_vfs_find(None)
            return found
    return None
