"""All services that make songs, without Discord and the wall clock.

The database is real, the song API is the playground's on loopback, spoken to by the real client.
Time passes when somebody sleeps, for the bot and for the API alike.
"""

import asyncio
import contextlib
import io
import sqlite3
import wave
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from db import ledger, songs
from db.database import Database
from db.records import Reason, Server, Song, State, status_in
from playground.song_api import PLAYGROUND_KEY, Call, Fault, SongApiServer, Timing, serve
from services.audio.audio_file import Tags
from services.audio.transcoder import Transcoder
from services.clock import WatchedClock
from services.credits.budgets import OperatorBudgets
from services.errors import NotAudio, TooShort
from services.operations.incidents import Incidents, Kind
from services.providers import rate_limiter
from services.providers.base import Provider
from services.providers.rate_limiter import RateLimiter
from services.providers.segmind import Segmind
from services.songs.completion import SongCompletion
from services.songs.delivery import EVERY, Delivery
from services.songs.pipeline import Pipeline
from services.songs.poster import DEFAULT_UPLOAD_LIMIT, Poster
from services.songs.rows import SongRows
from services.songs.scheduler import ACCOUNT_CHECK_EVERY, Scheduler
from tests.databases import new_database
from tests.factories import MEMBER, NOON, add_held_song, make_credits, make_song

SECONDS = 10
LARGE = 50 * 2**20
"""Bytes: the upload limit of a boosted server."""
REASON = Reason.CHANNEL_GONE
FREE = 10
"""A member's credits before anything is held."""


def quiet(seconds: float = SECONDS) -> bytes:
    """Return a WAV that is hardly heard."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes(b"\1\1\xff\xfe" * int(4_000 * seconds))
    return buffer.getvalue()


class Time:
    """A clock that moves on with each sleep; `setback` is how far it was set back."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.setback = timedelta()
        self.slept: list[float] = []

    def __call__(self) -> datetime:
        return NOON + timedelta(seconds=self.elapsed) - self.setback

    def monotonic(self) -> float:
        return self.elapsed

    def advance(self, **by: float) -> None:
        """Let time pass, by a `timedelta(**by)`."""
        self.elapsed += timedelta(**by).total_seconds()

    def jump(self, **by: float) -> None:
        """Set the clock; no time passes."""
        self.setback -= timedelta(**by)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.run(seconds)

    async def run(self, seconds: float) -> None:
        """Let time pass without counting it as slept."""
        self.elapsed += seconds
        await asyncio.sleep(0)


class Minute(RateLimiter):
    """A rate limiter in this time, which waits only after a 429."""

    def __init__(self, time: Time) -> None:
        super().__init__(50, clock=time.monotonic)
        self.taken: list[rate_limiter.Call] = []
        self.waited: list[float] = []
        self._time = time
        self._closed_until = 0.0

    async def take(self, call: rate_limiter.Call = rate_limiter.Call.POLL) -> None:
        self.taken.append(call)
        if (wait := self._closed_until - self._time.elapsed) > 0:
            self.waited.append(wait)
            await self._time.run(wait)

    def refused(self, retry_after: float) -> None:
        super().refused(retry_after)
        self._closed_until = self._time.elapsed + retry_after


class Crash(BaseException):
    """The process dies here, and nothing in it is cleaned up."""


class Channel:
    """The poster's channel: stores what is sent to Discord, and answers."""

    def __init__(self, database_path: Path) -> None:
        self._database_path = database_path
        self.limit = DEFAULT_UPLOAD_LIMIT
        self.posts: dict[int, list[bytes]] = {}
        self.names: list[str] = []
        self.shown: list[tuple[str, str]] = []
        self.last_shown: dict[int, str] = {}
        """Status and state (or "ended"), as they stood in the database at each change."""
        self.may_post = True
        self.searched_for: list[int] = []
        self.tried: list[int] = []
        self.hold: asyncio.Event | None = None
        """Posts wait for it."""
        self.before_permission: deque[BaseException] = deque()
        self.before_post: deque[BaseException] = deque()
        """Errors of the next posts, which are not sent."""
        self.after_post: deque[BaseException] = deque()
        """Errors of the next posts, which are sent nevertheless."""
        self.before_find: deque[BaseException] = deque()
        self.crash_after: int | None = None
        """The number of changes after which the process dies."""

    def changed(self, song_id: int) -> None:
        with contextlib.closing(sqlite3.connect(self._database_path)) as connection:
            rows = connection.execute(
                "SELECT state, processing, ended_at FROM songs WHERE song_id = ?", (song_id,)
            )
            for state, processing, ended_at in rows.fetchall():
                status = status_in(State(state), processing=bool(processing))
                self.shown.append((status, state if ended_at is None else "ended"))
                self.last_shown[song_id] = status
        if self.crash_after is not None and len(self.shown) > self.crash_after:
            self.crash_after = None
            raise Crash

    def upload_limit(self, song: Song) -> int:
        return self.limit

    async def find_post(self, song: Song) -> int | None:
        self.searched_for.append(song.song_id)
        await self._say(self.before_find)
        return self._post_id(song) if song.song_id in self.posts else None

    async def post(self, song: Song, file: Path) -> int:
        self.tried.append(song.song_id)
        if self.hold is not None:
            await self.hold.wait()
        audio = await asyncio.to_thread(file.read_bytes)
        await self._say(self.before_post)
        self.posts.setdefault(song.song_id, []).append(audio)
        self.names.append(file.name)
        await self._say(self.after_post)
        return self._post_id(song)

    async def can_post(self, song: Song) -> bool:
        await self._say(self.before_permission)
        return self.may_post

    async def _say(self, errors: deque[BaseException]) -> None:
        await asyncio.sleep(0)
        if errors:
            raise errors.popleft()

    def _post_id(self, song: Song) -> int:
        return 9_000 + song.song_id


class CopyingTranscoder(Transcoder):
    """Copies instead of encoding, so that the bytes in the channel can be compared."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: deque[BaseException] = deque()
        self.limits: list[int] = []
        self.tags: list[Tags] = []

    async def transcode(
        self,
        source: Path,
        folder: Path,
        *,
        stem: str,
        limit: int,
        tags: Tags,
        requested_seconds: int,
    ) -> Path:
        self.limits.append(limit)
        self.tags.append(tags)
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.popleft()
        audio = await asyncio.to_thread(source.read_bytes)
        if not audio.startswith(b"RIFF"):
            raise NotAudio
        if len(audio) < len(quiet()) // 2:
            raise TooShort("1 s")
        path = folder / f"{stem}.mp3"
        await asyncio.to_thread(path.write_bytes, audio)
        return path


class Owner:
    """The operator's messages."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    async def incident_began(self, kind: Kind, detail: str) -> bool:
        self.messages.append(f"{kind} began: {detail}")
        return True

    async def incident_ended(self, kind: Kind) -> bool:
        self.messages.append(f"{kind} ended")
        return True

    async def bot_added(self, servers: Sequence[Server], *, allowed: bool) -> bool:
        raise NotImplementedError


@dataclass
class Reply:
    """Stores what the requester gets, and answers for Discord."""

    got: list[bytes] = field(default_factory=list)
    errors: deque[BaseException] = field(default_factory=deque)
    hold: asyncio.Event | None = None

    async def __call__(self, song: Song, file: Path) -> None:
        if self.hold is not None:
            await self.hold.wait()
        audio = await asyncio.to_thread(file.read_bytes)
        if self.errors:
            raise self.errors.popleft()
        self.got.append(audio)


class SongWorld:
    """All services, composed. `restart` forgets everything in memory."""

    def __init__(self, database: Database, session: aiohttp.ClientSession, folder: Path) -> None:
        self.database = database
        self.session = session
        self.folder = folder
        self.time = Time()
        self.audio = quiet()
        self.timing = Timing(2.0, 8.0)
        self.channel = Channel(folder / "songs.db")
        self.reply = Reply()
        self.owner = Owner()
        self.copying_transcoder = CopyingTranscoder()
        self.transcoder: Transcoder = self.copying_transcoder
        self.gates: dict[float, asyncio.Event] = {}
        self.sync = False
        self.at_once = 2
        self.exclusive = True
        self.other_providers: dict[str, Provider] = {}
        self.minutes = asyncio.Queue[None]()
        self.pauses: list[float] = []
        self.after_pause: Callable[[], None] = lambda: None
        self.server = SongApiServer(
            self._compose,
            clock=self.time.monotonic,
            sleep=self._api_sleep,
            timing=lambda _: self.timing,
            rpm=0,
        )
        self.root = ""
        self.restart()

    def restart(self, *, sync: bool | None = None) -> None:
        """Make new objects over the same database, as after a start of the process.

        `sync`: in the mode with a single call, or not.
        """
        self.sync = self.sync if sync is None else sync
        self.clock = WatchedClock(self.time, self.time.monotonic)
        self.incidents = Incidents(self.database, self.owner, clock=self.clock)
        self.credits = make_credits(self.database, self.clock)
        self.completion = SongCompletion(self.database, self.credits, clock=self.clock)
        self.rate_limiter = Minute(self.time)
        self.api = self.make_api(root=self.root, key=PLAYGROUND_KEY)
        self.pacer = self.api.pacer
        self.budgets = OperatorBudgets(self.database, clock=self.clock)
        self.rows = SongRows(
            self.database, self.incidents, changed=self.channel.changed, sleep=self.time.sleep
        )
        self.poster = Poster(
            self.rows,
            self.completion,
            self.transcoder,
            self.incidents,
            self.channel,
            data_dir=self.folder,
            clock=self.clock,
        )
        self.pipeline = Pipeline(
            self.rows,
            {self.api.name: self.api, **self.other_providers},
            self.poster,
            self.completion,
            self.incidents,
            self.budgets,
            clock=self.clock,
            sleep=self.time.sleep,
        )
        self.delivery = Delivery(self.database, self.poster, clock=self.clock)
        self.scheduler = Scheduler(
            self.database,
            self.pipeline,
            self.api,
            self.incidents,
            self.budgets,
            clock=self.clock,
            exclusive=self.exclusive,
            sleep=self._runner_sleep,
        )

    def make_api(self, **options: Any) -> Segmind:
        """Make the client of the song API."""
        return Segmind(
            self.session,
            rate_limiter=self.rate_limiter,
            at_once=self.at_once,
            single_call=self.sync,
            clock=self.time.monotonic,
            **options,
        )

    async def _runner_sleep(self, seconds: float) -> None:
        """Wait for the test to let a minute pass; a pause is over at once."""
        if seconds == ACCOUNT_CHECK_EVERY:
            await self.minutes.get()
        else:
            self.pauses.append(seconds)
            await self.time.run(seconds)
            self.after_pause()

    async def _api_sleep(self, seconds: float) -> None:
        """Let the API's time pass, or wait for the gate of so many seconds."""
        if seconds in self.gates:
            await self.gates[seconds].wait()
        else:
            await self.time.run(seconds)

    def _compose(self, **_: Any) -> bytes:
        return self.audio

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the scheduler; at the end stop it without grace."""
        await self.poster.load()
        task = asyncio.create_task(self.scheduler.run())
        try:
            yield
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.wait({task})
            await self.scheduler.stop(grace=0.0)

    # --- songs --------------------------------------------------------------------------------

    async def add(self, song_id: int = 1, **fields: Any) -> Song:
        """Add a song of 10 s with its one credit held; it waits unless `state` is given."""
        fields = {"seconds": SECONDS, "price": 1} | fields
        return await add_held_song(self.database, self.credits, song_id, **fields)

    async def add_submitted(self, song_id: int = 1, **fields: Any) -> Song:
        """Add a song that is at the API."""
        request_id = await self.submit(fields.get("genres", "funk"))
        return await self.add(song_id, state="submitted", request_id=request_id, **fields)

    async def submit(self, genres: str = "funk") -> str:
        """Submit a song to the API without the bot, and return its request id; forget the call."""
        body = {"genres": genres, "output_seconds": SECONDS}
        async with self.session.post(
            f"{self.root}/v2/ace-step-music", json=body, headers={"x-api-key": PLAYGROUND_KEY}
        ) as response:
            answer = await response.json()
        self.server.calls.clear()
        return str(answer["request_id"])

    def put(self, song_id: int, name: str, audio: bytes | None = None) -> Path:
        """Write a file to the song's folder."""
        path = self.poster.folder(song_id) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.audio if audio is None else audio)
        return path

    async def song(self, song_id: int = 1) -> Song:
        song = await songs.get(self.database.reader, song_id)
        assert song is not None
        return song

    async def states(self, count: int) -> list[str]:
        """Return the states of the songs 1, 2, ...; "ended" for all that have ended."""
        found = [await self.song(song_id) for song_id in range(1, count + 1)]
        return ["ended" if song.ended else song.state for song in found]

    async def until(self, *states: str) -> None:
        """Wait until the songs 1, 2, ... are in these `states`, and those that ended don't run."""
        over = {n for n, state in enumerate(states, 1) if state == "ended"}

        async def there() -> bool:
            now = await self.states(len(states))
            return now == list(states) and over.isdisjoint(self.scheduler._running.values())

        await eventually(there)

    async def until_submits(self, count: int) -> None:
        """Wait until the API has had so many submits."""

        async def there() -> bool:
            assert self.submits <= count
            return self.submits == count

        await eventually(there)

    async def start(self, song_id: int = 1) -> None:
        """Run a waiting song at once, without the scheduler."""
        async with self.database.write() as connection:
            assert await self.budgets.mark_submitting(connection, await self.song(song_id))
        await self.run_song(song_id, fresh=True)

    async def run(self, song_id: int = 1, **fields: Any) -> None:
        """Add a song and start it."""
        await self.add(song_id, **fields)
        await self.start(song_id)

    async def run_song(self, song_id: int = 1, *, fresh: bool = False) -> None:
        """Run a song until it ends or waits."""
        if await self.pipeline.make(song_id, fresh=fresh):
            await self.pipeline.deliver(song_id)

    async def restarted(self) -> None:
        self.restart()
        await self.poster.load()

    async def undelivered(self, song_id: int = 1, *, in_doubt: bool = False, **fields: Any) -> Song:
        """Add a song that could not be posted, with its files."""
        song = await self.add(song_id, **{"state": State.POSTING} | fields)
        for name in ("source", f"{song_id}.mp3"):
            self.put(song_id, name, quiet())
        assert await self.completion.mark_undelivered(song, REASON, in_doubt=in_doubt)
        return await self.song(song_id)

    def grow(self, size: int, song_id: int = 1) -> None:
        """Make the file to post so large; nothing of that is written."""
        with self.put(song_id, f"{song_id}.mp3", b"").open("r+b") as file:
            file.truncate(size)

    async def hand_over(self, song_id: int = 1, *, to: int = MEMBER, limit: int = LARGE) -> bool:
        song = await self.song(song_id)
        return await self.poster.hand_over(song, to, limit=limit, send=self.reply)

    async def round(self, *, after: float = EVERY) -> None:
        """Run the next round of delivery."""
        self.time.advance(seconds=after)
        await self.delivery.once()

    async def was_posted(self, song_id: int = 1) -> None:
        await self.has_completed(song_id)
        assert song_id in self.channel.last_shown

    async def was_handed_over(self, song_id: int = 1) -> None:
        song = await self.song(song_id)
        assert (song.state, song.post_id) == (State.COMPLETED, None)
        assert song.reason is not None
        assert song_id not in self.channel.posts
        await self._is_over(song_id, ["hold", "settle"])

    async def was_refunded(self, song_id: int = 1) -> None:
        assert (await self.song(song_id)).state is State.REFUNDED
        await self._is_over(song_id, ["hold", "settle", "compensate"])

    async def _is_over(self, song_id: int, entries: list[str]) -> None:
        assert await self.entries(song_id) == entries
        assert not self.poster.folder(song_id).exists()
        assert song_id in self.channel.last_shown

    # --- what is there ------------------------------------------------------------------------

    def calls(self, method: str) -> int:
        """Count the API's calls of a method, without files."""
        return sum(c.method == method and "/files/" not in c.path for c in self.server.calls)

    @property
    def submits(self) -> int:
        return self.calls("POST")

    async def entries(self, song_id: int = 1) -> list[str]:
        """Return the kinds of a song's ledger entries, each after the one that it follows."""
        rows = await self.database.reader.execute_fetchall(
            "SELECT kind FROM ledger WHERE song_id = ? ORDER BY after_id", (song_id,)
        )
        return [row["kind"] for row in rows]

    async def free(self) -> int:
        """Return the credits that the requester has left."""
        lots = await ledger.spendable(self.database.reader, make_song(), at=self.time())
        return sum(lot.remaining for lot in lots)

    def files(self) -> list[str]:
        """Return the files of songs on the disk."""
        root = self.folder / "songs"
        return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())

    async def has_completed(self, song_id: int = 1) -> None:
        """Check that a song was posted once and settled once, and has no files."""
        song = await self.song(song_id)
        assert (song.state, song.reason) == ("completed", None)
        assert song.post_id == 9_000 + song_id
        assert [len(posts) for posts in [self.channel.posts[song_id]]] == [1]
        assert await self.entries(song_id) == ["hold", "settle"]
        assert not (self.folder / "songs" / str(song_id)).exists()

    async def has_failed(self, song_id: int = 1) -> str:
        """Check that a song was refunded, not posted, and has no files; return the reason."""
        song = await self.song(song_id)
        assert song.status == "FAILED"
        assert song_id not in self.channel.posts
        assert await self.entries(song_id) == ["hold", "refund"]
        assert not (self.folder / "songs" / str(song_id)).exists()
        assert self.channel.last_shown[song_id] == "FAILED"
        assert song.reason
        return song.reason

    async def waits_again(self, song_id: int = 1) -> None:
        """Check that a song is as if it had never been started."""
        song = await self.song(song_id)
        assert (song.status, song.state, song.submits) == ("QUEUED", "waiting", 0)
        assert await self.entries(song_id) == ["hold"]

    async def is_undelivered(self, song_id: int = 1, *, in_doubt: bool = False) -> Song:
        """Check that a song is settled, undelivered, and has its file."""
        song = await self.song(song_id)
        assert (song.state, song.status) == ("undelivered", "COMPLETED")
        assert song.reason
        assert song.in_doubt is in_doubt
        assert f"{song_id}/{song.file}" in self.files()
        assert await self.entries(song_id) == ["hold", "settle"]
        return song


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition. The timeout is for a test that fails."""
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 - a database sets no event
            await asyncio.sleep(0.001)


Answer = Fault | None


def script(**answers: Sequence[Answer]) -> Callable[[Call], Answer]:
    """Give the next calls of each kind these answers; later ones succeed."""
    left = {kind: deque(given) for kind, given in answers.items()}

    def fault(call: Call) -> Answer:
        given = left.get(kind_of(call))
        return given.popleft() if given else None

    return fault


def kind_of(call: Call) -> str:
    """Return what a call is for."""
    if call.method == "POST":
        return "submit"
    if call.path.endswith("/status"):
        return "poll"
    if call.path.startswith("/files/"):
        return "file"
    return "credits" if call.path.endswith("credits") else "result"


def always(**answers: Fault) -> Callable[[Call], Answer]:
    """Give all calls of a kind this answer."""
    return lambda call: answers.get(kind_of(call))


@contextlib.asynccontextmanager
async def open_world(folder: Path) -> AsyncIterator[SongWorld]:
    """Open a world whose song API is running."""
    async with contextlib.AsyncExitStack() as stack:
        database = await new_database(folder / "songs.db")
        stack.push_async_callback(database.close)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        world = SongWorld(database, session, folder)
        await stack.enter_async_context(serve(world.server))
        world.root = world.server.root
        world.restart()
        yield world
