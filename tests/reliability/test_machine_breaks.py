"""The machine itself breaks while songs are under way: its disk, its database, its clock."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

import bot
from tests.outside import World
from tests.reliability.faults import Doors, Length, doors
from tests.reliability.ordeal import LONG, SHORT, bot_of, put_through
from tests.small_disk import SmallDisk, small_disk

MIB = 2**20
BACKUP = Length(fault=10.0, slow=0.0)
SHORT_BACKUP = Length(fault=1.0, slow=0.0)


@pytest.fixture
def disk(world: World) -> Iterator[SmallDisk]:
    """The disk of the bot's data folder."""
    with small_disk(world.folder / "data", mebibytes=24) as disk:
        yield disk


async def test_the_disk_is_full(
    world: World,
    disk: SmallDisk,
    long: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    figure: Callable[[str], None],
) -> None:
    """Nothing more can be written; songs wait, and those who ask are told why."""

    @contextlib.asynccontextmanager
    async def full(door: Doors, length: Length) -> AsyncIterator[None]:
        disk.fill()
        yield
        assert disk.free == 0, "nothing was broken"
        disk.clear()

    async with (
        doors(world) as door,
        bot_of(world, long=long, monkeypatch=monkeypatch, caplog=caplog) as bot_there,
    ):
        told = await put_through(world, bot_there, door, full, LONG if long else SHORT)
    figure(str(told))


async def test_the_database_is_locked_by_a_backup(
    world: World,
    long: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    figure: Callable[[str], None],
) -> None:
    """For ten seconds nobody else may write: whoever asks meanwhile is acknowledged and waits."""
    length = BACKUP if long else SHORT_BACKUP
    async with (
        doors(world) as door,
        bot_of(world, long=long, monkeypatch=monkeypatch, caplog=caplog) as bot_there,
    ):
        figure(str(await put_through(world, bot_there, door, locked, length)))
    assert [song for song in world.asked.values() if world.row(song) is None] == []


@contextlib.asynccontextmanager
async def locked(door: Doors, length: Length) -> AsyncIterator[None]:
    """As a tool does it that copies the file."""
    with contextlib.closing(sqlite3.connect(door.world.folder / "data/songs.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.rollback()


class SetBack:
    """A clock that somebody sets while it runs."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def bots_clock(monkeypatch: pytest.MonkeyPatch) -> SetBack:
    """The clock of a bot that runs in the test's loop."""
    clock = SetBack()
    monkeypatch.setattr(bot, "utc_now", clock)
    return clock


async def test_the_clock_is_set_back_an_hour(
    world: World,
    bots_clock: SetBack,
    long: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    figure: Callable[[str], None],
) -> None:
    """It was an hour fast, and is right from then on; and then it is an hour slow."""

    @contextlib.asynccontextmanager
    async def set_back(door: Doors, length: Length) -> AsyncIterator[None]:
        bots_clock.ahead = timedelta(hours=0)
        await asyncio.sleep(length.fault / 2)
        bots_clock.ahead = timedelta(hours=-1)
        yield

    bots_clock.ahead = timedelta(hours=1)
    async with (
        doors(world) as door,
        bot_of(world, long=False, monkeypatch=monkeypatch, caplog=caplog) as bot_there,
    ):
        figure(str(await put_through(world, bot_there, door, set_back, SHORT)))
    assert len(world.posts) == len(world.asked)
