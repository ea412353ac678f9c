"""Transactions: complete or not at all, whichever task is cancelled."""

import asyncio
import errno
import itertools
import sqlite3
import threading
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from db import servers
from db.connection import Connection
from db.database import Database
from db.errors import DatabaseBusyError, DatabaseFileError, DiskFullError
from db.file_connection import connect_read_only
from tests.small_disk import small_disk

SERVERS = (1, 2)


async def present(database: Database) -> set[int]:
    return set(await servers.names_present(database.reader))


async def write_both(database: Database) -> None:
    async with database.write() as connection:
        for server in SERVERS:
            await servers.ensure_server(connection, server)


class Cutting:
    """A connection that cancels `victim` as its calls number `at` are made: before or in them."""

    def __init__(self, inner: aiosqlite.Connection, *at: int, inside: bool) -> None:
        self.inner = inner
        self.at = at
        self.inside = inside
        self.calls = 0
        self.victim: asyncio.Task[None] | None = None

    async def execute(self, *arguments: Any) -> aiosqlite.Cursor:
        await self._cut()
        return await self.inner.execute(*arguments)

    async def commit(self) -> None:
        await self._cut()
        await self.inner.commit()

    async def rollback(self) -> None:
        await self._cut()
        await self.inner.rollback()

    async def _cut(self) -> None:
        self.calls += 1
        if self.calls in self.at:
            assert self.victim is not None
            self.victim.cancel()
            if not self.inside:
                await asyncio.sleep(0)


async def run_cut(database: Database, *at: int, inside: bool) -> None:
    connection = database._writer
    cutting = Cutting(connection, *at, inside=inside)
    database._writer = cutting  # type: ignore[assignment]
    try:
        cutting.victim = asyncio.create_task(write_both(database))
        await asyncio.wait({cutting.victim})
        assert cutting.victim.cancelled()
    finally:
        database._writer = connection


BEGIN, FIRST, SECOND, COMMIT = 1, 2, 3, 4


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("call", [BEGIN, FIRST, SECOND])
async def test_a_task_cancelled_before_its_commit_leaves_nothing(
    database: Database, call: int, inside: bool
) -> None:
    await run_cut(database, call, inside=inside)
    assert await present(database) == set()
    assert not database._writer.in_transaction
    await write_both(database)
    assert await present(database) == set(SERVERS)


@pytest.mark.parametrize("inside", [False, True])
async def test_a_task_cancelled_in_its_commit_has_committed(
    database: Database, inside: bool
) -> None:
    await run_cut(database, COMMIT, inside=inside)
    assert await present(database) == set(SERVERS)
    assert not database._writer.in_transaction


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("call", [BEGIN, FIRST, SECOND])
async def test_a_task_cancelled_again_in_its_rollback_leaves_nothing(
    database: Database, call: int, inside: bool
) -> None:
    await run_cut(database, call, call + 1, inside=inside)
    await write_both(database)  # waits for the rollback, and does not start inside it
    assert not database._writer.in_transaction
    assert await present(database) == set(SERVERS)


@pytest.mark.parametrize("one_trip", [False, True])
async def test_a_task_cancelled_while_it_waits_for_its_turn_has_not_begun(
    database: Database, one_trip: bool
) -> None:
    async with database.write() as connection:
        write = database.transact(insert_both) if one_trip else write_both(database)
        waiting: asyncio.Task[object] = asyncio.create_task(write)
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        await servers.ensure_server(connection, 7)
    assert await present(database) == {7}


async def test_two_tasks_never_share_a_transaction(database: Database) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def fails_late() -> None:
        async with database.write() as connection:
            await servers.ensure_server(connection, 7)
            inside.set()
            await go_on.wait()
            raise LookupError

    failing = asyncio.create_task(fails_late())
    await inside.wait()
    other = asyncio.create_task(write_both(database))
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.wait({failing, other})
    assert isinstance(failing.exception(), LookupError)
    assert other.exception() is None
    assert await present(database) == set(SERVERS)


async def test_committed_rows_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "songs.db"
    first = await Database.open(path)
    await write_both(first)
    await first.close()
    second = await Database.open(path)
    assert await present(second) == set(SERVERS)
    await second.close()


async def test_a_file_that_can_only_be_read_does_not_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It opened, and failed at the first song (wakapi 471, homebox 449, navidrums 31)."""
    path = tmp_path / "songs.db"
    await (await Database.open(path)).close()
    # As root, whom no permission stops, by SQLite's own way to open a file for reading.
    monkeypatch.setattr("db.database.connect", connect_read_only)
    with pytest.raises(DatabaseFileError, match=r"songs\.db can't be used \(attempt to write"):
        await Database.open(path)
    await (await Database.open(path, while_bot_runs=True)).close()


async def test_a_full_disk_takes_nothing_and_then_all_again(tmp_path: Path) -> None:
    async def write(connection: Connection) -> None:
        await servers.ensure_server(connection, SERVERS[0])

    with small_disk(tmp_path / "disk", mebibytes=2) as disk:
        database = await Database.open(disk.folder / "songs.db")
        await disk.fill_beside(database)
        for transaction in (write_both(database), database.transact(write)):
            with pytest.raises(DiskFullError) as caught:
                await transaction
            assert caught.value.errno == errno.ENOSPC
        assert await present(database) == set()
        disk.clear()
        await write_both(database)
        await database.transact(write)
        assert await present(database) == set(SERVERS)
        await database.close()


async def test_the_writer_is_durable_and_the_reader_only_reads(tmp_path: Path) -> None:
    async def pragma(connection: aiosqlite.Connection, name: str) -> object:
        (row,) = await connection.execute_fetchall(f"PRAGMA {name}")
        return row[0]

    database = await Database.open(tmp_path / "songs.db")
    assert await pragma(database._writer, "journal_mode") == "wal"
    assert await pragma(database._writer, "synchronous") == 2
    assert await pragma(database._writer, "foreign_keys") == 1
    assert await pragma(database._writer, "busy_timeout") == 30_000
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await servers.ensure_server(database.reader, 1)
    await database.close()


async def test_no_statement_of_the_opening_is_still_in_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pragma answers with a row: until that is fetched, SQLite refuses to commit."""
    cursors = []

    def keep(connection: aiosqlite.Connection, cursor: sqlite3.Cursor) -> aiosqlite.Cursor:
        cursors.append(cursor)
        return aiosqlite.Cursor(connection, cursor)

    monkeypatch.setattr(aiosqlite.core, "Cursor", keep)
    database = await Database.open(tmp_path / "songs.db")
    try:
        await write_both(database)
        assert await present(database) == set(SERVERS)
    finally:
        await database.close()


async def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "songs.db"
    path.write_bytes(b"This is a letter to a friend. " * 200)
    with pytest.raises(sqlite3.DatabaseError):
        await Database.open(path)


async def test_opening_that_is_cut_short_leaves_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[aiosqlite.Connection] = []
    begin = aiosqlite.Connection.__init__

    def watched(connection: aiosqlite.Connection, *arguments: Any, **named: Any) -> None:
        begin(connection, *arguments, **named)
        opened.append(connection)

    execute = aiosqlite.Connection.execute_fetchall

    async def failing(self: aiosqlite.Connection, sql: str, *arguments: Any) -> Any:
        if "query_only" in sql:
            raise asyncio.CancelledError
        return await execute(self, sql, *arguments)

    monkeypatch.setattr(aiosqlite.Connection, "__init__", watched)
    monkeypatch.setattr(aiosqlite.Connection, "execute_fetchall", failing)
    with pytest.raises(asyncio.CancelledError):
        await Database.open(tmp_path / "songs.db")
    assert [connection._connection for connection in opened] == [None, None]


# --- In one trip to the writer's thread -----------------------------------------------------------


async def insert_both(connection: Connection) -> str:
    for server in SERVERS:
        await servers.ensure_server(connection, server)
    return "both"


async def test_a_transaction_is_one_transaction_on_the_writers_thread(database: Database) -> None:
    threads = []

    async def work(connection: Connection) -> str:
        threads.append(threading.current_thread())
        said = await insert_both(connection)
        assert await servers.names_present(connection) == dict.fromkeys(SERVERS)
        await connection.executemany(
            "UPDATE servers SET name = ? WHERE server_id = ?", [("Synths", 1), ("Strings", 2)]
        )
        cursor = await connection.execute("UPDATE servers SET greeted_at = 1")
        assert cursor.rowcount == 2
        threads.append(threading.current_thread())
        return said

    assert await database.transact(work) == "both"
    assert threads[0] is threads[1] is not threading.current_thread()
    assert await servers.names_present(database.reader) == {1: "Synths", 2: "Strings"}
    assert not database._writer.in_transaction


async def test_refused_statement_rolls_back_the_transaction(
    database: Database,
) -> None:
    async def work(connection: Connection) -> None:
        await insert_both(connection)
        await servers.ensure_member(connection, 404, 3)

    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        await database.transact(work)
    assert not database._writer.in_transaction
    assert await present(database) == set()


async def test_a_transaction_whose_commit_fails_leaves_nothing(database: Database) -> None:
    async def orphan(connection: Connection) -> None:
        await connection.execute("PRAGMA defer_foreign_keys = ON")
        await insert_both(connection)
        await servers.ensure_member(connection, 404, 3)

    with pytest.raises(sqlite3.IntegrityError):
        await database.transact(orphan)
    assert not database._writer.in_transaction
    assert await present(database) == set()
    assert await database.transact(insert_both) == "both"


async def test_a_transaction_that_can_not_begin_does_no_work(
    database: Database, tmp_path: Path
) -> None:
    await database._writer.execute("PRAGMA busy_timeout = 0")
    begun = []

    async def work(connection: Connection) -> None:
        begun.append(connection)

    other = sqlite3.connect(tmp_path / "songs.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseBusyError, match=r"songs\.db is locked by another program"):
        await database.transact(work)
    other.execute("COMMIT")
    other.close()
    assert begun == []
    assert await database.transact(insert_both) == "both"


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_transaction_that_awaits_something_else_is_rolled_back(
    database: Database, stubborn: bool
) -> None:
    async def work(connection: Connection) -> None:
        await insert_both(connection)
        try:
            await asyncio.sleep(0)
        finally:
            if stubborn:  # ignores GeneratorExit
                await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match=r"awaited something other|ignored GeneratorExit"):
        await database.transact(work)
    assert not database._writer.in_transaction
    assert await present(database) == set()
    assert await database.transact(insert_both) == "both"


class Held:
    """Work that stands still on the writer's thread until it is let go."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.begun, self.let_go = asyncio.Event(), threading.Event()
        self.error: Exception | None = None

    async def __call__(self, connection: Connection) -> None:
        await insert_both(connection)
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self.let_go.wait(timeout=20)
        if self.error is not None:
            raise self.error


async def some_turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_task_cancelled_in_its_trip_waits_for_the_end(database: Database) -> None:
    """Nobody else begins before it, and what it was about to commit is committed."""
    held = Held()
    trip = asyncio.create_task(database.transact(held))
    await held.begun.wait()
    trip.cancel()
    other = asyncio.create_task(write_both(database))
    await some_turns()
    trip.cancel()  # impatient
    await some_turns()
    assert not trip.done()
    assert not other.done()
    assert database._lock.locked()
    held.let_go.set()
    await asyncio.wait({trip})
    assert trip.cancelled()
    assert await present(database) == set(SERVERS)
    await other


async def test_a_transaction_that_fails_while_its_task_is_cancelled_is_rolled_back(
    database: Database,
) -> None:
    """The task is cancelled all the same: an endless one would go on otherwise."""
    held = Held()
    held.error = LookupError("no more")
    trip = asyncio.create_task(database.transact(held))
    await held.begun.wait()
    trip.cancel()
    await some_turns()
    held.let_go.set()
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await trip
    assert cancelled.value.__cause__ is held.error
    assert await present(database) == set()
    assert not database._writer.in_transaction


async def test_trips_and_transactions_take_turns(database: Database) -> None:
    """Each reads a number and writes the next: one that began inside another would lose it."""
    await write_both(database)

    async def in_one_trip(connection: Connection) -> int:
        return await servers.take_number(connection, 1)

    async def in_many() -> int:
        async with database.write() as connection:
            number = await servers.take_number(connection, 1)
            await asyncio.sleep(0)
            return number

    jobs = [(database.transact(in_one_trip), in_many()) for _ in range(10)]
    taken = await asyncio.gather(*itertools.chain.from_iterable(jobs))
    assert sorted(taken) == list(range(1, 21))


async def test_closing_waits_for_the_transaction_in_progress(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "songs.db")
    held = Held()
    trip = asyncio.create_task(database.transact(held))
    await held.begun.wait()
    closing = asyncio.create_task(database.close())
    await some_turns()
    assert not closing.done()
    held.let_go.set()
    await asyncio.gather(trip, closing)
    again = await Database.open(tmp_path / "songs.db")
    assert await present(again) == set(SERVERS)
    await again.close()
