"""Songs that could not be posted: to their member, to their channel, or their price given back."""

import asyncio
import contextlib
import errno
import logging
import shutil
import sqlite3
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from db import songs
from db.database import Database
from db.errors import DatabaseBusyError, DiskFullError
from db.records import Song, State
from services.credits.credits import Credits
from services.errors import (
    CannotPost,
    DoesNotFit,
    PostUncertain,
    Scope,
    TooLargeToPost,
)
from services.operations.incidents import Incidents, Kind
from services.settings.settings import Member
from services.songs import delivery as module
from services.songs.completion import SongCompletion
from services.songs.delivery import AFTER_A_REFUSAL, EVERY, KEPT, SOONEST, Delivery
from services.songs.pipeline import DEFAULT_UPLOAD_LIMIT
from services.songs.refusals import AudioUnusable, NotYourSong, SongFileLost
from tests.factories import CHANNEL, MEMBER, SERVER, SettableClock, add_held_song
from tests.refusals import refusal
from tests.unit.services.songs.carrying import Crash, Fitter, Owner, quiet

WHY = "The channel is gone."
LIMIT = 50 * 2**20


@dataclass
class Channels:
    """The channels, as far as this test wants them known."""

    open: bool = True
    limit: int = DEFAULT_UPLOAD_LIMIT
    posts: dict[int, list[bytes]] = field(default_factory=dict)
    changes: list[int] = field(default_factory=list)
    looked_for: list[int] = field(default_factory=list)
    tried: list[int] = field(default_factory=list)
    before_ask: deque[BaseException] = field(default_factory=deque)
    before_post: deque[BaseException] = field(default_factory=deque)
    """What the next posts raise, before anything is there."""
    after_post: deque[BaseException] = field(default_factory=deque)
    """What the next posts raise although they are there."""
    before_find: deque[BaseException] = field(default_factory=deque)
    hold: asyncio.Event | None = None
    """Posts wait for it."""

    def changed(self, song_id: int) -> None:
        self.changes.append(song_id)

    def upload_limit(self, song: Song) -> int:
        return self.limit

    async def can_post(self, song: Song) -> bool:
        _say(self.before_ask)
        return self.open

    async def find_post(self, song: Song) -> int | None:
        self.looked_for.append(song.song_id)
        _say(self.before_find)
        return 9_000 + song.song_id if song.song_id in self.posts else None

    async def post(self, song: Song, file: Path) -> int:
        self.tried.append(song.song_id)
        if self.hold is not None:
            await self.hold.wait()
        audio = await asyncio.to_thread(file.read_bytes)
        _say(self.before_post)
        self.posts.setdefault(song.song_id, []).append(audio)
        _say(self.after_post)
        return 9_000 + song.song_id


def _say(errors: deque[BaseException]) -> None:
    if errors:
        raise errors.popleft()


@dataclass
class Hand:
    """What a member was given, and what Discord says to it."""

    got: list[bytes] = field(default_factory=list)
    errors: deque[BaseException] = field(default_factory=deque)
    hold: asyncio.Event | None = None

    async def __call__(self, song: Song, file: Path) -> None:
        if self.hold is not None:
            await self.hold.wait()
        audio = await asyncio.to_thread(file.read_bytes)
        _say(self.errors)
        self.got.append(audio)


class Depot:
    """Everything but Discord. `restart` forgets whatever was in memory."""

    def __init__(
        self, database: Database, credits: Credits, clock: SettableClock, folder: Path
    ) -> None:
        self.database, self.credits, self.clock = database, credits, clock
        self.folder = folder / "songs"
        self.channels, self.transcoder, self.hand, self.owner = (
            Channels(),
            Fitter(),
            Hand(),
            Owner(),
        )
        self.seconds = 0.0
        self.slept: list[float] = []
        self.completion = SongCompletion(database, credits, clock=clock)
        self.incidents = Incidents(database, self.owner, clock=clock)
        self.delivery = self._open()

    def _open(self) -> Delivery:
        return Delivery(
            self.database,
            self.completion,
            self.transcoder,
            self.incidents,
            self.channels,
            data_dir=self.folder.parent,
            clock=self.clock,
            monotonic=lambda: self.seconds,
            sleep=self.sleep,
        )

    async def restart(self) -> None:
        self.delivery = self._open()
        await self.delivery.load()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def keep(self, song_id: int = 1, *, in_doubt: bool = False, **fields: Any) -> Song:
        """A song that could not be posted, with its files."""
        fields = {"price": 1, "state": State.POSTING} | fields
        song = await add_held_song(self.database, self.credits, song_id, **fields)
        assert await self.completion.mark_undelivered(song, WHY, in_doubt=in_doubt)
        for name in ("source", f"{song_id}.mp3"):
            self.put(song_id, name, quiet())
        return await self.song(song_id)

    def put(self, song_id: int, name: str, audio: bytes) -> Path:
        path = self.folder / str(song_id) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(audio)
        return path

    def grow(self, size: int, song_id: int = 1) -> None:
        """The fitted file is so large; nothing of that is written."""
        with self.put(song_id, f"{song_id}.mp3", b"").open("r+b") as file:
            file.truncate(size)

    async def song(self, song_id: int = 1) -> Song:
        found = await songs.get(self.database.reader, song_id)
        assert found is not None
        return found

    async def give(self, song_id: int = 1, *, member: int = MEMBER, limit: int = LIMIT) -> bool:
        song = await self.song(song_id)
        return await self.delivery.give(song, member, limit=limit, send=self.hand)

    async def round(self, *, after: float = EVERY) -> None:
        """The next one."""
        self.seconds += after
        await self.delivery.once()

    async def free(self) -> int:
        return (await self.credits.balance(Member(SERVER, MEMBER))).free

    async def kinds(self, song_id: int = 1) -> list[str]:
        rows = await self.database.reader.execute_fetchall(
            "SELECT kind FROM ledger WHERE song_id = ? ORDER BY after_id", (song_id,)
        )
        return [row["kind"] for row in rows]

    async def is_kept(self, song_id: int = 1, *, in_doubt: bool = False) -> None:
        song = await self.song(song_id)
        assert song.state is State.UNDELIVERED
        assert song.in_doubt is in_doubt
        assert await self.kinds(song_id) == ["hold", "settle"]
        assert (self.folder / str(song_id) / (song.file or "")).is_file()

    async def is_posted(self, song_id: int = 1) -> None:
        """Once, and settled once, and nothing is left of it here."""
        song = await self.song(song_id)
        assert (song.post_id, song.reason, song.file) == (9_000 + song_id, None, None)
        assert len(self.channels.posts[song_id]) == 1
        await self._is_over(song, ["hold", "settle"])

    async def is_handed_over(self, song_id: int = 1) -> None:
        song = await self.song(song_id)
        assert (song.state, song.post_id) == (State.COMPLETED, None)
        assert song.reason is not None
        assert song.state_at == self.clock()
        assert song_id not in self.channels.posts
        await self._is_over(song, ["hold", "settle"])

    async def is_given_back(self, song_id: int = 1) -> None:
        song = await self.song(song_id)
        assert song.state is State.REFUNDED
        await self._is_over(song, ["hold", "settle", "compensate"])

    async def _is_over(self, song: Song, kinds: list[str]) -> None:
        assert not song.in_doubt
        assert await self.kinds(song.song_id) == kinds
        assert not (self.folder / str(song.song_id)).exists()
        assert song.song_id in self.channels.changes


@pytest.fixture
def depot(database: Database, credits: Credits, clock: SettableClock, tmp_path: Path) -> Depot:
    return Depot(database, credits, clock, tmp_path)


@contextlib.contextmanager
def full_disk(depot: Depot, monkeypatch: pytest.MonkeyPatch, *, for_writes: int) -> Iterator[None]:
    """So many of the next transactions find no room."""
    left, write = [None] * for_writes, Database.write

    @contextlib.asynccontextmanager
    async def tried(self: Database) -> AsyncIterator[Any]:
        if left:
            left.pop()
            raise DiskFullError(Path("songs.db"))
        async with write(self) as connection:
            yield connection

    with monkeypatch.context() as patch:
        patch.setattr(Database, "write", tried)
        yield


# --- to its member --------------------------------------------------------------------------------


async def test_its_member_gets_it_and_that_is_its_delivery(depot: Depot) -> None:
    await depot.keep()
    assert await depot.give()
    assert depot.hand.got == [quiet()]
    await depot.is_handed_over()
    assert await depot.free() == 9


async def test_what_was_handed_over_is_neither_given_again_nor_posted_nor_given_back(
    depot: Depot,
) -> None:
    await depot.keep()
    assert await depot.give()
    assert not await depot.give()
    await depot.round()
    depot.clock.advance(days=2)
    await depot.round()
    assert len(depot.hand.got) == 1
    assert await depot.kinds() == ["hold", "settle"]
    assert depot.channels.posts == {}


async def test_nobody_else_gets_it(depot: Depot) -> None:
    await depot.keep()
    with pytest.raises(NotYourSong):
        await depot.give(member=MEMBER + 1)
    assert depot.hand.got == []
    await depot.is_kept()


@pytest.mark.parametrize("error", [PostUncertain("no answer"), CannotPost("No.")])
async def test_what_discord_does_not_take_is_kept(depot: Depot, error: Exception) -> None:
    await depot.keep()
    depot.hand.errors.append(error)
    with pytest.raises(type(error)):
        await depot.give()
    await depot.is_kept()
    assert await depot.give()


async def test_two_presses_at_once_give_it_once(depot: Depot) -> None:
    await depot.keep()
    assert sorted(await asyncio.gather(depot.give(), depot.give(), depot.give())) == [
        *(False, False, True)
    ]
    assert len(depot.hand.got) == 1
    await depot.is_handed_over()


async def test_a_kill_before_the_row_says_so_is_the_members_gain(depot: Depot) -> None:
    """It was sent, and nobody wrote that down: it is given once more rather than never."""
    await depot.keep()

    async def send(song: Song, file: Path) -> None:
        await depot.hand(song, file)
        raise Crash

    with pytest.raises(Crash):
        await depot.delivery.give(await depot.song(), MEMBER, limit=LIMIT, send=send)
    await depot.restart()
    await depot.is_kept()
    assert await depot.give()
    await depot.is_handed_over()


async def test_that_it_was_handed_over_is_written_once_the_disk_has_room(
    depot: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be posted as well, or its price given back to who has it."""
    await depot.keep()
    with full_disk(depot, monkeypatch, for_writes=4):  # two of them are of the incident
        assert await depot.give()
    assert len(depot.hand.got) == 1
    assert depot.slept
    assert depot.incidents._open == {Kind.DISK_NEARLY_FULL}
    await depot.is_handed_over()


async def test_a_file_too_large_for_the_answer_is_fitted_anew(depot: Depot) -> None:
    await depot.keep()
    depot.grow(20 * 2**20)
    assert await depot.give(limit=DEFAULT_UPLOAD_LIMIT)
    assert depot.transcoder.limits == [DEFAULT_UPLOAD_LIMIT]
    assert depot.hand.got == [quiet()]
    await depot.is_handed_over()


async def test_discord_may_take_less_than_it_says(depot: Depot) -> None:
    await depot.keep()
    depot.grow(20 * 2**20)
    depot.hand.errors.append(TooLargeToPost("413"))
    assert await depot.give()
    assert depot.transcoder.limits == [DEFAULT_UPLOAD_LIMIT]
    await depot.is_handed_over()


@pytest.mark.parametrize(("size", "tries"), [(1, 1), (20 * 2**20, 2)])
async def test_a_size_that_discord_never_takes_keeps_it(
    depot: Depot, size: int, tries: int
) -> None:
    await depot.keep()
    depot.grow(size)
    depot.hand.errors.extend([TooLargeToPost("413")] * 2)
    with pytest.raises(TooLargeToPost):
        await depot.give()
    assert len(depot.hand.errors) == 2 - tries
    await depot.is_kept()


async def test_what_can_not_be_made_to_fit_is_kept(depot: Depot) -> None:
    await depot.keep()
    depot.transcoder.errors.append(DoesNotFit("It is too large for this server."))
    with refusal(AudioUnusable("It is too large for this server.")):
        await depot.give(limit=1)
    await depot.is_kept()


async def test_a_lost_file_is_given_back_at_once(depot: Depot) -> None:
    await depot.keep()
    (depot.folder / "1/1.mp3").unlink()
    with pytest.raises(SongFileLost):
        await depot.give()
    await depot.is_given_back()
    assert await depot.free() == 10
    assert not await depot.give()


async def test_what_is_in_its_channel_after_all_is_not_given_too(depot: Depot) -> None:
    await depot.keep(in_doubt=True)
    depot.channels.posts[1] = [quiet()]
    assert not await depot.give()
    assert depot.hand.got == []
    await depot.is_posted()


async def test_what_is_not_in_its_channel_is_given(depot: Depot) -> None:
    await depot.keep(in_doubt=True)
    assert await depot.give()
    assert depot.channels.looked_for == [1]
    await depot.is_handed_over()


async def test_a_doubt_that_nobody_can_clear_up_is_the_members_gain(depot: Depot) -> None:
    await depot.keep(in_doubt=True)
    depot.channels.before_find.append(CannotPost("I can't read the channel's history."))
    assert await depot.give()
    await depot.is_handed_over()


async def test_a_doubt_that_can_not_be_cleared_up_now_keeps_it(depot: Depot) -> None:
    await depot.keep(in_doubt=True)
    depot.channels.before_find.append(PostUncertain("no answer"))
    with pytest.raises(PostUncertain):
        await depot.give()
    assert depot.hand.got == []
    await depot.is_kept(in_doubt=True)


async def test_who_takes_it_while_it_is_posted_waits_for_that(depot: Depot) -> None:
    await depot.keep()
    depot.channels.hold = asyncio.Event()
    posting = asyncio.create_task(depot.round())
    while not depot.channels.tried:  # noqa: ASYNC110 - a list sets no event
        await asyncio.sleep(0)
    transfers = asyncio.create_task(depot.give())
    await asyncio.sleep(0.01)
    assert not transfers.done()
    depot.channels.hold.set()
    assert not await transfers
    await posting
    assert depot.hand.got == []
    await depot.is_posted()


@pytest.mark.parametrize("overdue", [False, True])
async def test_what_its_member_takes_right_now_is_not_touched_and_holds_up_no_other(
    depot: Depot, overdue: bool
) -> None:
    await depot.keep(1)
    depot.clock.advance(seconds=1)
    await depot.keep(2)
    depot.hand.hold = asyncio.Event()
    transfers = asyncio.create_task(depot.give(1))
    while not depot.delivery._is_locked(1):  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    if overdue:
        depot.clock.advance(days=2)
    await asyncio.wait_for(depot.round(), 5)
    await (depot.is_given_back(2) if overdue else depot.is_posted(2))
    await depot.is_kept(1)
    depot.hand.hold.set()
    assert await transfers
    await depot.is_handed_over(1)


@pytest.mark.parametrize("hours", [25, -25])
async def test_a_clock_that_is_set_gives_nothing_back(depot: Depot, hours: int) -> None:
    await depot.keep()
    depot.channels.open = False
    depot.clock.advance(seconds=7)
    depot.clock.jump(hours=hours)
    await depot.round()
    await depot.is_kept()
    depot.clock.advance(days=2, hours=2)
    await depot.round()
    await depot.is_given_back()


# --- to its channel -------------------------------------------------------------------------------


async def test_it_is_posted_as_soon_as_it_can_be(depot: Depot) -> None:
    await depot.keep()
    depot.channels.open = False
    for _ in range(3):
        await depot.round()
    assert depot.channels.tried == []  # nothing was asked of Discord
    await depot.is_kept()
    depot.channels.open = True
    depot.clock.advance(hours=1)
    await depot.round()
    assert depot.channels.posts == {1: [quiet()]}
    assert depot.channels.looked_for == []
    assert (await depot.song()).state_at == depot.clock()
    await depot.is_posted()
    assert await depot.free() == 9


async def test_a_late_post_is_the_end_of_the_incident(depot: Depot) -> None:
    await depot.incidents.begin(Kind.UNDELIVERED, "song 1")
    await depot.keep()
    await depot.round()
    assert depot.incidents._open == set()


async def test_what_was_refused_is_tried_ever_more_seldom(depot: Depot) -> None:
    """Refusals that nothing explains are not to become too many."""
    await depot.keep()
    depot.channels.before_post.extend([CannotPost("No.")] * 1_000)
    for _ in range(24 * 60):
        await depot.round()
    assert 6 <= len(depot.channels.tried) <= 16
    await depot.is_kept()


async def test_a_change_has_it_tried_soon_but_not_at_once_each_time(depot: Depot) -> None:
    await depot.keep()
    depot.channels.before_post.extend([CannotPost("No.")] * 1_000)
    for _ in range(5):
        await depot.round(after=6 * 3600.0)
    tries = len(depot.channels.tried)
    for _ in range(600):  # somebody withdraws and gives a permission each second
        depot.delivery.wake(SERVER)
        await depot.round(after=1.0)
    assert len(depot.channels.tried) - tries == 600 // SOONEST
    depot.delivery.wake(SERVER + 1)
    for _ in range(2):
        await depot.round(after=SOONEST)
    assert len(depot.channels.tried) - tries == 600 // SOONEST  # nothing has changed since


async def test_a_channel_that_was_opened_to_the_bot_is_tried_at_once(depot: Depot) -> None:
    await depot.keep(1)
    await depot.keep(2, channel_id=CHANNEL + 1)
    depot.channels.before_post.extend([CannotPost("No.")] * 2)
    await depot.round()
    await depot.round(after=1.0)
    assert depot.channels.tried == [1, 2]
    depot.delivery.wake(SERVER, channel_id=CHANNEL)
    await depot.round(after=1.0)
    assert depot.channels.tried == [1, 2, 1]
    await depot.is_posted(1)
    await depot.round(after=1.0)
    assert depot.delivery._opened_at == {}


async def test_one_refusal_speaks_for_the_channel_and_for_no_other(depot: Depot) -> None:
    for song_id, channel_id in ((1, CHANNEL), (2, CHANNEL), (3, CHANNEL + 1)):
        await depot.keep(song_id, channel_id=channel_id)
    depot.channels.before_post.append(CannotPost("No."))
    await depot.round()
    assert depot.channels.tried == [1, 3]
    await depot.is_posted(3)
    await depot.round()
    assert depot.channels.tried == [1, 3, 2]  # the first one was refused for itself, it seems
    await depot.is_posted(2)
    await depot.is_kept(1)


@pytest.mark.parametrize(
    ("scope", "tried"),
    [
        (Scope.MESSAGE, [1, 2, 3, 4]),
        (Scope.CHANNEL, [1, 3, 4]),
        (Scope.SERVER, [1, 4]),
        (Scope.EVERYBODY, [1]),
    ],
)
async def test_a_refusal_keeps_from_a_round_only_what_its_reason_reaches(
    depot: Depot, scope: Scope, tried: list[int]
) -> None:
    """AutoMod blocks one message; the next song in that channel is posted."""
    places = ((SERVER, CHANNEL), (SERVER, CHANNEL), (SERVER, CHANNEL + 1), (SERVER + 1, 77))
    for song_id, (server_id, channel_id) in enumerate(places, 1):
        await depot.keep(song_id, server_id=server_id, channel_id=channel_id)
    depot.channels.before_post.append(CannotPost("AutoMod blocked it.", scope=scope))
    await depot.round()
    assert depot.channels.tried == tried
    await depot.is_kept(1)
    assert (
        await depot.song(1)
    ).reason == "AutoMod blocked it."  # its member reads the latest reason
    assert 1 in depot.channels.changes
    assert (depot.incidents._open == {Kind.UNDELIVERED}) == (scope is Scope.EVERYBODY)


async def test_a_channel_that_can_not_be_posted_in_is_asked_for_once_a_round(depot: Depot) -> None:
    for song_id in (1, 2):
        await depot.keep(song_id)
    depot.channels.before_ask.append(CannotPost("The channel is gone."))
    await depot.round()
    assert not depot.channels.before_ask
    assert depot.channels.tried == []
    await depot.round()
    assert depot.channels.tried == [2]


async def test_a_lost_answer_is_cleared_up_before_it_is_sent_again(depot: Depot) -> None:
    await depot.keep()
    depot.channels.after_post.append(PostUncertain("no answer"))
    await depot.round()
    await depot.is_kept(in_doubt=True)
    await depot.round(after=3600.0)
    assert depot.channels.looked_for == [1]
    await depot.is_posted()


async def test_a_post_that_never_came_is_sent_again(depot: Depot) -> None:
    await depot.keep()
    depot.channels.before_post.append(PostUncertain("no answer"))
    await depot.round()
    await depot.is_kept(in_doubt=True)
    await depot.round(after=3600.0)
    assert depot.channels.looked_for == [1]
    await depot.is_posted()


async def test_a_refusal_leaves_no_doubt(depot: Depot) -> None:
    await depot.keep()
    depot.channels.before_post.append(CannotPost("No."))
    await depot.round()
    await depot.is_kept(in_doubt=False)


async def test_a_history_that_can_not_be_read_has_it_wait(depot: Depot) -> None:
    await depot.keep(in_doubt=True)
    depot.channels.before_find.append(CannotPost("I can't read the channel's history."))
    await depot.round()
    assert depot.channels.tried == []
    await depot.is_kept(in_doubt=True)


@pytest.mark.parametrize("there", [False, True], ids=["before it was sent", "after it was sent"])
async def test_a_kill_in_the_middle_of_a_late_post_doubles_nothing(
    depot: Depot, there: bool
) -> None:
    await depot.keep()
    (depot.channels.after_post if there else depot.channels.before_post).append(Crash())
    with pytest.raises(Crash):
        await depot.round()
    await depot.restart()
    await depot.is_kept(in_doubt=True)
    await depot.round()
    await depot.is_posted()


async def test_a_kill_and_then_a_day_gives_back_only_what_is_not_there(depot: Depot) -> None:
    for song_id in (1, 2):
        await depot.keep(song_id)
        errors = depot.channels.after_post if song_id == 1 else depot.channels.before_post
        errors.append(Crash())
        with pytest.raises(Crash):
            await depot.round()
        await depot.restart()
        depot.channels.open = False
        await depot.round()
        depot.channels.open = True
    depot.channels.open = False
    depot.clock.advance(days=2)
    await depot.restart()
    await depot.round()
    await depot.is_posted(1)
    await depot.is_given_back(2)


async def lose_the_late_post(depot: Depot, song_id: int = 1) -> None:
    """The power is cut, and a disk that lies has lost the mark of a post and all after it."""
    await depot.keep(song_id)
    song = await depot.song(song_id)
    depot.channels.posts[song_id] = [await asyncio.to_thread(depot.delivery._file(song).read_bytes)]
    await depot.restart()


@pytest.mark.parametrize("files", ["with its files", "without its files"])
async def test_a_lost_mark_doubles_nothing(depot: Depot, files: str) -> None:
    await lose_the_late_post(depot)
    if files == "without its files":
        shutil.rmtree(depot.folder / "1")
    await depot.round()
    assert depot.channels.tried == []
    await depot.is_posted()


async def test_what_has_lost_its_mark_is_not_given_too(depot: Depot) -> None:
    """Its member asks before the first round."""
    await lose_the_late_post(depot)
    assert not await depot.give()
    assert depot.hand.got == []
    await depot.is_posted()


async def test_what_has_lost_its_mark_is_not_given_back(depot: Depot) -> None:
    await lose_the_late_post(depot)
    depot.channels.open = False
    depot.clock.advance(days=2)
    await depot.round()
    await depot.is_posted()


async def test_what_was_found_nowhere_is_not_looked_for_again(depot: Depot) -> None:
    await depot.keep()
    await depot.restart()
    depot.channels.before_post.append(CannotPost("no"))
    await depot.round()
    assert depot.channels.looked_for == [1]
    await depot.round(after=AFTER_A_REFUSAL.longest)
    assert depot.channels.looked_for == [1]
    await depot.is_posted()


async def test_what_another_process_left_is_posted_where_nobody_can_look(depot: Depot) -> None:
    await depot.keep()
    await depot.restart()
    depot.channels.before_find.append(CannotPost("I can't read the channel's history."))
    await depot.round()
    await depot.is_posted()


async def test_what_another_process_left_without_a_file_waits_where_nobody_can_look(
    depot: Depot,
) -> None:
    await lose_the_late_post(depot)
    shutil.rmtree(depot.folder / "1")
    depot.channels.before_find.append(CannotPost("I can't read the channel's history."))
    await depot.round()
    assert await depot.kinds() == ["hold", "settle"]
    await depot.round(after=AFTER_A_REFUSAL.longest)
    await depot.is_posted()


async def test_what_another_process_left_waits_while_discord_does_not_say(depot: Depot) -> None:
    await depot.keep()
    await depot.restart()
    depot.channels.before_find.append(PostUncertain("500"))
    await depot.round()
    assert depot.channels.tried == []
    await depot.is_kept()


async def test_a_limit_that_has_shrunk_has_it_fitted_anew(depot: Depot) -> None:
    await depot.keep()
    depot.grow(DEFAULT_UPLOAD_LIMIT + 1)
    await depot.round()
    assert depot.transcoder.limits == [DEFAULT_UPLOAD_LIMIT]
    await depot.is_posted()


async def test_what_discord_finds_too_large_is_fitted_anew_once(depot: Depot) -> None:
    """The member is faster than the first round, which would have made it small."""
    await depot.keep()
    depot.grow(DEFAULT_UPLOAD_LIMIT + 1)
    depot.hand.errors.append(TooLargeToPost("413"))
    assert await depot.give()
    assert depot.transcoder.limits == [DEFAULT_UPLOAD_LIMIT]
    await depot.is_handed_over()


@pytest.mark.parametrize("size", [1, DEFAULT_UPLOAD_LIMIT + 1])
async def test_a_size_that_is_never_taken_waits(depot: Depot, size: int) -> None:
    await depot.keep()
    depot.channels.limit = LIMIT
    depot.grow(size)
    depot.channels.before_post.append(TooLargeToPost("413"))
    for _ in range(2):
        await depot.round()
        assert depot.channels.tried == [1]  # it is not sent each minute
    await depot.is_kept()


# --- on the disk ----------------------------------------------------------------------------------


def kept_files(depot: Depot, song_id: int = 1) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in (depot.folder / str(song_id)).iterdir()}


@pytest.mark.parametrize("size", [DEFAULT_UPLOAD_LIMIT, DEFAULT_UPLOAD_LIMIT + 1])
async def test_only_one_small_file_of_an_undelivered_song_is_kept(depot: Depot, size: int) -> None:
    """46 MiB of each stayed for a day; a source may be 92 MB."""
    await depot.keep()
    depot.channels.open, depot.channels.limit = False, LIMIT
    depot.grow(size)
    for _ in range(2):
        await depot.round()
    assert depot.transcoder.limits == (
        [DEFAULT_UPLOAD_LIMIT] if size > DEFAULT_UPLOAD_LIMIT else []
    )
    (only,) = kept_files(depot)
    assert only == (await depot.song()).file
    assert kept_files(depot)[only] <= DEFAULT_UPLOAD_LIMIT
    depot.channels.open = True
    await depot.round()
    await depot.is_posted()


async def test_the_source_stays_until_a_smaller_file_is_there(
    depot: Depot, caplog: pytest.LogCaptureFixture
) -> None:
    await depot.keep()
    depot.channels.open = False
    depot.grow(DEFAULT_UPLOAD_LIMIT + 1)
    depot.transcoder.errors.append(OSError(errno.ENOSPC, "No space left on device"))
    await depot.round()
    assert set(kept_files(depot)) == {"source", "1.mp3"}
    assert "its source stays on the disk for now" in caplog.text
    await depot.round()
    assert len(kept_files(depot)) == 1
    assert depot.transcoder.limits == [DEFAULT_UPLOAD_LIMIT] * 2


async def test_without_its_source_the_file_is_made_smaller(depot: Depot) -> None:
    await depot.keep()
    depot.channels.open = False
    await depot.round()
    assert set(kept_files(depot)) == {"1.mp3"}
    assert await depot.give(limit=1)
    assert depot.transcoder.limits == [1]
    await depot.is_handed_over()


async def test_what_can_not_be_made_to_fit_waits_and_is_no_defect(
    depot: Depot, caplog: pytest.LogCaptureFixture
) -> None:
    for song_id in (1, 2):
        await depot.keep(song_id)
    depot.grow(DEFAULT_UPLOAD_LIMIT + 1, 1)
    depot.transcoder.errors.extend([DoesNotFit("It is too large.")] * 2)
    await depot.round()
    await depot.round()
    assert not depot.transcoder.errors
    assert set(kept_files(depot)) == {"1.mp3"}
    assert "its file stays as large as it is: It is too large." in caplog.text
    assert "it can't be made fit for the channel: It is too large." in caplog.text
    assert "Traceback" not in caplog.text
    await depot.is_kept(1)
    await depot.is_posted(2)


async def test_a_lost_file_is_given_back_when_it_should_be_posted(depot: Depot) -> None:
    await depot.keep()
    (depot.folder / "1/1.mp3").unlink()
    await depot.round()
    assert depot.channels.posts == {}
    await depot.is_given_back()


async def test_a_full_disk_has_it_wait_for_a_minute_only(
    depot: Depot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await depot.keep()
    with full_disk(depot, monkeypatch, for_writes=3):
        for _ in range(3):
            await depot.round()
    assert depot.channels.tried == []  # not without its mark
    await depot.is_kept()
    await depot.round()
    await depot.is_posted()
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    "error", [DiskFullError(Path("songs.db")), DatabaseBusyError("songs.db is locked")]
)
async def test_a_write_that_has_to_wait_after_a_late_post_doubles_nothing(
    depot: Depot,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    await depot.keep()

    async def not_now(*_: object, **__: object) -> bool:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(depot.completion, "complete", not_now)
        await depot.round()
    assert "Traceback" not in caplog.text
    await depot.is_kept(in_doubt=True)
    depot.clock.advance(days=2)
    await depot.round()
    await depot.is_posted()


async def test_what_was_delivered_meanwhile_is_left_alone(
    depot: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The round had read it before its member took it."""
    await depot.keep()
    stale = await songs.undelivered(depot.database.reader)
    assert await depot.give()

    async def read_before(*_: object) -> list[Song]:
        return stale

    monkeypatch.setattr(songs, "undelivered", read_before)
    await depot.round()
    depot.clock.advance(days=2)
    await depot.round()
    assert depot.channels.tried == []
    assert await depot.kinds() == ["hold", "settle"]


async def test_a_mark_that_finds_it_elsewhere_sends_nothing(
    depot: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody but us moves it; if somebody did, it would be theirs."""
    await depot.keep()

    async def elsewhere(*_: object, **__: object) -> bool:
        return False

    monkeypatch.setattr(songs, "mark_posting_late", elsewhere)
    await depot.round()
    assert depot.channels.tried == []
    await depot.is_kept()


async def test_what_is_given_back_by_another_is_not_over_twice(
    depot: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    await depot.keep()

    async def elsewhere(*_: object, **__: object) -> bool:
        return False

    for name in ("mark_refunded", "mark_delivered", "end"):
        monkeypatch.setattr(songs, name, elsewhere)
    assert not await depot.give()
    await depot.round()
    depot.clock.advance(days=2)
    depot.channels.posts.clear()
    await depot.round()
    assert depot.channels.changes == []
    assert await depot.kinds() == ["hold", "settle"]


async def test_an_error_that_nobody_foresaw_holds_up_no_other(
    depot: Depot, caplog: pytest.LogCaptureFixture
) -> None:
    for song_id in (1, 2):
        await depot.keep(song_id)
    depot.channels.before_post.append(RuntimeError("a defect"))
    await depot.round()
    assert "a defect" in caplog.text
    await depot.is_posted(2)
    await depot.is_kept(1, in_doubt=True)
    await depot.round(after=3600.0)
    await depot.is_posted(1)


async def test_a_row_that_lacks_its_file_is_a_defect(depot: Depot) -> None:
    song = await depot.keep()
    assert await depot.give()
    with pytest.raises(RuntimeError):
        depot.delivery._file(await depot.song())
    assert depot.delivery._file(song).name == "1.mp3"


async def test_a_database_that_fails_is_logged_and_asked_again(
    depot: Depot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await depot.keep()

    async def fails(*_: object) -> list[Song]:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(songs, "undelivered", fails)
        await depot.round()
    assert "looking for songs to deliver" in caplog.text
    await depot.round()
    await depot.is_posted()


async def test_what_is_over_is_forgotten(depot: Depot) -> None:
    await depot.keep()
    depot.channels.before_post.append(CannotPost("No."))
    depot.delivery.wake(SERVER)
    depot.delivery.wake(SERVER + 1)
    await depot.round()
    assert depot.delivery._tries.keys() == {1}
    assert depot.delivery._changed_at.keys() == {SERVER}
    assert await depot.give()
    await depot.round()
    assert (depot.delivery._tries, depot.delivery._changed_at) == ({}, {})
    assert len(depot.delivery._locks) == 0


# --- back -----------------------------------------------------------------------------------------


async def test_after_a_day_its_price_goes_back_and_its_file_goes(depot: Depot) -> None:
    await depot.keep()
    depot.channels.open = False
    depot.clock.now += KEPT
    await depot.round()
    await depot.is_kept()
    depot.clock.advance(seconds=1)
    await depot.round()
    await depot.is_given_back()
    depot.channels.open = True
    await depot.round()
    assert depot.channels.posts == {}
    assert not await depot.give()
    assert await depot.kinds() == ["hold", "settle", "compensate"]


async def test_a_day_in_which_the_bot_was_away_counts(depot: Depot) -> None:
    await depot.keep()
    depot.clock.now += KEPT + timedelta(days=60)
    await depot.restart()
    await depot.round()
    assert depot.channels.tried == []
    await depot.is_given_back()


@pytest.mark.parametrize("answer", [None, CannotPost("I am no longer in the server.")])
async def test_a_doubt_is_cleared_up_before_its_price_goes_back(
    depot: Depot, answer: Exception | None
) -> None:
    await depot.keep(in_doubt=True)
    depot.channels.before_find.extend([answer] if answer else [])
    depot.clock.advance(days=2)
    await depot.round()
    assert depot.channels.looked_for == [1]
    await depot.is_given_back()


async def test_what_is_there_after_all_is_not_given_back(depot: Depot) -> None:
    await depot.keep(in_doubt=True)
    depot.channels.posts[1] = [quiet()]
    depot.clock.advance(days=2)
    await depot.round()
    await depot.is_posted()


async def test_while_discord_does_not_say_nothing_is_given_back(depot: Depot) -> None:
    await depot.keep(in_doubt=True)
    depot.channels.before_find.append(PostUncertain("no answer"))
    depot.clock.advance(days=2)
    await depot.round()
    await depot.is_kept(in_doubt=True)
    await depot.round()
    await depot.is_given_back()


async def test_what_is_overdue_goes_back_although_its_channel_refuses(depot: Depot) -> None:
    await depot.keep(1)
    depot.clock.advance(hours=20)
    await depot.keep(2)
    depot.clock.advance(hours=5)
    depot.channels.before_ask.append(CannotPost("No."))
    await depot.round()
    await depot.is_given_back(1)
    await depot.is_kept(2)


async def test_of_all_at_once_one_thing_happens(depot: Depot) -> None:
    """Its member, its channel and its day, in whatever order the loop takes them."""
    for song_id in range(1, 10):
        await depot.keep(song_id, price=0)
    depot.clock.advance(days=2)
    await asyncio.gather(
        *(depot.give(song_id) for song_id in range(1, 10)),
        depot.round(),
        *(depot.delivery._try_again(song_id) for song_id in range(1, 10)),
        depot.round(),
        *(depot.give(song_id) for song_id in range(9, 0, -1)),
    )
    outcomes = Counter[tuple[int, int]]()
    for song_id in range(1, 10):
        posts = len(depot.channels.posts.get(song_id, []))
        back = (await depot.kinds(song_id)).count("compensate")
        given = (await depot.song(song_id)).reason is not None and not back
        assert (posts, back, given) in [(1, 0, False), (0, 1, False), (0, 0, True)]
        outcomes[posts, back] += given
    assert len(depot.hand.got) == sum(outcomes.values())


# --- what it tells --------------------------------------------------------------------------------


async def test_the_log_is_told_how_many_wait_and_why_once(
    depot: Depot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "services.songs.delivery")
    depot.channels.open = False
    for song_id in (1, 2):
        await depot.keep(song_id)
    for _ in range(3):
        await depot.round()
    assert caplog.text.count(f"wait to be delivered: 2: {WHY}") == 1
    await depot.give(1)
    await depot.round()
    assert caplog.text.count(f"wait to be delivered: 1: {WHY}") == 1
    await depot.give(2)
    for _ in range(2):
        await depot.round()
    assert caplog.text.count("no song waits to be delivered any more") == 1


async def test_rounds_come_soon_after_a_change_and_else_each_minute(
    depot: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLE", 0.0)
    rounds = asyncio.Queue[None]()

    async def once() -> None:
        rounds.put_nowait(None)

    monkeypatch.setattr(depot.delivery, "once", once)
    running = asyncio.create_task(depot.delivery.run())
    await asyncio.wait_for(rounds.get(), 5)
    depot.delivery.wake(SERVER)
    await asyncio.wait_for(rounds.get(), 5)
    running.cancel()
    await asyncio.wait({running})
    monkeypatch.setattr(module, "EVERY", 0.001)
    running = asyncio.create_task(depot.delivery.run())
    for _ in range(3):
        await asyncio.wait_for(rounds.get(), 5)
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()
