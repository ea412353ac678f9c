"""The machine itself breaks while songs are under way: its disk, its database, its clock."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from tests import quota
from tests.outside import World
from tests.reliability.conftest import BotsClock
from tests.reliability.faults import Doors, Length
from tests.reliability.ordeal import DURING, LONG, SHORT, Ordeal, all_refused, turned_away
from tests.small_disk import SmallDisk, small_disk

BACKUP, SHORT_BACKUP = replace(LONG, fault=10.0, slow=0.0), replace(SHORT, fault=1.0, slow=0.0)


@pytest.fixture
def disk(world: World) -> Iterator[SmallDisk]:
    """The disk of the bot's data folder."""
    with small_disk(world.folder / "data", mebibytes=24) as disk:
        yield disk


async def test_the_disk_is_full(
    ordeal: Ordeal, disk: SmallDisk, figure: Callable[[str], None]
) -> None:
    """Nothing more can be written; songs wait, and those who ask are told why."""

    @contextlib.asynccontextmanager
    async def full(door: Doors, length: Length) -> AsyncIterator[None]:
        disk.fill()
        yield
        await all_refused(door.world, length)
        assert disk.free == 0, "nothing was broken"
        disk.clear()

    told = await ordeal(full)
    assert (told.posted, told.in_vain) == (told.asked - DURING, DURING)
    said = turned_away(ordeal.world)
    assert len(said) == DURING
    assert all("The bot's disk is full, so nothing was done." in text for text in said)
    figure(str(told))


async def test_the_quota_is_used_up(ordeal: Ordeal, figure: Callable[[str], None]) -> None:
    """As on a full disk, of which SQLite says nothing then: it tells of an I/O error."""

    @contextlib.asynccontextmanager
    async def no_quota(door: Doors, length: Length) -> AsyncIterator[None]:
        with quota.used_up():
            yield
            await all_refused(door.world, length)

    # What SQLite calls can't be changed in another process: in both forms the bot runs here.
    told = await replace(ordeal, long=False)(no_quota)
    assert (told.posted, told.in_vain) == (told.asked - DURING, DURING)
    said = turned_away(ordeal.world)
    assert len(said) == DURING
    assert all("The bot's disk is full, so nothing was done." in text for text in said)
    figure(str(told))


async def test_the_database_is_locked_by_a_backup(
    ordeal: Ordeal, figure: Callable[[str], None]
) -> None:
    """For ten seconds nobody else may write: whoever asks meanwhile is acknowledged and waits."""
    told = await ordeal(locked, lengths=(BACKUP, SHORT_BACKUP))
    assert (told.posted, told.in_vain) == (told.asked, 0)
    slowest = max(song.acknowledged_in or 0.0 for song in ordeal.world.asked.values())
    figure(f"{told}; acknowledged within {slowest:.2f} s")


@contextlib.asynccontextmanager
async def locked(door: Doors, length: Length) -> AsyncIterator[None]:
    """As a tool does it that copies the file.

    In a thread: for the lock that it waits for, a bot in this loop has to go on.
    """
    database = door.world.folder / "data/songs.db"
    with contextlib.closing(sqlite3.connect(database, check_same_thread=False)) as other:
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
        yield
        other.rollback()


@pytest.mark.parametrize(
    "hours", [(1, 0, -1), (0, 2, 26)], ids=["back an hour", "forward hours and a day"]
)
async def test_the_clock_is_set(
    ordeal: Ordeal,
    bots_clock: BotsClock,
    figure: Callable[[str], None],
    hours: tuple[int, int, int],
) -> None:
    """Twice while songs are under way: by what it shows all deadlines pass, or none ever does."""
    before, first, second = (timedelta(hours=number) for number in hours)

    @contextlib.asynccontextmanager
    async def setting(door: Doors, length: Length) -> AsyncIterator[None]:
        bots_clock.set_by = first
        await asyncio.sleep(length.fault / 2)
        bots_clock.set_by = second
        yield

    bots_clock.set_by = before
    # The clock of a process can't be set alone: in both forms the bot runs here.
    told = await replace(ordeal, long=False)(setting)
    assert (told.posted, told.in_vain) == (told.asked, 0)
    figure(str(told))
