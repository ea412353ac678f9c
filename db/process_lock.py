"""A lock on a file that one process has at a time, until it ends, however it ends.

Not filelock: without locks in the file system it makes a file that says so, which a killed process
would leave behind.
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

_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
"""Another has it: EACCES and EDEADLK are Windows's words (`_locking` in its C library)."""
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL)


class ProcessLock:
    """An exclusive lock on `path`, a file that is for the lock alone. It is made and stays there.

    Programs that this process starts don't inherit it. It is never on a database itself: SQLite's
    own locks on a file are gone when any descriptor of it is closed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    @classmethod
    def beside(cls, file: Path) -> "ProcessLock":
        """The one for this file, by whichever symbolic link it is reached."""
        real = file.resolve()
        return cls(real.with_name(f"{real.name}.lock"))

    def acquire(self) -> bool:
        """Take it; False if another process, or another of these, has it.

        Raises:
            LocksUnsupportedError: the file system has no locks.
            OSError: the file can't be made.
        """
        # For writing too: NFS grants an exclusive lock to nothing else (Linux, flock(2)).
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(descriptor)
        except OSError as error:
            os.close(descriptor)
            if error.errno in _HELD:
                return False
            if error.errno in _UNSUPPORTED:
                raise LocksUnsupportedError(error.errno, error.strerror, str(self.path)) from error
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let the next one have it. Does nothing if this one hasn't."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
