"""What the operator must hear of: once when it begins, once when it is over.

An incident is a row, so that a restart neither forgets it nor tells it again; where the full disk
has no room for the row, it is told all the same, and written down later. Those of the operator's
account pause all songs while they last.
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
"""Songs in a row whose results are lost, before the operator hears of it."""


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
    Kind.UNDELIVERED: "A song could not be posted, for a reason that others will share.",
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
    """Reaches the operator in person."""

    async def tell(self, text: str, *, detail: str = "") -> bool:
        """Whether the message went out. `detail` is in somebody else's words."""
        ...


class Incidents:
    """Opens and closes incidents, and tells the operator of both."""

    def __init__(self, database: Database, operator: Operator, *, clock: WatchedClock) -> None:
        self._database = database
        self._operator = operator
        self._clock = clock
        self._open: set[Kind] = set()
        self.refusals = 0
        """How often the account was refused when it was not known to be, in this process."""
        self._unwritten: dict[str, Incident] = {}
        """What the disk has no room for, by kind; it holds instead of the row."""
        self._silent_since: datetime | None = None
        self._results_lost: set[int] = set()
        """The songs whose results were lost since one was last fetched and played."""
        # Telling takes time, and an incident may end, or be told by another, meanwhile.
        self._telling = asyncio.Lock()

    async def load(self) -> None:
        """Read what was wrong when the process ended."""
        rows = await operations.incidents(self._database.reader)
        self._open = {Kind(row.kind) for row in rows}

    @property
    def paused(self) -> Kind | None:
        """Why no song is started now, if so."""
        return next((kind for kind in PAUSING if kind in self._open), None)

    def check_not_paused(self) -> None:
        """Refuse a new song while songs are paused.

        Raises:
            SongsPaused: the operator's account has to be mended first.
        """
        if self.paused:
            raise SongsPaused

    async def begin(self, kind: Kind, detail: str) -> bool:
        """Something is wrong. False if that was known."""
        if kind in self._open:
            return False
        new = await self._note(Incident(kind, detail, opened_at=self._clock(), notified_at=None))
        self._open.add(kind)
        self.refusals += new and kind in PAUSING
        if new:
            log.error("%s (%s)", _BEGINS[kind], detail)
            await self.notify_pending()
        return new

    async def end(self, kind: Kind) -> bool:
        """It is well again. False if nothing was wrong, or if the disk has no room to say so."""
        if kind not in self._open:
            return False
        async with self._telling:
            try:
                async with self._database.write() as connection:
                    known = {row.kind: row for row in await operations.incidents(connection)}
                    await operations.close_incident(connection, kind)
            except NOT_NOW:
                return False
            self._open.discard(kind)
            incident = self._unwritten.pop(kind, known.get(kind))
            if incident is None:
                return False
            log.warning("%s", _ENDS[kind])
            if incident.notified_at is not None:
                await self._operator.tell(f"\N{WHITE HEAVY CHECK MARK} {_ENDS[kind]}")
            return True

    async def notify_pending(self) -> None:
        """Tell the operator what they have not heard: also what could not be sent before."""
        async with self._telling:
            rows = await operations.incidents(self._database.reader)
            for incident in ({row.kind: row for row in rows} | self._unwritten).values():
                text = f"\N{WARNING SIGN} {_BEGINS[Kind(incident.kind)]}"
                told = incident.notified_at is not None
                if not told and await self._operator.tell(text, detail=incident.detail):
                    await self._note(replace(incident, notified_at=self._clock()))
                elif incident.kind in self._unwritten:
                    await self._note(incident)

    async def _note(self, incident: Incident) -> bool:
        """Write it down, or remember it while there is no room; whether it was not known at all."""
        known = incident.kind in self._unwritten
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
            self._unwritten[incident.kind] = incident
            return not known
        self._unwritten.pop(incident.kind, None)
        return new and not known

    async def api_answered(self) -> None:
        """The song API has answered, whatever it said."""
        self._silent_since = None
        await self.end(Kind.API_DOWN)

    async def account_works(self, *, refusals: int) -> None:
        """The song API has accepted a song: whatever paused songs is mended.

        `refusals`: how many there had been when it was asked. Where there are more now, its answer
        is older than the last of them and says nothing of it.
        """
        await self.api_answered()
        for kind in PAUSING:
            # Asked each time: telling of the end of one takes long enough for another to begin.
            if refusals == self.refusals:
                await self.end(kind)

    async def api_silent(self, detail: str) -> None:
        """A call to the song API failed in passing; after five minutes of that it is down."""
        self._silent_since = self._silent_since or self._clock()
        if self._clock.elapsed_since(self._silent_since) >= API_DOWN_AFTER:
            await self.begin(Kind.API_DOWN, detail)

    async def result_lost(self, song_id: int, detail: str) -> None:
        """A song was made, and can't be fetched or played. The third in a row is an incident."""
        self._results_lost.add(song_id)
        if len(self._results_lost) >= MOST_RESULTS_LOST:
            await self.begin(Kind.RESULTS_LOST, f"song {song_id}: {detail}")

    async def result_played(self) -> None:
        """A song was fetched and can be played."""
        self._results_lost.clear()
        await self.end(Kind.RESULTS_LOST)
