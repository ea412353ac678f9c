"""What was decided by whom: numbered in each server, told once."""

import asyncio
import sqlite3
from datetime import datetime, timedelta
from typing import Any

import pytest

from db import changes, servers
from db.database import Database
from db.records import Change
from tests.factories import MEMBER, NOON, SERVER

OTHER = SERVER + 1
LOG = 5_000


@pytest.fixture(autouse=True)
async def two_servers(database: Database) -> None:
    async with database.write() as connection:
        for server_id in (SERVER, OTHER):
            await servers.ensure_server(connection, server_id)


def a_change(number: int, **fields: Any) -> Change:
    values: dict[str, Any] = {
        "server_id": SERVER,
        "name": "allowance",
        "subject_id": 0,
        "before": None,
        "after": '{"credits":5}',
        "actor_id": MEMBER,
        "reason": None,
        "at": NOON,
        "undoes": None,
        "log_channel_id": None,
    }
    return Change(number=number, **values | fields)


async def add(database: Database, *, server_id: int = SERVER, **fields: Any) -> int:
    change = a_change(0, **fields)
    async with database.write() as connection:
        return await changes.insert(
            connection,
            server_id,
            name=change.name,
            subject_id=change.subject_id,
            before=change.before,
            after=change.after,
            actor_id=change.actor_id,
            reason=change.reason,
            at=change.at,
            undoes=change.undoes,
            log_channel_id=change.log_channel_id,
        )


async def test_a_change_is_read_as_it_was_written(database: Database) -> None:
    every: dict[str, Any] = {
        "name": "member",
        "subject_id": 7,
        "before": "1",
        "after": None,
        "reason": "They sang so well.",
        "log_channel_id": LOG,
    }
    assert await add(database) == 1
    assert await add(database, undoes=1, **every) == 2
    assert await add(database, actor_id=None, name="warning") == 3
    reader = database.reader
    assert await changes.get(reader, SERVER, 1) == a_change(1)
    assert await changes.get(reader, SERVER, 2) == a_change(2, undoes=1, **every)
    assert await changes.get(reader, SERVER, 3) == a_change(3, actor_id=None, name="warning")
    assert await changes.get(reader, SERVER, 4) is None
    assert await changes.get(reader, OTHER, 1) is None


async def test_numbers_count_from_1_in_each_server(database: Database) -> None:
    numbers = await asyncio.gather(
        *(add(database, server_id=server_id) for server_id in [SERVER, OTHER] * 10)
    )
    assert sorted(numbers) == sorted([*range(1, 11)] * 2)


async def test_a_page_has_the_newest_first(database: Database) -> None:
    for _ in range(5):
        await add(database)
    await add(database, server_id=OTHER)
    reader = database.reader
    assert await changes.count(reader, SERVER) == 5
    assert await changes.count(reader, 404) == 0
    first = await changes.of_server(reader, SERVER, limit=2, offset=0)
    last = await changes.of_server(reader, SERVER, limit=2, offset=4)
    assert [change.number for change in first] == [5, 4]
    assert [change.number for change in last] == [1]


async def test_what_was_taken_back_is_known_with_the_last_that_did(database: Database) -> None:
    """A change may be taken back, made again by undoing that, and taken back again."""
    for undoes in (None, None, 1, 3, 1, 2):
        await add(database, undoes=undoes)
    await add(database, server_id=OTHER)
    await add(database, server_id=OTHER, undoes=1)
    reader = database.reader
    assert await changes.taken_back(reader, SERVER, first=1, last=6) == {1: 5, 2: 6, 3: 4}
    assert await changes.taken_back(reader, SERVER, first=2, last=2) == {2: 6}
    assert await changes.taken_back(reader, SERVER, first=4, last=6) == {}


@pytest.mark.parametrize("undoes", [0, 2, 3])
async def test_only_an_earlier_change_of_the_same_server_can_be_taken_back(
    database: Database, undoes: int
) -> None:
    """The next is number 2; the other server has three."""
    for _ in range(3):
        await add(database, server_id=OTHER)
    assert await add(database) == 1
    with pytest.raises(sqlite3.IntegrityError, match=r"FOREIGN KEY|undoes < number"):
        await add(database, undoes=undoes)


async def told(database: Database, server_id: int, number: int, at: datetime = NOON) -> bool:
    async with database.write() as connection:
        return await changes.mark_logged(connection, server_id, number, at=at)


async def test_what_has_a_log_channel_is_told_once_oldest_first(database: Database) -> None:
    later = NOON + timedelta(minutes=1)
    await add(database, log_channel_id=LOG, at=later)
    await add(database, log_channel_id=LOG, at=NOON)
    await add(database)
    await add(database, server_id=OTHER, log_channel_id=LOG + 1, at=NOON)
    reader = database.reader

    async def left(**which: Any) -> list[tuple[int, int]]:
        found = await changes.to_log(reader, **{"limit": 10} | which)
        return [(change.server_id, change.number) for change in found]

    assert await left() == [(SERVER, 2), (OTHER, 1), (SERVER, 1)]
    assert await left(limit=1) == [(SERVER, 2)]
    assert await left(besides=[LOG]) == [(OTHER, 1)]
    assert await left(besides=[LOG, LOG + 1]) == []
    assert await told(database, SERVER, 2)
    assert not await told(database, SERVER, 2)
    assert not await told(database, SERVER, 3)  # it had no channel
    assert not await told(database, SERVER, 404)
    assert await left() == [(OTHER, 1), (SERVER, 1)]


async def test_what_has_no_channel_can_not_have_been_told(database: Database) -> None:
    await add(database)
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        await database._writer.execute("UPDATE changes SET logged_at = 1")


async def test_a_servers_changes_are_forgotten_together(database: Database) -> None:
    """Also those that took back others of them; numbers begin anew."""
    for server_id in (SERVER, OTHER):
        await add(database, server_id=server_id, log_channel_id=LOG)
        await add(database, server_id=server_id, undoes=1)
    async with database.write() as connection:
        await changes.forget(connection, SERVER)
    reader = database.reader
    assert await changes.count(reader, SERVER) == 0
    assert await changes.count(reader, OTHER) == 2
    assert [c.server_id for c in await changes.to_log(reader, limit=10)] == [OTHER]
    assert await add(database) == 1


async def test_a_change_needs_a_server(database: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        await add(database, server_id=404)
