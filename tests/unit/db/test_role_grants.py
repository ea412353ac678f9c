"""Credits given to a role, or taken from it: until when they stand."""

import sqlite3
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from db import role_grants, servers
from db.database import Database
from db.records import RoleGrant
from tests.factories import MEMBER, NOON, SERVER

OTHER = SERVER + 1
HOUR = timedelta(hours=1)
GRANT = RoleGrant(
    role_grant_id=1,
    server_id=SERVER,
    role_id=7,
    kind="grant",
    amount=5,
    reason="For the choir.",
    actor_id=MEMBER,
    at=NOON,
    ends_at=NOON + HOUR,
    expires_at=NOON + 2 * HOUR,
)
TAKE = replace(GRANT, role_grant_id=2, kind="take", reason=None, expires_at=None)


@pytest.fixture(autouse=True)
async def two_servers(database: Database) -> None:
    async with database.write() as connection:
        for server_id in (SERVER, OTHER):
            await servers.ensure_server(connection, server_id)


async def make(database: Database, *those: RoleGrant) -> list[bool]:
    async with database.write() as connection:
        return [await role_grants.insert(connection, role_grant) for role_grant in those]


async def test_an_offer_is_made_once_and_read_as_it_was(database: Database) -> None:
    again = replace(GRANT, amount=6, server_id=OTHER)
    assert await make(database, GRANT, TAKE, GRANT, again) == [True, True, False, False]
    reader = database.reader
    assert await role_grants.open_at(reader, SERVER, NOON) == [GRANT, TAKE]
    assert await role_grants.open_at(reader, OTHER, NOON) == []


async def test_what_stands_and_was_made_before_is_withdrawn(database: Database) -> None:
    over = replace(GRANT, role_grant_id=3, ends_at=NOON + HOUR / 2)
    elsewhere = replace(GRANT, role_grant_id=4, server_id=OTHER)
    later = replace(GRANT, role_grant_id=9)
    await make(database, GRANT, TAKE, over, elsewhere, later)
    async with database.write() as connection:
        for ended in (2, 0):
            assert ended == await role_grants.withdraw(
                connection, SERVER, before_id=9, at=NOON + HOUR / 2
            )
    assert await role_grants.open_at(database.reader, SERVER, NOON) == [over, later]
    assert await role_grants.open_at(database.reader, OTHER, NOON) == [elsewhere]


async def test_an_offer_stands_until_just_before_its_end(database: Database) -> None:
    later = replace(TAKE, ends_at=NOON + 2 * HOUR)
    await make(database, GRANT, later)
    reader, moment = database.reader, timedelta(milliseconds=1)
    assert await role_grants.open_at(reader, SERVER, GRANT.ends_at - moment) == [GRANT, later]
    assert await role_grants.open_at(reader, SERVER, GRANT.ends_at) == [later]
    assert await role_grants.open_at(reader, SERVER, later.ends_at) == []


async def test_offers_stand_in_the_order_of_their_interactions(database: Database) -> None:
    those = [replace(GRANT, role_grant_id=role_grant_id) for role_grant_id in (5, 3, 4)]
    await make(database, *those)
    found = await role_grants.open_at(database.reader, SERVER, NOON)
    assert [role_grant.role_grant_id for role_grant in found] == [3, 4, 5]


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "loan"},
        {"amount": 0},
        {"amount": -1},
        {"ends_at": NOON},
        {
            "expires_at": NOON + HOUR - timedelta(milliseconds=1)
        },  # gone before the last could get it
        {"kind": "take"},  # what is taken does not expire
    ],
)
async def test_an_offer_that_makes_no_sense_is_refused(
    database: Database, wrong: dict[str, Any]
) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        await make(database, replace(GRANT, **wrong))


async def test_an_offer_needs_a_server(database: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        await make(database, replace(GRANT, server_id=404))


async def test_a_servers_offers_are_forgotten_together(database: Database) -> None:
    elsewhere = replace(TAKE, server_id=OTHER)
    await make(database, GRANT, elsewhere)
    async with database.write() as connection:
        await role_grants.forget(connection, SERVER)
    reader = database.reader
    assert await role_grants.open_at(reader, SERVER, NOON) == []
    assert await role_grants.open_at(reader, OTHER, NOON) == [elsewhere]
