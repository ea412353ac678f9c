"""What was done in a server by those who manage it: kept in order, and told in its log channel."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from db import changes
from db import settings as rows
from db.connection import Connection
from db.database import Database
from db.records import Change
from services.clock import Clock
from services.settings.catalogue import LOG

PAGE = 8
TOLD_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class History:
    """One page of a server's changes, newest first. Pages count from 1.

    `taken_back` says, by their numbers, which of them a later change took back, and which one.
    """

    changes: Sequence[Change]
    number: int
    pages: int
    taken_back: Mapping[int, int]


class Changelog:
    """Writes changes down. `tell` is called when there may be some to tell."""

    def __init__(self, database: Database, *, clock: Clock, tell: Callable[[], None]) -> None:
        self._database = database
        self._clock = clock
        self.tell = tell

    async def history(self, server_id: int, *, page: int) -> History:
        """A page of what was done; the nearest one where `page` is out of bounds."""
        reader = self._database.reader
        pages = max(1, -(-await changes.count(reader, server_id) // PAGE))
        number = min(max(1, page), pages)
        found = await changes.of_server(reader, server_id, limit=PAGE, offset=(number - 1) * PAGE)
        taken_back = {}
        if found:
            first, last = found[-1].number, found[0].number
            taken_back = await changes.taken_back(reader, server_id, first=first, last=last)
        return History(found, number, pages, taken_back)

    async def pending(self, *, besides: Collection[int] = ()) -> list[Change]:
        """The oldest changes that have still to be told in a log channel other than `besides`."""
        return await changes.to_log(self._database.reader, limit=TOLD_AT_ONCE, besides=besides)

    async def mark_notified(self, *told: Change) -> bool:
        """Changes were told, or can't be: all are marked, or none. False if one was already."""
        now = self._clock()
        async with self._database.write() as connection:
            marked = [
                await changes.mark_logged(connection, change.server_id, change.number, at=now)
                for change in told
            ]
        return all(marked)

    # --- inside the transaction of a caller, who calls `tell` after it ---------------------------

    async def record(
        self,
        connection: Connection,
        server_id: int,
        name: str,
        *,
        subject_id: int = 0,
        before: str | None = None,
        after: str | None = None,
        actor_id: int | None = None,
        reason: str | None = None,
        undoes: int | None = None,
        heard: int | None = None,
    ) -> Change:
        """Write down what was done, to be told in the log channel, else in `heard`."""
        now = self._clock()
        channel = await self.channel(connection, server_id) or heard
        number = await changes.insert(
            connection,
            server_id,
            name=name,
            subject_id=subject_id,
            before=before,
            after=after,
            actor_id=actor_id,
            reason=reason,
            at=now,
            undoes=undoes,
            log_channel_id=channel,
        )
        return Change(
            *(server_id, number, name, subject_id, before, after),
            *(actor_id, reason, now, undoes, channel),
        )

    async def channel(self, connection: Connection, server_id: int) -> int | None:
        """The server's log channel."""
        value = await rows.get(connection, server_id, LOG.key, 0)
        channel: int | None = None if value is None else json.loads(value)
        return channel


def as_json(value: object) -> str:
    """One text for one value, so that two can be compared."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
