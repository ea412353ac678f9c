"""One bot for each database and data folder: two would make every song twice."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

from db.errors import LocksUnsupportedError
from db.process_lock import ProcessLock
from services.errors import AlreadyRunning

log = logging.getLogger(__name__)

TIMEOUT = 60.0
"""Seconds for the previous process to end, in a deployment for example. A stop takes 10 at most."""
POLL_INTERVAL = 0.25
LOCK_OF_DATA_DIR = "songwright.lock"


@contextlib.asynccontextmanager
async def exclusive_process(database_path: Path, data_dir: Path) -> AsyncIterator[bool]:
    """Lock the database and the data folder while the block runs.

    Yield whether both are locked. If not, another process may be using them: a file system without
    locks only causes a warning. Both folders are created. The order of the locks is always the
    same, so that no two processes wait for each other.

    Raises:
        AlreadyRunning: another process held one of them for `TIMEOUT` seconds.
        OSError: a folder or a lock file can't be created.
    """
    until = asyncio.get_running_loop().time() + TIMEOUT
    all_locked = True
    with contextlib.ExitStack() as held:
        for used, lock in _locks(database_path, data_dir):
            all_locked = await _acquire(lock, used, until=until) and all_locked
            held.callback(lock.release)
        yield all_locked


def _locks(database_path: Path, data_dir: Path) -> list[tuple[Path, ProcessLock]]:
    """Return what is used and its lock, the database first."""
    database_path.parent.mkdir(parents=True, exist_ok=True)
    data_dir.mkdir(parents=True, exist_ok=True)
    return [
        (database_path, ProcessLock.for_file(database_path)),
        (data_dir, ProcessLock(data_dir / LOCK_OF_DATA_DIR)),
    ]


async def _acquire(lock: ProcessLock, used: Path, *, until: float) -> bool:
    """Wait for a lock; False if the file system has none. `until`: a time of the event loop."""
    warned = False
    # The last line of a start that hangs: NFS without its lock manager never responds.
    log.info("locking %s", lock.path)
    try:
        while not lock.acquire():
            left = until - asyncio.get_running_loop().time()
            if left <= 0:
                raise AlreadyRunning(
                    f"Another Songwright process is still using {used}. Stop it, or set another "
                    "DATABASE_URL and DATA_DIR for this one."
                )
            if not warned:
                log.warning(
                    "another process is using %s: waiting up to %.0f s for it to stop", used, left
                )
                warned = True
            await asyncio.sleep(min(POLL_INTERVAL, left))
    except LocksUnsupportedError as error:
        log.warning(
            "%s can't be locked (%s): make sure that only one bot uses it", used, error.strerror
        )
        return False
    return True
