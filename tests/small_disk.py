"""A real disk, small enough to be filled to its last byte."""

import contextlib
import ctypes
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.database import Database

_MNT_DETACH = 2  # umount2(2): what is still open stays readable until it is closed


class SmallDisk:
    """A separate file system at `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    async def fill_beside(self, database: Database) -> None:
        """Leave no room for another transaction: not even in the write-ahead log."""
        async with database._lock:
            await database._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self.fill()

    def fill(self) -> None:
        """Leave no room for another block."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for block in (2**16, 2**12):
                with contextlib.suppress(OSError):
                    while True:
                        ballast.write(bytes(block))

    def clear(self) -> None:
        """All the room there was before."""
        self._ballast.unlink()

    @property
    def free(self) -> int:
        """Bytes."""
        return shutil.disk_usage(self.folder).free


@contextlib.contextmanager
def small_disk(folder: Path, *, mebibytes: int) -> Iterator[SmallDisk]:
    """Mount a tmpfs at `folder`; the test is skipped where it may not be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    target = os.fsencode(folder)
    mount = getattr(libc, "mount", None)
    if mount is None or mount(b"tmpfs", target, b"tmpfs", 0, f"size={mebibytes}m".encode()) != 0:
        pytest.skip(f"a file system can't be mounted: {os.strerror(ctypes.get_errno())}")
    try:
        yield SmallDisk(folder)
    finally:
        libc.umount2(target, _MNT_DETACH)
