"""Songs that could not be posted: given to their members, posted late, or their price given back.

Whatever becomes of such a song is decided alone with it, one thing after the other: a member who
takes it while it is being posted waits for that, and its price is not given back meanwhile. The row
decides across a kill: it is marked before it is sent (`in_doubt`), and while that stands, it is
looked for before it is sent again or given back. So is, until a look succeeds, each that another
process has left: a disk that lies may have lost its mark. What only its member sees can't be looked
for: a kill between their having it and the row's saying so is their gain.
"""

import asyncio
import contextlib
import logging
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

from db import songs
from db.database import Database
from db.errors import NOT_NOW, DiskFullError
from db.records import Song, State
from services import logs
from services.audio.transcoder import Transcoder
from services.clock import WatchedClock
from services.errors import (
    AudioError,
    CannotPost,
    DeliveryError,
    Scope,
    TooLargeToPost,
)
from services.operations.incidents import Incidents, Kind
from services.retry import Backoff, retry
from services.songs.completion import SongCompletion
from services.songs.pipeline import DEFAULT_UPLOAD_LIMIT, SOURCE, transcode_song
from services.songs.refusals import AudioUnusable, NotYourSong, SongFileLost

log = logging.getLogger(__name__)

KEPT = timedelta(hours=24)
"""How long a song that could not be posted is kept for its member; then its price goes back."""
EVERY = 60.0
"""Seconds from one round to the next, for what no event tells."""
SETTLE = 1.0
"""Seconds after an event: permissions are changed in several steps, each of which tells."""
SOONEST = 60.0
"""Seconds between two tries of one song, whatever has changed meanwhile."""
AFTER_A_REFUSAL = Backoff(first=300.0, longest=6 * 3600.0)
"""Refused although nothing that the bot knows of speaks against it. Too many refusals in ten
minutes shut a bot out (Discord, "Invalid Request Limit")."""


class Channels(Protocol):
    """The channels that songs go to, as far as they are known."""

    def changed(self, song_id: int) -> None:
        """The song's row has changed."""
        ...

    def upload_limit(self, song: Song) -> int:
        """The largest file, in bytes, that may be posted in the song's server."""
        ...

    async def can_post(self, song: Song) -> bool:
        """Whether nothing that is known speaks against posting the song and looking for it.

        Raises:
            CannotPost, PostUncertain: Discord had to be asked, and said no, or nothing.
        """
        ...

    async def find_post(self, song: Song) -> int | None:
        """See `services.songs.pipeline.Announcer`."""
        ...

    async def post(self, song: Song, file: Path) -> int:
        """See `services.songs.pipeline.Announcer`."""
        ...


Send = Callable[[Song, Path], Awaitable[None]]
"""Gives the file to the song's member.

Raises:
    TooLargeToPost: Discord takes no file of that size.
    DeliveryError: it has not reached them, for all that is known.
"""


@dataclass(slots=True)
class _Tries:
    """How often sending a song failed, and when last (seconds, monotonic)."""

    count: int
    last: float


class Delivery:
    """Sees to every song that could not be posted, until it is delivered or given back."""

    def __init__(
        self,
        database: Database,
        completion: SongCompletion,
        transcoder: Transcoder,
        incidents: Incidents,
        channels: Channels,
        *,
        data_dir: Path,
        clock: WatchedClock,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._completion = completion
        self._transcoder = transcoder
        self._incidents = incidents
        self._channels = channels
        self._data_dir = data_dir
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._told: dict[str | None, int] = {}
        """How many songs wait for each reason, as the log was last told."""
        self._tries: dict[int, _Tries] = {}
        # Songs that another process may have posted although their rows do not say so.
        self._inherited: set[int] = set()
        self._changed_at: dict[int, float] = {}
        """When something changed in a server that may let songs be posted there."""
        self._opened_at: dict[int, float] = {}
        """When a channel with such songs was opened to the bot."""
        self._woken = asyncio.Event()
        self._locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def load(self) -> None:
        """Read which songs another process has left, before there are any of this one."""
        waiting = await songs.undelivered(self._database.reader)
        self._inherited = {song.song_id for song in waiting}

    # --- to its member ----------------------------------------------------------------------------

    async def give(
        self, song: Song, member_id: int, *, limit: int, send: Send, in_status: bool = False
    ) -> bool:
        """Give a song that could not be posted to its member, in an answer of `limit` bytes.

        It counts as delivered once `send` has come back; before, nothing has changed. False: there
        is nothing to give (any more), and its row says why. `in_status`: `send` puts it into its
        status message, which is not edited any more then.

        Raises:
            NotYourSong: it is somebody else's.
            AudioUnusable: its file can't be made to fit.
            SongFileLost: its price has been refunded.
            DeliveryError: what `send` raised. The song is kept.
        """
        if song.member_id != member_id:
            raise NotYourSong
        async with self._exclusive(song.song_id):
            kept = await self._kept(song.song_id)
            if kept is None or await self._is_known_to_be_there(kept):
                return False
            try:
                await self._send(kept, limit, send)
            except FileNotFoundError:
                await self._compensate(kept)
                raise SongFileLost from None
            except AudioError as error:
                raise AudioUnusable(str(error)) from error
            given = await self._write_down(kept, in_status=in_status)
            if given:
                self._over(kept)
            return given

    async def _write_down(self, song: Song, *, in_status: bool) -> bool:
        """Its member has it: that can't be undone, so the row's saying so waits for a full disk."""

        async def on_error(error: Exception, pause: float) -> None:
            log.warning("the handover can't be saved, retrying in %.0f s: %s", pause, error)
            if isinstance(error, DiskFullError):
                await self._incidents.begin(Kind.DISK_NEARLY_FULL, str(error))

        return await retry(
            lambda: self._completion.hand_over(song, in_status=in_status),
            *(NOT_NOW, on_error),
            sleep=self._sleep,
        )

    async def _send(self, song: Song, limit: int, send: Send) -> None:
        """Transcode again if it is too large: for the stated limit, then for the smallest."""
        if self._size(song) > limit:
            song = await self._fit(song, limit)
        try:
            await send(song, self._file(song))
        except TooLargeToPost:
            if self._size(song) <= DEFAULT_UPLOAD_LIMIT:
                raise
            song = await self._fit(song, DEFAULT_UPLOAD_LIMIT)
            await send(song, self._file(song))

    # --- to its channel ---------------------------------------------------------------------------

    def wake(self, server_id: int, *, channel_id: int | None = None) -> None:
        """Something has changed there: songs may be posted again, perhaps.

        `channel_id`: that channel is open to the bot now, which needs no second thought.
        """
        now = self._monotonic()
        self._changed_at[server_id] = now
        if channel_id is not None:
            self._opened_at[channel_id] = now
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
        """One round: give back what is overdue, post what can be posted.

        One song after the other, and none whose channel or server has just refused one, unless that
        was about the one alone. An error that nobody foresaw is logged, and the song is tried again
        in a later round.
        """
        try:
            waiting = await songs.undelivered(self._database.reader)
        except Exception:
            log.exception("looking for songs to deliver")
            return
        self._forget_all_but(waiting)
        self._tell(waiting)
        refusing: set[tuple[Scope, int]] = set()
        for song in waiting:
            if not self._is_locked(song.song_id):
                where = _where(song)
                with logs.context(song.song_id):
                    refused = not refusing.isdisjoint(where.items())
                    scope = await self._see_to(song, refused=refused)
                if scope in where:
                    refusing.add((scope, where[scope]))

    async def _see_to(self, song: Song, *, refused: bool) -> Scope | None:
        """What this round can do for a song; if it was refused, how far the reason reaches.

        `refused`: one before it was in this round, for a reason that reaches to this one.
        """
        try:
            if self._overdue(song):
                await self._give_back(song.song_id)
                return None
            await self._keep_one_file(song.song_id)
            if not refused and self._due(song):
                return await self._try_again(song.song_id)
        except DeliveryError as error:
            self._tried(song.song_id)
            log.warning("it still can't be posted: %s", error)
            return error.scope if isinstance(error, CannotPost) else Scope.CHANNEL
        except AudioError as error:
            self._tried(song.song_id)
            log.warning("it can't be made fit for the channel: %s", error)
        except (OSError, *NOT_NOW) as error:
            # This machine is at fault, not Discord: the next round may do better.
            log.warning("it waits: %s", error)
        except Exception:
            self._tried(song.song_id)
            log.exception("delivering it late")
        return None

    def _tell(self, waiting: list[Song]) -> None:
        """The log, where it is not as it was: the operator sees how many there are, and why."""
        count = dict(Counter(song.reason for song in waiting))
        if count == self._told:
            return
        self._told = count
        if not count:
            log.info("no song waits to be delivered any more")
            return
        why = "; ".join(f"{songs:,}: {reason}" for reason, songs in count.items())
        log.warning("songs that could not be posted wait to be delivered: %s", why)

    def _is_locked(self, song_id: int) -> bool:
        """Whether its member takes it right now, which may take long: the others do not wait."""
        lock = self._locks.get(song_id)
        return lock is not None and lock.locked()

    def _overdue(self, song: Song) -> bool:
        return song.ended_at is not None and self._clock.elapsed_since(song.ended_at) > KEPT

    def _due(self, song: Song) -> bool:
        """Whether it may be sent again: soon after a change, else with growing delays."""
        tries = self._tries.get(song.song_id)
        if tries is None or self._opened_at.get(song.channel_id, tries.last) > tries.last:
            return True
        changed = self._changed_at.get(song.server_id, tries.last) > tries.last
        pause = SOONEST if changed else AFTER_A_REFUSAL.pause(tries.count)
        return self._monotonic() - tries.last >= pause

    def _tried(self, song_id: int) -> None:
        tries = self._tries.setdefault(song_id, _Tries(0, 0.0))
        tries.count += 1
        tries.last = self._monotonic()

    def _forget_all_but(self, waiting: list[Song]) -> None:
        """What was noted of songs and servers that have nothing to deliver any more."""
        song_ids = {song.song_id for song in waiting}
        servers = {song.server_id for song in waiting}
        self._inherited &= song_ids
        self._tries = {key: tries for key, tries in self._tries.items() if key in song_ids}
        self._changed_at = {key: at for key, at in self._changed_at.items() if key in servers}
        channels = {song.channel_id for song in waiting}
        self._opened_at = {key: at for key, at in self._opened_at.items() if key in channels}

    async def _try_again(self, song_id: int) -> Scope | None:
        """Post it. Where something that is known speaks against it nothing is done: see `_see_to`.

        Raises:
            CannotPost, PostUncertain: it has to wait.
        """
        async with self._exclusive(song_id):
            song = await self._kept(song_id)
            if song is None:
                return None
            try:
                if not await self._channels.can_post(song):
                    return Scope.CHANNEL
                await self._post_unless_there(song)
            except CannotPost as error:
                await self._refused(song, error)
                raise
            return None

    async def _post_unless_there(self, song: Song) -> None:
        """Alone with it.

        Raises:
            CannotPost, PostUncertain: it has to wait.
        """
        try:
            if await self._is_there(song):
                return
            if song.in_doubt:
                await self._not_posted(song)
        except CannotPost as error:
            if song.in_doubt or not self._file(song).exists():
                raise
            log.info("it is not known whether it was posted before: %s", error)
        await self._post(song, self._channels.upload_limit(song))

    async def _refused(self, song: Song, error: CannotPost) -> None:
        """The reason may be another one than before: its member reads the latest."""
        async with self._database.write() as connection:
            changed = await songs.set_reason(
                connection, song.song_id, reason=str(error), at=self._clock()
            )
        if changed:
            self._channels.changed(song.song_id)
        if error.scope is Scope.EVERYBODY:
            await self._incidents.begin(Kind.UNDELIVERED, f"song {song.song_id}: {error}")

    async def _post(self, song: Song, limit: int) -> None:
        """Send it, marked before, in `limit` bytes. Alone with it, and it was looked for.

        Raises:
            AudioError, OSError: see `Transcoder.transcode`. Nothing was sent.
            CannotPost: Discord has not taken it.
            PostUncertain: it may be there.
        """
        try:
            if self._size(song) > limit:
                song = await self._fit(song, limit)
            if not await self._mark(song):
                return
            post_id = await self._channels.post(song, self._file(song))
        except FileNotFoundError:
            log.exception("its file is lost")
            await self._compensate(song)
        except TooLargeToPost:
            await self._not_posted(song)
            raise CannotPost("Discord refused the file's size.", scope=Scope.MESSAGE) from None
        except CannotPost:
            await self._not_posted(song)
            raise
        else:
            await self._posted(song, post_id)

    async def _mark(self, song: Song) -> bool:
        async with self._database.write() as connection:
            return await songs.mark_posting_late(connection, song.song_id, at=self._clock())

    async def _not_posted(self, song: Song) -> None:
        async with self._database.write() as connection:
            await songs.mark_not_posted(connection, song.song_id)

    async def _posted(self, song: Song, post_id: int) -> None:
        if await self._completion.complete(song, post_id, expected=State.UNDELIVERED):
            self._over(song)
        await self._incidents.end(Kind.UNDELIVERED)

    async def _is_there(self, song: Song) -> bool:
        """Whether a song that may be in its channel is found there; it is posted then.

        Raises:
            CannotPost: it can't be found out, for good.
            PostUncertain: it can't be found out now.
        """
        if not song.in_doubt and song.song_id not in self._inherited:
            return False
        post_id = await self._channels.find_post(song)
        if post_id is None:
            self._inherited.discard(song.song_id)
            return False
        await self._posted(song, post_id)
        return True

    async def _is_known_to_be_there(self, song: Song) -> bool:
        """As `_is_there`, but what can't be found out, for good, counts as not posted.

        The doubt is the member's gain.

        Raises:
            PostUncertain: it can't be found out now.
        """
        try:
            return await self._is_there(song)
        except CannotPost as error:
            log.info("whether it was posted can't be found out: %s", error)
            return False

    # --- on the disk ------------------------------------------------------------------------------

    async def _keep_one_file(self, song_id: int) -> None:
        """Keep only the file to deliver, of at most `DEFAULT_UPLOAD_LIMIT` bytes.

        What was downloaded is up to 92 MB, and a song may wait for a day. Until the smaller file is
        there, the source stays.
        """
        async with self._exclusive(song_id):
            song = await self._kept(song_id)
            if song is None or not (self._folder(song) / SOURCE).exists():
                return
            try:
                song = await self._small(song)
                for file in self._folder(song).iterdir():
                    if file.name != song.file and file.is_file():
                        file.unlink()
            except (OSError, *NOT_NOW) as error:
                log.warning("its source stays on the disk for now: %s", error)

    async def _small(self, song: Song) -> Song:
        """Make it fit into a server without boosts; one that no bit rate makes fit stays as it is.

        Raises:
            OSError: see `Transcoder.transcode`.
        """
        if self._size(song) <= DEFAULT_UPLOAD_LIMIT:
            return song
        try:
            return await self._fit(song, DEFAULT_UPLOAD_LIMIT)
        except AudioError as error:
            log.warning("its file stays as large as it is: %s", error)
            return song

    # --- back -------------------------------------------------------------------------------------

    async def _give_back(self, song_id: int) -> None:
        """Its price, unless it is in the channel after all.

        Raises:
            PostUncertain: that can't be found out now.
        """
        async with self._exclusive(song_id):
            song = await self._kept(song_id)
            if song is not None and not await self._is_known_to_be_there(song):
                await self._compensate(song)

    async def _compensate(self, song: Song) -> None:
        """It can't be delivered any more. Alone with it; see `SongCompletion.compensate`."""
        if await self._completion.compensate(song):
            self._over(song)

    # --- how --------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _exclusive(self, song_id: int) -> AsyncIterator[None]:
        """Nobody else delivers the song, or gives its price back, while the block runs."""
        async with self._locks.setdefault(song_id, asyncio.Lock()):
            yield

    async def _kept(self, song_id: int) -> Song | None:
        """The song as it is now, if it still waits to be delivered."""
        song = await songs.get(self._database.reader, song_id)
        return song if song is not None and song.state is State.UNDELIVERED else None

    async def _fit(self, song: Song, limit: int) -> Song:
        """Transcode again to `limit` bytes; return the updated song.

        Raises:
            AudioError, OSError: see `Transcoder.transcode`.
        """
        transcoded = await transcode_song(self._transcoder, song, self._folder(song), limit=limit)
        async with self._database.write() as connection:
            await songs.set_file(connection, song.song_id, file=transcoded.path.name)
        return replace(song, file=transcoded.path.name)

    def _folder(self, song: Song) -> Path:
        return self._data_dir / "songs" / str(song.song_id)

    def _file(self, song: Song) -> Path:
        if song.file is None:
            raise RuntimeError("a song's row lacks what its step needs")
        return self._folder(song) / song.file

    def _size(self, song: Song) -> int:
        """Bytes."""
        return self._file(song).stat().st_size

    def _over(self, song: Song) -> None:
        self._tries.pop(song.song_id, None)
        self._channels.changed(song.song_id)
        # Not in a thread: a stop between the two would leave the files to the housekeeping.
        shutil.rmtree(self._folder(song), ignore_errors=True)


def _where(song: Song) -> dict[Scope, int]:
    """What a refusal may reach besides the song itself: its channel, its server, all."""
    return {Scope.CHANNEL: song.channel_id, Scope.SERVER: song.server_id, Scope.EVERYBODY: 0}
