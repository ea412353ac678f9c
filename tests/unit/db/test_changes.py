"""Changes: numbered in each server, each posted once."""

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


async def add(database: Database, **fields: Any) -> int:
    async with database.write() as connection:
        return await changes.insert(connection, a_change(0, **fields))


async def test_an_undone_change_is_known_with_the_last_that_undid_it(database: Database) -> None:
    """A change may be undone, restored by undoing that, and undone again."""
    for undoes in (None, None, 1, 3, 1, 2):
        await add(database, undoes=undoes)
    await add(database, server_id=OTHER)
    await add(database, server_id=OTHER, undoes=1)
    reader = database.reader
    assert await changes.undone_by(reader, SERVER, first=1, last=6) == {1: 5, 2: 6, 3: 4}
    assert await changes.undone_by(reader, SERVER, first=2, last=2) == {2: 6}
    assert await changes.undone_by(reader, SERVER, first=4, last=6) == {}


async def mark(database: Database, server_id: int, number: int, at: datetime = NOON) -> bool:
    async with database.write() as connection:
        return await changes.mark_logged(connection, server_id, number, at=at)


async def test_changes_with_a_log_channel_are_posted_once_oldest_first(database: Database) -> None:
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
    assert await mark(database, SERVER, 2)
    assert not await mark(database, SERVER, 2)
    assert not await mark(database, SERVER, 3)  # it had no channel
    assert not await mark(database, SERVER, 404)
    assert await left() == [(OTHER, 1), (SERVER, 1)]
