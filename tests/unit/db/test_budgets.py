"""What the budgets count: a server's periods, and the operator's days."""

from datetime import datetime, timedelta

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


async def test_a_budget_is_reached_and_never_passed(database: Database) -> None:
    assert await use(database, 6, budget=10) == 6
    assert await use(database, 5, budget=10) is None
    assert await use(database, 4, budget=10) == 10
    assert await use(database, 1, budget=10) is None
    # A lower one, set meanwhile, takes nothing back.
    assert await use(database, 1, budget=5) is None
    assert await use(database, 1) == 11


# --- the operator's -----------------------------------------------------------------------------


async def test_a_submit_counts_for_its_server_and_for_all_on_its_day(database: Database) -> None:
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


async def test_what_waits_is_what_was_not_submitted(database: Database) -> None:
    reader = database.reader
    await add_song(database, 1, price=2)
    await add_song(database, 2, price=3, server_id=OTHER)
    await add_song(database, 3, price=5, state=State.SUBMITTING)
    await add_song(database, 4, price=7, state=State.COMPLETED)
    assert await budgets.waiting_of_server(reader, SERVER) == Tally(1, 2)
    assert await budgets.waiting_of_server(reader, 404) == Tally(0, 0)


OWN = OperatorBudget("server", SERVER, None, None)


async def set_all(database: Database, *those: OperatorBudget) -> None:
    async with database.write() as connection:
        for budget in those:
            await budgets.set_operators(connection, budget)


# --- who is next, under them --------------------------------------------------------------------


async def next_song(
    database: Database,
    day: datetime = DAY,
    *,
    all_songs: int | None = None,
    each_songs: int | None = None,
) -> int | None:
    song = await songs.next_waiting_with_room(
        database.reader, day=day, all_songs=all_songs, each_songs=each_songs
    )
    return None if song is None else song.song_id


async def submitted(database: Database, songs: int, credits: int, server_id: int = SERVER) -> None:
    async with database.write() as connection:
        await budgets.count_submit(connection, server_id, DAY, songs=songs, credits=credits)


@pytest.fixture
async def three_songs(database: Database) -> None:
    """The first, of 4 credits, is next; then the other server's, then a cheap one."""
    await add_song(database, 1, price=4)
    await add_song(database, 2, price=4, server_id=OTHER, requested_at=NOON + timedelta(seconds=1))
    await add_song(database, 3, price=1, requested_at=NOON + timedelta(seconds=2))


@pytest.mark.usefixtures("three_songs")
@pytest.mark.parametrize(
    ("those", "song_id"),
    [
        ([], 1),
        ([OWN], 1),
        ([OperatorBudget("all", 0, 10, 2)], 1),  # just so much is left
        ([OperatorBudget("all", 0, 9, None)], 3),
        ([OperatorBudget("all", 0, 6, None)], None),
        ([OperatorBudget("all", 0, None, 1)], None),
        ([OperatorBudget("each", 0, 9, None)], 2),
        ([OperatorBudget("each", 0, 4, None)], 2),
        ([OperatorBudget("each", 0, None, 1)], 2),
        ([OperatorBudget("each", 0, 3, None)], None),
        ([OperatorBudget("server", SERVER, 9, None)], 2),
        ([OperatorBudget("server", OTHER, 0, 0)], 1),
        # Its own goes before that for each, be it higher or lower.
        ([OperatorBudget("each", 0, 0, 0), OWN], 1),
        ([OperatorBudget("each", 0, 99, 99), OperatorBudget("server", SERVER, 6, 1)], 2),
        ([OperatorBudget("server", SERVER, 9, None), OperatorBudget("all", 0, 9, None)], 3),
    ],
)
async def test_next_is_who_has_room_under_every_budget(
    database: Database, those: list[OperatorBudget], song_id: int | None
) -> None:
    """Six credits were submitted today, with one song."""
    await submitted(database, 1, 6)
    await set_all(database, *those)
    assert await next_song(database) == song_id


@pytest.mark.usefixtures("three_songs")
async def test_yesterdays_submits_leave_todays_room(database: Database) -> None:
    await set_all(database, OperatorBudget("all", 0, 4, 1))
    await submitted(database, 1, 4)
    assert await next_song(database) is None
    assert await next_song(database, NEXT) == 1


@pytest.mark.usefixtures("three_songs")
@pytest.mark.parametrize(
    ("defaults", "those", "song_id"),
    [
        ({"all_songs": 2, "each_songs": 2}, [], 1),
        ({"all_songs": 1}, [], None),
        ({"each_songs": 1}, [], 2),
        ({"each_songs": 0}, [], None),
        # What was set replaces the default, also where it is no limit at all.
        ({"all_songs": 1}, [OperatorBudget("all", 0, None, None)], 1),
        ({"all_songs": 1}, [OperatorBudget("all", 0, 10, None)], 1),
        ({"each_songs": 1}, [OperatorBudget("each", 0, None, None)], 1),
        ({"each_songs": 1}, [OWN], 1),
        ({"each_songs": 9}, [OperatorBudget("server", SERVER, None, 1)], 2),
    ],
)
async def test_default_budgets_count_until_others_are_set(
    database: Database,
    defaults: dict[str, int],
    those: list[OperatorBudget],
    song_id: int | None,
) -> None:
    await submitted(database, 1, 6)
    await set_all(database, *those)
    assert await next_song(database, DAY, **defaults) == song_id
