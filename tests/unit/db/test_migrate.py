"""Migrations run once, completely, and are recorded in the same transaction."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiosqlite
import pytest

from db import migrate as module
from db.database import Database
from db.errors import SchemaTooNewError, SchemaTooOldError
from db.migrate import (
    BASELINE,
    migrate,
    migrations,
    statements,
)


@pytest.fixture
async def connection() -> AsyncIterator[aiosqlite.Connection]:
    opened = await aiosqlite.connect(":memory:", isolation_level=None)
    opened.row_factory = sqlite3.Row
    yield opened
    await opened.close()


def having(monkeypatch: pytest.MonkeyPatch, *scripts: str) -> None:
    def numbered() -> Iterator[tuple[int, str]]:
        return iter(enumerate(scripts, BASELINE))

    monkeypatch.setattr(module, "migrations", numbered)


async def column(connection: aiosqlite.Connection, sql: str) -> list[object]:
    return [row[0] for row in await connection.execute_fetchall(sql)]


TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 't%' ORDER BY name"
NUMBERS = "SELECT number FROM migrations ORDER BY number"


async def test_each_runs_once_in_order(
    connection: aiosqlite.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = "CREATE TABLE t1 (a);\nINSERT INTO t1 VALUES (1);\n"
    having(monkeypatch, first)
    await migrate(connection)
    having(monkeypatch, first, "CREATE TABLE t2 AS SELECT a + 1 AS a FROM t1;")
    await migrate(connection)
    await migrate(connection)
    assert await column(connection, "SELECT a FROM t1") == [1]
    assert await column(connection, "SELECT a FROM t2") == [2]
    assert await column(connection, NUMBERS) == [BASELINE, BASELINE + 1]


async def test_one_that_fails_leaves_nothing_and_can_be_run_again(
    connection: aiosqlite.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = "CREATE TABLE t1 (a);"
    having(monkeypatch, good, "CREATE TABLE t2 (a);\nINSERT INTO nowhere VALUES (1);")
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        await migrate(connection)
    assert await column(connection, TABLES) == ["t1"]
    assert await column(connection, NUMBERS) == [BASELINE]
    assert not connection.in_transaction
    having(monkeypatch, good, "CREATE TABLE t2 (a);")
    await migrate(connection)
    assert await column(connection, TABLES) == ["t1", "t2"]


async def test_one_that_another_process_has_run_meanwhile_is_not_run_again(
    connection: aiosqlite.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    having(monkeypatch, "CREATE TABLE t1 (a);")
    await migrate(connection)

    async def as_it_was_before(_: aiosqlite.Connection) -> set[int]:
        return set()

    monkeypatch.setattr(module, "applied", as_it_was_before)
    await migrate(connection)
    assert await column(connection, NUMBERS) == [BASELINE]
    assert not connection.in_transaction


async def test_a_newer_schema_is_refused_and_left_alone(
    connection: aiosqlite.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    having(monkeypatch, "CREATE TABLE t1 (a);", "CREATE TABLE t2 (a);", "CREATE TABLE t3 (a);")
    await migrate(connection)
    having(monkeypatch, "CREATE TABLE t1 (a);")
    with pytest.raises(SchemaTooNewError, match=rf"\[{BASELINE + 1}, {BASELINE + 2}\]"):
        await migrate(connection)
    assert await column(connection, TABLES) == ["t1", "t2", "t3"]


async def test_two_processes_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    """In one round of six the two met where SQLite does not wait."""
    for number in range(12):
        path = tmp_path / f"{number}.db"
        first, second = await asyncio.gather(Database.open(path), Database.open(path))
        (count,) = await first.reader.execute_fetchall("SELECT count(*) FROM migrations")
        assert count[0] == len(list(migrations()))
        await first.close()
        await second.close()


async def test_a_schema_from_before_the_baseline_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "songs.db"
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.execute("CREATE TABLE migrations (number INTEGER PRIMARY KEY) STRICT")
        old.executemany("INSERT INTO migrations VALUES (?)", [(n,) for n in range(1, BASELINE)])
        old.commit()
    with pytest.raises(SchemaTooOldError, match="before the first release"):
        await Database.open(path)
    with contextlib.closing(sqlite3.connect(path)) as old:
        assert old.execute("SELECT name FROM sqlite_schema").fetchall() == [("migrations",)]


def test_the_projects_own_are_numbered_without_gaps() -> None:
    numbers = [number for number, _ in migrations()]
    assert numbers == list(range(BASELINE, BASELINE + len(numbers)))
    assert all(list(statements(script)) for _, script in migrations())


def test_a_script_is_split_where_its_statements_end() -> None:
    script = (
        "-- A comment; with a semicolon.\n"
        "CREATE TABLE t (a TEXT DEFAULT ';', -- another; one\n"
        "                b TEXT);\n"
        "CREATE TRIGGER r AFTER INSERT ON t BEGIN\n"
        "    UPDATE t SET a = 1;\n"
        "    UPDATE t SET b = 2;\n"
        "END;\n"
        "INSERT INTO t VALUES ('x;\n"
        "y', '');\n"
    )
    found = list(statements(script))
    assert "".join(found) == script
    assert [part.split()[-1] for part in found] == ["TEXT);", "END;", "'');"]


def test_a_script_that_ends_too_early_is_refused() -> None:
    with pytest.raises(ValueError, match="CREATE TABLE u"):
        list(statements("CREATE TABLE t (a);\nCREATE TABLE u (a"))


async def test_a_broken_reference_stops_it_with_nothing_changed(
    connection: aiosqlite.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = "CREATE TABLE t1 (a INTEGER PRIMARY KEY);\nCREATE TABLE t2 (a REFERENCES t1);\n"
    having(monkeypatch, tables + "INSERT INTO t1 VALUES (1);\nINSERT INTO t2 VALUES (1);")
    await connection.execute("PRAGMA foreign_keys = ON")
    await migrate(connection)
    having(monkeypatch, tables, "CREATE TABLE t3 (a);\nDELETE FROM t1;")
    with pytest.raises(sqlite3.IntegrityError, match=f"migration {BASELINE + 1} breaks 1"):
        await migrate(connection)
    assert await column(connection, TABLES) == ["t1", "t2"]
    assert await column(connection, "SELECT a FROM t1") == [1]
    assert await column(connection, "PRAGMA foreign_keys") == [1]
