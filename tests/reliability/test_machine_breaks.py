"""The machine itself breaks while songs are in progress: its disk, its database, its clock."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from tests import quota
from tests.reliability.fault_run import DURING, LONG, SHORT, FaultRun, all_refused, refusals
from tests.reliability.faults import During, FaultGates, Length
from tests.small_disk import SmallDisk, small_disk
from tests.world.clock import BotClock
from tests.world.sockets import World

BACKUP, SHORT_BACKUP = replace(LONG, fault=10.0, slow=0.0), replace(SHORT, fault=1.0, slow=0.0)


@pytest.fixture
def disk(world: World) -> Iterator[SmallDisk]:
    """The disk of the bot's data folder."""
    with small_disk(world.folder / "data", mebibytes=24) as disk:
        yield disk


async def test_the_disk_is_full(
    fault_run: FaultRun, disk: SmallDisk, figure: Callable[[str], None]
) -> None:
    """Nothing more can be written; songs wait, and requesters read why."""

    @contextlib.asynccontextmanager
    async def full(gates: FaultGates, length: Length) -> AsyncIterator[None]:
        disk.fill()
        yield
        await all_refused(gates.world, length)
        assert disk.free == 0, "nothing was broken"
        disk.clear()

    await refuses_what_is_requested_meanwhile(fault_run, full, figure)


async def test_the_quota_is_used_up(fault_run: FaultRun, figure: Callable[[str], None]) -> None:
    """As on a full disk, which SQLite does not name then: it reports an I/O error."""

    @contextlib.asynccontextmanager
    async def no_quota(gates: FaultGates, length: Length) -> AsyncIterator[None]:
        with quota.used_up():
            yield
            await all_refused(gates.world, length)

    # What SQLite calls can't be changed in another process: in both forms the bot runs here.
    await refuses_what_is_requested_meanwhile(replace(fault_run, long=False), no_quota, figure)


async def refuses_what_is_requested_meanwhile(
    fault_run: FaultRun, during: During, figure: Callable[[str], None]
) -> None:
    outcome = await fault_run(during)
    assert (outcome.posted, outcome.not_accepted) == (outcome.requested - DURING, DURING)
    texts = refusals(fault_run.world)
    assert len(texts) == DURING
    assert all("The bot's disk is full, so nothing was done." in text for text in texts)
    figure(str(outcome))


async def test_the_database_is_locked_by_a_backup(
    fault_run: FaultRun, figure: Callable[[str], None]
) -> None:
    """For ten seconds nobody else may write: who requests meanwhile is acknowledged and waits."""
    outcome = await fault_run(locked, lengths=(BACKUP, SHORT_BACKUP))
    assert (outcome.posted, outcome.not_accepted) == (outcome.requested, 0)
    slowest = max(song.acknowledged_in or 0.0 for song in fault_run.world.requested.values())
    figure(f"{outcome}; acknowledged within {slowest:.2f} s")


@contextlib.asynccontextmanager
async def locked(gates: FaultGates, length: Length) -> AsyncIterator[None]:
    """As a tool does that copies the file.

    In a thread: a bot in this loop has to go on, so that the lock becomes free.
    """
    database = gates.world.folder / "data/songs.db"
    with contextlib.closing(sqlite3.connect(database, check_same_thread=False)) as other:
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
        yield
        other.rollback()


@pytest.mark.parametrize(
    "hours", [(1, 0, -1), (0, 2, 26)], ids=["back an hour", "forward hours and a day"]
)
async def test_the_clock_is_set(
    fault_run: FaultRun,
    bots_clock: BotClock,
    figure: Callable[[str], None],
    hours: tuple[int, int, int],
) -> None:
    """Twice while songs are in progress: by the clock all deadlines pass, or none ever does."""
    before, first, second = (timedelta(hours=number) for number in hours)

    @contextlib.asynccontextmanager
    async def setting(gates: FaultGates, length: Length) -> AsyncIterator[None]:
        bots_clock.set_by = first
        await asyncio.sleep(length.fault / 2)
        bots_clock.set_by = second
        yield

    bots_clock.set_by = before
    # The clock of a process can't be set alone: in both forms the bot runs here.
    outcome = await replace(fault_run, long=False)(setting)
    assert (outcome.posted, outcome.not_accepted) == (outcome.requested, 0)
    figure(str(outcome))
