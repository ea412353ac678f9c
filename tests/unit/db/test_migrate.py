"""Migrations: each once, whole, and recorded in its own transaction."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from db import budgets
from db import migrate as module
from db.database import Database
from db.migrate import SchemaTooNewError, migrate, migrations, statements
from db.records import from_ms
from services.settings.settings import Allowance, Defaults, Rulebook, Source


@pytest.fixture
async def connection() -> AsyncIterator[aiosqlite.Connection]:
    opened = await aiosqlite.connect(":memory:", isolation_level=None)
    opened.row_factory = sqlite3.Row
    yield opened
    await opened.close()


def having(monkeypatch: pytest.MonkeyPatch, *scripts: str) -> None:
    def numbered() -> Iterator[tuple[int, str]]:
        return iter(enumerate(scripts, 1))

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
    assert await column(connection, NUMBERS) == [1, 2]


async def test_one_that_fails_leaves_nothing_and_can_be_run_again(
    connection: aiosqlite.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = "CREATE TABLE t1 (a);"
    having(monkeypatch, good, "CREATE TABLE t2 (a);\nINSERT INTO nowhere VALUES (1);")
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        await migrate(connection)
    assert await column(connection, TABLES) == ["t1"]
    assert await column(connection, NUMBERS) == [1]
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

    monkeypatch.setattr(module, "seen", as_it_was_before)
    await migrate(connection)
    assert await column(connection, NUMBERS) == [1]
    assert not connection.in_transaction


async def test_a_newer_schema_is_refused_and_left_alone(
    connection: aiosqlite.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    having(monkeypatch, "CREATE TABLE t1 (a);", "CREATE TABLE t2 (a);", "CREATE TABLE t3 (a);")
    await migrate(connection)
    having(monkeypatch, "CREATE TABLE t1 (a);")
    with pytest.raises(SchemaTooNewError, match=r"\[2, 3\]"):
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


def test_the_projects_own_are_numbered_from_1_without_gaps() -> None:
    numbers = [number for number, _ in migrations()]
    assert numbers == list(range(1, len(numbers) + 1))
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


def test_an_empty_script_has_no_statements() -> None:
    assert list(statements("\n  \n")) == []


def test_a_script_that_ends_too_early_is_refused() -> None:
    with pytest.raises(ValueError, match="CREATE TABLE u"):
        list(statements("CREATE TABLE t (a);\nCREATE TABLE u (a"))


# --- 0002: a file of before servers had rules ---------------------------------------------------

DAY = 86_400_000
LAST = DAY - 1  # of a day's milliseconds
SONGS = (
    # server, price, held at, end of the song, entries after the hold
    (1, 2, 0, "COMPLETED", ("settle",)),
    (1, 3, LAST, "FAILED", ("refund",)),
    (1, 4, 5, "COMPLETED", ("settle", "compensate")),
    (1, 5, DAY, None, ()),
    (1, 7, DAY + LAST, "COMPLETED", ("settle",)),
    (2, 1, DAY + 5, "COMPLETED", ("settle",)),
    (2, 9, 3 * DAY, "CANCELLED", ("refund",)),
)


@pytest.fixture
async def old(
    connection: aiosqlite.Connection, monkeypatch: pytest.MonkeyPatch
) -> aiosqlite.Connection:
    """The schema as the first migration left it, with foreign keys on."""
    (first, *_) = (script for _, script in migrations())
    with monkeypatch.context() as patch:
        having(patch, first)
        await connection.execute("PRAGMA foreign_keys = ON")
        await migrate(connection)
    return connection


async def add_old_song(connection: aiosqlite.Connection, song_id: int, *song: Any) -> None:
    server_id, price, at, status, entries = song
    completed = status == "COMPLETED"
    await connection.execute(
        """
        INSERT INTO songs (song_id, server_id, member_id, channel_id, number, genres, lyrics,
                           seconds, steps, cfg, shift, lyrics_strength, seed, price, status, step,
                           submits, reason, asked_at, posting_at, ended_at, application_id,
                           undelivered)
        VALUES (?, ?, 3, 2, ?, 'funk', '', 60, 50, 4.0, 4.0, 1.0, 7, ?, ?, ?, ?, ?, ?, ?, ?, 4, ?)
        """,
        (
            *(song_id, server_id, song_id, price, status or "QUEUED"),
            *("ended" if status else "waiting", int(completed)),
            *("No." if status == "FAILED" else None, at, at if completed else None),
            *(at if status else None, "No." if completed else None),
        ),
    )
    after = None
    for kind in ("hold", *entries):
        entry_id = f"{kind}:{song_id}"
        amount = {"hold": -price, "settle": 0}.get(kind, price)
        await connection.execute(
            """
            INSERT INTO ledger (entry_id, kind, server_id, member_id, song_id, after_id, amount,
                                price, at)
            VALUES (?, ?, ?, 3, ?, ?, ?, ?, ?)
            """,
            (entry_id, kind, server_id, song_id, after, amount, price, at),
        )
        if amount:
            await connection.execute(
                "INSERT INTO ledger_parts VALUES (?, ?, ?)", (entry_id, f"lot:{server_id}", amount)
            )
        after = entry_id


async def fill(connection: aiosqlite.Connection) -> None:
    """Every kind of lot and of entry, and a server of each sort."""
    await connection.execute(
        """
        INSERT INTO servers (server_id, allowance, last_number, left_at, greeted_at)
        VALUES (1, 5, 9, NULL, 1), (2, NULL, 1, 7, NULL), (3, 0, 0, NULL, NULL),
               (4, 1000000, 0, NULL, NULL)
        """
    )
    await connection.execute(
        "INSERT INTO members (server_id, member_id) VALUES (1, 3), (2, 3), (1, 5)"
    )
    await connection.execute(
        """
        INSERT INTO lots (lot_id, server_id, member_id, kind, amount, remaining, revision,
                          expires_at)
        VALUES ('lot:1', 1, 3, 'allowance', 100, 80, 2, 86400000),
               ('lot:2', 2, 3, 'grant', 100, 99, 0, NULL),
               ('return:3', 1, 3, 'return', 4, 0, 1, 172800000),
               ('empty', 1, 5, 'grant', 0, 0, 0, NULL)
        """
    )
    await connection.execute(
        """
        INSERT INTO ledger (entry_id, kind, server_id, member_id, amount, actor_id, reason, at)
        VALUES ('allowance:1:3:0:0', 'allowance', 1, 3, 5, NULL, NULL, 0),
               ('allowance:1:3:0:1', 'allowance', 1, 3, -1, NULL, NULL, 1),
               ('grant:6', 'grant', 2, 3, 100, 8, 'They sang so well.', 2),
               ('expire:lot:1', 'expire', 1, 3, -4, NULL, NULL, 3)
        """
    )
    for song_id, song in enumerate(SONGS, start=1):
        await add_old_song(connection, song_id, *song)


async def rows(connection: aiosqlite.Connection, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.execute_fetchall(sql)]


AS_IT_WAS = (
    """
    SELECT entry_id, kind, server_id, member_id, song_id, after_id, amount, price, actor_id, reason,
           at FROM ledger ORDER BY entry_id
    """,
    """
    SELECT lot_id, server_id, member_id, kind, amount, remaining, revision, expires_at FROM lots
    ORDER BY lot_id
    """,
    "SELECT * FROM ledger_parts ORDER BY entry_id, lot_id",
    "SELECT song_id, price, status, step, asked_at, ended_at FROM songs ORDER BY song_id",
    "SELECT server_id, last_number, greeted_at, left_at FROM servers ORDER BY server_id",
    "SELECT * FROM members ORDER BY server_id, member_id",
)


TABLES_OF_THE_CHANGE = "SELECT name FROM sqlite_schema WHERE name LIKE 'new%'"


async def test_what_was_there_before_rules_is_as_it_was(old: aiosqlite.Connection) -> None:
    await fill(old)
    before = [await rows(old, sql) for sql in AS_IT_WAS]
    assert all(before)
    await migrate(old)
    assert [await rows(old, sql) for sql in AS_IT_WAS] == before
    assert await column(old, "SELECT count(*) FROM songs WHERE counted_at IS NULL") == [len(SONGS)]
    assert await column(old, TABLES_OF_THE_CHANGE) == []


async def test_an_allowance_becomes_a_rule(old: aiosqlite.Connection) -> None:
    await fill(old)
    await migrate(old)
    found = await rows(old, "SELECT server_id, name, subject_id, value FROM rules ORDER BY 1")
    assert found == [
        (1, "allowance", 0, '{"credits":5}'),
        (3, "allowance", 0, '{"credits":0}'),
        (4, "allowance", 0, '{"credits":1000000}'),
    ]
    rulebook = Rulebook(Defaults(allowance=10))
    allowances = [(await rulebook.read(old, server_id)).server for server_id in (1, 2, 3, 4)]
    assert allowances == [
        Allowance(5, Source.SERVER),
        Allowance(10, Source.DEFAULT),
        Allowance(0, Source.SERVER),
        Allowance(1_000_000, Source.SERVER),
    ]


async def test_a_hold_counts_on_its_own_day_unless_it_was_given_back(
    old: aiosqlite.Connection,
) -> None:
    await fill(old)
    await migrate(old)
    periods = await rows(old, "SELECT song_id, period_at FROM ledger WHERE kind = 'hold'")
    assert dict(periods) == {1: 0, 2: 0, 3: 0, 4: DAY, 5: DAY, 6: DAY, 7: 3 * DAY}
    assert await column(old, "SELECT count(*) FROM ledger WHERE period_at NOT NULL") == [7]
    used = await rows(old, "SELECT server_id, period_at, used, warned FROM server_periods")
    assert used == [(1, 0, 2, 0), (1, DAY, 12, 0), (2, DAY, 1, 0)]
    # What is given back later leaves that day.
    assert await budgets.give_back(old, 4)
    assert await budgets.used(old, 1, from_ms(DAY)) == 7


async def test_references_and_facts_are_held_after_it_as_before(old: aiosqlite.Connection) -> None:
    await fill(old)
    await migrate(old)
    assert await column(old, "PRAGMA foreign_keys") == [1]
    assert await rows(old, "PRAGMA foreign_key_check") == []
    for wrong, why in (
        ("INSERT INTO ledger_parts VALUES ('hold:1', 'none', 1)", "FOREIGN KEY"),
        ("INSERT INTO ledger_parts VALUES ('none', 'lot:1', 1)", "FOREIGN KEY"),
        ("DELETE FROM lots WHERE lot_id = 'lot:1'", "FOREIGN KEY"),
        ("DELETE FROM ledger WHERE entry_id = 'hold:1'", "FOREIGN KEY"),
        ("UPDATE ledger SET after_id = 'settle:404' WHERE kind = 'compensate'", "CHECK"),
        ("UPDATE ledger SET period_at = NULL WHERE kind = 'hold'", "CHECK"),
        (
            """
            INSERT INTO ledger (entry_id, kind, server_id, member_id, song_id, after_id, amount,
                                price, at)
            VALUES ('refund:1', 'refund', 1, 3, 1, 'hold:1', 2, 2, 0)
            """,
            r"ledger\.song_id",
        ),
    ):
        with pytest.raises(sqlite3.IntegrityError, match=why):
            await old.execute(wrong)


async def whole(connection: aiosqlite.Connection) -> list[list[tuple[Any, ...]]]:
    """Everything there is."""
    tables = await column(connection, "SELECT name FROM sqlite_schema WHERE type = 'table'")
    schema = await rows(connection, "SELECT type, name, sql FROM sqlite_schema ORDER BY name")
    return [schema, *[await rows(connection, f"SELECT * FROM {table}") for table in tables]]


async def test_a_broken_reference_stops_it_with_nothing_changed(
    old: aiosqlite.Connection,
) -> None:
    await fill(old)
    await old.execute("PRAGMA foreign_keys = OFF")
    await old.execute("INSERT INTO ledger_parts VALUES ('hold:1', 'lost', 1), ('lost', 'lot:1', 1)")
    await old.execute("PRAGMA foreign_keys = ON")
    before = await whole(old)
    with pytest.raises(sqlite3.IntegrityError, match="migration 2 breaks 2 references"):
        await migrate(old)
    assert await whole(old) == before
    assert await column(old, NUMBERS) == [1]
    assert not old.in_transaction
    assert await column(old, "PRAGMA foreign_keys") == [1]
    await old.execute("DELETE FROM ledger_parts WHERE 'lost' IN (entry_id, lot_id)")
    await migrate(old)
    assert await column(old, NUMBERS) == [number for number, _ in migrations()]


async def test_a_connection_that_holds_no_references_is_left_so(
    connection: aiosqlite.Connection,
) -> None:
    await migrate(connection)
    assert await column(connection, "PRAGMA foreign_keys") == [0]


async def test_a_file_that_has_grown_large_comes_over_whole(old: aiosqlite.Connection) -> None:
    """50,000 entries: as many as 25,000 songs leave that were made."""
    await fill(old)
    await old.execute("BEGIN")
    await old.execute(
        """
        WITH RECURSIVE n (n) AS (SELECT 1000 UNION ALL SELECT n + 1 FROM n WHERE n < 25999)
        INSERT INTO songs (song_id, server_id, member_id, channel_id, number, genres, lyrics,
                           seconds, steps, cfg, shift, lyrics_strength, seed, price, status, step,
                           submits, asked_at, posting_at, ended_at, application_id, undelivered)
        SELECT n, 1, 3, 2, n, 'funk', '', 60, 50, 4.0, 4.0, 1.0, 7, 2, 'COMPLETED', 'ended',
               1, 10 * 86400000 + n, 1, 1, 4, 'No.' FROM n
        """
    )
    for kind, after, amount in (("hold", None, -2), ("settle", "hold:", 0)):
        await old.execute(
            """
            INSERT INTO ledger (entry_id, kind, server_id, member_id, song_id, after_id, amount,
                                price, at)
            SELECT ? || song_id, ?, 1, 3, song_id, ? || song_id, ?, 2, asked_at FROM songs
            WHERE song_id >= 1000
            """,
            (f"{kind}:", kind, after, amount),
        )
    await old.commit()
    (before,) = await rows(old, "SELECT count(*), sum(amount), sum(at) FROM ledger")
    assert before[0] >= 50_000
    await migrate(old)
    assert await rows(old, "SELECT count(*), sum(amount), sum(at) FROM ledger") == [before]
    used = await column(old, f"SELECT used FROM server_periods WHERE period_at = {10 * DAY}")
    assert used == [50_000]
