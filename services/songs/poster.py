"""Brings the audio of a song to its channel, or to its requester, or refunds what reached nobody.

Each attempt is one call here; `services/songs/pipeline.py` decides when the first ones are made,
`services/songs/delivery.py` the later ones. Each call locks its song, so a requester who takes it
while it is being posted waits for that, and its price is not refunded meanwhile. Across a kill the
row decides: it is marked before the song is sent (state `posting`, or `in_doubt`), and while that
stands, the post is searched for before the song is sent again or refunded. So is that of each song
that another process has left, until one search succeeds: a disk that lies may have lost the mark.
A message that only the requester sees can't be searched for: a kill after they got it and before
the row says so gives it to them once more.
"""

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

from db import songs
from db.errors import NOT_NOW
from db.records import Reason, Song, State
from services.audio.audio_file import Tags
from services.audio.transcoder import Transcoder
from services.clock import Clock
from services.errors import AudioError, CannotPost, Scope, TooLargeToPost
from services.operations.incidents import Incidents, Kind
from services.songs.completion import SongCompletion
from services.songs.refusals import AudioUnusable, NotYourSong, SongFileLost
from services.songs.rows import SongRows, require
from services.songs.song_request import title_of

log = logging.getLogger(__name__)

DEFAULT_UPLOAD_LIMIT = 10 * 2**20
"""Bytes: what Discord accepts in a server without boosts."""
SOURCE = "source"
"""The name of what was downloaded, in the song's folder."""
STEM = "song"
"""The name of what is posted, in the song's folder, before its extension.

ASCII: not every system's locale can write a title. It is named after its title when it is sent.
"""
POSTABLE = (State.DOWNLOADED, State.READY, State.POSTING, State.UNDELIVERED)

Send = Callable[[Song, Path], Awaitable[None]]
"""Sends the file to the song's requester.

Raises:
    TooLargeToPost: Discord accepts no file of that size.
    DeliveryError: it has not reached them, for all that is known.
"""


class Channel(Protocol):
    """Posts songs and finds their posts."""

    def upload_limit(self, song: Song) -> int:
        """Return the largest file, in bytes, that may be posted in the song's server."""
        ...

    async def can_post(self, song: Song) -> bool:
        """Return whether nothing that is known prevents posting the song and searching for it.

        Raises:
            CannotPost, PostUncertain: Discord refused a request that was needed, or did not answer.
        """
        ...

    async def find_post(self, song: Song) -> int | None:
        """Return the id of the message with the song, if there is one since its request.

        Raises:
            CannotPost: the channel's history can't be read.
            PostUncertain: it can't be read now.
        """
        ...

    async def post(self, song: Song, file: Path) -> int:
        """Post the song and return the message's id.

        Raises:
            CannotPost, TooLargeToPost: it is not there.
            PostUncertain: it may be there.
        """
        ...


class Poster:
    """Posts songs, hands them over and refunds them: each once, and one of these."""

    def __init__(
        self,
        rows: SongRows,
        completion: SongCompletion,
        transcoder: Transcoder,
        incidents: Incidents,
        channel: Channel,
        *,
        data_dir: Path,
        clock: Clock,
    ) -> None:
        self._rows = rows
        self._completion = completion
        self._transcoder = transcoder
        self._incidents = incidents
        self._channel = channel
        self._data_dir = data_dir
        self._clock = clock
        # Songs that another process may have posted although their rows don't say so.
        self._inherited: set[int] = set()
        self._locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        self.sending: set[int] = set()
        """Songs that are being sent right now: a stop should wait for these."""

    async def load(self) -> None:
        """Read which songs another process has left, before this one has any."""
        self._inherited = await songs.needing_files(self._rows.database.reader)

    def inherit(self, song_id: int) -> None:
        """Note that another process has left this song meanwhile, and may have posted it."""
        self._inherited.add(song_id)

    def folder(self, song_id: int) -> Path:
        """Return where a song's files are until it has ended."""
        return self._data_dir / "songs" / str(song_id)

    def is_locked(self, song_id: int) -> bool:
        """Return whether the song is being posted, handed over or refunded, which may take long."""
        lock = self._locks.get(song_id)
        return lock is not None and lock.locked()

    def close(self, song: Song) -> None:
        """Delete the files of a song that has ended, and show its end."""
        self._inherited.discard(song.song_id)
        self._rows.changed(song.song_id)
        # Not in a thread: a stop between the two would leave the files to the housekeeping.
        shutil.rmtree(self.folder(song.song_id), ignore_errors=True)

    # --- to its channel ---------------------------------------------------------------------------

    async def post(self, song_id: int, *, trust_row: bool = False) -> bool:
        """Post a song that was made, unless it is in its channel already. One attempt.

        `trust_row`: search for it only if its row says that it may be there, not because another
        process has left it. False: it is undelivered and still can't be posted, as far as is known;
        nothing was done.

        Raises:
            CannotPost: it is not there, or whether it is can't be found out. It is undelivered now.
            PostUncertain: it may be there.
            AudioError, OSError: see `Transcoder.transcode`; nothing was sent.
            DatabaseBusyError: nothing was sent.
        """
        async with self._lock(song_id):
            song = await self._rows.read(song_id)
            if song.state not in POSTABLE:
                return True
            in_doubt = song.in_doubt or song.state is State.POSTING
            try:
                if song.state is State.UNDELIVERED and not await self._channel.can_post(song):
                    return False
                # The file of an undelivered song may be gone because it was posted.
                lost = song.state is State.UNDELIVERED and not self._file(song).exists()
                search = in_doubt or not trust_row
                if search and await self._is_posted(song, insist=in_doubt or lost):
                    return True
                in_doubt = False
                await self._send(song)
            except CannotPost as error:
                await self._undelivered(song, error, in_doubt=in_doubt)
                raise
            return True

    async def was_posted(self, song_id: int) -> bool:
        """Return whether a song that may be in its channel is there; it is completed then.

        If that can't be found out permanently, it counts as not posted: the doubt is the member's
        gain.

        Raises:
            PostUncertain: it can't be found out now.
        """
        async with self._lock(song_id):
            return await self._is_posted(await self._rows.read(song_id))

    async def _is_posted(self, song: Song, *, insist: bool = False) -> bool:
        """Search for a song that may be in its channel; if it is there, it is completed.

        `insist`: raise CannotPost if that can't be found out permanently, instead of returning
        False.

        Raises:
            PostUncertain: it can't be found out now.
        """
        inherited = song.song_id in self._inherited
        if not (inherited or song.in_doubt or song.state is State.POSTING):
            return False
        try:
            post_id = await self._channel.find_post(song)
        except CannotPost as error:
            if insist:
                raise
            log.info("whether it was posted can't be found out: %s", error)
            return False
        if post_id is None:
            self._inherited.discard(song.song_id)
            return False
        await self._posted(song, post_id)
        return True

    async def _send(self, song: Song) -> None:
        """Make it small enough, mark it as being sent, and send it."""
        limit = self._channel.upload_limit(song)
        if song.state is State.DOWNLOADED or self._size(song) > limit:
            song = await self._transcode(song, limit)
        while await self._mark(song):
            song = await self._rows.read(song.song_id)
            self.sending.add(song.song_id)
            try:
                post_id = await self._channel.post(song, self._file(song))
                await self._posted(song, post_id)
                return
            except TooLargeToPost:
                if self._size(song) <= DEFAULT_UPLOAD_LIMIT:
                    raise CannotPost(Reason.FILE_SIZE, scope=Scope.MESSAGE) from None
            finally:
                self.sending.discard(song.song_id)
            song = await self._transcode(song, DEFAULT_UPLOAD_LIMIT)

    async def _mark(self, song: Song) -> bool:
        """Mark it as being sent."""
        if song.state is State.POSTING:
            return True
        late = song.state is State.UNDELIVERED
        mark = songs.mark_posting_late if late else songs.mark_posting
        return await self._rows.move(song, mark, at=self._clock())

    async def _posted(self, song: Song, post_id: int) -> None:
        if await self._rows.until_written(lambda: self._completion.complete(song, post_id)):
            self.close(song)
        await self._incidents.end(Kind.UNDELIVERED)

    async def give_up(self, song: Song, error: CannotPost) -> None:
        """Leave a song that is being posted undelivered: it may be in its channel, or not."""
        async with self._lock(song.song_id):
            await self._undelivered(song, error, in_doubt=True)

    async def _undelivered(self, song: Song, error: CannotPost, *, in_doubt: bool) -> None:
        """It was made and paid for, and is not posted: its file stays for its requester."""
        log.warning("it can't be posted: %s", error)
        if await self._rows.persist(
            song,
            lambda: self._completion.mark_undelivered(
                song, error.reason, error.detail, in_doubt=in_doubt
            ),
        ):
            if error.scope is Scope.EVERYBODY:
                await self._incidents.begin(Kind.UNDELIVERED, f"song {song.song_id}: {error}")
            self._rows.changed(song.song_id)

    # --- to its requester -------------------------------------------------------------------------

    async def hand_over(
        self, song: Song, member_id: int, *, limit: int, send: Send, in_status: bool = False
    ) -> bool:
        """Give an undelivered song to its requester, in an answer of at most `limit` bytes.

        It counts as delivered once `send` has returned; before, nothing has changed. False: there
        is nothing to give, and its row says why. `in_status`: `send` puts it into its status
        message, which is not edited any more then.

        Raises:
            NotYourSong: it is somebody else's.
            AudioUnusable: its file can't be made small enough.
            SongFileLost: its price has been refunded.
            DeliveryError: what `send` raised. The song is still undelivered.
        """
        if song.member_id != member_id:
            raise NotYourSong
        async with self._lock(song.song_id):
            song = await self._rows.read(song.song_id)
            if song.state is not State.UNDELIVERED or await self._is_posted(song):
                return False
            try:
                if self._size(song) > limit:
                    song = await self._transcode(song, limit)
                try:
                    await send(song, self._file(song))
                except TooLargeToPost:
                    if self._size(song) <= DEFAULT_UPLOAD_LIMIT:
                        raise
                    song = await self._transcode(song, DEFAULT_UPLOAD_LIMIT)
                    await send(song, self._file(song))
            except FileNotFoundError:
                await self._compensate(song)
                raise SongFileLost from None
            except AudioError as error:
                raise AudioUnusable(error.reason, error.detail) from error
            handed_over = await self._rows.until_written(
                lambda: self._completion.hand_over(song, in_status=in_status)
            )
            if handed_over:
                self.close(song)
            return handed_over

    # --- refunded ---------------------------------------------------------------------------------

    async def refund(self, song_id: int) -> None:
        """Refund an undelivered song, unless it is in its channel after all.

        Raises:
            PostUncertain: that can't be found out now.
        """
        async with self._lock(song_id):
            song = await self._rows.read(song_id)
            if song.state is State.UNDELIVERED and not await self._is_posted(song):
                await self._compensate(song)

    async def _compensate(self, song: Song) -> None:
        if await self._completion.compensate(song):
            self.close(song)

    # --- on the disk ------------------------------------------------------------------------------

    async def keep_one_file(self, song_id: int) -> None:
        """Keep only the file to deliver, of at most `DEFAULT_UPLOAD_LIMIT` bytes if possible.

        What was downloaded is up to 92 MB, and a song may wait for a day. Until the smaller file is
        there, the source stays. A disk without room is logged.
        """
        folder = self.folder(song_id)
        async with self._lock(song_id):
            song = await self._rows.read(song_id)
            if song.state is not State.UNDELIVERED or not (folder / SOURCE).exists():
                return
            try:
                if self._size(song) > DEFAULT_UPLOAD_LIMIT:
                    try:
                        song = await self._transcode(song, DEFAULT_UPLOAD_LIMIT)
                    except AudioError as error:
                        log.warning("its file stays as large as it is: %s", error)
                for file in folder.iterdir():
                    if file.name != song.file and file.is_file():
                        file.unlink()
            except (OSError, *NOT_NOW) as error:
                log.warning("its source stays on the disk for now: %s", error)

    async def _transcode(self, song: Song, limit: int) -> Song:
        """Encode and tag it, to at most `limit` bytes; return its row then.

        From the file that was ready before, if that is all that is left.

        Raises:
            AudioError, OSError: see `Transcoder.transcode`; FileNotFoundError if it is gone.
        """
        folder = self.folder(song.song_id)
        source = folder / SOURCE
        if song.file is not None and not source.exists():
            source = folder / song.file
        ready = await self._transcoder.transcode(
            source,
            folder,
            stem=STEM,
            limit=limit,
            tags=_tags(song),
            requested_seconds=song.seconds,
        )
        file = ready.name
        if song.state in (State.DOWNLOADED, State.POSTING):
            await self._rows.move(song, songs.mark_ready, file=file, at=self._clock())
        else:
            await self._rows.move(song, songs.set_file, file=file)
        if song.state is State.DOWNLOADED:
            await self._incidents.result_played()
        return await self._rows.read(song.song_id)

    def _file(self, song: Song) -> Path:
        return self.folder(song.song_id) / require(song.file)

    def _size(self, song: Song) -> int:
        """Return the bytes of its file.

        Raises:
            FileNotFoundError: it is gone.
        """
        return self._file(song).stat().st_size

    def _lock(self, song_id: int) -> asyncio.Lock:
        return self._locks.setdefault(song_id, asyncio.Lock())


def _tags(song: Song) -> Tags:
    return Tags(
        title=title_of(song.genres, song.lyrics),
        artist="Songwright",
        genres=song.genres,
        lyrics=song.lyrics,
        seed=song.seed,
        number=song.number,
        request=f"{song.seconds} s, {song.steps} steps, cfg {song.cfg:g}, shift {song.shift:g}, "
        f"lyrics strength {song.lyrics_strength:g}",
    )
