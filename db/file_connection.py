"""Connections to the database file whose errors name the file.

The only module that uses private parts of aiosqlite.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from db.errors import map_file_error

T = TypeVar("T")

BUSY_TIMEOUT = 30.0
"""Seconds to wait for another process's lock: the backup of a large file takes several."""


class FileConnection(aiosqlite.Connection):
    """A connection whose errors about the file name it."""

    def __init__(self, opened: sqlite3.Connection, path: Path) -> None:
        super().__init__(lambda: opened, iter_chunk_size=64)
        self._path = path

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function on the connection's thread, where it may use several statements.

        aiosqlite has no public way to do that in one trip.
        """
        done: T = await self._execute(work, self._conn)
        return done

    async def _execute(self, fn: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - its form
        with _mapped_errors(self._path):
            return await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _mapped_errors(path: Path) -> Iterator[None]:
    """Map SQLite's errors about the file."""
    try:
        yield
    except sqlite3.Error as error:
        if (mapped := map_file_error(error, path)) is None:
            raise
        raise mapped from error


def connect(path: Path) -> FileConnection:
    """Return a connection whose thread starts when it is entered or awaited."""
    return _open(path, path)


def connect_read_only(path: Path) -> FileConnection:
    """Return a connection that creates no file except SQLite's own next to the database."""
    return _open(path, f"{path.absolute().as_uri()}?mode=ro")


def _open(path: Path, address: Path | str) -> FileConnection:
    """Open the file here and not in the connection's thread.

    If opening fails there, aiosqlite leaves the thread running, which later fails on a closed loop.
    `address`: a path, or a URI as text.
    """
    with _mapped_errors(path):
        opened = sqlite3.connect(
            address,
            uri=isinstance(address, str),
            isolation_level=None,
            timeout=BUSY_TIMEOUT,
            check_same_thread=False,
        )
    return FileConnection(opened, path)
