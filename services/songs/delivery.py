"""When an undelivered song is tried again, and when its price is refunded instead."""

import asyncio
import contextlib
import logging
from collections import Counter
from datetime import timedelta

from db import songs
from db.database import Database
from db.errors import NOT_NOW
from db.records import Reason, Song
from services import logs
from services.clock import WatchedClock
from services.errors import AudioError, CannotPost, DeliveryError, Scope
from services.retry import Backoff
from services.songs.poster import Poster
from services.songs.rows import require

log = logging.getLogger(__name__)

REFUNDED_AFTER = timedelta(hours=24)
"""How long a song may be undelivered before its price is refunded."""
EVERY = 60.0
"""Seconds from one round to the next, for what no event reports."""
SETTLE = 1.0
"""Seconds after an event: permissions are changed in several steps, with an event each."""
SOONEST = 60.0
"""Seconds between two attempts for one song, whatever has changed meanwhile."""
AFTER_A_REFUSAL = Backoff(first=300.0, longest=6 * 3600.0)
"""If nothing that the bot knows of has changed. Too many refusals in ten minutes shut a bot out
(Discord, "Invalid Request Limit")."""


class Delivery:
    """Tries every undelivered song again until it is delivered or refunded."""

    def __init__(self, database: Database, poster: Poster, *, clock: WatchedClock) -> None:
        self._database = database
        self._poster = poster
        self._clock = clock
        self._logged: dict[Reason | None, int] = {}
        """How many songs wait for each reason, as last logged."""
        self._events = dict[tuple[int, int | None], float]()
        """Servers, or channels of them, where something has changed; seconds after the last try."""
        self._woken = asyncio.Event()

    def wake(self, server_id: int, *, channel_id: int | None = None) -> None:
        """Note a change in a server that may let songs be posted there.

        `channel_id`: that channel is open to the bot now, so its songs are tried at once.
        """
        self._events[server_id, channel_id] = SOONEST if channel_id is None else 0.0
        self._woken.set()

    async def run(self) -> None:
        """A round each minute, and soon after each change, until cancelled."""
        while True:
            self._woken.clear()
            await self.once()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await self._woken.wait()
                await asyncio.sleep(SETTLE)

    async def once(self) -> None:
        """One round: refund what is overdue, post what can be posted.

        One song after the other, and none whose channel or server has just refused one, unless that
        was about the one alone. An unforeseen error is logged, and the song is tried again later.
        """
        try:
            await self._expedite()
            waiting = await songs.undelivered(self._database.reader)
        except NOT_NOW as error:
            log.warning("undelivered songs wait: %s", error)
            return
        except Exception:
            log.exception("reading undelivered songs failed")
            return
        self._log_reasons(waiting)
        refusing: set[tuple[Scope, int]] = set()
        for song in waiting:
            # One that its requester is taking may take long: the others don't wait.
            if not self._poster.is_locked(song.song_id):
                reaches = {Scope.CHANNEL: song.channel_id, Scope.SERVER: song.server_id}
                reaches[Scope.EVERYBODY] = 0
                with logs.context(song.song_id):
                    scope = await self._try(song, refused=not refusing.isdisjoint(reaches.items()))
                if scope in reaches:
                    refusing.add((scope, reaches[scope]))

    async def _expedite(self) -> None:
        """Bring forward the next attempts in servers where something has changed."""
        if not self._events:
            return
        waiting = await songs.undelivered(self._database.reader)
        servers = {song.server_id for song in waiting}
        events, self._events = self._events, {}
        if not any(server_id in servers for server_id, _ in events):
            return
        try:
            async with self._database.write() as connection:
                for (server_id, channel_id), pause in events.items():
                    await songs.expedite(connection, server_id, channel_id=channel_id, pause=pause)
        except NOT_NOW:
            self._events = events | self._events
            raise

    def _log_reasons(self, waiting: list[Song]) -> None:
        """Log how many songs are undelivered, and why, if that has changed."""
        count = dict(Counter(song.reason for song in waiting))
        if count == self._logged:
            return
        self._logged = count
        if count:
            why = "; ".join(f"{songs:,}: {reason}" for reason, songs in count.items())
            log.warning("undelivered songs: %s", why)
        else:
            log.info("no undelivered songs any more")

    async def _try(self, song: Song, *, refused: bool) -> Scope | None:
        """Do what this round can for a song; if it can't be posted, return how far that reaches.

        `refused`: another one was in this round, for a reason that reaches to this one.
        """
        scope = None
        try:
            if self._clock.elapsed_since(require(song.ended_at)) > REFUNDED_AFTER:
                await self._poster.refund(song.song_id)
                return None
            await self._poster.keep_one_file(song.song_id)
            if refused or not self._is_due(song):
                return None
            try:
                tried = await self._poster.post(song.song_id)
            except FileNotFoundError:
                log.exception("its file is lost")
                await self._poster.refund(song.song_id)
                return None
            return None if tried else Scope.CHANNEL
        except (OSError, *NOT_NOW) as error:
            # This machine is at fault, not Discord: the next round may do better.
            log.warning("it waits: %s", error)
            return None
        except DeliveryError as error:
            log.warning("it still can't be posted: %s", error)
            scope = error.scope if isinstance(error, CannotPost) else Scope.CHANNEL
        except AudioError as error:
            log.warning("it can't be transcoded for the channel: %s", error)
        except Exception:
            log.exception("delivering it late failed")
        await self._postpone(song)
        return scope

    def _is_due(self, song: Song) -> bool:
        """Return whether it may be tried; a clock that is set moves nothing."""
        pause = require(song.next_attempt_at) - song.state_at
        return self._clock.elapsed_since(song.state_at) >= pause

    async def _postpone(self, song: Song) -> None:
        """Try again with growing delays, also after a restart."""
        now = self._clock()
        later = now + timedelta(seconds=AFTER_A_REFUSAL.pause(song.attempts + 1))
        try:
            async with self._database.write() as connection:
                await songs.postpone(connection, song.song_id, at=now, next_attempt_at=later)
        except NOT_NOW as error:
            log.warning("its next attempt can't be saved: %s", error)
        except Exception:
            log.exception("its next attempt can't be saved")
