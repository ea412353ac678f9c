"""The database: opening the file, write transactions, the reader."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from db import checks
from db.cancellation import run_to_completion
from db.connection import Connection, InlineConnection
from db.errors import DatabaseFileError, LocksUnsupportedError, SchemaTooOldError
from db.file_connection import BUSY_TIMEOUT, FileConnection, connect, connect_read_only
from db.migrate import applied, migrate, pending
from db.process_lock import ProcessLock

T = TypeVar("T")


BUSY_INTERVAL = 0.02
"""Seconds between two tries if SQLite does not wait by itself."""

PRAGMAS = (
    # A commit must survive a power cut. It costs 0.2 ms here.
    "synchronous = FULL",
    "foreign_keys = ON",
    # A deleted token leaves no trace in the file.
    "secure_delete = ON",
)


class Database:
    """One writing connection behind a lock, and one reading connection.

    Without the lock, a rollback of one task would lose another task's rows.
    """

    def __init__(self, writer: FileConnection, reader: aiosqlite.Connection) -> None:
        self._writer = writer
        self._reader = reader
        self._lock = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path, *, while_bot_runs: bool = False) -> "Database":
        """Open the file, created if absent, and migrate its schema.

        With `while_bot_runs` the schema is not changed if a bot may be using the file.

        Raises:
            SchemaTooNewError: a later version of Songwright wrote it.
            SchemaTooOldError: an earlier version wrote it, and a bot is using it, or may be.
            DatabaseFileError: the file can't be opened or written, or is no database.
            DatabaseBusyError: another program locked it for `BUSY_TIMEOUT` seconds.
            DiskFullError: there is no room to open it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        # The thread of an open connection would keep the process from ending.
        async with contextlib.AsyncExitStack() as on_error:
            writer = connect(path)
            await on_error.enter_async_context(writer)
            writer.row_factory = sqlite3.Row
            await _set_wal(writer)
            for pragma in PRAGMAS:
                # Fetched, since SQLite commits nothing while a statement is in progress.
                await writer.execute_fetchall(f"PRAGMA {pragma}")
            await (_migrate_if_unlocked(writer, path) if while_bot_runs else migrate(writer))
            if not while_bot_runs:
                # A read-only file opens without an error and would fail at the first song. BEGIN
                # IMMEDIATE does not show that: SQLite makes it a BEGIN there.
                await writer.execute("DELETE FROM migrations WHERE number IS NULL")
            reader = await on_error.enter_async_context(connect(path))
            reader.row_factory = sqlite3.Row
            await reader.execute_fetchall("PRAGMA query_only = ON")
            on_error.pop_all()
            return cls(writer, reader)

    @staticmethod
    async def is_ours(path: Path) -> bool:
        """Return whether the file is a database of Songwright's. Nothing is created or changed.

        Raises:
            DatabaseFileError, DiskFullError: the file can't be opened, or is no database.
        """
        if not await asyncio.to_thread(path.exists):
            return False
        async with connect_read_only(path) as connection:
            connection.row_factory = sqlite3.Row
            return bool(await applied(connection))

    @staticmethod
    async def damage(path: Path) -> list[str]:
        """Return what SQLite finds wrong with a file that can't be opened, as far as readable."""
        try:
            async with connect_read_only(path) as connection:
                return await checks.damage(connection)
        except DatabaseFileError:
            return []

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[aiosqlite.Connection]:
        """Run one transaction: commit when the block ends, roll back when it raises.

        A task that is cancelled in the block rolls back; during the commit it waits for the commit,
        so that no other transaction begins inside this one.

        Raises:
            DiskFullError, DatabaseBusyError: nothing was written.
        """
        async with self._lock:
            try:
                await self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                await run_to_completion(self._writer.commit())
            except BaseException:
                # No effect without an open transaction: BEGIN failed, or COMMIT was done.
                await run_to_completion(self._writer.rollback())
                raise

    async def transact(self, work: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
        """Run `work` in one transaction and in one trip to the writer's thread.

        For frequent transactions: a trip costs 0.1 ms, a statement a tenth of that, and creating a
        song takes some twenty. `work` runs on that thread, so it may await only its connection and
        must not use what the event loop changes. A cancelled task waits for the commit.

        Raises:
            DiskFullError: nothing was written.
        """
        async with self._lock:
            trip = self._writer.run(lambda connection: _run_transaction(connection, work))
            return await run_to_completion(trip)

    @property
    def reader(self) -> aiosqlite.Connection:
        """The reading connection. Each statement sees what was committed before it."""
        return self._reader

    async def close(self) -> None:
        """Wait for the transaction in progress, then close both connections."""
        async with self._lock:
            await self._reader.close()
            await self._writer.close()


async def _migrate_if_unlocked(connection: aiosqlite.Connection, path: Path) -> None:
    """Migrate the schema if it is pending and no bot uses the database."""
    if not await pending(connection):
        return
    lock = ProcessLock.for_file(path)
    try:
        acquired = lock.acquire()
    except LocksUnsupportedError:
        acquired = False  # a bot may be running anyway
    if not acquired:
        raise SchemaTooOldError(
            f"{path} was written by an earlier version, and a running bot may be using it. Start "
            "the bot with this version first: it brings the database up to date."
        )
    try:
        await migrate(connection)
    finally:
        lock.release()


def _run_transaction(
    connection: sqlite3.Connection, work: Callable[[Connection], Coroutine[Any, Any, T]]
) -> T:
    """Run one transaction on the current thread. `work` must not wait for the event loop."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        running = work(InlineConnection(connection))
        try:
            running.send(None)
        except StopIteration as done:
            result: T = done.value
        else:
            running.close()
            raise RuntimeError("a transaction awaited something other than its connection")
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    return result


async def _set_wal(connection: aiosqlite.Connection) -> None:
    """Switch to a write-ahead log, which the file keeps.

    If another process does the same at that moment, SQLite fails at once, whatever the busy timeout
    is, since each holds a lock that the other waits for.
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
        await asyncio.sleep(BUSY_INTERVAL)
