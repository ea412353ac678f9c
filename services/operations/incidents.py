"""Incidents: what the operator is notified of, once when it begins and once when it is over.

An incident is a row, so a restart neither forgets it nor notifies again. If the disk is too full
for the row, the operator is notified anyway and the row is written later. Incidents of the
operator's account pause all songs.
"""

import asyncio
import logging
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from db import operations
from db.database import Database
from db.errors import NOT_NOW
from db.records import Incident
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

_BEGINS = {
    Kind.KEY_REFUSED: "The song API refuses the key, so songs are paused. Set SEGMIND_API_KEY to a "
    "key that works and restart; if the key is right, songs go on by themselves.",
    Kind.OUT_OF_CREDITS: "The account at the song API is out of credits, so songs are paused. They "
    "go on by themselves once it has credits again.",
    Kind.API_DOWN: "The song API has not answered for 5 minutes. Songs go on when it does.",
    Kind.DISK_NEARLY_FULL: "The disk of the data folder is nearly full. Make room: once it is "
    "full, songs wait, and those in progress fail after 30 minutes.",
    Kind.UNDELIVERED: "A song could not be posted, for a reason that affects other songs too.",
    Kind.RESULTS_LOST: f"The results of {MOST_RESULTS_LOST} songs in a row could not be downloaded "
    "or played. Members get their credits back, but the song API charges your account. If the "
    "reason names an address that is not public, see DOWNLOAD_ALLOW.",
    Kind.COMMANDS_NOT_REGISTERED: "Discord did not register the bot's commands. Songs go on, with "
    "the commands that were registered before. Registering is retried.",
}
_ENDS = {
    Kind.KEY_REFUSED: "The song API accepts the key again. Songs go on.",
    Kind.OUT_OF_CREDITS: "The account at the song API has credits again. Songs go on.",
    Kind.API_DOWN: "The song API answers again.",
    Kind.DISK_NEARLY_FULL: "The disk of the data folder has room again.",
    Kind.UNDELIVERED: "Songs are posted again.",
    Kind.RESULTS_LOST: "A song was downloaded and can be played again.",
    Kind.COMMANDS_NOT_REGISTERED: "The bot's commands are registered.",
}


class Operator(Protocol):
    """Sends messages to the operator."""

    async def notify(self, text: str, *, detail: str = "") -> bool:
        """Return whether the message was sent. `detail` is foreign text."""
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
            log.error("%s (%s)", _BEGINS[kind], detail)
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
            log.warning("%s", _ENDS[kind])
            if incident.notified_at is not None:
                await self._operator.notify(f"\N{WHITE HEAVY CHECK MARK} {_ENDS[kind]}")
            return True

    async def notify_pending(self) -> None:
        """Notify the operator of the incidents that they have no message about yet."""
        async with self._notifying:
            rows = await operations.incidents(self._database.reader)
            for incident in ({row.kind: row for row in rows} | self._unsaved).values():
                text = f"\N{WARNING SIGN} {_BEGINS[Kind(incident.kind)]}"
                pending = incident.notified_at is None
                if pending and await self._operator.notify(text, detail=incident.detail):
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
