"""New databases, by the thousand: real ones, of bytes that the migrations have written once."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import aiosqlite

from db.database import Database
from db.file_connection import FileConnection
from db.migrate import migrate

_migrated: list[bytes] = []
"""What a new file holds. The migrations take 30 ms, longer than most tests."""


async def new_database(path: Path) -> Database:
    """Open it in a new file."""
    await write_new(path)
    return await Database.open(path)


async def write_new(path: Path) -> None:
    """A file that somebody else will open."""
    path.write_bytes(await _bytes())  # noqa: ASYNC240 - 0.2 ms


@contextlib.asynccontextmanager
async def database_in_memory() -> AsyncIterator[Database]:
    """For examples by the hundred: on disk they would take a minute."""
    connection = _opened_with(await _bytes())
    async with (opened := FileConnection(connection, Path(":memory:"))):
        opened.row_factory = sqlite3.Row
        await opened.execute("PRAGMA foreign_keys = ON")
        yield Database(opened, opened)


async def _bytes() -> bytes:
    if not _migrated:
        connection = _opened_with(b"")
        async with aiosqlite.Connection(lambda: connection, iter_chunk_size=64) as opened:
            opened.row_factory = sqlite3.Row
            await migrate(opened)
            _migrated.append(connection.serialize())
    return _migrated[0]


def _opened_with(content: bytes) -> sqlite3.Connection:
    """In memory; for the thread that aiosqlite will use it on."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    if content:
        connection.deserialize(content)
    return connection


def dump(folder: Path) -> list[str]:
    """Return the content of the database in a test's folder, row by row."""
    with contextlib.closing(sqlite3.connect(folder / "songs.db")) as connection:
        return list(connection.iterdump())
