"""Work that is done every minute."""

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from db import drafts, songs
from db.database import Database
from db.errors import NOT_NOW
from db.records import TOKEN_LIFETIME, Reason, State
from services.clock import WatchedClock
from services.operations.data_folder import song_folders
from services.operations.incidents import Incidents, Kind
from services.operations.servers import Completion, Servers

log = logging.getLogger(__name__)

WAITING_DEADLINE = timedelta(hours=6)
DRAFT_LIFETIME = timedelta(hours=1)
LYRICS_OF_FAILED = timedelta(hours=24)
"""How long the lyrics of a failed song are stored, so that it can be tried again."""
EVENT_LIFETIME = timedelta(days=30)
"""How long each transition of a song is stored, so that support can read what happened."""
INTERVAL = 60.0
NEARLY_FULL = 512 * 2**20
"""Free bytes below which the operator is notified: room for all songs that are transcoded."""
ROOM_AGAIN = 2 * NEARLY_FULL


class Housekeeping:
    """Ends songs that waited too long, deletes what is past its retention, watches the disk."""

    def __init__(
        self,
        database: Database,
        completion: Completion,
        servers: Servers,
        incidents: Incidents,
        *,
        data_dir: Path,
        clock: WatchedClock,
        changed: Callable[[int], None],
    ) -> None:
        self._database = database
        self._completion = completion
        self._servers = servers
        self._incidents = incidents
        self._songs_dir = data_dir / "songs"
        self._clock = clock
        self._changed = changed

    async def run(self) -> None:
        """Run `once` every minute until cancelled."""
        while True:
            await self.once()
            await asyncio.sleep(INTERVAL)

    async def once(self) -> None:
        """Run each part; one that fails is logged and does not stop the others."""
        parts: list[Callable[[], Awaitable[None]]] = [
            self._leave,
            self._end_overdue,
            self._forget,
            self._servers.forget_old,
            self._servers.notify_operator,
            self._remove_files,
            self._watch_disk,
            self._incidents.notify_pending,
        ]
        for part in parts:
            try:
                await part()
            except NOT_NOW as error:
                log.warning("housekeeping: %s will be retried: %s", part.__name__, error)
            except Exception:
                log.exception("housekeeping: %s failed", part.__name__)

    async def _leave(self) -> None:
        """Leave the servers that the bot was removed from while the database was unwritable."""
        for song in await self._servers.reconcile_all():
            self._changed(song.song_id)

    async def _end_overdue(self) -> None:
        before = self._clock.ago(WAITING_DEADLINE)
        for song in await songs.waiting_since_before(self._database.reader, before):
            reason = Reason.WAITED_TOO_LONG
            if await self._completion.fail(song, reason, expected=State.WAITING):
                self._changed(song.song_id)

    async def _forget(self) -> None:
        received = self._clock.ago(TOKEN_LIFETIME)
        failed = self._clock.ago(LYRICS_OF_FAILED)
        async with self._database.write() as connection:
            await songs.forget_tokens_until(connection, received + TOKEN_LIFETIME)
            await drafts.delete_before(connection, self._clock.ago(DRAFT_LIFETIME))
            await songs.forget_lyrics_of_failed(connection, ended_before=failed)
            await songs.delete_events_before(connection, self._clock.ago(EVENT_LIFETIME))

    async def _remove_files(self) -> None:
        """Remove files that a crash left after their song ended."""
        folders = await asyncio.to_thread(song_folders, self._songs_dir)
        needed = await songs.needing_files(self._database.reader) if folders else set()
        for song_id, folder in folders.items():
            if song_id not in needed:
                try:
                    await asyncio.to_thread(shutil.rmtree, folder)
                except OSError as error:
                    log.warning("the files of song %d could not be removed: %s", song_id, error)

    async def _watch_disk(self) -> None:
        free = shutil.disk_usage(self._songs_dir.parent).free
        if free < NEARLY_FULL:
            await self._incidents.begin(Kind.DISK_NEARLY_FULL, f"{free // 2**20:,} MiB are free")
        elif free > ROOM_AGAIN:
            await self._incidents.end(Kind.DISK_NEARLY_FULL)
