"""Undelivered songs: handed over to their requester, posted late, or refunded."""

import asyncio
import contextlib
import errno
import logging
import shutil
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from db import songs
from db.database import Database
from db.errors import DatabaseBusyError, DiskFullError
from db.records import Reason, Song
from services.errors import CannotPost, DoesNotFit, PostUncertain, Scope, TooLargeToPost
from services.operations.incidents import Kind
from services.songs import delivery as module
from services.songs.delivery import AFTER_A_REFUSAL, REFUNDED_AFTER, SOONEST
from services.songs.poster import DEFAULT_UPLOAD_LIMIT
from services.songs.refusals import AudioUnusable, NotYourSong, SongFileLost
from tests.factories import CHANNEL, MEMBER, SERVER
from tests.refusals import refusal
from tests.world.services import (
    LARGE,
    REASON,
    Crash,
    SongWorld,
    open_world,
    quiet,
)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SongWorld]:
    async with open_world(tmp_path) as opened:
        yield opened


@contextlib.contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch, *, for_writes: int) -> Iterator[None]:
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


async def test_handover_delivers_the_song(world: SongWorld) -> None:
    await world.undelivered()
    assert await world.hand_over()
    assert world.reply.got == [quiet()]
    await world.was_handed_over()
    assert await world.free() == 9


async def test_handed_over_song_is_neither_posted_nor_refunded(
    world: SongWorld,
) -> None:
    await world.undelivered()
    assert await world.hand_over()
    assert not await world.hand_over()
    await world.round()
    world.time.advance(days=2)
    await world.round()
    assert len(world.reply.got) == 1
    assert await world.entries() == ["hold", "settle"]
    assert world.channel.posts == {}


async def test_only_the_requester_gets_it(world: SongWorld) -> None:
    await world.undelivered()
    with pytest.raises(NotYourSong):
        await world.hand_over(to=MEMBER + 1)
    assert world.reply.got == []
    await world.is_undelivered()


@pytest.mark.parametrize("error", [PostUncertain("no answer"), CannotPost(Reason.NO_PERMISSION)])
async def test_refused_handover_leaves_the_song_undelivered(
    world: SongWorld, error: Exception
) -> None:
    await world.undelivered()
    world.reply.errors.append(error)
    with pytest.raises(type(error)):
        await world.hand_over()
    await world.is_undelivered()
    assert await world.hand_over()


async def test_simultaneous_presses_hand_it_over_once(world: SongWorld) -> None:
    await world.undelivered()
    assert sorted(
        await asyncio.gather(world.hand_over(), world.hand_over(), world.hand_over())
    ) == [*(False, False, True)]
    assert len(world.reply.got) == 1
    await world.was_handed_over()


async def test_kill_before_the_handover_is_saved_hands_it_over_again(world: SongWorld) -> None:
    """It was sent, and nobody wrote that down: it is given once more rather than never."""
    await world.undelivered()

    async def send(song: Song, file: Path) -> None:
        await world.reply(song, file)
        raise Crash

    with pytest.raises(Crash):
        await world.poster.hand_over(await world.song(), MEMBER, limit=LARGE, send=send)
    await world.restarted()
    await world.is_undelivered()
    assert await world.hand_over()
    await world.was_handed_over()


async def test_handover_is_saved_once_the_disk_has_room(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it would be posted as well, or refunded to who has it."""
    await world.undelivered()
    with full_disk(monkeypatch, for_writes=4):  # two of them are of the incident
        assert await world.hand_over()
    assert len(world.reply.got) == 1
    assert world.time.slept
    assert world.incidents._open == {Kind.DISK_NEARLY_FULL}
    await world.was_handed_over()


@pytest.mark.parametrize(
    ("limit", "errors"), [(DEFAULT_UPLOAD_LIMIT, []), (LARGE, [TooLargeToPost("413")])]
)
async def test_file_too_large_for_the_reply_is_transcoded_again(
    world: SongWorld, limit: int, errors: list[Exception]
) -> None:
    """Discord may accept less than it says."""
    await world.undelivered()
    world.grow(20 * 2**20)
    world.reply.errors.extend(errors)
    assert await world.hand_over(limit=limit)
    assert world.copying_transcoder.limits == [DEFAULT_UPLOAD_LIMIT]
    assert world.reply.got == [quiet()]
    await world.was_handed_over()


@pytest.mark.parametrize(("size", "tries"), [(1, 1), (20 * 2**20, 2)])
async def test_song_of_a_size_that_discord_never_accepts_stays_undelivered(
    world: SongWorld, size: int, tries: int
) -> None:
    await world.undelivered()
    world.grow(size)
    world.reply.errors.extend([TooLargeToPost("413")] * 2)
    with pytest.raises(TooLargeToPost):
        await world.hand_over()
    assert len(world.reply.errors) == 2 - tries
    await world.is_undelivered()


async def test_song_that_fits_no_limit_stays_undelivered(world: SongWorld) -> None:
    await world.undelivered()
    world.copying_transcoder.errors.append(DoesNotFit("10.0 MiB"))
    with refusal(AudioUnusable(Reason.DOES_NOT_FIT, "10.0 MiB")):
        await world.hand_over(limit=1)
    await world.is_undelivered()


async def test_lost_file_is_refunded_at_once(world: SongWorld) -> None:
    await world.undelivered()
    (world.folder / "songs" / "1/1.mp3").unlink()
    with pytest.raises(SongFileLost):
        await world.hand_over()
    await world.was_refunded()
    assert await world.free() == 10
    assert not await world.hand_over()


async def test_posted_song_is_not_handed_over(world: SongWorld) -> None:
    await world.undelivered(in_doubt=True)
    world.channel.posts[1] = [quiet()]
    assert not await world.hand_over()
    assert world.reply.got == []
    await world.was_posted()


@pytest.mark.parametrize("errors", [[], [CannotPost(Reason.HISTORY_UNREADABLE)]])
async def test_song_that_is_not_found_is_handed_over(
    world: SongWorld, errors: list[Exception]
) -> None:
    await world.undelivered(in_doubt=True)
    world.channel.before_find.extend(errors)
    assert await world.hand_over()
    assert world.channel.searched_for == [1]
    await world.was_handed_over()


async def test_uncertain_search_prevents_the_handover(world: SongWorld) -> None:
    await world.undelivered(in_doubt=True)
    world.channel.before_find.append(PostUncertain("no answer"))
    with pytest.raises(PostUncertain):
        await world.hand_over()
    assert world.reply.got == []
    await world.is_undelivered(in_doubt=True)


async def test_handover_waits_for_a_post_in_progress(world: SongWorld) -> None:
    await world.undelivered()
    world.channel.hold = asyncio.Event()
    posting = asyncio.create_task(world.round())
    while not world.channel.tried:  # noqa: ASYNC110 - a list sets no event
        await asyncio.sleep(0)
    transfers = asyncio.create_task(world.hand_over())
    await asyncio.sleep(0.01)
    assert not transfers.done()
    world.channel.hold.set()
    assert not await transfers
    await posting
    assert world.reply.got == []
    await world.was_posted()


@pytest.mark.parametrize("overdue", [False, True])
async def test_locked_song_is_skipped_in_a_round(world: SongWorld, overdue: bool) -> None:
    await world.undelivered(1)
    world.time.advance(seconds=1)
    await world.undelivered(2)
    world.reply.hold = asyncio.Event()
    transfers = asyncio.create_task(world.hand_over(1))
    while not world.poster.is_locked(1):  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    if overdue:
        world.time.advance(days=2)
    await asyncio.wait_for(world.round(), 5)
    await (world.was_refunded(2) if overdue else world.was_posted(2))
    await world.is_undelivered(1)
    world.reply.hold.set()
    assert await transfers
    await world.was_handed_over(1)


@pytest.mark.parametrize("hours", [25, -25])
async def test_changed_clock_refunds_nothing(world: SongWorld, hours: int) -> None:
    await world.undelivered()
    world.channel.may_post = False
    world.time.advance(seconds=7)
    world.time.jump(hours=hours)
    await world.round()
    await world.is_undelivered()
    world.time.advance(days=2, hours=2)
    await world.round()
    await world.was_refunded()


# --- to its channel -------------------------------------------------------------------------------


async def test_song_is_posted_once_its_channel_is_open(world: SongWorld) -> None:
    await world.undelivered()
    world.channel.may_post = False
    for _ in range(3):
        await world.round()
    assert world.channel.tried == []  # nothing was requested of Discord
    await world.is_undelivered()
    world.channel.may_post = True
    world.time.advance(hours=1)
    await world.round()
    assert world.channel.posts == {1: [quiet()]}
    assert world.channel.searched_for == []
    assert (await world.song()).state_at == world.time()
    await world.was_posted()
    assert await world.free() == 9


async def test_late_post_ends_the_incident(world: SongWorld) -> None:
    await world.incidents.begin(Kind.UNDELIVERED, "song 1")
    await world.undelivered()
    await world.round()
    assert world.incidents._open == set()


async def test_refused_song_is_retried_with_growing_delays(world: SongWorld) -> None:
    """Refusals that nothing explains are not to become too many."""
    await world.undelivered()
    world.channel.before_post.extend([CannotPost(Reason.NO_PERMISSION)] * 1_000)
    for _ in range(24 * 60):
        await world.round()
    assert 6 <= len(world.channel.tried) <= 16
    await world.is_undelivered()


async def test_change_in_the_server_causes_one_retry_a_minute(world: SongWorld) -> None:
    await world.undelivered()
    world.channel.before_post.extend([CannotPost(Reason.NO_PERMISSION)] * 1_000)
    for _ in range(3):
        await world.round(after=6 * 3600.0)
    tries = len(world.channel.tried)
    for _ in range(600):  # somebody withdraws and gives a permission each second
        world.delivery.wake(SERVER)
        await world.round(after=1.0)
    assert len(world.channel.tried) - tries == 600 // SOONEST
    world.delivery.wake(SERVER + 1)
    for _ in range(2):
        await world.round(after=SOONEST)
    assert len(world.channel.tried) - tries == 600 // SOONEST  # nothing has changed since


async def test_opened_channel_is_tried_at_once(world: SongWorld) -> None:
    await world.undelivered(1)
    await world.undelivered(2, channel_id=CHANNEL + 1)
    world.channel.before_post.extend([CannotPost(Reason.NO_PERMISSION)] * 2)
    await world.round()
    await world.round(after=1.0)
    assert world.channel.tried == [1, 2]
    world.delivery.wake(SERVER, channel_id=CHANNEL)
    await world.round(after=1.0)
    assert world.channel.tried == [1, 2, 1]
    await world.was_posted(1)


async def test_refusal_skips_the_channel_for_one_round(world: SongWorld) -> None:
    for song_id, channel_id in ((1, CHANNEL), (2, CHANNEL), (3, CHANNEL + 1)):
        await world.undelivered(song_id, channel_id=channel_id)
    world.channel.before_post.append(CannotPost(Reason.NO_PERMISSION))
    await world.round()
    assert world.channel.tried == [1, 3]
    await world.was_posted(3)
    await world.round()
    assert world.channel.tried == [1, 3, 2]  # the first one was refused for itself, it seems
    await world.was_posted(2)
    await world.is_undelivered(1)


@pytest.mark.parametrize(
    ("scope", "tried"),
    [
        (Scope.MESSAGE, [1, 2, 3, 4]),
        (Scope.CHANNEL, [1, 3, 4]),
        (Scope.SERVER, [1, 4]),
        (Scope.EVERYBODY, [1]),
    ],
)
async def test_refusal_skips_the_songs_in_its_scope(
    world: SongWorld, scope: Scope, tried: list[int]
) -> None:
    """AutoMod blocks one message; the next song in that channel is posted."""
    places = ((SERVER, CHANNEL), (SERVER, CHANNEL), (SERVER, CHANNEL + 1), (SERVER + 1, 77))
    for song_id, (server_id, channel_id) in enumerate(places, 1):
        await world.undelivered(song_id, server_id=server_id, channel_id=channel_id)
    world.channel.before_post.append(CannotPost(Reason.AUTOMOD, scope=scope))
    await world.round()
    assert world.channel.tried == tried
    await world.is_undelivered(1)
    assert (await world.song(1)).reason is Reason.AUTOMOD  # its member reads the latest reason
    assert 1 in world.channel.last_shown
    assert (world.incidents._open == {Kind.UNDELIVERED}) == (scope is Scope.EVERYBODY)


async def test_unknown_channel_is_fetched_once_a_round(
    world: SongWorld,
) -> None:
    for song_id in (1, 2):
        await world.undelivered(song_id)
    world.channel.before_permission.append(CannotPost(Reason.CHANNEL_GONE))
    await world.round()
    assert not world.channel.before_permission
    assert world.channel.tried == []
    await world.round()
    assert world.channel.tried == [2]


@pytest.mark.parametrize("there", [True, False])
async def test_post_whose_answer_was_lost_is_searched_for(world: SongWorld, there: bool) -> None:
    await world.undelivered()
    errors = world.channel.after_post if there else world.channel.before_post
    errors.append(PostUncertain("no answer"))
    await world.round()
    await world.is_undelivered(in_doubt=True)
    await world.round(after=3600.0)
    assert world.channel.searched_for == [1]
    await world.was_posted()


async def test_unreadable_history_makes_a_doubtful_song_wait(world: SongWorld) -> None:
    await world.undelivered(in_doubt=True)
    world.channel.before_find.append(CannotPost(Reason.HISTORY_UNREADABLE))
    await world.round()
    assert world.channel.tried == []
    await world.is_undelivered(in_doubt=True)


@pytest.mark.parametrize("there", [False, True], ids=["before it was sent", "after it was sent"])
async def test_kill_during_a_late_post_posts_once(world: SongWorld, there: bool) -> None:
    await world.undelivered()
    (world.channel.after_post if there else world.channel.before_post).append(Crash())
    with pytest.raises(Crash):
        await world.round()
    await world.restarted()
    await world.is_undelivered(in_doubt=True)
    await world.round()
    await world.was_posted()


async def test_kill_during_a_late_post_and_a_day_later(world: SongWorld) -> None:
    for song_id in (1, 2):
        await world.undelivered(song_id)
        errors = world.channel.after_post if song_id == 1 else world.channel.before_post
        errors.append(Crash())
        with pytest.raises(Crash):
            await world.round()
        await world.restarted()
        world.channel.may_post = False
        await world.round()
        world.channel.may_post = True
    world.channel.may_post = False
    world.time.advance(days=2)
    await world.restarted()
    await world.round()
    await world.was_posted(1)
    await world.was_refunded(2)


async def lose_the_late_post(world: SongWorld, song_id: int = 1) -> None:
    """The power is cut, and a disk that lies has lost the mark of a post and all after it."""
    await world.undelivered(song_id)
    song = await world.song(song_id)
    world.channel.posts[song_id] = [await asyncio.to_thread(world.poster._file(song).read_bytes)]
    await world.restarted()


@pytest.mark.parametrize("then", ["round", "round without files", "handover", "refund"])
async def test_lost_mark_posts_once(world: SongWorld, then: str) -> None:
    """It is found, whatever is tried first."""
    await lose_the_late_post(world)
    if then == "round without files":
        shutil.rmtree(world.poster.folder(1))
    if then == "refund":
        world.channel.may_post = False
        world.time.advance(days=2)
    if then == "handover":
        assert not await world.hand_over()
    else:
        await world.round()
    assert (world.channel.tried, world.reply.got) == ([], [])
    await world.was_posted()


@pytest.mark.parametrize(
    ("error", "posted"),
    [(CannotPost(Reason.HISTORY_UNREADABLE), True), (PostUncertain("500"), False)],
)
async def test_inherited_song_is_posted_unless_the_search_is_uncertain(
    world: SongWorld, error: Exception, posted: bool
) -> None:
    await world.undelivered()
    await world.restarted()
    world.channel.before_find.append(error)
    await world.round()
    await (world.was_posted() if posted else world.is_undelivered())


async def test_inherited_song_without_a_file_waits_for_the_history(
    world: SongWorld,
) -> None:
    await lose_the_late_post(world)
    shutil.rmtree(world.folder / "songs" / "1")
    world.channel.before_find.append(CannotPost(Reason.HISTORY_UNREADABLE))
    await world.round()
    assert await world.entries() == ["hold", "settle"]
    await world.round(after=AFTER_A_REFUSAL.longest)
    await world.was_posted()


async def test_lower_limit_transcodes_again(world: SongWorld) -> None:
    await world.undelivered()
    world.grow(DEFAULT_UPLOAD_LIMIT + 1)
    await world.round()
    assert world.copying_transcoder.limits == [DEFAULT_UPLOAD_LIMIT]
    await world.was_posted()


@pytest.mark.parametrize("size", [1, DEFAULT_UPLOAD_LIMIT + 1])
async def test_refused_size_waits(world: SongWorld, size: int) -> None:
    await world.undelivered()
    world.channel.limit = LARGE
    world.grow(size)
    world.channel.before_post.append(TooLargeToPost("413"))
    for _ in range(2):
        await world.round()
        assert world.channel.tried == [1]  # it is not sent each minute
    await world.is_undelivered()


# --- on the disk ----------------------------------------------------------------------------------


def sizes_of_files(world: SongWorld, song_id: int = 1) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in world.poster.folder(song_id).iterdir()}


@pytest.mark.parametrize("size", [DEFAULT_UPLOAD_LIMIT, DEFAULT_UPLOAD_LIMIT + 1])
async def test_undelivered_song_keeps_one_small_file(world: SongWorld, size: int) -> None:
    """46 MiB of each stayed for a day; a source may be 92 MB."""
    await world.undelivered()
    world.channel.may_post, world.channel.limit = False, LARGE
    world.grow(size)
    for _ in range(2):
        await world.round()
    assert world.copying_transcoder.limits == (
        [DEFAULT_UPLOAD_LIMIT] if size > DEFAULT_UPLOAD_LIMIT else []
    )
    (only,) = sizes_of_files(world)
    assert only == (await world.song()).file
    assert sizes_of_files(world)[only] <= DEFAULT_UPLOAD_LIMIT
    world.channel.may_post = True
    await world.round()
    await world.was_posted()


async def test_the_source_stays_until_a_smaller_file_is_there(
    world: SongWorld, caplog: pytest.LogCaptureFixture
) -> None:
    await world.undelivered()
    world.channel.may_post = False
    world.grow(DEFAULT_UPLOAD_LIMIT + 1)
    world.copying_transcoder.errors.append(OSError(errno.ENOSPC, "No space left on device"))
    await world.round()
    assert set(sizes_of_files(world)) == {"source", "1.mp3"}
    assert "its source stays on the disk for now" in caplog.text
    await world.round()
    assert len(sizes_of_files(world)) == 1
    assert world.copying_transcoder.limits == [DEFAULT_UPLOAD_LIMIT] * 2


async def test_without_its_source_the_file_is_made_smaller(world: SongWorld) -> None:
    await world.undelivered()
    world.channel.may_post = False
    await world.round()
    assert set(sizes_of_files(world)) == {"1.mp3"}
    assert await world.hand_over(limit=1)
    assert world.copying_transcoder.limits == [1]
    await world.was_handed_over()


async def test_song_that_fits_no_limit_waits_without_a_traceback(
    world: SongWorld, caplog: pytest.LogCaptureFixture
) -> None:
    for song_id in (1, 2):
        await world.undelivered(song_id)
    world.grow(DEFAULT_UPLOAD_LIMIT + 1, 1)
    world.copying_transcoder.errors.extend([DoesNotFit("10.0 MiB")] * 2)
    await world.round()
    await world.round()
    assert not world.copying_transcoder.errors
    assert set(sizes_of_files(world)) == {"1.mp3"}
    assert "its file stays as large as it is: does_not_fit, 10.0 MiB" in caplog.text
    assert "it can't be transcoded for the channel: does_not_fit, 10.0 MiB" in caplog.text
    assert "Traceback" not in caplog.text
    await world.is_undelivered(1)
    await world.was_posted(2)


async def test_lost_file_is_refunded_in_a_round(world: SongWorld) -> None:
    await world.undelivered()
    (world.folder / "songs" / "1/1.mp3").unlink()
    await world.round()
    assert world.channel.posts == {}
    await world.was_refunded()


async def test_full_disk_delays_a_post_by_a_round(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await world.undelivered()
    with full_disk(monkeypatch, for_writes=3):
        for _ in range(3):
            await world.round()
    assert world.channel.tried == []  # not without its mark
    await world.is_undelivered()
    await world.round()
    await world.was_posted()
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    "error", [DiskFullError(Path("songs.db")), DatabaseBusyError("songs.db is locked")]
)
async def test_late_post_is_saved_once_the_database_takes_it(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    await world.undelivered()
    complete, errors = world.completion.complete, [error] * 3

    async def not_now(song: Song, post_id: int) -> bool:
        if errors:
            await world.is_undelivered(in_doubt=True)
            raise errors.pop()
        return await complete(song, post_id)

    monkeypatch.setattr(world.completion, "complete", not_now)
    await world.round()
    await world.was_posted()


async def test_delivered_song_is_skipped(world: SongWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The round had read it before its member took it."""
    await world.undelivered()
    stale = await songs.undelivered(world.database.reader)
    assert await world.hand_over()

    async def read_before(*_: object) -> list[Song]:
        return stale

    monkeypatch.setattr(songs, "undelivered", read_before)
    await world.round()
    world.time.advance(days=2)
    await world.round()
    assert world.channel.tried == []
    assert await world.entries() == ["hold", "settle"]


async def test_song_that_can_not_be_marked_is_not_sent(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody but us moves it; if somebody did, it would be theirs."""
    await world.undelivered()

    async def elsewhere(*_: object, **__: object) -> bool:
        return False

    monkeypatch.setattr(songs, "mark_posting_late", elsewhere)
    await world.round()
    assert world.channel.tried == []
    await world.is_undelivered()


async def test_song_that_ended_elsewhere_is_not_closed(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.undelivered()

    async def elsewhere(*_: object, **__: object) -> bool:
        return False

    monkeypatch.setattr(songs, "end", elsewhere)
    assert not await world.hand_over()
    await world.round()
    world.time.advance(days=2)
    world.channel.posts.clear()
    await world.round()
    assert (world.folder / "songs/1").exists()
    assert await world.entries() == ["hold", "settle"]


async def test_unforeseen_error_delays_no_other_song(
    world: SongWorld, caplog: pytest.LogCaptureFixture
) -> None:
    for song_id in (1, 2):
        await world.undelivered(song_id)
    world.channel.before_post.append(RuntimeError("a defect"))
    await world.round()
    assert "a defect" in caplog.text
    await world.was_posted(2)
    await world.is_undelivered(1, in_doubt=True)
    await world.round(after=3600.0)
    await world.was_posted(1)


async def test_failing_database_is_logged_and_retried(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await world.undelivered()

    async def fails(*_: object) -> list[Song]:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(songs, "undelivered", fails)
        await world.round()
    assert "reading undelivered songs failed" in caplog.text
    await world.round()
    await world.was_posted()


async def test_retry_times_survive_a_restart(world: SongWorld) -> None:
    await world.undelivered()
    world.channel.before_post.extend([CannotPost(Reason.NO_PERMISSION)] * 3)
    await world.round()
    assert (await world.song()).attempts == 1
    await world.is_undelivered(in_doubt=False)
    await world.restarted()
    await world.round()
    assert world.channel.tried == [1]
    world.delivery.wake(SERVER)  # as the servers do when they are there again
    await world.round()
    assert world.channel.tried == [1, 1]


async def test_event_is_kept_until_the_database_takes_it(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.undelivered()
    world.channel.before_post.append(CannotPost(Reason.NO_PERMISSION))
    await world.round()
    world.delivery.wake(SERVER)
    world.delivery.wake(SERVER + 1)
    with full_disk(monkeypatch, for_writes=1):
        await world.round()
    assert world.channel.tried == [1]
    await world.round()
    await world.was_posted()


@pytest.mark.parametrize(
    "error", [DiskFullError(Path("songs.db")), sqlite3.OperationalError("disk I/O error")]
)
async def test_attempt_that_can_not_be_counted_is_logged(
    world: SongWorld,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    async def fail(*_: object, **__: object) -> bool:
        raise error

    await world.undelivered()
    world.channel.before_post.append(CannotPost(Reason.NO_PERMISSION))
    monkeypatch.setattr(songs, "postpone", fail)
    await world.round()
    assert "its next attempt can't be saved" in caplog.text
    await world.round()
    await world.was_posted()


async def test_full_disk_holds_no_lock_of_a_refused_song(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.undelivered()
    world.channel.before_permission.append(CannotPost(Reason.CHANNEL_GONE))
    with full_disk(monkeypatch, for_writes=3):
        await world.round()
    assert (await world.song()).reason == REASON  # not written again and again, with the lock held
    assert await world.hand_over()


async def test_mark_of_a_doubtful_song_moves_with_each_attempt(world: SongWorld) -> None:
    """Otherwise the search for its post would have to go back further each time."""
    await world.undelivered()
    world.channel.before_post.extend([PostUncertain("no answer")] * 2)
    await world.round()
    first = (await world.song()).posting_at
    await world.round(after=3600.0)
    second = (await world.song()).posting_at
    assert first is not None
    assert second is not None
    assert second > first


async def test_locks_are_forgotten(world: SongWorld) -> None:
    await world.undelivered()
    assert await world.hand_over()
    assert len(world.poster._locks) == 0


# --- back -----------------------------------------------------------------------------------------


async def test_price_is_refunded_after_a_day(world: SongWorld) -> None:
    await world.undelivered()
    world.channel.may_post = False
    await world.round(after=REFUNDED_AFTER.total_seconds())
    await world.is_undelivered()
    world.time.advance(seconds=1)
    await world.round()
    await world.was_refunded()
    world.channel.may_post = True
    await world.round()
    assert world.channel.posts == {}
    assert not await world.hand_over()
    assert await world.entries() == ["hold", "settle", "compensate"]


async def test_absence_counts_towards_the_day(world: SongWorld) -> None:
    await world.undelivered()
    world.time.advance(days=61)
    await world.restarted()
    await world.round()
    assert world.channel.tried == []
    await world.was_refunded()


@pytest.mark.parametrize("answer", [None, CannotPost(Reason.NOT_IN_SERVER)])
async def test_doubtful_song_is_searched_for_before_the_refund(
    world: SongWorld, answer: Exception | None
) -> None:
    await world.undelivered(in_doubt=True)
    world.channel.before_find.extend([answer] if answer else [])
    world.time.advance(days=2)
    await world.round()
    assert world.channel.searched_for == [1]
    await world.was_refunded()


async def test_uncertain_search_delays_the_refund(world: SongWorld) -> None:
    await world.undelivered(in_doubt=True)
    world.channel.before_find.append(PostUncertain("no answer"))
    world.time.advance(days=2)
    await world.round()
    await world.is_undelivered(in_doubt=True)
    await world.round()
    await world.was_refunded()


async def test_overdue_song_is_refunded_although_its_channel_refuses(world: SongWorld) -> None:
    await world.undelivered(1)
    world.time.advance(hours=20)
    await world.undelivered(2)
    world.time.advance(hours=5)
    world.channel.before_permission.append(CannotPost(Reason.NO_PERMISSION))
    await world.round()
    await world.was_refunded(1)
    await world.is_undelivered(2)


async def test_simultaneous_deliveries_have_one_outcome(world: SongWorld) -> None:
    """Its member, its channel and its day, in whatever order the loop takes them."""
    for song_id in range(1, 10):
        await world.undelivered(song_id, price=0)
    world.time.advance(days=2)
    await asyncio.gather(
        *(world.hand_over(song_id) for song_id in range(1, 10)),
        world.round(),
        *(world.poster.post(song_id) for song_id in range(1, 10)),
        world.round(),
        *(world.hand_over(song_id) for song_id in range(9, 0, -1)),
    )
    outcomes = Counter[tuple[int, int]]()
    for song_id in range(1, 10):
        posts = len(world.channel.posts.get(song_id, []))
        back = (await world.entries(song_id)).count("compensate")
        given = (await world.song(song_id)).reason is not None and not back
        assert (posts, back, given) in [(1, 0, False), (0, 1, False), (0, 0, True)]
        outcomes[posts, back] += given
    assert len(world.reply.got) == sum(outcomes.values())


# --- what it logs ---------------------------------------------------------------------------------


async def test_reasons_are_logged_when_they_change(
    world: SongWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "services.songs.delivery")
    world.channel.may_post = False
    for song_id in (1, 2):
        await world.undelivered(song_id)
    for _ in range(3):
        await world.round()
    assert caplog.text.count(f"undelivered songs: 2: {REASON}") == 1
    await world.hand_over(1)
    await world.round()
    assert caplog.text.count(f"undelivered songs: 1: {REASON}") == 1
    await world.hand_over(2)
    for _ in range(2):
        await world.round()
    assert caplog.text.count("no undelivered songs any more") == 1


async def test_rounds_follow_changes_and_minutes(
    world: SongWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLE", 0.0)
    rounds = asyncio.Queue[None]()

    async def once() -> None:
        rounds.put_nowait(None)

    monkeypatch.setattr(world.delivery, "once", once)
    running = asyncio.create_task(world.delivery.run())
    await asyncio.wait_for(rounds.get(), 5)
    world.delivery.wake(SERVER)
    await asyncio.wait_for(rounds.get(), 5)
    running.cancel()
    await asyncio.wait({running})
    monkeypatch.setattr(module, "EVERY", 0.001)
    running = asyncio.create_task(world.delivery.run())
    for _ in range(3):
        await asyncio.wait_for(rounds.get(), 5)
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()
