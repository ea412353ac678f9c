"""One song's life from QUEUED to its end. Every step may be the first one after a crash.

`make` brings a song that was marked as submitting to a file on disk; `deliver` brings that file to
the channel. Both read the row, do the next thing, and write before and after it.
"""

import asyncio
import contextlib
import itertools
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from db import songs
from db.cancellation import run_to_completion
from db.connection import Connection
from db.errors import NOT_NOW, SongwrightError
from db.records import Fault, Reason, Song, State
from services.clock import WatchedClock
from services.credits.budgets import OperatorBudgets
from services.errors import (
    AccountProblem,
    ApiUnavailable,
    AudioError,
    BadOutput,
    CannotPost,
    GenerationFailed,
    KeyRefused,
    NotAudio,
    NotReached,
    NotThereYet,
    PostUncertain,
    RateLimited,
    RequestForbidden,
    RequestRejected,
    Scope,
    SilentAudio,
    SongApiError,
    SongGone,
    SubmitForbidden,
    SubmitUncertain,
    TooShort,
)
from services.operations.incidents import Incidents, Kind
from services.providers.base import JobStatus, Output, Provider, Workspace
from services.providers.submit_refusals import SubmitRefusals
from services.retry import Backoff, retry
from services.songs.completion import SongCompletion
from services.songs.poster import SOURCE, Poster
from services.songs.rows import SongRows, log_move, require

log = logging.getLogger(__name__)

MAKING_DEADLINE = timedelta(minutes=30)
LAST_DOWNLOAD = timedelta(minutes=5)
"""What a download has, however late it begins: the bot may have been away for long."""
NOT_YET = 120.0
"""Seconds for which a song that is said not to be there is requested again: queues and object
storage may say so right after a submit, and right after COMPLETED."""
FRESH_ADDRESS_AFTER = (0.0, 8.0, 30.0, NOT_YET)
"""Seconds of those after which the result is requested again, for a fresh address."""
POSTING_DEADLINE = timedelta(minutes=30)
MOST_SUBMITS = 2
BACKOFF = Backoff()


@dataclass(slots=True)
class _Absence:
    """How long a result has not been there yet, and what was done about it.

    `waited` counts, in seconds, the pauses, the downloads that found nothing, and what the API took
    to answer. So what has other deadlines is left out: the account's minute, 429s, 5xx, incidents
    and a full disk.
    """

    waited: float = 0.0
    tries: int = 0
    fresh_addresses: int = 0
    output: Output | None = None
    """Its last known address."""
    failing_since: datetime | None = None
    """When fetching it failed first."""
    failure: str = ""
    """Why fetching it failed last."""

    def answered(self, took: float) -> None:
        """Count the seconds of a call; not the first one's, since no time ran before its answer."""
        if self.tries:
            self.waited += took

    @property
    def until_fresh_address(self) -> float:
        """Seconds until the result is to be requested again."""
        later = FRESH_ADDRESS_AFTER[self.fresh_addresses :]
        return later[0] - self.waited if later else math.inf


class Pipeline:
    """Runs songs. What it knows of one is what its row says, and whether it is new here."""

    def __init__(
        self,
        rows: SongRows,
        providers: Mapping[str, Provider],
        poster: Poster,
        completion: SongCompletion,
        incidents: Incidents,
        operator_budgets: OperatorBudgets,
        *,
        clock: WatchedClock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rows = rows
        self._providers = providers
        self._poster = poster
        self._completion = completion
        self._incidents = incidents
        self._operator_budgets = operator_budgets
        self._clock = clock
        self._sleep = sleep
        self._submit_refusals = {
            name: SubmitRefusals(provider, clock=clock) for name, provider in providers.items()
        }
        self.submitting: set[int] = set()
        """Songs that are being submitted right now: a stop should wait for these."""
        self.waiting_for_recovery: set[int] = set()
        """Songs whose answer was lost, and that wait for the end of a pause."""

    def inherit(self, song_id: int) -> None:
        """Note that another process has left this song meanwhile, and may have posted it."""
        self._poster.inherit(song_id)

    # --- at the song API --------------------------------------------------------------------------

    async def make(self, song_id: int, *, fresh: bool = False) -> bool:
        """Bring a song to `downloaded` or to its end. False: it waits again instead.

        One that waits again may be locked by another task: it must not be changed any more.

        `fresh`: its submit was just marked and has its place in the minute, so that this is not the
        resumption of one whose answer was lost.

        Raises:
            NotReached: it waits again, since no connection could be made.
        """
        song = await self._rows.read(song_id)
        resumed = song.state is State.SUBMITTED
        if song.state is State.SUBMITTING:
            if not await self._submit(song, fresh=fresh):
                return False
            song = await self._rows.read(song_id)
        if song.state is State.SUBMITTED:
            # Thousands may be polled for minutes: their lyrics stay in the database meanwhile.
            song = replace(song, genres="", lyrics="")
            # An age that is a guess (see `_downloaded`) teaches nothing.
            certain = require(song.submitted_at) <= self._clock()
            with self._paced(song, learn=certain):
                await self._await_audio(song, resumed=resumed)
        return True

    async def _submit(self, song: Song, *, fresh: bool) -> bool:
        """Submit a song, twice at most. False: see `make`.

        Raises:
            NotReached: see `make`.
        """
        began, failures = self._clock(), 0
        while fresh or await self._mark_again(song, began):
            fresh = False
            song = await self._rows.read(song.song_id)
            try:
                single_call = self._provider(song).single_call
                with self._uninterrupted(song), self._paced(song, learn=single_call):
                    await self._submit_once(song)
            except NotReached as error:
                await self._transient(error)
                if await self._waits_again(song):
                    raise
                failures += 1
            except RateLimited as error:
                await self._transient(error)
                if await self._waits_again(song):
                    return False
            except (SubmitUncertain, OSError) as error:
                # OSError: made in the one call of v1, and lost on the way to a full disk.
                await self._transient(error)
                failures += 1
            except SongApiError as error:
                if await self._refused(song, await self._attributed(song, error)):
                    return True
                if await self._waits_again(song):
                    return False
            else:
                return True
            if failures:
                await self._sleep(BACKOFF.pause(failures))
            song = await self._rows.read(song.song_id)
        return True

    async def _attributed(self, song: Song, error: SongApiError) -> SongApiError:
        """Return the refusal of a submit as the account's, or as this request's alone.

        Once the key is known to be refused, songs that meet that wait, but not for ever.
        """
        if not isinstance(error, SubmitForbidden):
            return error
        refusals = self._submit_refusals[song.provider]
        if self._incidents.paused is Kind.KEY_REFUSED:
            alone = await refusals.concerns_probe(song.song_id)
        else:
            alone = await refusals.concerns_request(song.member_id)
        return RequestForbidden(f"{error} (this request alone: the key works)") if alone else error

    async def _mark_again(self, song: Song, began: datetime) -> bool:
        """Count another submit of a song whose answer was lost. False: it has failed instead."""
        if song.submits >= MOST_SUBMITS:
            await self._fail(song, Reason.ANSWER_LOST_TWICE)
            return False
        self.waiting_for_recovery.add(song.song_id)
        try:
            while self._incidents.paused and not self._overdue(began):
                await self._sleep(BACKOFF.longest)
        finally:
            self.waiting_for_recovery.discard(song.song_id)
        if self._overdue(began):
            refused = self._incidents.paused
            await self._fail(song, Reason.ACCOUNT_REFUSED if refused else Reason.NOT_IN_TIME)
            return False
        await self._provider(song).wait_for_submit()
        if not await self._count(song, self._operator_budgets.mark_submitting):
            await self._fail(song, Reason.BUDGET_SPENT, Fault.ACCOUNT)
            return False
        return True

    async def _waits_again(self, song: Song) -> bool:
        """Let a song wait again whose submit was certainly not accepted, or cancel it if unwanted.

        It must not be changed afterwards: another task may start it. False: an earlier answer was
        lost, so that it may be at the API, and can't wait with those that may be cancelled.
        """
        cancelled = False

        async def unmark_submitting(connection: Connection, song: Song) -> bool:
            nonlocal cancelled
            uncounted = await self._operator_budgets.unmark_submitting(connection, song)
            cancelled = uncounted and await self._completion.cancel_unwanted(connection, song)
            return uncounted

        uncounted = await self._count(song, unmark_submitting)
        if cancelled:
            log.info("CANCELLED and refunded: its member is blocked, or its server was left")
            self._poster.close(song)
        return uncounted and song.submits == 1

    def _paced(self, song: Song, *, learn: bool) -> AbstractContextManager[object]:
        """Count the song's calls while the block runs; `learn` how long such songs take."""
        pacer = self._provider(song).pacer
        follow = pacer.running if learn else pacer.submitting
        return follow(song.song_id, seconds=song.seconds, steps=song.steps)

    async def _submit_once(self, song: Song) -> None:
        if self._provider(song).single_call:
            await self._make_at_once(song)
            return
        refusals = self._incidents.refusals
        request_id = await self._provider(song).submit(song)
        await self._rows.move(song, songs.mark_submitted, request_id=request_id, at=self._clock())
        self._submit_refusals[song.provider].accepted()
        await self._incidents.account_works(refusals=refusals)

    async def _make_at_once(self, song: Song) -> None:
        """Make it in one call, which lasts as long as the song takes. A kill is a lost answer.

        Raises:
            SubmitUncertain: it may be made and paid for, but is lost.
            SongApiError, OSError: see `Provider.make`, `Provider.download`.
        """
        await self._rows.move(song, songs.mark_processing)
        began, refusals = self._clock(), self._incidents.refusals
        workspace, output = await self._with_folder(song), None
        try:
            async with asyncio.timeout(MAKING_DEADLINE.total_seconds()):
                output = await self._provider(song).make(song, workspace)
                if output is not None:
                    # There is no result to request again, for a fresh address.
                    absence = _Absence(fresh_addresses=len(FRESH_ADDRESS_AFTER))
                    await self._fetch(replace(song, submitted_at=began), output, absence)
        except TimeoutError:
            raise SubmitUncertain("the complete song did not come within 30 minutes") from None
        except ApiUnavailable as error:
            if output is None:
                raise
            await self._incidents.result_lost(song.song_id, str(error))
            raise SubmitUncertain(f"made, but {error}") from error
        took = self._age(began)
        self._provider(song).pacer.ended(song.song_id, low=took, high=took)
        await self._downloaded(song, began, low=took, high=took)
        self._submit_refusals[song.provider].accepted()
        await self._incidents.account_works(refusals=refusals)

    async def _await_audio(self, song: Song, *, resumed: bool) -> None:
        """Poll at the paced times until the song is done, then fetch it.

        `resumed`: the API had it before this process. What it says has failed was never made then,
        and no post is searched for: thousands at once would wait for Discord's limits.
        """
        submitted_at = require(song.submitted_at)
        low, failures, polled_at = 0.0, 0, self._age(submitted_at)
        why_not, absence = Reason.NOT_IN_TIME, _Absence()
        while True:
            # One that is overdue already (the bot was away for long) is polled once, now.
            if not self._overdue(submitted_at):
                await self._sleep(self._until_next_poll(song, polled_at, failures))
            polled_at = self._age(submitted_at)
            try:
                job = await self._poll(song, absence, resumed=resumed)
                high = self._age(submitted_at)
                if job.status == "COMPLETED":
                    self._provider(song).pacer.ended(song.song_id, low=low, high=high)
                    await self._fetch(song, job.output, absence)
                    await self._downloaded(song, submitted_at, low=low, high=high)
                    return
            except (ApiUnavailable, RateLimited, OSError) as error:
                failures += 1
                await self._transient(error)
            except SongApiError as error:
                if await self._refused(song, error, resumed=resumed):
                    return
                failures, why_not = failures + 1, error.reason
            else:
                failures, low, why_not, absence = 0, polled_at, Reason.NOT_IN_TIME, _Absence()
                self._provider(song).pacer.unfinished(song.song_id, age=low)
                if job.status == "PROCESSING" and not song.processing:
                    await self._rows.move(song, songs.mark_processing)
                    song = replace(song, processing=True)
            if self._overdue(submitted_at):
                await self._note_failing(song, absence, overdue=True)
                await self._fail(song, why_not)
                return

    async def _poll(self, song: Song, absence: _Absence, *, resumed: bool) -> JobStatus:
        """Get its status, repeatedly if the API does not know it yet: it was just submitted.

        Raises:
            SongApiError: see `Provider.get_status`. If it was `resumed`, a 404 is final.
        """
        provider = self._provider(song)
        request_id, workspace = require(song.request_id), self._workspace(song)
        while True:
            try:
                job = await provider.get_status(request_id, workspace, absence.answered)
            except SongGone as error:
                if resumed:
                    raise
                await self._wait_until_there(absence, error)
            else:
                await self._incidents.api_answered()
                return job

    async def _fetch(self, song: Song, output: Output | None, absence: _Absence) -> None:
        """Fetch the audio of a song that is COMPLETED, repeatedly if it is not there yet.

        Raises:
            SongApiError, OSError: see `Provider.result`, `Provider.download`.
            ApiUnavailable: also where its time is up.
        """
        output = output or absence.output
        provider = self._provider(song)
        workspace = await self._with_folder(song)
        while True:
            try:
                if output is None:
                    request_id = require(song.request_id)
                    output = await provider.result(request_id, workspace, absence.answered)
                await self._download(song, output, workspace, absence)
            except ApiUnavailable as error:
                absence.failing_since = absence.failing_since or self._clock()
                absence.failure = str(error)
                await self._note_failing(song, absence)
                raise
            except NotThereYet as error:
                absence.output = output or absence.output
                least = 0.0 if absence.output else absence.until_fresh_address
                overdue = self._overdue(require(song.submitted_at))
                await self._wait_until_there(absence, error, least=least, overdue=overdue)
                output = absence.output
                if absence.until_fresh_address <= 0:
                    absence.fresh_addresses += 1
                    output = None
            else:
                return

    async def _note_failing(self, song: Song, absence: _Absence, *, overdue: bool = False) -> None:
        """Notify the operator of a storage that can't be reached, long before the deadline."""
        since = absence.failing_since
        if since is not None and (overdue or self._age(since) >= NOT_YET):
            await self._incidents.result_lost(song.song_id, absence.failure)

    async def _wait_until_there(
        self, absence: _Absence, error: NotThereYet, *, least: float = 0.0, overdue: bool = False
    ) -> None:
        """Pause until it is requested again.

        Raises:
            NotThereYet: `error`, where its time is over.
        """
        left = NOT_YET - absence.waited
        if overdue or left <= 0:
            raise error
        log.warning("not there yet: %s", error)
        absence.tries += 1
        pause = max(least, BACKOFF.pause(absence.tries))
        await self._sleep(min(pause, left))
        absence.waited = min(absence.waited + pause, NOT_YET)

    async def _download(
        self, song: Song, output: Output, workspace: Workspace, absence: _Absence
    ) -> None:
        """Fetch audio in the time that the song has left: a storage may send a byte now and then.

        Raises:
            SongApiError, OSError: see `Provider.download`.
            ApiUnavailable: also where it takes longer.
        """
        began = self._clock()
        left = MAKING_DEADLINE.total_seconds() - self._age(require(song.submitted_at))
        try:
            async with asyncio.timeout(max(left, LAST_DOWNLOAD.total_seconds())):
                await self._provider(song).download(output, workspace)
        except NotThereYet:
            absence.waited += self._age(began)
            raise
        except TimeoutError:
            raise ApiUnavailable("the download did not end in time") from None

    def _until_next_poll(self, song: Song, polled_at: float, failures: int) -> float:
        """Return the seconds to wait from now: as paced, and longer after failures."""
        at = self._provider(song).pacer.next_poll(
            seconds=song.seconds,
            steps=song.steps,
            age=polled_at,
            processing=song.processing,
            song_id=song.song_id,
        )
        pause = BACKOFF.pause(failures) if failures else 0.0
        return max(pause, at - self._age(require(song.submitted_at)), 0.0)

    async def _downloaded(
        self, song: Song, submitted_at: datetime, *, low: float, high: float
    ) -> None:
        """Note that its audio is here. It ended between the ages `low` and `high`, in seconds."""
        await self._incidents.api_answered()
        run_low, run_high = round(low * 1000), round(high * 1000)
        # How old a song is that was submitted at a time still to come is a guess, after the clock
        # was set back: nothing is learnt from it.
        possible = run_low <= run_high and run_high > 0 and submitted_at <= self._clock()
        await self._rows.move(
            song,
            songs.mark_downloaded,
            submitted_at=submitted_at,
            at=self._clock(),
            run_low=run_low if possible else None,
            run_high=run_high if possible else None,
        )

    async def _transient(self, error: Exception) -> None:
        """Log a transient error, and count it for incidents."""
        await self._rows.warn(error)
        if isinstance(error, ApiUnavailable | SubmitUncertain):
            await self._incidents.api_silent(str(error))

    async def _refused(self, song: Song, error: SongApiError, *, resumed: bool = False) -> bool:
        """Handle a permanent refusal by the API; return whether it was the song's end.

        `resumed`: see `_await_audio`. What the API has forgotten by then is no lost result.

        Of an account's refusal, the first song to meet it fails. The others are not over: what was
        being submitted was not accepted, and what is being made may still be fetched.
        """
        await self._incidents.api_answered()
        if isinstance(error, AccountProblem):
            kind = Kind.KEY_REFUSED if isinstance(error, KeyRefused) else Kind.OUT_OF_CREDITS
            if not await self._incidents.begin(kind, str(error)):
                log.warning("%s", error)
                return False
        ours = not isinstance(error, GenerationFailed)
        log.log(logging.ERROR if ours else logging.INFO, "%s", error)
        if song.state is State.SUBMITTING and _was_not_accepted(error):
            counted_at = require(song.counted_at)
            await self._rows.transact(
                lambda connection: self._operator_budgets.uncount(connection, song, counted_at)
            )
        never_made = resumed and isinstance(error, GenerationFailed)
        fail = self._failed if never_made else self._fail
        detail = error.detail if isinstance(error, GenerationFailed) else None
        await fail(song, error.reason, _fault_of(error), detail)
        forgotten = resumed and isinstance(error, SongGone)
        if isinstance(error, NotThereYet | BadOutput) and not forgotten:
            await self._incidents.result_lost(song.song_id, str(error))
        return True

    # --- to the channel ---------------------------------------------------------------------------

    async def deliver(self, song_id: int) -> None:
        """Bring a downloaded song to its end: posted, undelivered or failed.

        An undelivered one is `services/songs/delivery.py`'s from then on.
        """
        if (await self._rows.read(song_id)).ended:
            return
        # Not from the row's mark: a bot that was away for long has not tried for so long.
        began, trust_row = self._clock(), False
        for failures in itertools.count(1):
            try:
                await self._poster.post(song_id, trust_row=trust_row)
                return
            except CannotPost:
                return
            except PostUncertain as error:
                log.warning("%s", error)
                if self._clock.elapsed_since(began) >= POSTING_DEADLINE:
                    song = await self._rows.read(song_id)
                    if song.state is State.POSTING:
                        late = CannotPost(Reason.NO_ANSWER, scope=Scope.EVERYBODY)
                        await self._poster.give_up(song, late)
                        return
                    # A disk that lies is rare, and the nonce guards the post for a while.
                    began, trust_row = self._clock(), True
            except (FileNotFoundError, AudioError) as error:
                await self._unplayable(song_id, error)
                return
            except OSError as error:
                await self._rows.warn(error)
                song = await self._rows.read(song_id)
                if self._overdue(require(song.submitted_at)):
                    await self._fail(song, Reason.NO_ROOM, Fault.MACHINE)
                    return
            await self._sleep(BACKOFF.pause(failures))

    async def _unplayable(self, song_id: int, error: FileNotFoundError | AudioError) -> None:
        """Fail a song whose audio is lost or can't be posted."""
        log.warning("%s", error)
        song = await self._rows.read(song_id)
        if isinstance(error, FileNotFoundError):
            await self._fail(song, Reason.AUDIO_LOST, Fault.MACHINE)
            return
        await self._fail(song, error.reason, _fault_of(error), error.detail)
        if isinstance(error, NotAudio):
            await self._incidents.result_lost(song_id, str(error))
        else:
            await self._incidents.result_played()

    async def give_up(self, song_id: int) -> None:
        """End a song that failed too often with errors that nobody foresaw."""
        song = await self._rows.read(song_id)
        reason = Reason.DEFECT
        if song.state is State.POSTING:
            await self._poster.give_up(song, CannotPost(reason, scope=Scope.EVERYBODY))
        elif not song.ended:
            # Without a search for a post: that may be what fails.
            await self._failed(song, reason, Fault.MACHINE)

    # --- how --------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _uninterrupted(self, song: Song) -> Iterator[None]:
        """Keep a stop from cutting off the block: its outcome would have to be found out later."""
        self.submitting.add(song.song_id)
        try:
            yield
        finally:
            self.submitting.discard(song.song_id)

    @property
    def uninterrupted(self) -> set[int]:
        """Songs that are being submitted or sent right now: a stop should wait for these."""
        return self.submitting | self._poster.sending

    def _age(self, moment: datetime) -> float:
        """Return the seconds since then."""
        return self._clock.elapsed_since(moment).total_seconds()

    def _overdue(self, submitted_at: datetime) -> bool:
        """Return whether its time at the API is over."""
        return self._clock.elapsed_since(submitted_at) >= MAKING_DEADLINE

    def _provider(self, song: Song) -> Provider:
        return self._providers[song.provider]

    async def _count(self, song: Song, move: Callable[[Connection, Song], Awaitable[bool]]) -> bool:
        """Move a song with an update that also counts its submit, or uncounts it."""
        moved = await self._rows.transact(lambda connection: move(connection, song))
        log_move(move.__name__, moved=moved)
        if moved:
            self._rows.changed(song.song_id)
        return moved

    def _workspace(self, song: Song) -> Workspace:
        """Return where its audio goes, and how large it may be."""
        return Workspace(
            self._poster.folder(song.song_id) / SOURCE,
            self._provider(song).largest_file(song.seconds),
            lambda: self._reading_large(song),
        )

    @contextlib.asynccontextmanager
    async def _reading_large(self, song: Song) -> AsyncIterator[None]:
        """Count the reading of its large answer as long as it lasts: a death leaves it counted.

        Raises:
            BadOutput: the process has died three times meanwhile.
        """
        if not await self._rows.transact(
            lambda connection: songs.begin_large_read(connection, song.song_id)
        ):
            raise BadOutput("reading the answer has ended the process three times")
        try:
            yield
        finally:
            await run_to_completion(self._end_large_read(song))

    async def _end_large_read(self, song: Song) -> None:
        try:
            async with self._rows.database.write() as connection:
                if not await songs.end_large_read(connection, song.song_id):
                    log.warning("its large answer was read, and nobody had counted that")
        except NOT_NOW as error:
            log.warning("the reading of its large answer stays counted: %s", error)

    async def _with_folder(self, song: Song) -> Workspace:
        """Return its workspace, and make its folder."""
        workspace = self._workspace(song)
        await asyncio.to_thread(workspace.file.parent.mkdir, parents=True, exist_ok=True)
        return workspace

    async def _fail(
        self,
        song: Song,
        reason: Reason,
        fault: Fault = Fault.SERVICE,
        detail: str | None = None,
    ) -> None:
        """Fail a song that was not made, unless it was posted before.

        That can be if another process has left it: a commit is on the disk before anything is sent,
        unless the disk lied and the power was cut. If that can't be found out for 30 minutes, it
        counts as not posted.
        """
        began = self._clock()

        async def on_error(error: Exception, _: float) -> None:
            log.info("whether it was posted before is not known yet: %s", error)
            if self._clock.elapsed_since(began) >= POSTING_DEADLINE:
                raise error

        with contextlib.suppress(PostUncertain):
            if await retry(
                lambda: self._poster.was_posted(song.song_id),
                *(PostUncertain, on_error),
                sleep=self._sleep,
            ):
                return
        await self._failed(song, reason, fault, detail)

    async def _failed(
        self, song: Song, reason: Reason, fault: Fault, detail: str | None = None
    ) -> None:
        if await self._rows.until_written(
            lambda: self._completion.fail(song, reason, detail or None, fault=fault)
        ):
            self._poster.close(song)


def _was_not_accepted(error: SongApiError) -> bool:
    """Return whether a submit that was answered so was certainly not accepted."""
    if isinstance(error, GenerationFailed):
        return not error.accepted
    return isinstance(error, AccountProblem | RequestRejected)


def _fault_of(error: SongwrightError) -> Fault:
    """Return who caused it: a member may cause only so many failures an hour."""
    match error:
        case GenerationFailed(by_request=True) | RequestForbidden() | TooShort() | SilentAudio():
            return Fault.REQUEST
        case AccountProblem():
            return Fault.ACCOUNT
        case _:
            return Fault.SERVICE
