"""A file lock that one process holds until it ends, even if it is killed.

The filelock package is not used: where the file system has no locks it falls back to a file that a
killed process would leave behind.
"""

import errno
import os
import sys
from pathlib import Path

from db.errors import LocksUnsupportedError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_LOCKED = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
"""`errno` if another process holds it; EACCES and EDEADLK on Windows (`_locking` in its CRT)."""
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)


class ProcessLock:
    """An exclusive lock on `path`, a file that is only for the lock. It is created and stays.

    Child processes don't inherit it. Don't lock a database file itself: closing any descriptor of
    that file would release SQLite's own locks.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    @classmethod
    def for_file(cls, file: Path) -> "ProcessLock":
        """Return the lock of this file, whichever symbolic link it is reached by."""
        real = file.resolve()
        return cls(real.with_name(f"{real.name}.lock"))

    def acquire(self) -> bool:
        """Lock it; False if another process or another `ProcessLock` holds it.

        Raises:
            LocksUnsupportedError: the file system has no locks.
            OSError: the file can't be created.
        """
        # Writable: NFS grants an exclusive lock on nothing else (Linux, flock(2)).
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(descriptor)
        except OSError as error:
            os.close(descriptor)
            if error.errno in _LOCKED:
                return False
            if error.errno in _UNSUPPORTED:
                raise LocksUnsupportedError(error.errno, error.strerror, str(self.path)) from error
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Release it, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
