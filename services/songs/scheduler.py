"""Who calls the worker, and when: inside this process."""

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
"""Seconds between looks at an account that was refused, and at songs that nobody runs."""
LEAST_PROBES = 2
"""Trials that may lose their answers in one pause; more where more have room at the API."""
MOST_FAILURES = 6
"""Errors in a row, of a kind nobody foresaw, after which a song is given up."""

AFTER_AN_ERROR = Backoff(first=5.0, longest=300.0)
UNTIL_REACHED = Backoff(first=2.0, longest=30.0)
CHECK_AGAIN = 0.05
"""Seconds between looks, at a stop, at what still has to come through."""

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


def spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """A named task of the running loop."""
    return asyncio.create_task(work, name=name)


class Scheduler:
    """Starts waiting songs in fair order, as long as the provider has room for them, and resumes
    the others: at the start, and, where it is `alone`, each minute what another process
    has left meanwhile.
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
        alone: bool,
        spawn: Spawn = spawn,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        backoff: Backoff = AFTER_AN_ERROR,
    ) -> None:
        self._database = database
        self._pipeline = pipeline
        self._provider = provider
        self._incidents = incidents
        self._budgets = budgets
        self._clock = clock
        self._exclusive = alone
        self._spawn = spawn
        self._sleep = sleep
        self._backoff = backoff
        self._woken = asyncio.Event()
        # By task, not by song: one that went back to waiting may be started again at once.
        self._running: dict[asyncio.Task[None], int] = {}
        self._at_api: set[asyncio.Task[None]] = set()
        # A waiting song is to be the trial; those that were, as long as they are at the API.
        self._probe_allowed = False
        self._probes: set[asyncio.Task[None]] = set()
        # While it is held, each song that has begun in this process has its task.
        self._beginning = asyncio.Lock()
        self._unreached = False
        self._pauses = 0
        self.waiting = 0
        """Songs that wait here, as last counted: the price of a look depends on it."""

    def wake(self) -> None:
        """Something may be startable: a song was requested, a place is free, the account works."""
        self._woken.set()

    async def run(self) -> None:
        """Resume what is unfinished, then start what waits, until cancelled."""
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
        """Stop carrying. What is being submitted or posted has `grace` seconds to come through."""
        deadline = asyncio.get_running_loop().time() + grace
        while tasks := dict(self._running):
            out_of_time = asyncio.get_running_loop().time() >= deadline
            for task, song_id in tasks.items():
                if out_of_time or song_id not in self._pipeline.uninterrupted:
                    task.cancel()
            await asyncio.wait(tasks, timeout=CHECK_AGAIN)

    async def _start_all(self) -> None:
        """Start songs while there is room for them, each with its place in the minute.

        Those that the operator's budgets leave no room for wait; they are looked at again with
        each that ends or is requested, and each minute.
        """
        self.waiting = await songs.count_waiting(self._database.reader)
        while self._may_start() and await self._budgets.next_waiting(self._database.reader):
            await self._pause_unreached()
            # First the place, then the choice: who is next is decided as late as possible.
            await self._provider.wait_for_submit()
            async with self._beginning:
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
        """Take up unfinished songs that nobody runs.

        A process that was stopped after this one had started may have left them: their rows are all
        that this one knows of them. Where no lock keeps that process out it may still run them, and
        they would be submitted and paid twice: then they are left to the next start.
        """
        if not self._exclusive:
            return
        async with self._beginning:
            # First, so that what ends during the query is none of them.
            known = set(self._running.values())
            for song_id in sorted(await songs.running(self._database.reader) - known):
                song = await songs.get(self._database.reader, song_id)
                if song is not None:
                    self._pipeline.inherit(song_id)
                    self._resume(song)

    async def _pause_unreached(self) -> None:
        """Pause where the last start found no connection; what waits may be cancelled meanwhile."""
        if self._unreached:
            self._unreached = False
            self._pauses += 1
            await self._sleep(UNTIL_REACHED.pause(self._pauses))

    def _may_start(self) -> bool:
        if self._incidents.paused is not None:
            # A trial needs no room: songs whose looks are refused may hold it all for 30 minutes.
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
        name = f"song {song.song_id}"
        task = self._spawn(self._to_its_end(song.song_id, fresh=fresh), name)
        self._running[task] = song.song_id
        if song.state in (State.WAITING, State.SUBMITTING, State.SUBMITTED):
            self._at_api.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._free_place(task)

    def _free_place(self, task: asyncio.Task[None] | None) -> None:
        """It is no longer at the API: another may be."""
        self._at_api.discard(task)
        self._probes.discard(task)
        self.wake()

    async def _to_its_end(self, song_id: int, *, fresh: bool) -> None:
        """Carry a song; an error that nobody foresaw is logged and the step tried again.

        After too many of them it is given up, and that is tried until it is done: the row says
        what people read and who has the credits.
        """
        logs.set_context(song_id)
        failures = itertools.count()

        async def attempt() -> None:
            if (failed := next(failures)) >= MOST_FAILURES:
                await self._pipeline.give_up(song_id)
            else:
                await self._step_by_step(song_id, fresh=fresh and not failed)

        await self._retry(attempt)

    async def _retry(self, work: Callable[[], Awaitable[None]]) -> None:
        await retry(work, Exception, _log_retry, backoff=self._backoff, sleep=self._sleep)

    async def _step_by_step(self, song_id: int, *, fresh: bool) -> None:
        try:
            made = await self._pipeline.make(song_id, fresh=fresh)
        except NotReached:
            self._unreached = True
            return
        self._unreached, self._pauses = False, 0
        self._free_place(asyncio.current_task())
        if made:
            await self._pipeline.deliver(song_id)

    async def _each_minute(self) -> None:
        """Take up songs that nobody runs; while songs are paused, look at the account.

        Songs go on when it works.
        """
        while True:
            await self._sleep(ACCOUNT_CHECK_EVERY)
            try:
                await self._resume_left()
                # One that no song came to use is none of the next pause's.
                self._probe_allowed = (
                    self._incidents.paused is not None and await self._wants_probe()
                )
            except Exception:
                log.exception("looking at the account, and at songs that nobody runs")
            # Also where an accepted song has ended the pause meanwhile.
            self.wake()

    async def _wants_probe(self) -> bool:
        """Whether the account looks well and a song could start, to be the trial.

        That the balance can be read does not say that songs are accepted. A trial that is refused
        goes back to waiting. Songs that no budget leaves room for try nothing: the pause would
        last as long as they wait.
        """
        refusals = self._incidents.refusals
        if await self._is_probing() or not await self._account_looks_well():
            return False
        if not await self._budgets.next_waiting(self._database.reader):
            await self._incidents.account_works(refusals=refusals)
            return False
        # Again: the one of a minute ago may have had its place only now, or have ended the pause.
        probing = await self._is_probing()
        return not probing and self._incidents.paused is not None and self._may_lose_another()

    async def _is_probing(self) -> bool:
        """Whether a trial has no answer yet."""
        for song_id in {self._running[task] for task in self._probes}:
            song = await songs.get(self._database.reader, song_id)
            submitting = song is not None and song.state is State.SUBMITTING
            if submitting and song_id not in self._pipeline.waiting_for_recovery:
                return True
        return False

    def _may_lose_another(self) -> bool:
        """Whether one more trial may lose its answer: it can't be cancelled then, and waits."""
        lost = sum(
            self._running[task] in self._pipeline.waiting_for_recovery for task in self._probes
        )
        return lost < max(self._provider.at_once, LEAST_PROBES)

    async def _account_looks_well(self) -> bool:
        try:
            balance = await self._provider.get_balance()
            return balance > 0 or self._incidents.paused is Kind.KEY_REFUSED
        except SongApiError as error:
            log.warning("The account at the song API: %s", error)
            return False


async def _log_retry(error: Exception, pause: float) -> None:
    """Log an error before the pause; one that nobody foresaw with its traceback."""
    unforeseen = None if isinstance(error, NOT_NOW) else error
    log.log(
        logging.WARNING if unforeseen is None else logging.ERROR,
        *("%r, retrying in %.0f s", error, pause),
        exc_info=unforeseen,
    )
