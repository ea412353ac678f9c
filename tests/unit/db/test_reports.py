"""Reports: read from indexes, in pages between which nothing stands open."""

from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest

from db import ledger, reports
from db.database import Database
from db.records import State, to_ms
from services.settings.settings import Member
from tests.factories import MEMBER, NOON, SERVER, add_song

FROM, TO = to_ms(NOON), to_ms(NOON + timedelta(hours=1))
SPAN = {"since": FROM, "until": TO}


async def add_grant(database: Database, entry_id: str, minutes: float = 0, **other: Any) -> None:
    member = Member(other.pop("server_id", SERVER), other.pop("member_id", MEMBER))
    values: dict[str, Any] = {"amount": 1} | other
    at = NOON + timedelta(minutes=minutes)
    async with database.write() as connection:
        await ledger.insert(connection, entry_id, member, kind="grant", at=at, **values)


async def entries(database: Database, page: int = 2, **span: int) -> list[list[str]]:
    pages = reports.ledger_of_server(database.reader, SERVER, page=page, **SPAN | span)
    return [[line.entry_id for line in lines] async for lines in pages]


@pytest.fixture(autouse=True)
async def song(database: Database) -> None:
    await add_song(database, 7, number=42)


async def test_entry_made_between_two_pages_doubles_no_entry(database: Database) -> None:
    for number in range(10, 14):
        await add_grant(database, f"grant:{number}", minutes=number)
    seen = []
    async with aclosing(reports.ledger_of_server(database.reader, SERVER, page=2, **SPAN)) as pages:
        async for lines in pages:
            seen += [line.entry_id for line in lines]
            if len(seen) == 2:
                await add_grant(database, "grant:earlier", minutes=5)
                await add_grant(database, "grant:later", minutes=30)
    assert seen == [*(f"grant:{number}" for number in range(10, 14)), "grant:later"]


async def test_nothing_stands_open_between_two_pages(database: Database) -> None:
    """Otherwise the write-ahead log could not be emptied while a long report is read."""
    for number in range(3):
        await add_grant(database, f"grant:{number}")
    async with aclosing(reports.ledger_of_server(database.reader, SERVER, page=1, **SPAN)) as pages:
        await anext(pages)
        rows = await database._writer.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
        assert [tuple(row) for row in rows] == [(0, 0, 0)]  # not busy, nothing left in the log


@pytest.mark.parametrize(
    ("table", "read", "plan"),
    [
        (
            "ledger",
            lambda database: reports.ledger_of_server(database.reader, SERVER, **SPAN),
            "SEARCH ledger USING INDEX ledger_of_server (server_id=? AND (at,entry_id)>(?,?)",
        ),
        (
            "songs",
            lambda database: reports.counted_songs(database.reader, SERVER, **SPAN),
            "SEARCH songs USING INDEX songs_of_server (server_id=? AND requested_at>?",
        ),
        (
            "leaderboard",
            lambda database: reports.leaderboard(database.reader, SERVER, since=FROM, limit=10),
            "SEARCH songs USING COVERING INDEX songs_of_server (server_id=? AND requested_at>?)",
        ),
    ],
)
async def test_a_report_is_read_from_an_index(
    database: Database, table: str, read: Any, plan: str
) -> None:
    """In its order, too: otherwise each page would sort all remaining rows."""
    statements: list[str] = []
    await add_song(database, 8, state=State.COMPLETED)
    await database.reader.set_trace_callback(statements.append)
    reading = read(database)
    _ = await reading if table == "leaderboard" else [page async for page in reading]
    await database.reader.set_trace_callback(None)  # type: ignore[arg-type]
    (statement,) = statements
    rows = await database.reader.execute_fetchall("EXPLAIN QUERY PLAN " + statement)
    steps = [row["detail"] for row in rows]
    assert any(step.startswith(plan) for step in steps), steps
    if table != "leaderboard":
        assert "USE TEMP B-TREE FOR ORDER BY" not in steps
