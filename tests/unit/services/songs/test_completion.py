"""A song's end: its state and its price in one transaction."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from db import ledger, songs
from db.database import Database
from db.records import Fault, Reason, Song, State, Status
from services.credits.credits import Credits
from services.settings.settings import Member
from services.songs.completion import SongCompletion
from tests.factories import MEMBER, NOON, SERVER, SettableClock, add_held_song, add_song


@pytest.fixture
def completion(database: Database, credits: Credits, clock: SettableClock) -> SongCompletion:
    return SongCompletion(database, credits, clock=clock)


async def read(database: Database, song: Song) -> Song:
    found = await songs.get(database.reader, song.song_id)
    assert found is not None
    return found


async def kinds(database: Database) -> set[str]:
    """Those of the entries that are about songs."""
    rows = await database.reader.execute_fetchall(
        "SELECT kind FROM ledger WHERE song_id IS NOT NULL"
    )
    return {row[0] for row in rows}


async def free(credits: Credits) -> int:
    return (await credits.balance(Member(SERVER, MEMBER))).free


ENDS: dict[str, Callable[[SongCompletion, Song], Awaitable[bool]]] = {
    "complete": lambda completion, song: completion.complete(song, 9),
    "undelivered": lambda completion, song: completion.mark_undelivered(song, Reason.CHANNEL_GONE),
    "fail": lambda completion, song: completion.fail(song, Reason.MODEL_FAILED),
    "cancel": lambda completion, song: completion.cancel(song),
    "hand over": lambda completion, song: completion.hand_over(song),
}
RUNNING = set(State) - {
    State.WAITING,
    State.COMPLETED,
    State.REFUNDED,
    State.FAILED,
    State.CANCELLED,
}
FROM = {
    "complete": RUNNING,
    "undelivered": {State.POSTING, State.UNDELIVERED},
    "fail": RUNNING - {State.UNDELIVERED} | {State.WAITING},
    "cancel": {State.WAITING},
    "hand over": {State.UNDELIVERED},
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("end", ENDS)
async def test_song_ends_only_from_allowed_states(
    database: Database, credits: Credits, completion: SongCompletion, end: str, state: State
) -> None:
    song = await add_held_song(database, credits, state=state)
    can = state in FROM[end]
    assert await ENDS[end](completion, song) is can
    assert await kinds(database) == (
        {"hold"}
        if not can or state is State.UNDELIVERED  # an earlier end has settled it
        else {"hold", "settle"}
        if end in ("complete", "undelivered")
        else {"hold", "refund"}
    )
    again = end == "undelivered" and state is State.UNDELIVERED
    assert await ENDS[end](completion, song) is again


async def test_posted_song_is_settled(
    database: Database, credits: Credits, completion: SongCompletion
) -> None:
    song = await add_held_song(database, credits, state=State.POSTING)
    assert await completion.complete(song, 9)
    after = await read(database, song)
    assert (after.status, after.post_id, after.state_at) == (Status.COMPLETED, 9, NOON)
    assert await free(credits) == 8
    assert await songs.price_of_unfinished(database.reader, SERVER, MEMBER) == 0


async def test_failed_song_is_refunded(
    database: Database, credits: Credits, completion: SongCompletion
) -> None:
    song = await add_held_song(database, credits, state=State.SUBMITTED)
    assert await completion.fail(song, Reason.MODEL_FAILED)
    after = await read(database, song)
    assert (after.status, after.reason) == (Status.FAILED, Reason.MODEL_FAILED)
    assert await free(credits) == 10


async def test_only_one_of_simultaneous_ends_counts(
    database: Database, credits: Credits, completion: SongCompletion
) -> None:
    song = await add_held_song(database, credits)
    ends = [
        completion.cancel(song),
        completion.fail(song, Reason.MODEL_FAILED),
        completion.cancel(song),
    ]
    assert sorted(await asyncio.gather(*ends)) == [False, False, True]
    assert await free(credits) == 10


@pytest.mark.parametrize("end", ["complete", "undelivered", "fail", "cancel"])
async def test_failing_entry_undoes_the_end(
    database: Database,
    credits: Credits,
    completion: SongCompletion,
    end: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = State.WAITING if end == "cancel" else State.POSTING
    song = await add_held_song(database, credits, state=state)

    async def fails(*_: object, **__: object) -> bool:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "insert", fails)
        with pytest.raises(sqlite3.OperationalError):
            await ENDS[end](completion, song)
    assert await read(database, song) == song
    assert await ENDS[end](completion, song)


async def undelivered(
    database: Database,
    credits: Credits,
    completion: SongCompletion,
    song_id: int,
    **fields: Any,
) -> Song:
    song = await add_held_song(database, credits, song_id, state=State.POSTING, **fields)
    assert await completion.mark_undelivered(song, Reason.CHANNEL_GONE)
    return await read(database, song)


async def test_undelivered_song_is_refunded_once(
    database: Database, credits: Credits, completion: SongCompletion, clock: SettableClock
) -> None:
    song = await undelivered(database, credits, completion, 1)
    clock.advance(days=1)
    assert sorted(
        await asyncio.gather(completion.compensate(song), completion.compensate(song))
    ) == [
        False,
        True,
    ]
    assert not await completion.hand_over(song)
    after = await read(database, song)
    assert (after.state, after.status, after.file) == (State.REFUNDED, Status.COMPLETED, None)
    assert await kinds(database) == {"hold", "settle", "compensate"}
    # The day that paid for it is over: it comes back until the end of today.
    assert await free(credits) == 12


@pytest.mark.parametrize("in_status", [False, True])
async def test_handed_over_song_is_not_refunded(
    database: Database, credits: Credits, completion: SongCompletion, in_status: bool
) -> None:
    """A status message with the song's audio is not edited any more."""
    song = await undelivered(database, credits, completion, 1, token="t", token_until=NOON)
    assert await completion.hand_over(song, in_status=in_status)
    assert ((await read(database, song)).token is None) is in_status
    assert not await completion.hand_over(song)
    assert not await completion.compensate(song)
    after = await read(database, song)
    assert (after.state, after.state_at) == (State.COMPLETED, NOON)
    assert await kinds(database) == {"hold", "settle"}


async def test_late_post_completes_the_song(
    database: Database, credits: Credits, completion: SongCompletion, clock: SettableClock
) -> None:
    song = await undelivered(database, credits, completion, 1)
    clock.advance(hours=1)
    async with database.write() as connection:
        assert await songs.mark_posting_late(connection, 1, at=clock())
    assert await completion.complete(song, 9)
    assert not await completion.complete(song, 10)
    assert not await completion.compensate(song)
    assert not await completion.hand_over(song)
    after = await read(database, song)
    assert (after.post_id, after.reason, after.file) == (9, None, None)
    assert (after.state_at, after.ended_at) == (clock(), NOON)
    assert await kinds(database) == {"hold", "settle"}


async def test_song_without_a_hold_can_not_end(
    database: Database, completion: SongCompletion
) -> None:
    song = await add_song(database)
    with pytest.raises(sqlite3.IntegrityError):
        await completion.fail(song, Reason.MODEL_FAILED)
    assert await read(database, song) == song


async def test_fault_is_stored(
    database: Database, credits: Credits, completion: SongCompletion
) -> None:
    ends: list[tuple[Fault, Callable[[Song], Awaitable[bool]]]] = [
        (Fault.SERVICE, lambda song: completion.fail(song, Reason.MODEL_FAILED)),
        (
            Fault.REQUEST,
            lambda song: completion.fail(song, Reason.MODEL_FAILED, fault=Fault.REQUEST),
        ),
        (Fault.SERVER, completion.cancel),
        (Fault.MEMBER, lambda song: completion.cancel(song, fault=Fault.MEMBER)),
    ]
    for song_id, (fault, end) in enumerate(ends, start=1):
        song = await add_held_song(database, credits, song_id)
        assert await end(song)
        ended = await read(database, song)
        assert ended.fault is fault
        assert ended.lyrics == ("" if ended.status is Status.CANCELLED else song.lyrics)
    posted = await add_held_song(database, credits, 9, state=State.POSTING)
    assert await completion.complete(posted, 9)
    assert (await read(database, posted)).fault is None
