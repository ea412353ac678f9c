"""Which song starts next under the operator's budgets."""

from datetime import timedelta

import pytest

from db import budgets, servers, songs
from db.database import Database
from db.records import OperatorBudget
from tests.factories import NOON, SERVER, add_song

OTHER = SERVER + 1
DAY = NOON.replace(hour=0)
NEXT = DAY + timedelta(days=1)
NONE = (None, None)
"""No default budgets for all servers and for each."""


@pytest.fixture(autouse=True)
async def two_servers(database: Database) -> None:
    async with database.write() as connection:
        for server_id in (SERVER, OTHER):
            await servers.ensure_server(connection, server_id)


def each(credits: int | None, songs: int | None) -> OperatorBudget:
    return OperatorBudget("each", 0, credits, songs)


def total(credits: int | None, songs: int | None) -> OperatorBudget:
    return OperatorBudget("all", 0, credits, songs)


def own(credits: int | None, songs: int | None, server_id: int = SERVER) -> OperatorBudget:
    return OperatorBudget("server", server_id, credits, songs)


@pytest.mark.parametrize(
    ("defaults", "those", "song_id"),
    [
        (NONE, [], 1),
        (NONE, [own(None, None)], 1),
        (NONE, [total(10, 2)], 1),
        (NONE, [total(9, None)], 3),
        (NONE, [total(6, None)], None),
        (NONE, [total(None, 1)], None),
        (NONE, [each(4, None)], 2),
        (NONE, [each(None, 1)], 2),
        (NONE, [each(3, None)], None),
        (NONE, [own(9, None)], 2),
        (NONE, [own(0, 0, OTHER)], 1),
        # A server's own goes before that for each, be it higher or lower.
        (NONE, [each(0, 0), own(None, None)], 1),
        (NONE, [each(99, 99), own(6, 1)], 2),
        (NONE, [own(9, None), total(9, None)], 3),
        ((2, 2), [], 1),
        ((1, None), [], None),
        ((None, 1), [], 2),
        ((None, 0), [], None),
        # What was set replaces the default, also where it is no limit at all.
        ((1, None), [total(None, None)], 1),
        ((1, None), [total(10, None)], 1),
        ((None, 1), [each(None, None)], 1),
        ((None, 1), [own(None, None)], 1),
        ((None, 9), [own(None, 1)], 2),
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
    song = await songs.next_waiting(
        database.reader, day=DAY, all_songs=all_songs, each_songs=each_songs
    )
    assert (song and song.song_id) == song_id


async def test_yesterdays_submits_leave_todays_room(database: Database) -> None:
    await add_song(database, price=4)
    async with database.write() as connection:
        await budgets.set_operators(connection, total(4, 1))
        await budgets.count_submit(connection, SERVER, DAY, songs=1, credits=4)
    for day, next_id in ((DAY, None), (NEXT, 1)):
        song = await songs.next_waiting(database.reader, day=day, all_songs=None, each_songs=None)
        assert (song and song.song_id) == next_id
