"""`kill -9` in what ends songs that wait: a server that is left, a wait that was too long."""

import asyncio
import contextlib
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta

import pytest

from tests.reliability.crash_points import Plan, all_points
from tests.reliability.guarantees import broken_guarantees
from tests.reliability.killable_bot import Nursery, nursery
from tests.reliability.scenarios import QUICK
from tests.wire import Guild, Interaction
from tests.world.sockets import SOON, World, status_of, until

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="bots are forked")

LEAVING = (
    "services.songs.completion.SongCompletion.cancel: ",
    "services.operations.servers.Servers.leave: ",
    "services.operations.servers.Servers.reconcile: ",
)
WAITED_TOO_LONG = (
    "services.songs.completion.SongCompletion.fail: ",
    "services.operations.housekeeping.Housekeeping._end_overdue: ",
    "services.operations.housekeeping.Housekeeping._remove_files: ",
)
EVERY = 10
"""Of the points, one in so many is a kill of the short form."""
LONG_AGO = timedelta(hours=7)


@pytest.fixture(autouse=True)
def nothing_starts(world: World) -> None:
    """The one call of a minute is used up, by a first song and then by every start."""
    world.wire.limits.edit_interval = None
    world.settings |= {"SEGMIND_MODE": "sync", "SEGMIND_RPM": "1"}


@pytest.fixture
async def bots() -> AsyncIterator[Nursery]:
    async with nursery() as bots:
        yield bots


def points_of(starts: Sequence[str], *, long: bool) -> list[str]:
    """The points that begin so, or some of them."""
    points = [point for point in all_points() if point.startswith(tuple(starts))]
    return points if long else points[::EVERY]


async def waiting(world: World, bots: Nursery, guilds: Sequence[Guild]) -> list[Interaction]:
    """A song in each of these servers, each of a different member; and then the bot is gone."""
    async with bots.bot(world, constants=QUICK) as bot:
        await world.ended(await world.song())  # has the one call
        songs = [
            await world.song(world.wire.member(guild, f"{n}")) for n, guild in enumerate(guilds)
        ]
        await until(lambda: all(world.state(song) == "waiting" for song in songs))
        assert await bot.stop() == 0
    return songs


async def die(world: World, bots: Nursery, point: str) -> None:
    """The bot starts, and comes as far as that."""
    plan = Plan(kill=(point, 1), everywhere=True)
    async with bots.bot(world, plan, constants=QUICK) as bot:
        assert await asyncio.wait_for(asyncio.shield(bot.status), SOON) == -signal.SIGKILL, point


async def come_to_an_end(world: World, bots: Nursery, songs: Sequence[Interaction]) -> list[str]:
    """In a process that nothing kills; how they ended."""
    async with bots.bot(world, constants=QUICK) as bot:
        ends = [status_of(await world.ended(song)) for song in songs]
        await until(lambda: not world.song_folders())
        assert await bot.stop() == 0
    assert await broken_guarantees(world) == []
    return ends


async def test_killed_while_servers_are_left(
    world: World, bots: Nursery, long: bool, figure: Callable[[str], None]
) -> None:
    """Each was left while the bot was away, which is in another one since."""
    points = points_of(LEAVING, long=long)
    guilds = [world.wire.guild(f"Left {n}") for n, _ in enumerate(points)]
    for guild in guilds:
        world.wire.channel(guild, "songs")
    songs = await waiting(world, bots, guilds)
    for n, (guild, point) in enumerate(zip(guilds, points, strict=True)):
        world.wire.remove_bot(guild)
        world.wire.guild(f"New {n}")
        await die(world, bots, point)
    ends = await come_to_an_end(world, bots, songs)
    assert ends == ["CANCELLED"] * len(songs)
    known = world.rows("SELECT server_id FROM servers WHERE left_at IS NULL")
    assert {guild.id for guild in guilds}.isdisjoint(row["server_id"] for row in known)
    figure(f"{len(points)} kills, {len(songs)} refunds, each once")


async def test_killed_while_what_waited_too_long_is_ended(
    world: World, bots: Nursery, long: bool, figure: Callable[[str], None]
) -> None:
    """Each has files too, of an earlier start."""
    points = points_of(WAITED_TOO_LONG, long=long)
    songs = await waiting(world, bots, [world.guild] * len(points))
    for song in songs:
        folder = world.folder / "data/songs" / str(song.id)
        folder.mkdir(parents=True)
        (folder / "source").write_bytes(b"audio")
    with contextlib.closing(sqlite3.connect(world.folder / "data/songs.db")) as connection:
        earlier = int(LONG_AGO.total_seconds() * 1000)
        connection.execute("UPDATE songs SET requested_at = requested_at - ?", (earlier,))
        connection.commit()
    for point in points:
        await die(world, bots, point)
    assert await come_to_an_end(world, bots, songs) == ["FAILED"] * len(songs)
    figure(f"{len(points)} kills, {len(songs)} refunds, each once")
