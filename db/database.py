"""Opening the file, the one write transaction, the reader."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from db import checks
from db.cancelling import to_its_end
from db.connection import Connection, InlineConnection
from db.errors import DatabaseFileError, LocksUnsupportedError, SchemaTooOldError
from db.file_connection import BUSY_TIMEOUT, connect, connect_read_only
from db.migrate import migrate, pending, seen
from db.process_lock import ProcessLock

T = TypeVar("T")


BUSY_AGAIN = 0.02
"""Seconds between two tries where SQLite does not wait by itself."""

PRAGMAS = (
    # A commit must survive a power cut. It costs 0.2 ms here.
    "synchronous = FULL",
    "foreign_keys = ON",
    # A token that is forgotten leaves no trace in the file.
    "secure_delete = ON",
)


class Database:
    """One writing connection behind one lock, and one connection that only reads.

    Two tasks that share a writing connection without the lock lose each other's rows in a rollback.
    """

    def __init__(self, writer: aiosqlite.Connection, reader: aiosqlite.Connection) -> None:
        self._writer = writer
        self._reader = reader
        self._lock = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path, *, beside_bot: bool = False) -> "Database":
        """Open the file, made if absent, and bring its schema up to date.

        With `beside_bot` a running bot may have it open, whose schema is not changed under it.

        Raises:
            SchemaTooNewError: a later version of Songwright has written it.
            SchemaTooOldError: an earlier one has, and a bot is using it, or may be.
            DatabaseFileError: the file can't be opened or written, or is no database.
            DatabaseBusyError: another program has kept it locked for `BUSY_TIMEOUT` seconds.
            DiskFullError: there is no room to open it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        # A connection that is left open keeps its thread, and the thread keeps the process.
        async with contextlib.AsyncExitStack() as unwanted:
            writer = await unwanted.enter_async_context(connect(path))
            writer.row_factory = sqlite3.Row
            await _to_wal(writer)
            for pragma in PRAGMAS:
                # Fetched, since SQLite commits nothing beside a statement that is in progress.
                await writer.execute_fetchall(f"PRAGMA {pragma}")
            await (_migrate_beside_bot(writer, path) if beside_bot else migrate(writer))
            if not beside_bot:
                # A file that can only be read opens without an error, and fails at the first song.
                # Not by BEGIN IMMEDIATE, which SQLite makes a BEGIN there.
                await writer.execute("DELETE FROM migrations WHERE number IS NULL")
            reader = await unwanted.enter_async_context(connect(path))
            reader.row_factory = sqlite3.Row
            await reader.execute_fetchall("PRAGMA query_only = ON")
            unwanted.pop_all()
            return cls(writer, reader)

    @staticmethod
    async def is_ours(path: Path) -> bool:
        """Whether there is a database that Songwright has made. Nothing is made or changed.

        Raises:
            DatabaseFileError, DiskFullError: the file can't be opened, or is no database.
        """
        if not await asyncio.to_thread(path.exists):
            return False
        async with connect_read_only(path) as connection:
            connection.row_factory = sqlite3.Row
            return bool(await seen(connection))

    @staticmethod
    async def damage(path: Path) -> list[str]:
        """What SQLite finds wrong with a file that can't be opened, as far as it can be read."""
        try:
            async with connect_read_only(path) as connection:
                return await checks.damage(connection)
        except DatabaseFileError:
            return []

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[aiosqlite.Connection]:
        """One transaction: committed when the block ends, rolled back whole when it raises.

        A task that is cancelled inside the block rolls back too; one that is cancelled while the
        commit is under way waits for its end, so that nobody else starts inside it.

        Raises:
            DiskFullError, DatabaseBusyError: nothing was written.
        """
        async with self._lock:
            try:
                await self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                await to_its_end(self._writer.commit())
            except BaseException:
                # Does nothing where no transaction is open: BEGIN failed, or COMMIT was through.
                await to_its_end(self._writer.rollback())
                raise

    async def transact(self, work: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
        """`write` in one trip to the writer's thread: for what is done often and has to be quick.

        A trip costs 0.1 ms, and a statement a tenth of that; asking for a song takes some twenty
        statements. `work` runs on that thread as it stands, so it may await nothing but its
        connection and touch nothing that the event loop changes.

        A task that is cancelled meanwhile waits for the end, which may be the commit.

        Raises:
            DiskFullError: nothing was written.
        """
        async with self._lock:
            # aiosqlite has no public way to run more than one statement in its thread at a time.
            trip = self._writer._execute(  # type: ignore[no-untyped-call]  # noqa: SLF001
                _whole,
                self._writer._conn,  # noqa: SLF001
                work,
            )
            return await to_its_end(trip)

    @property
    def reader(self) -> aiosqlite.Connection:
        """The connection that only reads. Each statement sees what was committed before it."""
        return self._reader

    async def close(self) -> None:
        """Wait for the transaction under way, then close both connections."""
        async with self._lock:
            await self._reader.close()
            await self._writer.close()


async def _migrate_beside_bot(connection: aiosqlite.Connection, path: Path) -> None:
    """Bring the schema up to date if it is not, and if no bot has the database."""
    if not await pending(connection):
        return
    lock = ProcessLock.beside(path)
    try:
        free = lock.acquire()
    except LocksUnsupportedError:
        free = False  # a bot may be there all the same
    if not free:
        raise SchemaTooOldError(
            f"{path} was written by an earlier version, and a running bot may be using it. Start "
            "the bot with this version first: it brings the database up to date."
        )
    try:
        await migrate(connection)
    finally:
        lock.release()


def _whole(
    connection: sqlite3.Connection, work: Callable[[Connection], Coroutine[Any, Any, T]]
) -> T:
    """One transaction, on the thread that this is called on."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        result = _at_once(work(InlineConnection(connection)))
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    return result


def _at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never has to wait."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise RuntimeError("a transaction in one trip awaited something else than its connection")


async def _to_wal(connection: aiosqlite.Connection) -> None:
    """Keep a write-ahead log, as the file does from its first opening on.

    Where another process does the same at that moment, SQLite refuses at once, whatever it was told
    to wait: both hold a lock that the other would wait for.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + BUSY_TIMEOUT
    while True:
        try:
            await connection.execute_fetchall("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or loop.time() > until:
                raise
        else:
            return
        await asyncio.sleep(BUSY_AGAIN)
