"""Servers that the bot joins and leaves."""

import asyncio
import logging
from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from db import changes, ledger, role_grants, servers, settings, songs
from db.connection import Connection
from db.database import Database
from db.records import Reason, Song, State
from services.clock import WatchedClock
from services.operations.incidents import Operator

log = logging.getLogger(__name__)

RETENTION = timedelta(days=30)
"""How long a server's settings and texts are stored after the bot left, for an invitation back."""
NOTIFIED_WITHIN = timedelta(hours=24)
"""How long a message about a new server is retried: the operator may refuse messages."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One of the gateway connections that share the servers (Discord, "Sharding")."""

    number: int
    count: int

    def serves(self, server_id: int) -> bool:
        """Return whether this shard gets the events of a server."""
        return (server_id >> 22) % self.count == self.number


class Completion(Protocol):
    """Ends songs: `services.songs.completion`."""

    async def fail(self, song: Song, reason: Reason, *, expected: State) -> bool:
        """Refund a song; False if its state is not the `expected` one."""
        ...

    async def cancel(self, song: Song) -> bool:
        """Cancel and refund a song; False if it does not wait any more."""
        ...

    async def cancel_waiting_of_server(self, connection: Connection, server_id: int) -> list[Song]:
        """Cancel and refund all that wait in a server, in the caller's transaction."""
        ...


class Servers:
    """Keeps servers, their songs and settings up to date when the bot joins and leaves."""

    def __init__(
        self,
        database: Database,
        completion: Completion,
        operator: Operator,
        *,
        clock: WatchedClock,
        allowed: Collection[int] = (),
    ) -> None:
        self._database = database
        self._completion = completion
        self._operator = operator
        self._clock = clock
        self._allowed = allowed
        self._first_start: bool | None = None
        self._seen: set[Shard] = set()
        self._present: dict[Shard, Container[int]] = {}
        # Servers that the operator was notified of and whose rows are not updated yet.
        self._notified: set[int] = set()
        # Another round may find the same servers while a message is sent.
        self._notifying = asyncio.Lock()

    def allows(self, server_id: int) -> bool:
        """Return whether songs may be requested there. An empty ALLOWED_SERVERS allows all."""
        return not self._allowed or server_id in self._allowed

    async def join(self, server_id: int, name: str) -> bool:
        """Note that the bot is in this server. Return True once, for the greeting."""
        now = self._clock()
        async with self._database.write() as connection:
            known = await servers.get_server(connection, server_id)
            await servers.ensure_server(connection, server_id)
            await servers.set_name(connection, server_id, name)
            first = await servers.mark_greeted(connection, server_id, at=now)
            if first or (known is not None and known.left_at is not None):
                await servers.mark_joined(connection, server_id, at=now)
                log.info("joined server %d", server_id)
            return first

    async def leave(self, server_id: int) -> list[Song]:
        """Cancel and refund the waiting songs of a server that removed the bot; others may end.

        Return the cancelled songs.
        """
        waiting = await songs.waiting_of_server(self._database.reader, server_id)
        cancelled = [song for song in waiting if await self._completion.cancel(song)]
        # Last, so that `reconcile` repeats this after a crash.
        async with self._database.write() as connection:
            # Songs that wait since then. After this mark the pipeline cancels them.
            cancelled += await self._completion.cancel_waiting_of_server(connection, server_id)
            left = await servers.mark_left(connection, server_id, at=self._clock())
        if left:
            log.info("left server %d", server_id)
        return cancelled

    async def rename(self, server_id: int, name: str) -> None:
        """Store a server's new name."""
        async with self._database.write() as connection:
            await servers.set_name(connection, server_id, name)

    async def reconcile(self, shard: Shard, present: Container[int]) -> list[Song]:
        """Leave the servers of one shard that the bot was removed from while it was away.

        `present` is live: a server joined after READY is in it. Return the cancelled songs.
        """
        self._present[shard] = present  # first: what fails now is repeated in a later round
        if self._first_start is None:
            self._first_start = not await servers.any_known(self._database.reader)
        cancelled: list[Song] = []
        for server_id in await servers.names_present(self._database.reader):
            if shard.serves(server_id) and server_id not in present:
                cancelled += await self.leave(server_id)
        return cancelled

    async def reconcile_all(self) -> list[Song]:
        """Repeat `reconcile` for every shard that had a READY: a full disk may have stopped it."""
        return [
            song
            for shard, present in list(self._present.items())
            for song in await self.reconcile(shard, present)
        ]

    async def note_names(self, shard: Shard, names: Mapping[int, str]) -> None:
        """Store the names of one shard's available servers after a READY.

        A server that is not known was joined while the bot was away.
        """
        known = await servers.names_present(self._database.reader)
        # At the very first start the operator knows where the bot is.
        joined = not self._first_start or shard in self._seen
        self._seen.add(shard)
        async with self._database.write() as connection:
            for server_id, name in names.items():
                if known.get(server_id) != name:
                    await servers.ensure_server(connection, server_id)
                    await servers.set_name(connection, server_id, name)
                    if joined and server_id not in known:
                        await servers.mark_joined(connection, server_id, at=self._clock())

    async def notify_operator(self) -> None:
        """Send the operator a message about servers that the bot was added to.

        It is retried in later rounds, for `NOTIFIED_WITHIN`. A crash between the message and its
        mark sends it twice.
        """
        async with self._notifying:
            since = self._clock.ago(NOTIFIED_WITHIN)
            joined = [
                server
                for server in await servers.to_notify(self._database.reader, since=since)
                if server.server_id not in self._notified
            ]
            for allowed in (True, False):
                some = [server for server in joined if self.allows(server.server_id) is allowed]
                if some and await self._operator.bot_added(some, allowed=allowed):
                    self._notified |= {server.server_id for server in some}
            if self._notified:
                async with self._database.write() as connection:
                    for server_id in self._notified:
                        await servers.mark_notified(connection, server_id)
                self._notified.clear()

    async def forget_old(self) -> None:
        """Delete settings and texts of servers left long ago. The ledger stays, without texts."""
        now, before = self._clock(), self._clock.ago(RETENTION)
        for server_id in await servers.servers_left_before(self._database.reader, before):
            async with self._database.write() as connection:
                if await servers.forget(connection, server_id, at=now):
                    await settings.forget(connection, server_id)
                    await changes.forget(connection, server_id)
                    await role_grants.forget(connection, server_id)
                    await songs.forget_text_of_server(connection, server_id)
                    await ledger.forget_reasons_of_server(connection, server_id)
