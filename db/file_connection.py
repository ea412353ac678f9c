"""Connections to the database's file, whose errors name it."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiosqlite

from db.errors import named

BUSY_TIMEOUT = 30.0
"""Seconds to wait for a lock that another process holds: a backup of a large file takes several."""


class FileConnection(aiosqlite.Connection):
    """Whose errors name the file, where they are about it."""

    def __init__(self, opened: sqlite3.Connection, path: Path) -> None:
        super().__init__(lambda: opened, iter_chunk_size=64)
        self._path = path

    async def _execute(self, fn: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - its form
        with _naming(self._path):
            return await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Raise an error that names the file for what SQLite raises about it."""
    try:
        yield
    except sqlite3.Error as error:
        if (of_the_file := named(error, path)) is None:
            raise
        raise of_the_file from error


def connect(path: Path) -> aiosqlite.Connection:
    """Its thread starts when it is entered or awaited."""
    return _opened(path, path)


def connect_read_only(path: Path) -> aiosqlite.Connection:
    """Makes no file, but for SQLite's own beside the database."""
    return _opened(path, f"{path.absolute().as_uri()}?mode=ro")


def _opened(path: Path, address: Path | str) -> aiosqlite.Connection:
    """`address` is a path, or a URI as text.

    Opened here and not in the thread that it is for: where that fails, aiosqlite leaves the thread
    behind, which then complains of a loop that is closed.
    """
    with _naming(path):
        opened = sqlite3.connect(
            address,
            uri=isinstance(address, str),
            isolation_level=None,
            timeout=BUSY_TIMEOUT,
            check_same_thread=False,
        )
    return FileConnection(opened, path)
