"""Servers and members, and their places in the fair order."""

from datetime import timedelta

from db import servers
from db.database import Database
from db.records import Server
from tests.factories import NOON, SERVER


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
