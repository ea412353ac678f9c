"""A song's row, as the pipeline and the poster read and move it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from db import songs
from db.connection import Connection
from db.database import Database
from db.errors import NO_ROOM, NOT_NOW
from db.records import Song, State
from services.operations.incidents import Incidents, Kind
from services.retry import Sleep, retry

log = logging.getLogger(__name__)

T = TypeVar("T")

NOT_LOGGED = ("at", "submitted_at", "expected")
"""Values of a move that its log line leaves out: it has its own time."""


class SongRows:
    """Reads songs and moves them, each move in a transaction."""

    def __init__(
        self,
        database: Database,
        incidents: Incidents,
        *,
        changed: Callable[[int], None],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`changed` is called with a song's id after its row has changed."""
        self.database = database
        self.changed = changed
        self._incidents = incidents
        self._sleep = sleep

    async def read(self, song_id: int) -> Song:
        """Return the song as it is now.

        Raises:
            RuntimeError: there is none.
        """
        return require(await songs.get(self.database.reader, song_id))

    async def move(
        self, song: Song, update: Callable[..., Awaitable[bool]], **values: object
    ) -> bool:
        """Call `update`, of `db.songs`, with these values, as `persist` does.

        Returns False, and has changed nothing, if the song's state does not allow that move.
        """

        async def write() -> bool:
            async with self.database.write() as connection:
                return await update(connection, song.song_id, **values)

        moved = await self.persist(song, write)
        log_move(update.__name__, moved=moved, **values)
        if moved:
            self.changed(song.song_id)
        return moved

    async def transact(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do `work` in a transaction, once the database takes it."""

        async def write() -> T:
            async with self.database.write() as connection:
                return await work(connection)

        return await self.until_written(write)

    async def persist(self, song: Song, write: Callable[[], Awaitable[T]]) -> T:
        """Repeat a write until the database takes it; of an undelivered song, do it once.

        Its requester would otherwise have to wait for its lock until a full disk has room.

        Raises:
            DiskFullError, DatabaseBusyError: of an undelivered song, nothing was written.
        """
        if song.state is State.UNDELIVERED:
            return await write()
        return await self.until_written(write)

    async def until_written(self, write: Callable[[], Awaitable[T]]) -> T:
        """Repeat a write until the database takes it: what it says has happened already."""
        return await retry(write, NOT_NOW, self.warn, sleep=self._sleep)

    async def warn(self, error: Exception, pause: float | None = None) -> None:
        """Log a transient error, before a pause in seconds; notify the operator of a full disk."""
        log.warning("%s%s", error, "" if pause is None else f", retrying in {pause:.1f} s")
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            await self._incidents.begin(Kind.DISK_NEARLY_FULL, str(error))


def log_move(name: str, *, moved: bool = True, **values: object) -> None:
    """Log a move of the song that the log's context names, or that its state did not allow it."""
    what = name.removeprefix("mark_").replace("_", " ")
    details = "".join(
        f", {key} {value}" for key, value in values.items() if value and key not in NOT_LOGGED
    )
    log.info("%s%s%s", "" if moved else "in another state, so not ", what, details)


def require(value: T | None) -> T:
    """Return what a song's row must hold in its state: the schema guarantees it."""
    if value is None:
        raise RuntimeError("a song's row lacks what its state needs")
    return value
