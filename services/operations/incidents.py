"""Incidents: what the operator is notified of, once when it begins and once when it is over.

An incident is a row, so a restart neither forgets it nor notifies again. If the disk is too full
for the row, the operator is notified anyway and the row is written later. Incidents of the
operator's account pause all songs.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from db import operations
from db.database import Database
from db.errors import NOT_NOW
from db.records import Incident, Server
from services.clock import WatchedClock
from services.errors import SongsPaused

log = logging.getLogger(__name__)

API_DOWN_AFTER = timedelta(minutes=5)
MOST_RESULTS_LOST = 3
"""Songs in a row with lost results that make an incident."""


class Kind(StrEnum):
    """The kinds of incident."""

    KEY_REFUSED = "key_refused"
    OUT_OF_CREDITS = "out_of_credits"
    API_DOWN = "api_down"
    DISK_NEARLY_FULL = "disk_nearly_full"
    UNDELIVERED = "undelivered"
    RESULTS_LOST = "results_lost"
    COMMANDS_NOT_REGISTERED = "commands_not_registered"


PAUSING = (Kind.KEY_REFUSED, Kind.OUT_OF_CREDITS)


class Operator(Protocol):
    """Sends messages to the operator. Each method returns whether the message was sent."""

    async def incident_began(self, kind: Kind, detail: str) -> bool:
        """Notify of an incident. `detail` may be foreign text."""
        ...

    async def incident_ended(self, kind: Kind) -> bool:
        """Notify of the end of an incident."""
        ...

    async def bot_added(self, servers: Sequence[Server], *, allowed: bool) -> bool:
        """Notify of servers that the bot was added to, and whether it makes songs there."""
        ...


class Incidents:
    """Opens and closes incidents, and notifies the operator of both."""

    def __init__(self, database: Database, operator: Operator, *, clock: WatchedClock) -> None:
        self._database = database
        self._operator = operator
        self._clock = clock
        self._open: set[Kind] = set()
        self.refusals = 0
        """How many incidents of the account this process opened."""
        self._unsaved: dict[str, Incident] = {}
        """Incidents by kind that the full disk has no row for."""
        self._silent_since: datetime | None = None
        self._results_lost: set[int] = set()
        """Songs with lost results since the last playable one."""
        # An incident may end, or another task notify of it, while a message is sent.
        self._notifying = asyncio.Lock()

    async def load(self) -> None:
        """Read the incidents that were open when the last process ended."""
        rows = await operations.incidents(self._database.reader)
        self._open = {Kind(row.kind) for row in rows}

    @property
    def paused(self) -> Kind | None:
        """The incident that pauses songs, if any."""
        return next((kind for kind in PAUSING if kind in self._open), None)

    def check_not_paused(self) -> None:
        """Refuse a new song while songs are paused.

        Raises:
            SongsPaused: the operator has to fix the account first.
        """
        if self.paused:
            raise SongsPaused

    async def begin(self, kind: Kind, detail: str) -> bool:
        """Open an incident and notify the operator. Return False if it was open."""
        if kind in self._open:
            return False
        new = await self._save(Incident(kind, detail, opened_at=self._clock(), notified_at=None))
        self._open.add(kind)
        self.refusals += new and kind in PAUSING
        if new:
            pauses = ", songs are paused" if kind in PAUSING else ""
            log.error("incident began: %s%s (%s)", kind, pauses, detail)
            await self.notify_pending()
        return new

    async def end(self, kind: Kind) -> bool:
        """Close an incident. Return False if none was open, or if the full disk keeps it open."""
        if kind not in self._open:
            return False
        async with self._notifying:
            try:
                async with self._database.write() as connection:
                    saved = {row.kind: row for row in await operations.incidents(connection)}
                    await operations.close_incident(connection, kind)
            except NOT_NOW:
                return False
            self._open.discard(kind)
            incident = self._unsaved.pop(kind, saved.get(kind))
            if incident is None:
                return False
            log.warning("incident is over: %s", kind)
            if incident.notified_at is not None:
                await self._operator.incident_ended(kind)
            return True

    async def notify_pending(self) -> None:
        """Notify the operator of the incidents that they have no message about yet."""
        async with self._notifying:
            rows = await operations.incidents(self._database.reader)
            for incident in ({row.kind: row for row in rows} | self._unsaved).values():
                if incident.notified_at is None and await self._operator.incident_began(
                    Kind(incident.kind), incident.detail
                ):
                    await self._save(replace(incident, notified_at=self._clock()))
                elif incident.kind in self._unsaved:
                    await self._save(incident)

    async def _save(self, incident: Incident) -> bool:
        """Write the row, or remember it while the disk is full. Return whether it is new."""
        known = incident.kind in self._unsaved
        try:
            async with self._database.write() as connection:
                new = await operations.open_incident(
                    connection, incident.kind, detail=incident.detail, at=incident.opened_at
                )
                if incident.notified_at is not None:
                    await operations.mark_notified(
                        connection, incident.kind, at=incident.notified_at
                    )
        except NOT_NOW:
            self._unsaved[incident.kind] = incident
            return not known
        self._unsaved.pop(incident.kind, None)
        return new and not known

    async def api_answered(self) -> None:
        """Note any answer of the song API."""
        self._silent_since = None
        await self.end(Kind.API_DOWN)

    async def account_works(self, *, refusals: int) -> None:
        """Close the incidents of the account, since the song API accepted a song.

        `refusals`: their number when it was submitted. If there are more now, the answer is older
        than the last refusal and says nothing about it.
        """
        await self.api_answered()
        for kind in PAUSING:
            # Checked each time: another may begin while the message about the first is sent.
            if refusals == self.refusals:
                await self.end(kind)

    async def api_silent(self, detail: str) -> None:
        """Note a transient failure of the song API; after five minutes of them it is down."""
        self._silent_since = self._silent_since or self._clock()
        if self._clock.elapsed_since(self._silent_since) >= API_DOWN_AFTER:
            await self.begin(Kind.API_DOWN, detail)

    async def result_lost(self, song_id: int, detail: str) -> None:
        """Note a generated song that can't be downloaded or played."""
        self._results_lost.add(song_id)
        if len(self._results_lost) >= MOST_RESULTS_LOST:
            await self.begin(Kind.RESULTS_LOST, f"song {song_id}: {detail}")

    async def result_played(self) -> None:
        """Note a song that was downloaded and can be played."""
        self._results_lost.clear()
        await self.end(Kind.RESULTS_LOST)
