"""One bot for each database and each data folder: two would make every song twice."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

from db.errors import LocksUnsupportedError
from db.process_lock import ProcessLock
from services.errors import AlreadyRunning

log = logging.getLogger(__name__)

PATIENCE = 60.0
"""Seconds that the process before has to end, at a deployment say. A stop takes 10 at most."""
ASK_AGAIN = 0.25
LOCK_OF_DATA_DIR = "songwright.lock"


@contextlib.asynccontextmanager
async def sole_process(database_path: Path, data_dir: Path) -> AsyncIterator[bool]:
    """Let no other process in while the block runs, nor start while another is in.

    Gives whether both are locked. If not, there may be another process for all that is known.

    Both folders are made. The locks are taken in one order by all, so that no two wait for each
    other. On a file system without locks there is a warning, and no lock.

    Raises:
        AlreadyRunning: another process has had one of them for `PATIENCE` seconds.
        OSError: a folder or a lock's file can't be made.
    """
    until = asyncio.get_running_loop().time() + PATIENCE
    both = True
    with contextlib.ExitStack() as held:
        for used, lock in _locks(database_path, data_dir):
            both = await _take(lock, used, until=until) and both
            held.callback(lock.release)
        yield both


def _locks(database_path: Path, data_dir: Path) -> list[tuple[Path, ProcessLock]]:
    """What is used, and its lock. The database comes first."""
    database_path.parent.mkdir(parents=True, exist_ok=True)
    data_dir.mkdir(parents=True, exist_ok=True)
    return [
        (database_path, ProcessLock.beside(database_path)),
        (data_dir, ProcessLock(data_dir / LOCK_OF_DATA_DIR)),
    ]


async def _take(lock: ProcessLock, used: Path, *, until: float) -> bool:
    """Wait for a lock; False where there are none. `until` is a time of the running loop."""
    said = False
    # The last line of a start that hangs: NFS without its lock manager never answers.
    log.info("locking %s", lock.path)
    try:
        while not lock.acquire():
            left = until - asyncio.get_running_loop().time()
            if left <= 0:
                raise AlreadyRunning(
                    f"Another Songwright process is still using {used}. Stop it, or set another "
                    "DATABASE_URL and DATA_DIR for this one."
                )
            if not said:
                log.warning(
                    "another process is using %s: waiting up to %.0f s for it to stop", used, left
                )
                said = True
            await asyncio.sleep(min(ASK_AGAIN, left))
    except LocksUnsupportedError as error:
        log.warning(
            "%s can't be locked (%s): make sure that only one bot uses it", used, error.strerror
        )
        return False
    return True
