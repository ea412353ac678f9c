"""Songs: their moves and their fair order."""

import re
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from aiosqlite import Connection
from hypothesis import given, settings
from hypothesis import strategies as st

from db import ledger, servers, songs
from db.database import Database
from db.records import Reason, Song, State, Status
from services.settings.settings import Member
from tests.databases import database_in_memory
from tests.factories import (
    MEMBER,
    NOON,
    SERVER,
    add_song,
    make_song,
)


@pytest.mark.parametrize("state", State)
async def test_a_song_is_read_as_it_was_written(database: Database, state: State) -> None:
    song = await add_song(database, state=state)
    assert await songs.get(database.reader, song.song_id) == song


# --- Fair order ---------------------------------------------------------------------------------

Waiting = tuple[int, int, int]
"""Server, member, and when it was requested, in seconds after noon."""

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


def next_waiting(connection: Connection) -> Awaitable[Song | None]:
    """Choose without budgets."""
    return songs.next_waiting(connection, day=NOON, all_songs=None, each_songs=None)


async def _start_next(database: Database, at: datetime) -> Song | None:
    async with database.write() as connection:
        song = await next_waiting(connection)
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
async def test_shown_order_is_the_order_of_the_starts(
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
async def test_first_songs_come_before_second_songs(asks: list[Waiting]) -> None:
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


async def posted_late(connection: Connection) -> bool:
    return await songs.end(
        connection, 1, state=State.COMPLETED, at=LATER, expected=State.UNDELIVERED, post_id=9
    )


async def handed_over(connection: Connection) -> bool:
    return await songs.end(
        connection, 1, state=State.COMPLETED, at=LATER, expected=State.UNDELIVERED
    )


async def refunded(connection: Connection) -> bool:
    return await songs.end(connection, 1, state=State.REFUNDED, at=LATER)


# --- A song's way -------------------------------------------------------------------------------

LATER = NOON + timedelta(minutes=5)
BEFORE_THE_END = {
    State.WAITING,
    State.SUBMITTING,
    State.SUBMITTED,
    State.DOWNLOADED,
    State.READY,
    State.POSTING,
}

MOVES: dict[str, tuple[Callable[[Connection], Awaitable[object]], set[State]]] = {
    "mark_submitting": (
        lambda connection: songs.mark_submitting(connection, 1, at=LATER),
        {State.WAITING, State.SUBMITTING},
    ),
    "unmark_submitting": (
        lambda connection: songs.unmark_submitting(connection, 1, at=LATER),
        {State.SUBMITTING},
    ),
    "mark_submitted": (
        lambda connection: songs.mark_submitted(connection, 1, request_id="r", at=LATER),
        {State.SUBMITTING},
    ),
    "mark_processing": (
        lambda connection: songs.mark_processing(connection, 1),
        {State.SUBMITTING, State.SUBMITTED},
    ),
    "mark_downloaded": (
        lambda connection: songs.mark_downloaded(
            connection, 1, submitted_at=LATER, at=LATER, run_low=9_000, run_high=11_000
        ),
        {State.SUBMITTING, State.SUBMITTED},
    ),
    "mark_ready": (
        lambda connection: songs.mark_ready(connection, 1, file="1-x.mp3", at=LATER),
        {State.DOWNLOADED, State.POSTING},
    ),
    "mark_posting": (
        lambda connection: songs.mark_posting(connection, 1, at=LATER),
        {State.READY},
    ),
    "complete": (
        lambda connection: songs.end(
            connection, 1, state=State.COMPLETED, at=LATER, expected=State.POSTING, post_id=9
        ),
        {State.POSTING},
    ),
    "fail": (
        lambda connection: songs.end(
            connection, 1, state=State.FAILED, at=LATER, reason=Reason.CHANNEL_GONE
        ),
        BEFORE_THE_END,
    ),
    "cancel": (
        lambda connection: songs.end(
            connection, 1, state=State.CANCELLED, at=LATER, expected=State.WAITING
        ),
        {State.WAITING},
    ),
    "set_token": (
        lambda connection: songs.set_token(connection, 1, message_id=8, token="t", until=LATER),
        BEFORE_THE_END | {State.UNDELIVERED},
    ),
    "mark_delivered": (
        handed_over,
        {State.UNDELIVERED},
    ),
    "postpone": (
        lambda connection: songs.postpone(connection, 1, at=NOON, next_attempt_at=LATER),
        {State.UNDELIVERED},
    ),
    "mark_posting_late": (
        lambda connection: songs.mark_posting_late(connection, 1, at=LATER),
        {State.UNDELIVERED},
    ),
    "post_late": (
        posted_late,
        {State.UNDELIVERED},
    ),
    "set_file": (
        lambda connection: songs.set_file(connection, 1, file="2.mp3"),
        {State.READY, State.UNDELIVERED},
    ),
    "mark_refunded": (
        refunded,
        {State.UNDELIVERED},
    ),
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("move", MOVES)
async def test_song_moves_only_from_allowed_states(
    database: Database, move: str, state: State
) -> None:
    make, allowed = MOVES[move]
    before = await add_song(database, state=state)
    neighbour = await add_song(database, 2, state=state)
    async with database.write() as connection:
        moved = await make(connection)
    assert bool(moved) is (state in allowed)
    assert type(moved) is bool or move == "unmark_submitting"
    after = await songs.get(database.reader, 1)
    assert (after != before) is (state in allowed)
    assert await songs.get(database.reader, 2) == neighbour


@pytest.mark.parametrize("to_state", State)
@pytest.mark.parametrize("from_state", State)
async def test_transition_outside_the_table_is_refused(
    database: Database, from_state: State, to_state: State
) -> None:
    """Whoever updates a row: the event of a transition refers to the table."""
    known = await database.reader.execute_fetchall(
        "SELECT 1 FROM song_transitions WHERE from_state = ? AND to_state = ?",
        (from_state, to_state),
    )
    earlier: dict[str, Any] = {"reason": "Gone."} if from_state is State.UNDELIVERED else {}
    await add_song(database, state=from_state, **earlier)
    target = make_song(1, state=to_state)
    names = ("reason", "post_id", "file", "submits", "request_id", "lyrics", "processing")
    values = [getattr(target, name) for name in names]
    sets = ", ".join(f"{name} = ?" for name in names)
    ended = None if target.ended_at is None else 1
    due = 1 if to_state is State.UNDELIVERED else None
    async with database.write() as connection:
        move = connection.execute(
            f"UPDATE songs SET {sets}, state = ?, ended_at = ?, next_attempt_at = ?, "
            "posting_at = 1, submitted_at = 1",
            (*values, to_state, ended, due),
        )
        if known:
            await move
        else:
            with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
                await move
    assert len(await songs.events(database.reader, 1)) == len(list(known))


async def read(database: Database, song_id: int = 1) -> Song:
    song = await songs.get(database.reader, song_id)
    assert song is not None
    return song


async def test_moves_fill_the_row_and_the_events(database: Database) -> None:
    await add_song(database, token="t", token_until=LATER)
    async with database.write() as connection:
        await songs.mark_submitting(connection, 1, at=LATER)
        await songs.mark_submitted(connection, 1, request_id="r", at=LATER)
        await songs.mark_processing(connection, 1)
        await songs.mark_downloaded(
            connection, 1, submitted_at=LATER, at=NOON, run_low=1, run_high=2
        )
    song = await read(database)
    assert (song.status, song.state, song.submits) == (Status.PROCESSING, State.DOWNLOADED, 1)
    assert (song.request_id, song.submitted_at) == ("r", LATER)
    async with database.write() as connection:
        await songs.mark_ready(connection, 1, file="1.mp3", at=LATER)
        await songs.mark_posting(connection, 1, at=LATER)
        await songs.mark_ready(connection, 1, file="1-smaller.mp3", at=LATER)
        await songs.mark_posting(connection, 1, at=LATER + timedelta(minutes=1))
    song = await read(database)
    # A post of the first attempt is younger than its mark: the second must not hide it.
    assert (song.file, song.posting_at) == ("1-smaller.mp3", LATER)
    async with database.write() as connection:
        await songs.end(connection, 1, state=State.COMPLETED, at=LATER, post_id=9)
    song = await read(database)
    assert (song.status, song.ended_at, song.state_at) == (Status.COMPLETED, LATER, LATER)
    assert (song.post_id, song.file) == (9, None)
    story = [(each.to_state, each.detail) for each in await songs.events(database.reader, 1)]
    assert story == [
        (State.SUBMITTING, None),
        (State.SUBMITTED, "r"),
        (State.DOWNLOADED, None),
        (State.READY, None),
        (State.POSTING, None),
        (State.READY, None),
        (State.POSTING, None),
        (State.COMPLETED, "9"),
    ]


async def test_a_song_is_submitted_twice_at_most(database: Database) -> None:
    await add_song(database)
    async with database.write() as connection:
        assert await songs.mark_submitting(connection, 1, at=LATER)
        assert await songs.mark_submitting(connection, 1, at=LATER)
        assert not await songs.mark_submitting(connection, 1, at=LATER)
    assert (await read(database)).submits == 2


async def test_refused_submit_does_not_count(database: Database) -> None:
    await add_song(database)
    async with database.write() as connection:
        await songs.mark_submitting(connection, 1, at=LATER)
        await songs.mark_processing(connection, 1)
        assert await songs.unmark_submitting(connection, 1, at=LATER) == LATER
        assert await songs.unmark_submitting(connection, 1, at=LATER) is None
    song = await read(database)
    assert (song.status, song.state, song.submits) == (Status.QUEUED, State.WAITING, 0)
    assert song.cancellable


async def test_a_song_whose_first_answer_was_lost_can_not_be_cancelled(database: Database) -> None:
    """It may be at the API, whatever became of the second attempt."""
    await add_song(database)
    async with database.write() as connection:
        await songs.mark_submitting(connection, 1, at=LATER)
        await songs.mark_submitting(connection, 1, at=LATER)
        assert await songs.unmark_submitting(connection, 1, at=LATER) == LATER
    song = await read(database)
    assert (song.state, song.submits, song.cancellable) == (State.SUBMITTING, 1, False)


async def test_an_undelivered_song_keeps_its_file_until_it_is_handed_over(
    database: Database,
) -> None:
    await add_song(database, state=State.POSTING)
    async with database.write() as connection:
        await songs.end(
            connection, 1, state=State.UNDELIVERED, at=LATER, reason=Reason.CHANNEL_GONE
        )
    song = await read(database)
    assert (song.file, song.state, song.reason) == ("1.mp3", State.UNDELIVERED, Reason.CHANNEL_GONE)
    assert await songs.needing_files(database.reader) == {1}
    async with database.write() as connection:
        assert await handed_over(connection)
        assert not await handed_over(connection)
        assert not await refunded(connection)
    song = await read(database)
    assert (song.file, song.state_at) == (None, LATER)
    assert await songs.needing_files(database.reader) == set()


UNDELIVERED: dict[str, Any] = {
    "state": State.UNDELIVERED,
    "reason": Reason.CHANNEL_GONE,
    "file": "1.mp3",
}


async def test_refunded_song_forgets_its_file(database: Database) -> None:
    await add_song(database, **UNDELIVERED, in_doubt=True)
    assert await songs.undelivered(database.reader) == [await read(database)]
    async with database.write() as connection:
        assert await refunded(connection)
        for late in (
            await refunded(connection),
            await handed_over(connection),
            await songs.mark_posting_late(connection, 1, at=LATER),
            await posted_late(connection),
            await songs.set_file(connection, 1, file="2.mp3"),
        ):
            assert not late
    assert await songs.undelivered(database.reader) == []
    song = await read(database)
    assert (song.file, song.state, song.in_doubt) == (None, State.REFUNDED, False)


async def test_late_post_is_marked(database: Database) -> None:
    await add_song(database, **UNDELIVERED)
    async with database.write() as connection:
        assert await songs.mark_posting_late(connection, 1, at=LATER)
        assert await songs.mark_posting_late(connection, 1, at=LATER + timedelta(hours=1))
    song = await read(database)
    assert (song.in_doubt, song.posting_at) == (True, LATER + timedelta(hours=1))
    async with database.write() as connection:
        assert await posted_late(connection)
        assert not await handed_over(connection)
    song = await read(database)
    assert (song.post_id, song.reason, song.file) == (9, None, None)
    assert (song.state_at, song.in_doubt) == (LATER, False)


# --- How it is found ------------------------------------------------------------------------------

WHO = Member(SERVER, MEMBER)
OFTEN: dict[str, Callable[[Connection], Awaitable[object]]] = {
    "waiting_in_order": songs.waiting_in_order,
    "next_waiting": next_waiting,
    "count_waiting": songs.count_waiting,
    "unfinished": songs.unfinished,
    "needing_files": songs.needing_files,
    "waiting_since_before": lambda c: songs.waiting_since_before(c, NOON),
    "waiting_of_server": lambda c: songs.waiting_of_server(c, SERVER),
    "unfinished_of_server": lambda c: songs.unfinished_of_server(c, SERVER),
    "count_unfinished": lambda c: songs.count_unfinished(c, SERVER, MEMBER),
    "price_of_unfinished": lambda c: songs.price_of_unfinished(c, SERVER, MEMBER),
    "with_token": lambda c: songs.with_token(c, ended=True),
    "forget_tokens_until": lambda c: songs.forget_tokens_until(c, NOON),
    "undelivered": songs.undelivered,
    "expedite": lambda c: songs.expedite(c, SERVER, channel_id=None, pause=60.0),
    "count_undelivered": lambda c: songs.count_undelivered(c, SERVER),
    "count_unfinished_elsewhere": lambda c: songs.count_unfinished_elsewhere(c, SERVER, MEMBER),
    "undelivered_of_member": lambda c: songs.undelivered_of_member(c, SERVER, MEMBER),
    "by_number": lambda c: songs.by_number(c, SERVER, 42),
    "run_times": lambda c: songs.run_times(c, limit=5),
    "of_member": lambda c: songs.of_member(c, SERVER, MEMBER, limit=10, offset=0),
    "genres_of_server": lambda c: songs.genres_of_server(c, SERVER, limit=50),
    "latest": lambda c: ledger.latest(c, WHO, limit=10),
    "spendable": lambda c: ledger.spendable(c, WHO, at=NOON),
    "lasting_longest": lambda c: ledger.lasting_longest(c, WHO, at=NOON),
    "sums": lambda c: ledger.sums(c, WHO, at=NOON),
    "free_up_to": lambda c: ledger.free_up_to(c, WHO, at=NOON, price=8),
    "expired": lambda c: ledger.expired(c, WHO, at=NOON, except_id="lot"),
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
async def test_frequent_queries_never_scan_the_history(database: Database, name: str) -> None:
    explaining = Explaining(database._writer)
    await OFTEN[name](cast("Connection", explaining))
    assert explaining.plan
    assert [line for line in explaining.plan if WHOLE_HISTORY.match(line)] == []
    if name == "count_undelivered":
        assert "songs_undelivered" in explaining.plan[0]
    if name in MINE_ALONE:
        assert "songs_unfinished" in explaining.plan[0]


async def test_refunded_songs_start_no_cooldown(database: Database) -> None:
    for song_id, state in enumerate((State.COMPLETED, State.FAILED, State.CANCELLED), start=1):
        at = NOON + timedelta(minutes=song_id)
        await add_song(database, song_id, state=state, requested_at=at)
    last = await songs.last_requested(database.reader, SERVER, MEMBER)
    assert last == NOON + timedelta(minutes=1)
