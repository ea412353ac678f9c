"""Servers that the bot joins and leaves."""

import logging
from collections.abc import Mapping
from datetime import timedelta

from db import changes, ledger, offers, rules, servers, songs
from db.database import Database
from db.records import Song
from services.clock import Clock
from services.ending import Ending

log = logging.getLogger(__name__)

KEPT_AFTER_LEAVING = timedelta(days=30)
"""How long a server's settings and words are kept, should the bot be invited back."""


class Servers:
    """What happens to a server's songs and settings when the bot comes and goes."""

    def __init__(self, database: Database, ending: Ending, *, clock: Clock) -> None:
        self._database = database
        self._ending = ending
        self._clock = clock

    async def join(self, server_id: int, name: str) -> bool:
        """The bot is in this server. Whether the hello is still to be said: true only once."""
        async with self._database.write() as connection:
            await servers.ensure_server(connection, server_id)
            await servers.set_name(connection, server_id, name)
            return await servers.mark_greeted(connection, server_id, at=self._clock())

    async def leave(self, server_id: int) -> list[Song]:
        """The bot was thrown out: what waits is cancelled and refunded, what runs may end.

        Gives the songs that were cancelled.
        """
        waiting = await songs.waiting_of_server(self._database.reader, server_id)
        cancelled = [song for song in waiting if await self._ending.cancel(song)]
        # Last: what a crash has left undone before it, `reconcile` finds again.
        async with self._database.write() as connection:
            left = await servers.mark_left(connection, server_id, at=self._clock())
        if left:
            log.info("left server %d", server_id)
        return cancelled

    async def rename(self, server_id: int, name: str) -> None:
        """What Discord says that the server is called now."""
        async with self._database.write() as connection:
            await servers.set_name(connection, server_id, name)

    async def reconcile(self, present: Mapping[int, str]) -> list[Song]:
        """Leave the servers that are gone from `present`: thrown out while the bot was away.

        `present` has the names; one that is unavailable for now is called nothing.
        """
        known = await servers.names_present(self._database.reader)
        async with self._database.write() as connection:
            for server_id, name in present.items():
                if name and known.get(server_id) != name:
                    await servers.ensure_server(connection, server_id)
                    await servers.set_name(connection, server_id, name)
        gone = known.keys() - present.keys()
        return [song for server_id in gone for song in await self.leave(server_id)]

    async def forget_old(self) -> None:
        """Drop settings and words of servers left long ago. The ledger stays, without words."""
        now = self._clock()
        before = now - KEPT_AFTER_LEAVING
        for server_id in await servers.servers_left_before(self._database.reader, before):
            async with self._database.write() as connection:
                if await servers.forget(connection, server_id, at=now):
                    await rules.forget(connection, server_id)
                    await changes.forget(connection, server_id)
                    await offers.forget(connection, server_id)
                    await songs.forget_words_of_server(connection, server_id)
                    await ledger.forget_words_of_server(connection, server_id)
