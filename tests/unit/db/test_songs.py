"""Songs: their moves and their fair order."""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from aiosqlite import Connection
from hypothesis import given, settings
from hypothesis import strategies as st

from db import ledger, servers, songs
from db.database import Database
from db.records import Fault, Song, Status, Step, Undelivered
from services.credits.credits import Credits
from services.settings.catalogue import ALLOWANCE
from services.settings.server_settings import Manager
from services.songs.completion import SongCompletion
from tests.databases import database_in_memory
from tests.factories import (
    MEMBER,
    NOON,
    SERVER,
    SettableClock,
    add_held_song,
    add_song,
    make_server_settings,
    make_song,
)


@pytest.mark.parametrize("step", Step)
async def test_a_song_is_read_as_it_was_written(database: Database, step: Step) -> None:
    song = await add_song(database, step=step)
    assert await songs.get(database.reader, song.song_id) == song


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
async def test_an_unhappy_end_is_read_as_it_was_written(database: Database, status: Status) -> None:
    song = await add_song(database, step=Step.ENDED, status=status)
    assert await songs.get(database.reader, song.song_id) == song


# --- Fair order ---------------------------------------------------------------------------------

Waiting = tuple[int, int, int]
"""Server, member, and when it was asked for, in seconds after noon."""

_PEOPLE = st.tuples(st.integers(1, 3), st.integers(1, 3))
_ASKS = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(0, 4)), max_size=12)


async def _ask_all(database: Database, asks: Sequence[Waiting]) -> None:
    # Ids fall where times rise, so that an order by id is not one by time.
    for index, (server, member, second) in enumerate(asks):
        await add_song(
            database,
            1_000 - index,
            server_id=server,
            member_id=member,
            number=index,
            requested_at=NOON + timedelta(seconds=second),
        )


async def _start_next(database: Database, at: datetime) -> Song | None:
    async with database.write() as connection:
        song = await songs.next_waiting(connection)
        if song is not None:
            assert await songs.mark_submitting(connection, song.song_id, at=at)
            await servers.mark_started(connection, song.server_id, song.member_id, at=at)
        return song


@settings(max_examples=75)
@given(
    before=st.lists(st.tuples(_PEOPLE, st.integers(-3, 3)), max_size=6),
    asks=_ASKS,
    clock=st.lists(st.integers(-2, 2), min_size=12, max_size=12),
)
async def test_the_order_that_is_shown_is_the_order_of_the_starts(
    before: list[tuple[tuple[int, int], int]], asks: list[Waiting], clock: list[int]
) -> None:
    """Also where the clock stands still or is set back between the starts."""
    async with database_in_memory() as database:
        for (server, member), second in before:
            async with database.write() as connection:
                await servers.ensure_server(connection, server)
                await servers.ensure_member(connection, server, member)
                at = NOON + timedelta(seconds=second)
                await servers.mark_started(connection, server, member, at=at)
        await _ask_all(database, asks)
        foretold = await songs.waiting_in_order(database.reader)
        now, started = NOON, []
        for step in clock:
            now += timedelta(seconds=step)
            song = await _start_next(database, now)
            if song is not None:
                started.append(song.song_id)
                rest = await songs.waiting_in_order(database.reader)
                assert rest == foretold[len(started) :]
        assert started == foretold
        assert len(foretold) == len(asks)


@settings(max_examples=50)
@given(asks=_ASKS)
async def test_nobodys_second_song_is_before_anothers_first(asks: list[Waiting]) -> None:
    """Within a server by members; among all by servers."""
    async with database_in_memory() as database:
        await _ask_all(database, asks)
        order = [
            (song.server_id, song.member_id)
            for song_id in await songs.waiting_in_order(database.reader)
            if (song := await songs.get(database.reader, song_id)) is not None
        ]
    for server in {server for server, _ in order}:
        members = [member for s, member in order if s == server]
        counts = Counter[int]()
        rounds = []
        for member in members:
            counts[member] += 1
            rounds.append(counts[member])
        assert rounds == sorted(rounds)
    of_servers = Counter[int]()
    rounds = []
    for server, _ in order:
        of_servers[server] += 1
        rounds.append(of_servers[server])
    assert rounds == sorted(rounds)


async def test_a_members_own_songs_start_oldest_first(database: Database) -> None:
    await _ask_all(database, [(1, 1, 4), (1, 1, 0), (1, 1, 2)])
    assert await songs.waiting_in_order(database.reader) == [999, 998, 1_000]


async def test_who_started_longest_ago_is_next(database: Database) -> None:
    await _ask_all(database, [(1, 1, 0), (1, 2, 1), (2, 1, 2)])
    for server, member, minute in ((1, 1, 3), (1, 2, 2), (2, 1, 1)):
        async with database.write() as connection:
            at = NOON - timedelta(hours=1) + timedelta(minutes=minute)
            await servers.mark_started(connection, server, member, at=at)
    # Marked in this order, server 2 started last of all, and member 2 after member 1.
    assert await songs.waiting_in_order(database.reader) == [1_000, 998, 999]


async def test_nothing_waits(database: Database) -> None:
    assert await songs.waiting_in_order(database.reader) == []
    assert await songs.next_waiting(database.reader) is None


# --- A song's way -------------------------------------------------------------------------------

LATER = NOON + timedelta(minutes=5)

MOVES: dict[str, tuple[Callable[[Connection], Awaitable[object]], set[Step]]] = {
    "mark_submitting": (
        lambda connection: songs.mark_submitting(connection, 1, at=LATER),
        {Step.WAITING, Step.SUBMITTING},
    ),
    "unmark_submitting": (
        lambda connection: songs.unmark_submitting(connection, 1),
        {Step.SUBMITTING},
    ),
    "mark_submitted": (
        lambda connection: songs.mark_submitted(connection, 1, request_id="r", at=LATER),
        {Step.SUBMITTING},
    ),
    "mark_processing": (
        lambda connection: songs.mark_processing(connection, 1),
        {Step.SUBMITTING, Step.SUBMITTED},
    ),
    "mark_downloaded": (
        lambda connection: songs.mark_downloaded(
            connection, 1, at=LATER, run_low=9_000, run_high=11_000
        ),
        {Step.SUBMITTING, Step.SUBMITTED},
    ),
    "mark_ready": (
        lambda connection: songs.mark_ready(connection, 1, file="1-x.mp3"),
        {Step.DOWNLOADED, Step.POSTING},
    ),
    "mark_posting": (
        lambda connection: songs.mark_posting(connection, 1, at=LATER),
        {Step.READY},
    ),
    "complete": (
        lambda connection: songs.end(
            connection, 1, status=Status.COMPLETED, at=LATER, expected=Step.POSTING, post_id=9
        ),
        {Step.POSTING},
    ),
    "fail": (
        lambda connection: songs.end(connection, 1, status=Status.FAILED, at=LATER, reason="No."),
        set(Step) - {Step.ENDED},
    ),
    "cancel": (
        lambda connection: songs.end(
            connection, 1, status=Status.CANCELLED, at=LATER, expected=Step.WAITING
        ),
        {Step.WAITING},
    ),
    "set_token": (
        lambda connection: songs.set_token(connection, 1, message_id=8, token="t", until=LATER),
        set(Step) - {Step.ENDED},
    ),
    "mark_delivered": (
        lambda connection: songs.mark_delivered(connection, 1, at=LATER),
        set(),
    ),
    "set_undelivered": (
        lambda connection: songs.set_undelivered(connection, 1, reason="No."),
        set(),
    ),
    "mark_posting_late": (
        lambda connection: songs.mark_posting_late(connection, 1, at=LATER),
        set(),
    ),
    "mark_not_posted": (lambda connection: songs.mark_not_posted(connection, 1), set()),
    "mark_posted_late": (
        lambda connection: songs.mark_posted_late(connection, 1, post_id=9, at=LATER),
        set(),
    ),
    "set_kept_file": (
        lambda connection: songs.set_kept_file(connection, 1, file="2.mp3"),
        set(),
    ),
    "forget_file": (lambda connection: songs.forget_file(connection, 1), set()),
}


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("move", MOVES)
async def test_a_song_moves_only_from_the_right_step(
    database: Database, move: str, step: Step
) -> None:
    make, allowed = MOVES[move]
    before = await add_song(database, step=step)
    neighbour = await add_song(database, 2, step=step)
    async with database.write() as connection:
        moved = await make(connection)
    assert bool(moved) is (step in allowed)
    assert type(moved) is bool or move == "unmark_submitting"
    after = await songs.get(database.reader, 1)
    assert (after != before) is (step in allowed)
    assert await songs.get(database.reader, 2) == neighbour


async def read(database: Database, song_id: int = 1) -> Song:
    song = await songs.get(database.reader, song_id)
    assert song is not None
    return song


async def test_a_songs_way_leaves_its_marks(database: Database) -> None:
    await add_song(database, token="t", token_until=LATER)
    async with database.write() as connection:
        await songs.mark_submitting(connection, 1, at=LATER)
        await songs.mark_submitted(connection, 1, request_id="r", at=LATER)
        await songs.mark_processing(connection, 1)
        await songs.mark_downloaded(connection, 1, at=NOON, run_low=1, run_high=2)
    song = await read(database)
    assert (song.status, song.step, song.submits) == (Status.PROCESSING, Step.DOWNLOADED, 1)
    assert (song.request_id, song.submitted_at) == ("r", LATER)
    async with database.write() as connection:
        await songs.mark_ready(connection, 1, file="1.mp3")
        await songs.mark_posting(connection, 1, at=LATER)
        await songs.mark_ready(connection, 1, file="1-smaller.mp3")
        await songs.mark_posting(connection, 1, at=LATER + timedelta(minutes=1))
    song = await read(database)
    # A post of the first attempt is younger than its mark: the second must not hide it.
    assert (song.file, song.posting_at) == ("1-smaller.mp3", LATER)
    async with database.write() as connection:
        await songs.end(connection, 1, status=Status.COMPLETED, at=LATER, post_id=9)
    song = await read(database)
    assert (song.status, song.ended_at, song.delivered_at) == (Status.COMPLETED, LATER, LATER)
    assert (song.post_id, song.file) == (9, None)


async def test_a_song_of_one_call_was_submitted_when_the_call_began(database: Database) -> None:
    await add_song(database, step=Step.SUBMITTING)
    async with database.write() as connection:
        assert await songs.mark_processing(connection, 1)
        await songs.mark_downloaded(connection, 1, at=LATER, run_low=9, run_high=9)
    assert (await read(database)).submitted_at == LATER


async def test_a_song_is_submitted_twice_at_most(database: Database) -> None:
    await add_song(database)
    async with database.write() as connection:
        assert await songs.mark_submitting(connection, 1, at=LATER)
        assert await songs.mark_submitting(connection, 1, at=LATER)
        assert not await songs.mark_submitting(connection, 1, at=LATER)
    assert (await read(database)).submits == 2


async def test_an_attempt_that_surely_failed_does_not_count(database: Database) -> None:
    await add_song(database)
    async with database.write() as connection:
        await songs.mark_submitting(connection, 1, at=LATER)
        await songs.mark_processing(connection, 1)
        assert await songs.unmark_submitting(connection, 1) == LATER
        assert await songs.unmark_submitting(connection, 1) is None
    song = await read(database)
    assert (song.status, song.step, song.submits) == (Status.QUEUED, Step.WAITING, 0)
    assert song.cancellable


async def test_a_song_whose_first_answer_was_lost_can_not_be_cancelled(database: Database) -> None:
    """It may be at the API, whatever became of the second attempt."""
    await add_song(database)
    async with database.write() as connection:
        await songs.mark_submitting(connection, 1, at=LATER)
        await songs.mark_submitting(connection, 1, at=LATER)
        assert await songs.unmark_submitting(connection, 1) == LATER
    song = await read(database)
    assert (song.step, song.submits, song.cancellable) == (Step.SUBMITTING, 1, False)


async def test_an_undelivered_song_keeps_its_file_until_it_is_handed_over(
    database: Database,
) -> None:
    await add_song(database, step=Step.POSTING)
    async with database.write() as connection:
        await songs.end(connection, 1, status=Status.COMPLETED, at=LATER, undelivered="No room.")
    song = await read(database)
    assert (song.file, song.delivered_at, song.undelivered) == ("1.mp3", None, "No room.")
    assert await songs.needing_files(database.reader) == {1}
    async with database.write() as connection:
        assert await songs.mark_delivered(connection, 1, at=LATER)
        assert not await songs.mark_delivered(connection, 1, at=LATER)
        assert not await songs.forget_file(connection, 1)
    song = await read(database)
    assert (song.file, song.delivered_at) == (None, LATER)
    assert await songs.needing_files(database.reader) == set()


KEPT: dict[str, Any] = {"step": Step.ENDED, "undelivered": "No.", "file": "1.mp3"}


async def test_the_file_nobody_came_for_is_forgotten_once(database: Database) -> None:
    await add_song(database, **KEPT, in_doubt=True)
    assert await songs.undelivered(database.reader) == [await read(database)]
    async with database.write() as connection:
        assert await songs.forget_file(connection, 1)
        for late in (
            await songs.forget_file(connection, 1),
            await songs.mark_delivered(connection, 1, at=LATER),
            await songs.mark_posting_late(connection, 1, at=LATER),
            await songs.mark_posted_late(connection, 1, post_id=9, at=LATER),
            await songs.set_kept_file(connection, 1, file="2.mp3"),
        ):
            assert not late
    assert await songs.undelivered(database.reader) == []
    song = await read(database)
    assert (song.file, song.delivered_at, song.in_doubt) == (None, None, False)


async def test_what_waits_is_marked_before_it_is_sent_late(database: Database) -> None:
    await add_song(database, **KEPT)
    async with database.write() as connection:
        assert await songs.mark_posting_late(connection, 1, at=LATER)
        assert await songs.mark_posting_late(connection, 1, at=LATER + timedelta(hours=1))
    song = await read(database)
    # A post of the first of the tries that may have come through is younger than its mark.
    assert (song.in_doubt, song.posting_at) == (True, LATER)
    async with database.write() as connection:
        assert await songs.mark_not_posted(connection, 1)
        assert not await songs.mark_not_posted(connection, 1)
        assert await songs.mark_posting_late(connection, 1, at=LATER + timedelta(hours=1))
        assert await songs.set_kept_file(connection, 1, file="2.mp3")
    song = await read(database)
    assert (song.posting_at, song.file) == (LATER + timedelta(hours=1), "2.mp3")
    async with database.write() as connection:
        assert await songs.mark_posted_late(connection, 1, post_id=9, at=LATER)
        assert not await songs.mark_delivered(connection, 1, at=LATER)
    song = await read(database)
    assert (song.post_id, song.undelivered, song.file) == (9, None, None)
    assert (song.delivered_at, song.in_doubt) == (LATER, False)


async def test_what_waits_may_be_found_although_its_mark_was_lost(database: Database) -> None:
    await add_song(database, **KEPT)
    async with database.write() as connection:
        assert await songs.mark_posted_late(connection, 1, post_id=9, at=LATER)
    song = await read(database)
    assert (song.post_id, song.undelivered, song.file) == (9, None, None)


async def test_what_waits_to_be_delivered_is_counted_by_reason(database: Database) -> None:
    await add_song(database, 1, **KEPT)
    await add_song(database, 2, **KEPT | {"undelivered": "Gone."}, ended_at=LATER)
    await add_song(database, 3, **KEPT | {"undelivered": "Gone."}, ended_at=LATER)
    await add_song(database, 4, **KEPT | {"file": None})  # given back
    await add_song(database, 5, **KEPT | {"file": None}, delivered_at=NOON)
    await add_song(database, 6, step=Step.POSTING)
    await add_song(database, 7, **KEPT, member_id=8)
    assert await songs.undelivered_by_reason(database.reader) == [
        Undelivered("No.", 2, NOON),
        Undelivered("Gone.", 2, LATER),
    ]
    found = [song.song_id for song in await songs.undelivered(database.reader)]
    assert found == [1, 7, 2, 3]
    mine = await songs.undelivered_of_member(database.reader, SERVER, MEMBER)
    assert [song.song_id for song in mine] == [3, 2, 1]


async def test_a_song_is_found_by_its_number_in_its_server(database: Database) -> None:
    await add_song(database, 5, number=42)
    await add_song(database, 6, number=42, server_id=SERVER + 1)
    assert await songs.by_number(database.reader, SERVER, 42) == await read(database, 5)
    assert await songs.by_number(database.reader, SERVER, 43) is None


async def test_the_file_of_a_song_that_was_not_made_goes(database: Database) -> None:
    await add_song(database, step=Step.POSTING)
    async with database.write() as connection:
        await songs.end(connection, 1, status=Status.FAILED, at=LATER, reason="No.")
    assert (await read(database)).file is None


# --- What is read -------------------------------------------------------------------------------


async def test_a_song_is_inserted_once(database: Database) -> None:
    await add_song(database, 2)
    song = make_song(1, message_id=5, token="t", token_until=LATER)
    async with database.write() as connection:
        assert await songs.insert(connection, song)
        assert not await songs.insert(connection, replace(song, genres="jazz"))
    assert await read(database) == song
    assert await songs.get(database.reader, 3) is None


async def test_the_last_song_that_counts_is_the_newest_that_was_not_given_back(
    database: Database,
) -> None:
    reader = database.reader
    assert await songs.last_requested(reader, SERVER, MEMBER) is None
    ends = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)
    for song_id, status in enumerate(ends, start=1):
        at = NOON + timedelta(minutes=song_id)
        await add_song(database, song_id, step=Step.ENDED, status=status, requested_at=at)
    await add_song(database, 4, member_id=99, requested_at=LATER)
    await add_song(database, 5, server_id=6, requested_at=LATER)
    assert await songs.last_requested(reader, SERVER, MEMBER) == NOON + timedelta(minutes=1)
    await add_song(database, 6, requested_at=LATER)
    assert await songs.last_requested(reader, SERVER, MEMBER) == LATER


async def test_who_failed_ten_times_need_not_wait(database: Database) -> None:
    await add_song(database, 1)
    for song_id in range(2, 11):
        await add_song(database, song_id, step=Step.ENDED, status=Status.FAILED)
    assert await songs.last_requested(database.reader, SERVER, MEMBER) == NOON
    await add_song(database, 11, step=Step.ENDED, status=Status.FAILED)
    assert await songs.last_requested(database.reader, SERVER, MEMBER) is None


async def test_what_was_spent_is_what_was_made_and_kept(
    database: Database, credits: Credits, clock: SettableClock
) -> None:
    """Of the songs that were held since a moment: a price that came back was not spent."""
    completion = SongCompletion(database, credits, clock=clock)
    await make_server_settings(database, credits).set(Manager(SERVER, 1), ALLOWANCE, 100)
    at = {"step": Step.POSTING}
    made = await add_held_song(database, credits, 1, price=1, **at)
    late = await add_held_song(database, credits, 2, price=2, **at)
    lost = await add_held_song(database, credits, 3, price=4, **at)
    await add_held_song(database, credits, 4, price=8)
    failed = await add_held_song(database, credits, 5, price=16)
    other = await add_held_song(database, credits, 6, price=32, member_id=9, **at)
    clock.advance(minutes=1)
    newer = await add_held_song(database, credits, 7, price=64, **at)
    for song in (made, other, newer):
        assert await completion.complete(song, post_id=song.song_id)
    for song in (late, lost):
        assert await completion.complete(song, undelivered="No.")
    assert await completion.fail(failed, "No.")
    async with database.write() as connection:
        await credits.compensate(connection, lost)

    async def spent(since: datetime) -> int:
        return await songs.price_of_completed(database.reader, SERVER, MEMBER, since=since)

    assert await spent(NOON) == 1 + 2 + 64
    assert await spent(NOON + timedelta(seconds=1)) == 64
    assert await spent(NOON + timedelta(hours=1)) == 0


async def test_what_a_member_has(database: Database) -> None:
    await add_song(database, 1, price=1)
    await add_song(database, 2, price=2, step=Step.POSTING, requested_at=LATER)
    await add_song(database, 3, price=4, step=Step.ENDED, genres="jazz")
    await add_song(database, 4, price=8, member_id=5, requested_at=NOON - timedelta(1))
    await add_song(database, 5, price=16, server_id=6)
    reader = database.reader
    assert await songs.count_unfinished(reader, SERVER, MEMBER) == 2
    assert await songs.price_of_unfinished(reader, SERVER, MEMBER) == 3
    assert await songs.price_of_unfinished(reader, SERVER, 99) == 0
    assert await songs.count_of_member(reader, SERVER, MEMBER) == 3
    mine = await songs.of_member(reader, SERVER, MEMBER, limit=2, offset=1)
    assert [song.song_id for song in mine] == [2, 1]
    there = await songs.unfinished_of_server(reader, SERVER)
    assert [song.song_id for song in there] == [4, 1, 2]
    assert [song.song_id for song in await songs.waiting_of_server(reader, SERVER)] == [4, 1]
    assert await songs.count_waiting(reader) == 3
    assert await songs.genres_of_member(reader, SERVER, MEMBER, limit=2) == ["jazz", "funk, pop"]
    assert await songs.genres_of_server(reader, SERVER, limit=3) == [
        "funk, pop",
        "jazz",
        "funk, pop",
    ]


async def test_what_has_begun_is_resumed_oldest_submit_first(database: Database) -> None:
    await add_song(database, 1)
    await add_song(database, 2, step=Step.POSTING, submitted_at=LATER)
    await add_song(database, 3, step=Step.SUBMITTED)
    await add_song(database, 4, step=Step.SUBMITTING)
    await add_song(database, 5, step=Step.ENDED)
    assert [song.song_id for song in await songs.unfinished(database.reader)] == [4, 3, 2]


async def test_what_has_waited_too_long(database: Database) -> None:
    await add_song(database, 1, requested_at=LATER)
    await add_song(database, 2, requested_at=NOON)
    await add_song(database, 3, step=Step.SUBMITTING)
    found = await songs.waiting_since_before(database.reader, LATER)
    assert [song.song_id for song in found] == [2]


async def test_the_latest_run_times_in_the_order_of_their_submits(database: Database) -> None:
    for song_id in range(1, 5):
        await add_song(
            database,
            song_id,
            step=Step.ENDED,
            run_low=song_id * 1_000,
            run_high=song_id * 2_000,
            submitted_at=NOON - timedelta(hours=1, minutes=-song_id % 3),
            ended_at=NOON - timedelta(minutes=song_id),
        )
    await add_song(database, 5, step=Step.ENDED)
    # The clock was set back while these ran.
    await add_song(database, 6, step=Step.ENDED, run_low=0, run_high=0)
    await add_song(database, 7, step=Step.ENDED, run_low=5, run_high=4)
    # Not ended: it may still be found to be no song.
    await add_song(database, 8, step=Step.READY, run_low=5, run_high=6)
    times = await songs.run_times(database.reader, limit=3)
    assert [(run.low_ms, run.high_ms) for run in times] == [
        (1_000, 2_000),
        (2_000, 4_000),
        (3_000, 6_000),
    ]
    assert (times[0].seconds, times[0].steps) == (60, 50)


# --- The status message -------------------------------------------------------------------------


async def test_a_newer_token_is_used_from_then_on(database: Database) -> None:
    await add_song(database, message_id=5, token="old", token_until=NOON)
    async with database.write() as connection:
        await songs.set_token(connection, 1, message_id=None, token="new", until=LATER)
    song = await read(database)
    assert (song.message_id, song.token, song.token_until) == (5, "new", LATER)
    async with database.write() as connection:
        assert not await songs.forget_token(connection, 1, token="old")
        assert await songs.forget_token(connection, 1, token="new")
    song = await read(database)
    assert (song.message_id, song.token, song.token_until) == (5, None, None)


async def test_a_token_is_forgotten_when_its_time_is_over(database: Database) -> None:
    await add_song(database, 1, token="a", token_until=NOON)
    await add_song(database, 2, token="b", token_until=LATER)
    await add_song(database, 3, token="c", token_until=LATER, step=Step.ENDED)
    await add_song(database, 4)
    reader = database.reader
    assert [s.song_id for s in await songs.with_token(reader, ended=False)] == [1, 2]
    assert [s.song_id for s in await songs.with_token(reader, ended=True)] == [3]
    async with database.write() as connection:
        assert await songs.forget_tokens_until(connection, NOON) == 1
    assert [s.song_id for s in await songs.with_token(reader, ended=False)] == [2]


async def test_words_are_forgotten_and_numbers_stay(database: Database) -> None:
    await add_song(database, 1, step=Step.ENDED)
    await add_song(database, 2, step=Step.POSTING)
    await add_song(database, 3, step=Step.ENDED, server_id=6)
    async with database.write() as connection:
        assert await songs.forget_words_of_server(connection, SERVER) == 1
        assert await songs.forget_words_of_server(connection, SERVER) == 0
    song = await read(database)
    assert (song.genres, song.lyrics, song.number, song.price) == ("", "", 1, 2)
    assert (await read(database, 2)).lyrics
    assert (await read(database, 3)).lyrics


# --- How it is found ------------------------------------------------------------------------------

OFTEN: dict[str, Callable[[Connection], Awaitable[object]]] = {
    "waiting_in_order": songs.waiting_in_order,
    "next_waiting": songs.next_waiting,
    "count_waiting": songs.count_waiting,
    "unfinished": songs.unfinished,
    "running": songs.running,
    "needing_files": songs.needing_files,
    "waiting_since_before": lambda c: songs.waiting_since_before(c, NOON),
    "waiting_of_server": lambda c: songs.waiting_of_server(c, SERVER),
    "unfinished_of_server": lambda c: songs.unfinished_of_server(c, SERVER),
    "count_unfinished": lambda c: songs.count_unfinished(c, SERVER, MEMBER),
    "price_of_unfinished": lambda c: songs.price_of_unfinished(c, SERVER, MEMBER),
    "with_token": lambda c: songs.with_token(c, ended=True),
    "forget_tokens_until": lambda c: songs.forget_tokens_until(c, NOON),
    "undelivered": songs.undelivered,
    "count_undelivered": lambda c: songs.count_undelivered(c, SERVER),
    "count_unfinished_elsewhere": lambda c: songs.count_unfinished_elsewhere(c, SERVER, MEMBER),
    "undelivered_of_member": lambda c: songs.undelivered_of_member(c, SERVER, MEMBER),
    "by_number": lambda c: songs.by_number(c, SERVER, 42),
    "run_times": lambda c: songs.run_times(c, limit=5),
    "of_member": lambda c: songs.of_member(c, SERVER, MEMBER, limit=10, offset=0),
    "genres_of_server": lambda c: songs.genres_of_server(c, SERVER, limit=50),
    "latest": lambda c: ledger.latest(c, SERVER, MEMBER, limit=10),
    "spendable": lambda c: ledger.spendable(c, SERVER, MEMBER, at=NOON),
    "lasting_longest": lambda c: ledger.lasting_longest(c, SERVER, MEMBER, at=NOON),
    "sums": lambda c: ledger.sums(c, SERVER, MEMBER, at=NOON),
    "free_up_to": lambda c: ledger.free_up_to(c, SERVER, MEMBER, at=NOON, price=8),
    "expired": lambda c: ledger.expired(c, SERVER, MEMBER, at=NOON, besides="lot"),
    "parts": lambda c: ledger.parts(c, "hold:1"),
}
WHOLE_HISTORY = re.compile(
    r"SCAN (songs|lots|ledger|ledger_parts)( USING (COVERING )?INDEX (songs_of_member|sqlite_.*))?$"
)
MINE_ALONE = ("count_unfinished", "price_of_unfinished")


class Explaining:
    """A connection that notes how each statement finds its rows."""

    def __init__(self, inner: Connection) -> None:
        self._inner = inner
        self.plan: list[str] = []

    async def execute_fetchall(self, sql: str, values: Any = ()) -> Any:
        rows = await self._inner.execute_fetchall(f"EXPLAIN QUERY PLAN {sql}", values)
        self.plan += [row["detail"] for row in rows]
        return await self._inner.execute_fetchall(sql, values)

    async def execute(self, sql: str, values: Any = ()) -> Any:
        await self.execute_fetchall(sql, values)
        return await self._inner.execute(sql, values)


@pytest.mark.parametrize("name", OFTEN)
async def test_what_is_read_often_never_reads_the_whole_history(
    database: Database, name: str
) -> None:
    explaining = Explaining(database._writer)
    await OFTEN[name](cast("Connection", explaining))
    assert explaining.plan
    assert [line for line in explaining.plan if WHOLE_HISTORY.match(line)] == []
    if name == "count_undelivered":
        assert "songs_undelivered" in explaining.plan[0]
    if name in MINE_ALONE:
        assert "songs_unfinished" in explaining.plan[0]


# --- whose fault it was ---------------------------------------------------------------------------


async def test_ends_by_choice_are_a_members_own_in_every_server(database: Database) -> None:
    ends = [
        (Status.CANCELLED, Fault.MEMBER, {}),
        (Status.CANCELLED, Fault.SERVER, {}),
        (Status.FAILED, Fault.REQUEST, {"server_id": SERVER + 1}),
        (Status.FAILED, Fault.SERVICE, {}),
        (Status.FAILED, Fault.ACCOUNT, {}),
        (Status.FAILED, Fault.MACHINE, {}),
        (Status.FAILED, None, {}),  # before it was recorded
        (Status.FAILED, Fault.REQUEST, {"member_id": MEMBER + 1}),
        (Status.FAILED, Fault.REQUEST, {}),
        (Status.COMPLETED, None, {}),
    ]
    for number, (status, fault, fields) in enumerate(ends, start=1):
        at = NOON + timedelta(minutes=number)
        await add_song(
            database, number, step=Step.ENDED, status=status, fault=fault, ended_at=at, **fields
        )

    async def found(since: int, until: int, limit: int) -> list[int]:
        ended = await songs.ends_by_choice(
            database.reader,
            MEMBER,
            since=NOON + timedelta(minutes=since),
            until=NOON + timedelta(minutes=until),
            limit=limit,
        )
        return [(at - NOON) // timedelta(minutes=1) for at in ended]

    assert await found(0, 60, 10) == [9, 3, 1]
    assert await found(0, 60, 2) == [9, 3]
    assert await found(1, 8, 10) == [3]


async def test_both_indexes_of_faults_are_used(database: Database) -> None:
    """Each is looked at with every request, or every minute, however long the history is."""
    plans = {
        "songs_refunded_by_choice": """
            SELECT ended_at FROM songs WHERE member_id = 1 AND fault IN ('member', 'request')
            AND ended_at > 1 AND ended_at <= 2 ORDER BY ended_at DESC LIMIT 10
        """,
        "songs_failed_with_lyrics": """
            UPDATE songs SET lyrics = '' WHERE status = 'FAILED' AND lyrics <> '' AND ended_at < 1
        """,
    }
    for index, sql in plans.items():
        rows = await database.reader.execute_fetchall(f"EXPLAIN QUERY PLAN {sql}")
        assert index in " ".join(row["detail"] for row in rows)


async def test_large_reads_are_counted_up_to_three_and_only_at_the_api(database: Database) -> None:
    await add_song(database, step="submitted")
    async with database.write() as connection:
        assert not await songs.end_large_read(connection, 1)
        counted = [await songs.begin_large_read(connection, 1) for _ in range(4)]
        assert counted == [True, True, True, False]
        assert await songs.end_large_read(connection, 1)
    song = await songs.get(database.reader, 1)
    assert song is not None
    assert song.large_reads == 2
    await add_song(database, 2, step="downloaded")
    async with database.write() as connection:
        assert not await songs.begin_large_read(connection, 2)
