"""Servers and members: their rules and their places in the fair order."""

import sqlite3
from datetime import timedelta

import pytest

from db import servers
from db.database import Database
from db.records import Server, ServerCount
from tests.factories import MEMBER, NOON, SERVER, add_song

OTHER = SERVER + 1


async def starts(database: Database) -> list[int]:
    rows = await database.reader.execute_fetchall(
        "SELECT last_start_at FROM servers ORDER BY server_id"
    )
    return [row[0] for row in rows]


async def test_a_server_is_there_once_and_comes_back(database: Database) -> None:
    async with database.write() as connection:
        await servers.ensure_server(connection, SERVER)
        assert await servers.set_name(connection, SERVER, "Synths")
        assert not await servers.set_name(connection, SERVER, "Synths")
        assert not await servers.set_name(connection, OTHER, "Nobody's")
        await servers.ensure_server(connection, SERVER)
        assert await servers.get_server(connection, SERVER) == Server(SERVER, "Synths", None)
        assert await servers.mark_left(connection, SERVER, at=NOON)
        assert not await servers.mark_left(connection, SERVER, at=NOON + timedelta(days=1))
        assert await servers.get_server(connection, SERVER) == Server(SERVER, "Synths", NOON)
        assert await servers.names_present(connection) == {}
        await servers.ensure_server(connection, SERVER)
        assert await servers.get_server(connection, SERVER) == Server(SERVER, "Synths", None)
        assert await servers.names_present(connection) == {SERVER: "Synths"}
    assert await servers.get_server(database.reader, OTHER) is None


async def test_a_server_is_forgotten_once_and_only_while_it_is_left(database: Database) -> None:
    later = NOON + timedelta(days=40)
    async with database.write() as connection:
        await servers.ensure_server(connection, SERVER)
        await servers.set_name(connection, SERVER, "Synths")
        await servers.mark_greeted(connection, SERVER, at=NOON)
        assert not await servers.forget(connection, SERVER, at=later)
        await servers.mark_left(connection, SERVER, at=NOON)
        assert await servers.servers_left_before(connection, NOON) == []
        assert await servers.servers_left_before(connection, later) == [SERVER]
        assert await servers.forget(connection, SERVER, at=later)
        assert not await servers.forget(connection, SERVER, at=later)
        assert await servers.servers_left_before(connection, later) == []
        assert await servers.get_server(connection, SERVER) == Server(SERVER, None, NOON)
        await servers.ensure_server(connection, SERVER)
        assert await servers.mark_greeted(connection, SERVER, at=later)
        assert not await servers.mark_greeted(connection, SERVER, at=later)


async def test_a_server_that_is_there_is_not_forgotten(database: Database) -> None:
    async with database.write() as connection:
        await servers.ensure_server(connection, SERVER)
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        await database._writer.execute("UPDATE servers SET forgotten_at = 1")


async def test_a_member_needs_a_server(database: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        await servers.ensure_member(database._writer, SERVER, MEMBER)


async def test_numbers_count_from_1_in_each_server(database: Database) -> None:
    async with database.write() as connection:
        for server in (SERVER, OTHER):
            await servers.ensure_server(connection, server)
        taken = [await servers.take_number(connection, s) for s in (SERVER, OTHER, SERVER)]
    assert taken == [1, 1, 2]


@pytest.mark.parametrize("seconds", [0, -3_600, 3_600])
async def test_a_start_is_later_than_every_start_before(database: Database, seconds: int) -> None:
    """Also where the clock stands still, or was set back."""
    await add_song(database, 1)
    await add_song(database, 2, server_id=OTHER)
    async with database.write() as connection:
        await servers.mark_started(connection, SERVER, MEMBER, at=NOON)
        at = NOON + timedelta(seconds=seconds)
        await servers.mark_started(connection, OTHER, MEMBER, at=at)
    first, second = await starts(database)
    assert second > first
    rows = await database.reader.execute_fetchall(
        "SELECT last_start_at FROM members ORDER BY server_id"
    )
    assert [row[0] for row in rows] == [first, second]


async def test_every_server_is_counted_with_its_members_and_songs(database: Database) -> None:
    assert await servers.all_counted(database.reader) == []
    async with database.write() as connection:
        for server in (SERVER, OTHER):
            await servers.ensure_server(connection, server)
        await servers.set_name(connection, OTHER, "Strings")
        for member in (1, 2):
            await servers.ensure_member(connection, OTHER, member)
        for _ in range(3):
            await servers.take_number(connection, OTHER)
        await servers.mark_left(connection, SERVER, at=NOON)
    assert await servers.all_counted(database.reader) == [
        ServerCount(SERVER, None, NOON, 0, 0),
        ServerCount(OTHER, "Strings", None, 2, 3),
    ]
