"""Grants to roles: how long they are open, and in which order."""

from dataclasses import replace
from datetime import timedelta

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


async def test_role_grant_is_open_until_its_end(database: Database) -> None:
    later = replace(TAKE, ends_at=NOON + 2 * HOUR)
    await make(database, GRANT, later)
    reader, moment = database.reader, timedelta(milliseconds=1)
    assert await role_grants.open_at(reader, SERVER, GRANT.ends_at - moment) == [GRANT, later]
    assert await role_grants.open_at(reader, SERVER, GRANT.ends_at) == [later]
    assert await role_grants.open_at(reader, SERVER, later.ends_at) == []


async def test_open_role_grants_are_in_the_order_of_their_interactions(database: Database) -> None:
    those = [replace(GRANT, role_grant_id=role_grant_id) for role_grant_id in (5, 3, 4)]
    await make(database, *those)
    found = await role_grants.open_at(database.reader, SERVER, NOON)
    assert [role_grant.role_grant_id for role_grant in found] == [3, 4, 5]
