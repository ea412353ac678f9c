"""Chooses which song runs next in this process, and when."""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from db import servers, songs
from db.database import Database
from db.errors import NOT_NOW
from db.records import Song, State
from services import logs
from services.clock import Clock
from services.credits.budgets import OperatorBudgets
from services.errors import NotReached, SongApiError
from services.operations.incidents import Incidents, Kind
from services.providers.base import Provider
from services.retry import Backoff, retry
from services.songs.pipeline import Pipeline

log = logging.getLogger(__name__)

ACCOUNT_CHECK_EVERY = 60.0
"""Seconds between checks of an account that was refused, and of songs that nobody runs."""
LEAST_PROBES = 2
"""Probes in one pause whose answers may be lost; more where the provider runs more at once."""
MOST_FAILURES = 6
"""Unexpected errors in a row after which a song is given up."""

AFTER_AN_ERROR = Backoff(first=5.0, longest=300.0)
UNTIL_REACHED = Backoff(first=2.0, longest=30.0)
CHECK_AGAIN = 0.05
"""Seconds between checks, while stopping, of what must not be interrupted."""

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


def spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Start a named task on the running loop."""
    return asyncio.create_task(work, name=name)


class Scheduler:
    """Starts waiting songs in fair order while the provider has room, and resumes the others.

    It resumes at the start and, if it has `exclusive` use of the database, each minute: another
    process may have left songs meanwhile.
    """

    def __init__(
        self,
        database: Database,
        pipeline: Pipeline,
        provider: Provider,
        incidents: Incidents,
        budgets: OperatorBudgets,
        *,
        clock: Clock,
        exclusive: bool,
        spawn: Spawn = spawn,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._pipeline = pipeline
        self._provider = provider
        self._incidents = incidents
        self._budgets = budgets
        self._clock = clock
        self._exclusive = exclusive
        self._spawn = spawn
        self._sleep = sleep
        self._woken = asyncio.Event()
        # By task, not by song: a song that waits again may be started again at once.
        self._running: dict[asyncio.Task[None], int] = {}
        self._at_api: set[asyncio.Task[None]] = set()
        # Whether a waiting song may start as a probe; the probes that are at the API.
        self._probe_allowed = False
        self._probes: set[asyncio.Task[None]] = set()
        # While it is held, each song that was started in this process has its task.
        self._starting = asyncio.Lock()
        self._unreached = False
        self._pauses = 0
        self.waiting = 0
        """Songs that wait here, as last counted: the cost of a poll depends on it."""

    def wake(self) -> None:
        """Try to start songs: one was requested, a place is free, or the account works again."""
        self._woken.set()

    async def run(self) -> None:
        """Resume unfinished songs, then start waiting ones, until cancelled."""
        for song in await songs.unfinished(self._database.reader):
            self._resume(song)
        watch = self._spawn(self._each_minute(), "watch the account")
        try:
            while True:
                self._woken.clear()
                await self._retry(self._start_all)
                await self._woken.wait()
        finally:
            watch.cancel()

    async def stop(self, *, grace: float) -> None:
        """Stop all songs. Those being submitted or posted have `grace` seconds to finish that."""
        deadline = asyncio.get_running_loop().time() + grace
        while tasks := dict(self._running):
            out_of_time = asyncio.get_running_loop().time() >= deadline
            for task, song_id in tasks.items():
                if out_of_time or song_id not in self._pipeline.uninterrupted:
                    task.cancel()
            await asyncio.wait(tasks, timeout=CHECK_AGAIN)

    async def _start_all(self) -> None:
        """Start songs while there is room for them, each when the rate limit allows it.

        Songs over one of the operator's budgets wait, and are checked again whenever a song ends
        or is requested, and each minute.
        """
        self.waiting = await songs.count_waiting(self._database.reader)
        while self._may_start() and await self._budgets.next_waiting(self._database.reader):
            if self._unreached:  # pause before the choice: what waits can still be cancelled
                self._unreached = False
                self._pauses += 1
                await self._sleep(UNTIL_REACHED.pause(self._pauses))
            # Choose the song as late as possible.
            await self._provider.wait_for_submit()
            async with self._starting:
                song = await self._mark_next() if self._may_start() else None
                if song is not None:
                    task = self._run_song(song, fresh=True)
                    if self._probe_allowed:
                        self._probe_allowed = False
                        self._probes.add(task)

    def _resume(self, song: Song) -> None:
        with logs.context(song.song_id):
            log.info("resumed: it is %s", song.state)
        self._run_song(song, fresh=False)

    async def _resume_left(self) -> None:
        """Resume unfinished songs that nobody runs.

        Another process may have left them when it was stopped after this one started. If no lock
        excludes that process, it may still run them, and they would be submitted and paid twice:
        then they are left to the next start.
        """
        if not self._exclusive:
            return
        async with self._starting:
            # First, so that songs which end during the query are among them.
            known = set(self._running.values())
            for song in await songs.unfinished(self._database.reader):
                if song.song_id not in known:
                    self._pipeline.inherit(song.song_id)
                    self._resume(song)

    def _may_start(self) -> bool:
        if self._incidents.paused is not None:
            # A probe needs no room: songs whose polls are refused may take it all for 30 minutes.
            return self._probe_allowed
        return len(self._at_api) < self._provider.at_once

    async def _mark_next(self) -> Song | None:
        """Choose in fair order and mark as submitting, in one transaction."""
        async with self._database.write() as connection:
            song = await self._budgets.next_waiting(connection)
            if song is None or not await self._budgets.mark_submitting(connection, song):
                return None
            await servers.mark_started(connection, song.server_id, song.member_id, at=self._clock())
            self.waiting = await songs.count_waiting(connection)
        with logs.context(song.song_id):
            log.info("started: it is its turn to be submitted")
        return song

    def _run_song(self, song: Song, *, fresh: bool) -> asyncio.Task[None]:
        task = self._spawn(self._run_to_end(song.song_id, fresh=fresh), f"song {song.song_id}")
        self._running[task] = song.song_id
        if song.state in (State.WAITING, State.SUBMITTING, State.SUBMITTED):
            self._at_api.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._free_place(task)

    def _free_place(self, task: asyncio.Task[None] | None) -> None:
        """Make room at the API for another song."""
        self._at_api.discard(task)
        self._probes.discard(task)
        self.wake()

    async def _run_to_end(self, song_id: int, *, fresh: bool) -> None:
        """Run a song; log an unexpected error and try the step again.

        After `MOST_FAILURES` the song is given up, which is retried until it is done: the row
        decides what people read and who has the credits.
        """
        logs.set_context(song_id)
        failures = itertools.count()

        async def attempt() -> None:
            if (failed := next(failures)) >= MOST_FAILURES:
                await self._pipeline.give_up(song_id)
                return
            try:
                made = await self._pipeline.make(song_id, fresh=fresh and not failed)
            except NotReached:
                self._unreached = True
                return
            self._unreached, self._pauses = False, 0
            self._free_place(asyncio.current_task())
            if made:
                await self._pipeline.deliver(song_id)

        await self._retry(attempt)

    async def _retry(self, work: Callable[[], Awaitable[None]]) -> None:
        await retry(work, Exception, _log_retry, backoff=AFTER_AN_ERROR, sleep=self._sleep)

    async def _each_minute(self) -> None:
        """Resume songs that nobody runs; while songs are paused, check the account."""
        while True:
            await self._sleep(ACCOUNT_CHECK_EVERY)
            try:
                await self._resume_left()
                # A probe that no song was there for is not kept for the next pause.
                self._probe_allowed = (
                    self._incidents.paused is not None and await self._wants_probe()
                )
            except Exception:
                log.exception("Checking the account, and for songs that nobody runs, failed.")
            # Also if an accepted song has ended the pause meanwhile.
            self.wake()

    async def _wants_probe(self) -> bool:
        """Return whether the account looks usable and a waiting song should probe it.

        A readable balance does not prove that songs are accepted. A refused probe waits again. If
        no budget has room for a waiting song, the pause ends without a probe: it would last as long
        as they wait.
        """
        refusals = self._incidents.refusals
        if await self._is_probing():
            return False
        try:
            balance = await self._provider.get_balance()
        except SongApiError as error:
            log.warning("The account at the song API: %s", error)
            return False
        if balance <= 0 and self._incidents.paused is not Kind.KEY_REFUSED:
            return False
        if not await self._budgets.next_waiting(self._database.reader):
            await self._incidents.account_works(refusals=refusals)
            return False
        # Again: the last probe may have got its place only now, or have ended the pause.
        if await self._is_probing() or self._incidents.paused is None:
            return False
        # A probe whose answer is lost can't be cancelled any more, and waits.
        waiting = self._pipeline.waiting_for_recovery
        lost = sum(self._running[task] in waiting for task in self._probes)
        return lost < max(self._provider.at_once, LEAST_PROBES)

    async def _is_probing(self) -> bool:
        """Return whether a probe has no answer yet."""
        for song_id in {self._running[task] for task in self._probes}:
            song = await songs.get(self._database.reader, song_id)
            submitting = song is not None and song.state is State.SUBMITTING
            if submitting and song_id not in self._pipeline.waiting_for_recovery:
                return True
        return False


async def _log_retry(error: Exception, pause: float) -> None:
    """Log an error before the pause; an unexpected one with its traceback."""
    expected = isinstance(error, NOT_NOW)
    level = logging.WARNING if expected else logging.ERROR
    log.log(level, "%r, retrying in %.0f s", error, pause, exc_info=None if expected else error)
