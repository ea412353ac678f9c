"""Changes by the managers of a server: recorded in order, to be posted in its log channel."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from db import changes
from db import settings as rows
from db.connection import Connection
from db.database import Database
from db.records import Change
from services.clock import Clock
from services.settings.catalogue import LOG

PAGE = 8
POSTED_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class History:
    """One page of a server's changes, newest first. Pages count from 1.

    `undone_by` says, by their numbers, which of them a later change undid, and which one.
    """

    changes: Sequence[Change]
    number: int
    pages: int
    undone_by: Mapping[int, int]


class Changelog:
    """Records changes. `notify` is called when there may be some to post."""

    def __init__(self, database: Database, *, clock: Clock, notify: Callable[[], None]) -> None:
        self._database = database
        self._clock = clock
        self.notify = notify

    async def history(self, server_id: int, *, page: int) -> History:
        """Return a page of what was done; the nearest one where `page` is out of bounds."""
        reader = self._database.reader
        pages = max(1, -(-await changes.count(reader, server_id) // PAGE))
        number = min(max(1, page), pages)
        found = await changes.of_server(reader, server_id, limit=PAGE, offset=(number - 1) * PAGE)
        undone_by = {}
        if found:
            first, last = found[-1].number, found[0].number
            undone_by = await changes.undone_by(reader, server_id, first=first, last=last)
        return History(found, number, pages, undone_by)

    async def pending(self, *, besides: Collection[int] = ()) -> list[Change]:
        """Return the oldest changes to be posted in a log channel other than `besides`."""
        return await changes.to_log(self._database.reader, limit=POSTED_AT_ONCE, besides=besides)

    async def mark_notified(self, *posted: Change) -> bool:
        """Mark changes as posted, all or none. Return False if one was already."""
        now = self._clock()
        async with self._database.write() as connection:
            marked = [
                await changes.mark_logged(connection, change.server_id, change.number, at=now)
                for change in posted
            ]
        return all(marked)

    # --- inside the transaction of a caller, who calls `notify` after it -------------------------

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
        fallback: int | None = None,
    ) -> Change:
        """Record a change, to be posted in the log channel, otherwise in `fallback`."""
        channel = await self.channel(connection, server_id) or fallback
        change = Change(
            *(server_id, 0, name, subject_id, before, after),
            *(actor_id, reason, self._clock(), undoes, channel),
        )
        return replace(change, number=await changes.insert(connection, change))

    async def channel(self, connection: Connection, server_id: int) -> int | None:
        """Return the server's log channel."""
        value = await rows.get(connection, server_id, LOG.key, 0)
        return None if value is None else int(json.loads(value))


def as_json(value: object) -> str:
    """Return one text for one value, so that two can be compared."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
