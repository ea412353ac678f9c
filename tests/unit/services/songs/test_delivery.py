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
from db.records import Song
from services.errors import CannotPost, DoesNotFit, PostUncertain, Scope, TooLargeToPost
from services.operations.incidents import Kind
from services.songs import delivery as module
from services.songs.delivery import AFTER_A_REFUSAL, KEPT, SOONEST
from services.songs.poster import DEFAULT_UPLOAD_LIMIT
from services.songs.refusals import AudioUnusable, NotYourSong, SongFileLost
from tests.factories import CHANNEL, MEMBER, SERVER
from tests.refusals import refusal
from tests.world.services import (
    LARGE,
    REASON,
    Crash,
    House,
    open_house,
    quiet,
)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
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


async def test_handover_delivers_the_song(house: House) -> None:
    await house.undelivered()
    assert await house.hand_over()
    assert house.reply.got == [quiet()]
    await house.was_handed_over()
    assert await house.free() == 9


async def test_handed_over_song_is_neither_posted_nor_refunded(
    house: House,
) -> None:
    await house.undelivered()
    assert await house.hand_over()
    assert not await house.hand_over()
    await house.round()
    house.time.advance(days=2)
    await house.round()
    assert len(house.reply.got) == 1
    assert await house.entries() == ["hold", "settle"]
    assert house.channel.posts == {}


async def test_only_the_requester_gets_it(house: House) -> None:
    await house.undelivered()
    with pytest.raises(NotYourSong):
        await house.hand_over(to=MEMBER + 1)
    assert house.reply.got == []
    await house.is_undelivered()


@pytest.mark.parametrize("error", [PostUncertain("no answer"), CannotPost("No.")])
async def test_refused_handover_leaves_the_song_undelivered(house: House, error: Exception) -> None:
    await house.undelivered()
    house.reply.errors.append(error)
    with pytest.raises(type(error)):
        await house.hand_over()
    await house.is_undelivered()
    assert await house.hand_over()


async def test_simultaneous_presses_hand_it_over_once(house: House) -> None:
    await house.undelivered()
    assert sorted(
        await asyncio.gather(house.hand_over(), house.hand_over(), house.hand_over())
    ) == [*(False, False, True)]
    assert len(house.reply.got) == 1
    await house.was_handed_over()


async def test_kill_before_the_handover_is_saved_hands_it_over_again(house: House) -> None:
    """It was sent, and nobody wrote that down: it is given once more rather than never."""
    await house.undelivered()

    async def send(song: Song, file: Path) -> None:
        await house.reply(song, file)
        raise Crash

    with pytest.raises(Crash):
        await house.poster.hand_over(await house.song(), MEMBER, limit=LARGE, send=send)
    await house.restarted()
    await house.is_undelivered()
    assert await house.hand_over()
    await house.was_handed_over()


async def test_handover_is_saved_once_the_disk_has_room(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be posted as well, or its price given back to who has it."""
    await house.undelivered()
    with full_disk(monkeypatch, for_writes=4):  # two of them are of the incident
        assert await house.hand_over()
    assert len(house.reply.got) == 1
    assert house.time.slept
    assert house.incidents._open == {Kind.DISK_NEARLY_FULL}
    await house.was_handed_over()


@pytest.mark.parametrize(
    ("limit", "errors"), [(DEFAULT_UPLOAD_LIMIT, []), (LARGE, [TooLargeToPost("413")])]
)
async def test_file_too_large_for_the_reply_is_transcoded_again(
    house: House, limit: int, errors: list[Exception]
) -> None:
    """Discord may accept less than it says."""
    await house.undelivered()
    house.grow(20 * 2**20)
    house.reply.errors.extend(errors)
    assert await house.hand_over(limit=limit)
    assert house.fitter.limits == [DEFAULT_UPLOAD_LIMIT]
    assert house.reply.got == [quiet()]
    await house.was_handed_over()


@pytest.mark.parametrize(("size", "tries"), [(1, 1), (20 * 2**20, 2)])
async def test_song_of_a_size_that_discord_never_accepts_stays_undelivered(
    house: House, size: int, tries: int
) -> None:
    await house.undelivered()
    house.grow(size)
    house.reply.errors.extend([TooLargeToPost("413")] * 2)
    with pytest.raises(TooLargeToPost):
        await house.hand_over()
    assert len(house.reply.errors) == 2 - tries
    await house.is_undelivered()


async def test_song_that_fits_no_limit_stays_undelivered(house: House) -> None:
    await house.undelivered()
    house.fitter.errors.append(DoesNotFit("It is too large for this server."))
    with refusal(AudioUnusable("It is too large for this server.")):
        await house.hand_over(limit=1)
    await house.is_undelivered()


async def test_lost_file_is_refunded_at_once(house: House) -> None:
    await house.undelivered()
    (house.folder / "songs" / "1/1.mp3").unlink()
    with pytest.raises(SongFileLost):
        await house.hand_over()
    await house.was_refunded()
    assert await house.free() == 10
    assert not await house.hand_over()


async def test_posted_song_is_not_handed_over(house: House) -> None:
    await house.undelivered(in_doubt=True)
    house.channel.posts[1] = [quiet()]
    assert not await house.hand_over()
    assert house.reply.got == []
    await house.was_posted()


async def test_song_that_is_not_found_is_handed_over(house: House) -> None:
    await house.undelivered(in_doubt=True)
    assert await house.hand_over()
    assert house.channel.looked_for == [1]
    await house.was_handed_over()


async def test_unreadable_history_does_not_prevent_the_handover(house: House) -> None:
    await house.undelivered(in_doubt=True)
    house.channel.before_find.append(CannotPost("I can't read the channel's history."))
    assert await house.hand_over()
    await house.was_handed_over()


async def test_uncertain_search_prevents_the_handover(house: House) -> None:
    await house.undelivered(in_doubt=True)
    house.channel.before_find.append(PostUncertain("no answer"))
    with pytest.raises(PostUncertain):
        await house.hand_over()
    assert house.reply.got == []
    await house.is_undelivered(in_doubt=True)


async def test_handover_waits_for_a_post_in_progress(house: House) -> None:
    await house.undelivered()
    house.channel.hold = asyncio.Event()
    posting = asyncio.create_task(house.round())
    while not house.channel.tried:  # noqa: ASYNC110 - a list sets no event
        await asyncio.sleep(0)
    transfers = asyncio.create_task(house.hand_over())
    await asyncio.sleep(0.01)
    assert not transfers.done()
    house.channel.hold.set()
    assert not await transfers
    await posting
    assert house.reply.got == []
    await house.was_posted()


@pytest.mark.parametrize("overdue", [False, True])
async def test_locked_song_is_skipped_in_a_round(house: House, overdue: bool) -> None:
    await house.undelivered(1)
    house.time.advance(seconds=1)
    await house.undelivered(2)
    house.reply.hold = asyncio.Event()
    transfers = asyncio.create_task(house.hand_over(1))
    while not house.poster.is_locked(1):  # noqa: ASYNC110 - as above
        await asyncio.sleep(0)
    if overdue:
        house.time.advance(days=2)
    await asyncio.wait_for(house.round(), 5)
    await (house.was_refunded(2) if overdue else house.was_posted(2))
    await house.is_undelivered(1)
    house.reply.hold.set()
    assert await transfers
    await house.was_handed_over(1)


@pytest.mark.parametrize("hours", [25, -25])
async def test_changed_clock_refunds_nothing(house: House, hours: int) -> None:
    await house.undelivered()
    house.channel.may_post = False
    house.time.advance(seconds=7)
    house.time.jump(hours=hours)
    await house.round()
    await house.is_undelivered()
    house.time.advance(days=2, hours=2)
    await house.round()
    await house.was_refunded()


# --- to its channel -------------------------------------------------------------------------------


async def test_song_is_posted_once_its_channel_is_open(house: House) -> None:
    await house.undelivered()
    house.channel.may_post = False
    for _ in range(3):
        await house.round()
    assert house.channel.tried == []  # nothing was asked of Discord
    await house.is_undelivered()
    house.channel.may_post = True
    house.time.advance(hours=1)
    await house.round()
    assert house.channel.posts == {1: [quiet()]}
    assert house.channel.looked_for == []
    assert (await house.song()).state_at == house.time()
    await house.was_posted()
    assert await house.free() == 9


async def test_late_post_ends_the_incident(house: House) -> None:
    await house.incidents.begin(Kind.UNDELIVERED, "song 1")
    await house.undelivered()
    await house.round()
    assert house.incidents._open == set()


async def test_refused_song_is_retried_with_growing_delays(house: House) -> None:
    """Refusals that nothing explains are not to become too many."""
    await house.undelivered()
    house.channel.before_post.extend([CannotPost("No.")] * 1_000)
    for _ in range(24 * 60):
        await house.round()
    assert 6 <= len(house.channel.tried) <= 16
    await house.is_undelivered()


async def test_change_in_the_server_causes_one_retry_a_minute(house: House) -> None:
    await house.undelivered()
    house.channel.before_post.extend([CannotPost("No.")] * 1_000)
    for _ in range(3):
        await house.round(after=6 * 3600.0)
    tries = len(house.channel.tried)
    for _ in range(600):  # somebody withdraws and gives a permission each second
        house.delivery.wake(SERVER)
        await house.round(after=1.0)
    assert len(house.channel.tried) - tries == 600 // SOONEST
    house.delivery.wake(SERVER + 1)
    for _ in range(2):
        await house.round(after=SOONEST)
    assert len(house.channel.tried) - tries == 600 // SOONEST  # nothing has changed since


async def test_opened_channel_is_tried_at_once(house: House) -> None:
    await house.undelivered(1)
    await house.undelivered(2, channel_id=CHANNEL + 1)
    house.channel.before_post.extend([CannotPost("No.")] * 2)
    await house.round()
    await house.round(after=1.0)
    assert house.channel.tried == [1, 2]
    house.delivery.wake(SERVER, channel_id=CHANNEL)
    await house.round(after=1.0)
    assert house.channel.tried == [1, 2, 1]
    await house.was_posted(1)


async def test_refusal_skips_the_channel_for_one_round(house: House) -> None:
    for song_id, channel_id in ((1, CHANNEL), (2, CHANNEL), (3, CHANNEL + 1)):
        await house.undelivered(song_id, channel_id=channel_id)
    house.channel.before_post.append(CannotPost("No."))
    await house.round()
    assert house.channel.tried == [1, 3]
    await house.was_posted(3)
    await house.round()
    assert house.channel.tried == [1, 3, 2]  # the first one was refused for itself, it seems
    await house.was_posted(2)
    await house.is_undelivered(1)


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
    house: House, scope: Scope, tried: list[int]
) -> None:
    """AutoMod blocks one message; the next song in that channel is posted."""
    places = ((SERVER, CHANNEL), (SERVER, CHANNEL), (SERVER, CHANNEL + 1), (SERVER + 1, 77))
    for song_id, (server_id, channel_id) in enumerate(places, 1):
        await house.undelivered(song_id, server_id=server_id, channel_id=channel_id)
    house.channel.before_post.append(CannotPost("AutoMod blocked it.", scope=scope))
    await house.round()
    assert house.channel.tried == tried
    await house.is_undelivered(1)
    assert (
        await house.song(1)
    ).reason == "AutoMod blocked it."  # its member reads the latest reason
    assert 1 in house.channel.last_shown
    assert (house.incidents._open == {Kind.UNDELIVERED}) == (scope is Scope.EVERYBODY)


async def test_unknown_channel_is_fetched_once_a_round(
    house: House,
) -> None:
    for song_id in (1, 2):
        await house.undelivered(song_id)
    house.channel.before_ask.append(CannotPost("The channel is gone."))
    await house.round()
    assert not house.channel.before_ask
    assert house.channel.tried == []
    await house.round()
    assert house.channel.tried == [2]


@pytest.mark.parametrize("there", [True, False])
async def test_post_whose_answer_was_lost_is_searched_for(house: House, there: bool) -> None:
    await house.undelivered()
    errors = house.channel.after_post if there else house.channel.before_post
    errors.append(PostUncertain("no answer"))
    await house.round()
    await house.is_undelivered(in_doubt=True)
    await house.round(after=3600.0)
    assert house.channel.looked_for == [1]
    await house.was_posted()


async def test_unreadable_history_makes_a_doubtful_song_wait(house: House) -> None:
    await house.undelivered(in_doubt=True)
    house.channel.before_find.append(CannotPost("I can't read the channel's history."))
    await house.round()
    assert house.channel.tried == []
    await house.is_undelivered(in_doubt=True)


@pytest.mark.parametrize("there", [False, True], ids=["before it was sent", "after it was sent"])
async def test_kill_during_a_late_post_posts_once(house: House, there: bool) -> None:
    await house.undelivered()
    (house.channel.after_post if there else house.channel.before_post).append(Crash())
    with pytest.raises(Crash):
        await house.round()
    await house.restarted()
    await house.is_undelivered(in_doubt=True)
    await house.round()
    await house.was_posted()


async def test_kill_during_a_late_post_and_a_day_later(house: House) -> None:
    for song_id in (1, 2):
        await house.undelivered(song_id)
        errors = house.channel.after_post if song_id == 1 else house.channel.before_post
        errors.append(Crash())
        with pytest.raises(Crash):
            await house.round()
        await house.restarted()
        house.channel.may_post = False
        await house.round()
        house.channel.may_post = True
    house.channel.may_post = False
    house.time.advance(days=2)
    await house.restarted()
    await house.round()
    await house.was_posted(1)
    await house.was_refunded(2)


async def lose_the_late_post(house: House, song_id: int = 1) -> None:
    """The power is cut, and a disk that lies has lost the mark of a post and all after it."""
    await house.undelivered(song_id)
    song = await house.song(song_id)
    house.channel.posts[song_id] = [await asyncio.to_thread(house.poster._file(song).read_bytes)]
    await house.restarted()


@pytest.mark.parametrize("files", ["with its files", "without its files"])
async def test_lost_mark_posts_once(house: House, files: str) -> None:
    await lose_the_late_post(house)
    if files == "without its files":
        shutil.rmtree(house.folder / "songs" / "1")
    await house.round()
    assert house.channel.tried == []
    await house.was_posted()


async def test_posted_song_without_a_mark_is_not_handed_over(house: House) -> None:
    """Its member asks before the first round."""
    await lose_the_late_post(house)
    assert not await house.hand_over()
    assert house.reply.got == []
    await house.was_posted()


async def test_posted_song_without_a_mark_is_not_refunded(house: House) -> None:
    await lose_the_late_post(house)
    house.channel.may_post = False
    house.time.advance(days=2)
    await house.round()
    await house.was_posted()


async def test_inherited_song_is_posted_if_the_history_is_unreadable(
    house: House,
) -> None:
    await house.undelivered()
    await house.restarted()
    house.channel.before_find.append(CannotPost("I can't read the channel's history."))
    await house.round()
    await house.was_posted()


async def test_inherited_song_without_a_file_waits_for_the_history(
    house: House,
) -> None:
    await lose_the_late_post(house)
    shutil.rmtree(house.folder / "songs" / "1")
    house.channel.before_find.append(CannotPost("I can't read the channel's history."))
    await house.round()
    assert await house.entries() == ["hold", "settle"]
    await house.round(after=AFTER_A_REFUSAL.longest)
    await house.was_posted()


async def test_inherited_song_waits_for_an_uncertain_search(
    house: House,
) -> None:
    await house.undelivered()
    await house.restarted()
    house.channel.before_find.append(PostUncertain("500"))
    await house.round()
    assert house.channel.tried == []
    await house.is_undelivered()


async def test_lower_limit_transcodes_again(house: House) -> None:
    await house.undelivered()
    house.grow(DEFAULT_UPLOAD_LIMIT + 1)
    await house.round()
    assert house.fitter.limits == [DEFAULT_UPLOAD_LIMIT]
    await house.was_posted()


@pytest.mark.parametrize("size", [1, DEFAULT_UPLOAD_LIMIT + 1])
async def test_refused_size_waits(house: House, size: int) -> None:
    await house.undelivered()
    house.channel.limit = LARGE
    house.grow(size)
    house.channel.before_post.append(TooLargeToPost("413"))
    for _ in range(2):
        await house.round()
        assert house.channel.tried == [1]  # it is not sent each minute
    await house.is_undelivered()


# --- on the disk ----------------------------------------------------------------------------------


def kept_files(house: House, song_id: int = 1) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in house.poster.folder(song_id).iterdir()}


@pytest.mark.parametrize("size", [DEFAULT_UPLOAD_LIMIT, DEFAULT_UPLOAD_LIMIT + 1])
async def test_undelivered_song_keeps_one_small_file(house: House, size: int) -> None:
    """46 MiB of each stayed for a day; a source may be 92 MB."""
    await house.undelivered()
    house.channel.may_post, house.channel.limit = False, LARGE
    house.grow(size)
    for _ in range(2):
        await house.round()
    assert house.fitter.limits == ([DEFAULT_UPLOAD_LIMIT] if size > DEFAULT_UPLOAD_LIMIT else [])
    (only,) = kept_files(house)
    assert only == (await house.song()).file
    assert kept_files(house)[only] <= DEFAULT_UPLOAD_LIMIT
    house.channel.may_post = True
    await house.round()
    await house.was_posted()


async def test_the_source_stays_until_a_smaller_file_is_there(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    await house.undelivered()
    house.channel.may_post = False
    house.grow(DEFAULT_UPLOAD_LIMIT + 1)
    house.fitter.errors.append(OSError(errno.ENOSPC, "No space left on device"))
    await house.round()
    assert set(kept_files(house)) == {"source", "1.mp3"}
    assert "its source stays on the disk for now" in caplog.text
    await house.round()
    assert len(kept_files(house)) == 1
    assert house.fitter.limits == [DEFAULT_UPLOAD_LIMIT] * 2


async def test_without_its_source_the_file_is_made_smaller(house: House) -> None:
    await house.undelivered()
    house.channel.may_post = False
    await house.round()
    assert set(kept_files(house)) == {"1.mp3"}
    assert await house.hand_over(limit=1)
    assert house.fitter.limits == [1]
    await house.was_handed_over()


async def test_song_that_fits_no_limit_waits_without_a_traceback(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    for song_id in (1, 2):
        await house.undelivered(song_id)
    house.grow(DEFAULT_UPLOAD_LIMIT + 1, 1)
    house.fitter.errors.extend([DoesNotFit("It is too large.")] * 2)
    await house.round()
    await house.round()
    assert not house.fitter.errors
    assert set(kept_files(house)) == {"1.mp3"}
    assert "its file stays as large as it is: It is too large." in caplog.text
    assert "it can't be transcoded for the channel: It is too large." in caplog.text
    assert "Traceback" not in caplog.text
    await house.is_undelivered(1)
    await house.was_posted(2)


async def test_lost_file_is_refunded_in_a_round(house: House) -> None:
    await house.undelivered()
    (house.folder / "songs" / "1/1.mp3").unlink()
    await house.round()
    assert house.channel.posts == {}
    await house.was_refunded()


async def test_full_disk_delays_a_post_by_a_round(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await house.undelivered()
    with full_disk(monkeypatch, for_writes=3):
        for _ in range(3):
            await house.round()
    assert house.channel.tried == []  # not without its mark
    await house.is_undelivered()
    await house.round()
    await house.was_posted()
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    "error", [DiskFullError(Path("songs.db")), DatabaseBusyError("songs.db is locked")]
)
async def test_late_post_is_saved_once_the_database_takes_it(
    house: House, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    await house.undelivered()
    complete, errors = house.completion.complete, [error] * 3

    async def not_now(song: Song, post_id: int) -> bool:
        if errors:
            await house.is_undelivered(in_doubt=True)
            raise errors.pop()
        return await complete(song, post_id)

    monkeypatch.setattr(house.completion, "complete", not_now)
    await house.round()
    await house.was_posted()


async def test_delivered_song_is_skipped(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The round had read it before its member took it."""
    await house.undelivered()
    stale = await songs.undelivered(house.database.reader)
    assert await house.hand_over()

    async def read_before(*_: object) -> list[Song]:
        return stale

    monkeypatch.setattr(songs, "undelivered", read_before)
    await house.round()
    house.time.advance(days=2)
    await house.round()
    assert house.channel.tried == []
    assert await house.entries() == ["hold", "settle"]


async def test_song_that_can_not_be_marked_is_not_sent(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody but us moves it; if somebody did, it would be theirs."""
    await house.undelivered()

    async def elsewhere(*_: object, **__: object) -> bool:
        return False

    monkeypatch.setattr(songs, "mark_posting_late", elsewhere)
    await house.round()
    assert house.channel.tried == []
    await house.is_undelivered()


async def test_song_that_ended_elsewhere_is_not_closed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.undelivered()

    async def elsewhere(*_: object, **__: object) -> bool:
        return False

    monkeypatch.setattr(songs, "end", elsewhere)
    assert not await house.hand_over()
    await house.round()
    house.time.advance(days=2)
    house.channel.posts.clear()
    await house.round()
    assert house.channel.last_shown == {}
    assert await house.entries() == ["hold", "settle"]


async def test_unforeseen_error_delays_no_other_song(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    for song_id in (1, 2):
        await house.undelivered(song_id)
    house.channel.before_post.append(RuntimeError("a defect"))
    await house.round()
    assert "a defect" in caplog.text
    await house.was_posted(2)
    await house.is_undelivered(1, in_doubt=True)
    await house.round(after=3600.0)
    await house.was_posted(1)


async def test_failing_database_is_logged_and_retried(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await house.undelivered()

    async def fails(*_: object) -> list[Song]:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(songs, "undelivered", fails)
        await house.round()
    assert "reading undelivered songs failed" in caplog.text
    await house.round()
    await house.was_posted()


async def test_retry_times_survive_a_restart(house: House) -> None:
    await house.undelivered()
    house.channel.before_post.extend([CannotPost("No.")] * 3)
    await house.round()
    assert (await house.song()).attempts == 1
    await house.is_undelivered(in_doubt=False)
    await house.restarted()
    await house.round()
    assert house.channel.tried == [1]
    house.delivery.wake(SERVER)  # as the servers do when they are there again
    await house.round()
    assert house.channel.tried == [1, 1]


async def test_event_is_kept_until_the_database_takes_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.undelivered()
    house.channel.before_post.append(CannotPost("No."))
    await house.round()
    house.delivery.wake(SERVER)
    house.delivery.wake(SERVER + 1)
    with full_disk(monkeypatch, for_writes=1):
        await house.round()
    assert house.channel.tried == [1]
    await house.round()
    await house.was_posted()


async def test_attempt_that_can_not_be_counted_is_logged(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def full(*_: object, **__: object) -> bool:
        raise DiskFullError(Path("songs.db"))

    await house.undelivered()
    house.channel.before_post.append(CannotPost("No."))
    monkeypatch.setattr(songs, "postpone", full)
    await house.round()
    assert "its next attempt can't be saved" in caplog.text
    await house.round()
    await house.was_posted()


async def test_locks_are_forgotten(house: House) -> None:
    await house.undelivered()
    assert await house.hand_over()
    assert len(house.poster._locks) == 0


# --- back -----------------------------------------------------------------------------------------


async def test_price_is_refunded_after_a_day(house: House) -> None:
    await house.undelivered()
    house.channel.may_post = False
    await house.round(after=KEPT.total_seconds())
    await house.is_undelivered()
    house.time.advance(seconds=1)
    await house.round()
    await house.was_refunded()
    house.channel.may_post = True
    await house.round()
    assert house.channel.posts == {}
    assert not await house.hand_over()
    assert await house.entries() == ["hold", "settle", "compensate"]


async def test_absence_counts_towards_the_day(house: House) -> None:
    await house.undelivered()
    house.time.advance(days=61)
    await house.restarted()
    await house.round()
    assert house.channel.tried == []
    await house.was_refunded()


@pytest.mark.parametrize("answer", [None, CannotPost("I am no longer in the server.")])
async def test_doubtful_song_is_searched_for_before_the_refund(
    house: House, answer: Exception | None
) -> None:
    await house.undelivered(in_doubt=True)
    house.channel.before_find.extend([answer] if answer else [])
    house.time.advance(days=2)
    await house.round()
    assert house.channel.looked_for == [1]
    await house.was_refunded()


async def test_uncertain_search_delays_the_refund(house: House) -> None:
    await house.undelivered(in_doubt=True)
    house.channel.before_find.append(PostUncertain("no answer"))
    house.time.advance(days=2)
    await house.round()
    await house.is_undelivered(in_doubt=True)
    await house.round()
    await house.was_refunded()


async def test_overdue_song_is_refunded_although_its_channel_refuses(house: House) -> None:
    await house.undelivered(1)
    house.time.advance(hours=20)
    await house.undelivered(2)
    house.time.advance(hours=5)
    house.channel.before_ask.append(CannotPost("No."))
    await house.round()
    await house.was_refunded(1)
    await house.is_undelivered(2)


async def test_simultaneous_deliveries_have_one_outcome(house: House) -> None:
    """Its member, its channel and its day, in whatever order the loop takes them."""
    for song_id in range(1, 10):
        await house.undelivered(song_id, price=0)
    house.time.advance(days=2)
    await asyncio.gather(
        *(house.hand_over(song_id) for song_id in range(1, 10)),
        house.round(),
        *(house.poster.post(song_id) for song_id in range(1, 10)),
        house.round(),
        *(house.hand_over(song_id) for song_id in range(9, 0, -1)),
    )
    outcomes = Counter[tuple[int, int]]()
    for song_id in range(1, 10):
        posts = len(house.channel.posts.get(song_id, []))
        back = (await house.entries(song_id)).count("compensate")
        given = (await house.song(song_id)).reason is not None and not back
        assert (posts, back, given) in [(1, 0, False), (0, 1, False), (0, 0, True)]
        outcomes[posts, back] += given
    assert len(house.reply.got) == sum(outcomes.values())


# --- what it tells --------------------------------------------------------------------------------


async def test_reasons_are_logged_when_they_change(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "services.songs.delivery")
    house.channel.may_post = False
    for song_id in (1, 2):
        await house.undelivered(song_id)
    for _ in range(3):
        await house.round()
    assert caplog.text.count(f"undelivered songs: 2: {REASON}") == 1
    await house.hand_over(1)
    await house.round()
    assert caplog.text.count(f"undelivered songs: 1: {REASON}") == 1
    await house.hand_over(2)
    for _ in range(2):
        await house.round()
    assert caplog.text.count("no undelivered songs any more") == 1


async def test_rounds_follow_changes_and_minutes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLE", 0.0)
    rounds = asyncio.Queue[None]()

    async def once() -> None:
        rounds.put_nowait(None)

    monkeypatch.setattr(house.delivery, "once", once)
    running = asyncio.create_task(house.delivery.run())
    await asyncio.wait_for(rounds.get(), 5)
    house.delivery.wake(SERVER)
    await asyncio.wait_for(rounds.get(), 5)
    running.cancel()
    await asyncio.wait({running})
    monkeypatch.setattr(module, "EVERY", 0.001)
    running = asyncio.create_task(house.delivery.run())
    for _ in range(3):
        await asyncio.wait_for(rounds.get(), 5)
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()
