"""Servers that the bot joins and leaves."""

import asyncio
import logging
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from db import changes, ledger, role_grants, servers, settings, songs
from db.database import Database
from db.records import Server, Song
from services.clock import WatchedClock
from services.operations.incidents import Operator
from services.songs.completion import SongCompletion

log = logging.getLogger(__name__)

KEPT_AFTER_LEAVING = timedelta(days=30)
"""How long a server's settings and words are kept, should the bot be invited back."""
NOTIFIED_WITHIN = timedelta(hours=24)
"""How long the operator is tried to be notified of a new server: their messages may be closed."""
NAMED = 10
"""Servers whose names and ids stand in one message to the operator."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One of the connections that share the servers (Discord, "Sharding")."""

    number: int
    count: int

    def serves(self, server_id: int) -> bool:
        """Whether this shard hears of a server."""
        return (server_id >> 22) % self.count == self.number


class Servers:
    """What happens to a server's songs and settings when the bot comes and goes."""

    def __init__(
        self,
        database: Database,
        completion: SongCompletion,
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
        # Servers that the operator was notified of although their rows don't say so yet.
        self._notified: set[int] = set()
        # A message takes time, and a round may find the same servers meanwhile.
        self._notifying = asyncio.Lock()

    def allows(self, server_id: int) -> bool:
        """Whether songs may be requested there; an empty ALLOWED_SERVERS allows every server."""
        return not self._allowed or server_id in self._allowed

    async def join(self, server_id: int, name: str) -> bool:
        """The bot is in this server. Whether the hello is still to be said: true only once."""
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
        """The bot was thrown out: what waits is cancelled and refunded, what runs may end.

        Gives the songs that were cancelled.
        """
        waiting = await songs.waiting_of_server(self._database.reader, server_id)
        cancelled = [song for song in waiting if await self._completion.cancel(song)]
        # Last: what a crash has left undone before it, `reconcile` finds again.
        async with self._database.write() as connection:
            # What waits again since then: from the mark on the worker cancels it.
            cancelled += await self._completion.cancel_waiting_of_server(connection, server_id)
            left = await servers.mark_left(connection, server_id, at=self._clock())
        if left:
            log.info("left server %d", server_id)
        return cancelled

    async def rename(self, server_id: int, name: str) -> None:
        """What Discord says that the server is called now."""
        async with self._database.write() as connection:
            await servers.set_name(connection, server_id, name)

    async def reconcile(self, shard: Shard, present: Container[int]) -> list[Song]:
        """Leave the servers of one shard that the bot was removed from while it was away.

        `present` follows what Discord says meanwhile: who joins after READY is in it. Gives the
        songs that were cancelled.
        """
        self._present[shard] = present  # first: what fails now is done in a later round
        if self._first_start is None:
            self._first_start = not await servers.any_known(self._database.reader)
        cancelled: list[Song] = []
        for server_id in await servers.names_present(self._database.reader):
            if shard.serves(server_id) and server_id not in present:
                cancelled += await self.leave(server_id)
        return cancelled

    async def reconcile_all(self) -> list[Song]:
        """As `reconcile`, of every shard that has had a READY: a full disk may have kept it back.

        Gives the songs that were cancelled.
        """
        return [
            song
            for shard, present in list(self._present.items())
            for song in await self.reconcile(shard, present)
        ]

    async def note_names(self, shard: Shard, names: Mapping[int, str]) -> None:
        """What the available servers of one shard are called, after each READY.

        One that is not known yet was joined while the bot was away.
        """
        known = await servers.names_present(self._database.reader)
        # At the first start ever, whoever starts the bot knows where it is.
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

        What can't be sent is tried again in later rounds, for `NOTIFIED_WITHIN`. A kill between the
        message and its mark sends it twice.
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
                if some and await self._operator.tell(
                    _joined_text(len(some), allowed=allowed), detail=_names_of(some)
                ):
                    self._notified |= {server.server_id for server in some}
            if self._notified:
                async with self._database.write() as connection:
                    for server_id in self._notified:
                        await servers.mark_notified(connection, server_id)
                self._notified.clear()

    async def forget_old(self) -> None:
        """Drop settings and words of servers left long ago. The ledger stays, without words."""
        now, before = self._clock(), self._clock.ago(KEPT_AFTER_LEAVING)
        for server_id in await servers.servers_left_before(self._database.reader, before):
            async with self._database.write() as connection:
                if await servers.forget(connection, server_id, at=now):
                    await settings.forget(connection, server_id)
                    await changes.forget(connection, server_id)
                    await role_grants.forget(connection, server_id)
                    await songs.forget_words_of_server(connection, server_id)
                    await ledger.forget_words_of_server(connection, server_id)


def _joined_text(count: int, *, allowed: bool) -> str:
    servers_text = "a server" if count == 1 else f"{count:,} servers"
    if allowed:
        return (
            f"\N{HEAVY PLUS SIGN} The bot was added to {servers_text}. Your account pays the songs "
            "made there; `/operator budget` limits them."
        )
    return (
        f"\N{HEAVY PLUS SIGN} The bot was added to {servers_text} that ALLOWED_SERVERS does not "
        "list. `/song` is refused there."
    )


def _names_of(some: Sequence[Server]) -> str:
    """`Synths (id 1000), Strings (id 1001) and 3 more`."""
    names = [f"{server.name or 'not named yet'} (id {server.server_id})" for server in some[:NAMED]]
    more = f" and {len(some) - NAMED:,} more" if len(some) > NAMED else ""
    return ", ".join(names) + more
