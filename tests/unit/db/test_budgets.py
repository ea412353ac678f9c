"""What the budgets count: a server's periods, and the operator's days."""

from datetime import timedelta

import pytest

from db import budgets, servers, songs
from db.database import Database
from db.records import OperatorBudget, State, Tally
from tests.factories import NOON, SERVER, add_song

OTHER = SERVER + 1
DAY = NOON.replace(hour=0)
NEXT = DAY + timedelta(days=1)


@pytest.fixture(autouse=True)
async def two_servers(database: Database) -> None:
    async with database.write() as connection:
        for server_id in (SERVER, OTHER):
            await servers.ensure_server(connection, server_id)


# --- a server's own -----------------------------------------------------------------------------


async def use(database: Database, credits: int, budget: int | None = None) -> int | None:
    async with database.write() as connection:
        return await budgets.use(connection, SERVER, DAY, credits=credits, budget=budget)


async def test_budget_is_reached_and_never_exceeded(database: Database) -> None:
    assert await use(database, 6, budget=10) == 6
    assert await use(database, 5, budget=10) is None
    assert await use(database, 4, budget=10) == 10
    assert await use(database, 1, budget=10) is None
    assert await use(database, 1, budget=5) is None
    assert await use(database, 1) == 11


# --- the operator's -----------------------------------------------------------------------------


async def test_submit_counts_for_its_server_and_for_all_on_its_day(database: Database) -> None:
    async with database.write() as connection:
        for server_id, day, credits in ((SERVER, DAY, 2), (OTHER, DAY, 3), (SERVER, NEXT, 5)):
            await budgets.count_submit(connection, server_id, day, songs=1, credits=credits)
        await budgets.count_submit(connection, SERVER, DAY, songs=1, credits=4)
        await budgets.count_submit(connection, SERVER, DAY, songs=-1, credits=-2)
    reader = database.reader
    assert await budgets.submitted(reader, SERVER, DAY) == Tally(1, 4)
    assert await budgets.submitted(reader, OTHER, DAY) == Tally(1, 3)
    assert await budgets.submitted(reader, budgets.ALL, DAY) == Tally(2, 7)
    assert await budgets.submitted(reader, budgets.ALL, NEXT) == Tally(1, 5)
    assert await budgets.submitted(reader, 404, DAY) == Tally(0, 0)


async def test_only_unsubmitted_songs_wait(database: Database) -> None:
    reader = database.reader
    await add_song(database, 1, price=2)
    await add_song(database, 2, price=3, server_id=OTHER)
    await add_song(database, 3, price=5, state=State.SUBMITTING)
    await add_song(database, 4, price=7, state=State.COMPLETED)
    assert await budgets.waiting_of_server(reader, SERVER) == Tally(1, 2)
    assert await budgets.waiting_of_server(reader, 404) == Tally(0, 0)


OWN = OperatorBudget("server", SERVER, None, None)


# --- which song is next -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("defaults", "those", "song_id"),
    [
        ((None, None), [], 1),
        ((None, None), [OWN], 1),
        ((None, None), [OperatorBudget("all", 0, 10, 2)], 1),
        ((None, None), [OperatorBudget("all", 0, 9, None)], 3),
        ((None, None), [OperatorBudget("all", 0, 6, None)], None),
        ((None, None), [OperatorBudget("all", 0, None, 1)], None),
        ((None, None), [OperatorBudget("each", 0, 4, None)], 2),
        ((None, None), [OperatorBudget("each", 0, None, 1)], 2),
        ((None, None), [OperatorBudget("each", 0, 3, None)], None),
        ((None, None), [OperatorBudget("server", SERVER, 9, None)], 2),
        ((None, None), [OperatorBudget("server", OTHER, 0, 0)], 1),
        # A server's own goes before that for each, be it higher or lower.
        ((None, None), [OperatorBudget("each", 0, 0, 0), OWN], 1),
        (
            (None, None),
            [OperatorBudget("each", 0, 99, 99), OperatorBudget("server", SERVER, 6, 1)],
            2,
        ),
        (
            (None, None),
            [OperatorBudget("server", SERVER, 9, None), OperatorBudget("all", 0, 9, None)],
            3,
        ),
        ((2, 2), [], 1),
        ((1, None), [], None),
        ((None, 1), [], 2),
        ((None, 0), [], None),
        # What was set replaces the default, also where it is no limit at all.
        ((1, None), [OperatorBudget("all", 0, None, None)], 1),
        ((1, None), [OperatorBudget("all", 0, 10, None)], 1),
        ((None, 1), [OperatorBudget("each", 0, None, None)], 1),
        ((None, 1), [OWN], 1),
        ((None, 9), [OperatorBudget("server", SERVER, None, 1)], 2),
    ],
)
async def test_next_song_is_one_that_every_budget_has_room_for(
    database: Database,
    defaults: tuple[int | None, int | None],
    those: list[OperatorBudget],
    song_id: int | None,
) -> None:
    """One song of six credits was submitted today."""
    # The first is next, then the other server's, then a cheap one.
    await add_song(database, 1, price=4)
    await add_song(database, 2, price=4, server_id=OTHER, requested_at=NOON + timedelta(seconds=1))
    await add_song(database, 3, price=1, requested_at=NOON + timedelta(seconds=2))
    async with database.write() as connection:
        await budgets.count_submit(connection, SERVER, DAY, songs=1, credits=6)
        for budget in those:
            await budgets.set_operators(connection, budget)
    all_songs, each_songs = defaults
    song = await songs.next_waiting_with_room(
        database.reader, day=DAY, all_songs=all_songs, each_songs=each_songs
    )
    assert (song and song.song_id) == song_id


async def test_yesterdays_submits_leave_todays_room(database: Database) -> None:
    await add_song(database, price=4)
    async with database.write() as connection:
        await budgets.set_operators(connection, OperatorBudget("all", 0, 4, 1))
        await budgets.count_submit(connection, SERVER, DAY, songs=1, credits=4)
    for day, next_id in ((DAY, None), (NEXT, 1)):
        song = await songs.next_waiting_with_room(
            database.reader, day=day, all_songs=None, each_songs=None
        )
        assert (song and song.song_id) == next_id
