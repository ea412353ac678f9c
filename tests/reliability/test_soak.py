"""An hour of steady load, in fast-forward: nothing has grown at its end."""

import asyncio
import functools
import gc
import itertools
import os
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

import bot
from cogs.songs.announcer import DiscordAnnouncer
from db.records import Song
from services.audio.transcoder import Transcoder
from services.providers import segmind
from services.providers.rate_limiter import RateLimiter
from services.songs.queue import Queue
from tests.processes import used
from tests.reliability.fast_forward import FastForward
from tests.reliability.guarantees import broken_guarantees
from tests.reliability.load import ALLOWANCE, all_over, crowd, patiently
from tests.wire import DiscordWire, Member
from tests.wire.clock import Clock
from tests.world.sockets import World, first_channel, running, world_outside

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

BOUNDED = type(functools.lru_cache(lambda: None))
MINUTE = 60.0
BETWEEN_SONGS = 20.0
SETTLED = 30.0
"""Seconds after which connections that nobody uses have been closed: they are kept for 15."""
COMMANDS = ("queue", "credits", "history", "leaderboard")
"""Commands that members use meanwhile."""
MOST_GROWTH = 150_000
"""Bytes that an hour may leave: such as an enlarged dictionary, not the lyrics of songs."""


class Held(NamedTuple):
    """What a bot, and the Discord and the song API in its process, hold while nothing happens."""

    tasks: int
    files: int
    sockets: int
    songs: int
    """Records of songs, which nobody should keep."""
    memory: int
    """Bytes that Python has given out; 0 where they are not counted."""


def test_an_hour_of_steady_load(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    long: bool,
    figure: Callable[[str], None],
) -> None:
    others = songs_in_memory()  # a test before this may have left some
    with asyncio.Runner(loop_factory=FastForward) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, FastForward)
        follow_loop(loop, monkeypatch)
        if long:
            gc.unfreeze()  # among what was imported are the caches that are emptied
            tracemalloc.start()
        try:
            first, last, songs = runner.run(soak(tmp_path, loop, monkeypatch, long=long))
        finally:
            tracemalloc.stop()
    assert max(first.songs, last.songs) <= others
    assert last.tasks <= first.tasks
    assert last.sockets <= first.sockets
    assert last.files <= first.files
    if long:
        assert last.memory - first.memory < MOST_GROWTH
    figure(
        f"{songs} songs: {first.tasks} tasks, {first.files} files and {first.sockets} sockets at "
        f"first, {last.tasks}, {last.files} and {last.sockets} at last"
        + (f"; {(last.memory - first.memory) / 1000:+.0f} KB" if long else "")
    )


def follow_loop(loop: FastForward, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all clocks of the bot follow the loop's."""
    monkeypatch.setattr(bot, "utc_now", lambda: datetime.fromtimestamp(loop.wall(), UTC))
    monkeypatch.setattr(bot, "monotonic", loop.time)
    timed: dict[str, Callable[..., object]] = {
        "DiscordAnnouncer": functools.partial(DiscordAnnouncer, monotonic=loop.time),
        "Queue": functools.partial(Queue, monotonic=loop.time),
    }
    for name, part in timed.items():
        monkeypatch.setattr(bot, name, part)
    rate_limiter = functools.partial(RateLimiter, clock=loop.time)
    monkeypatch.setattr(segmind, "RateLimiter", rate_limiter)

    def transcoder(*, at_once: int) -> Transcoder:
        made = Transcoder(at_once=at_once)
        loop.wait_for(lambda: bool(made._running))
        return made

    monkeypatch.setattr(bot, "Transcoder", transcoder)


async def soak(
    folder: Path, loop: FastForward, monkeypatch: pytest.MonkeyPatch, *, long: bool
) -> tuple[Held, Held, int]:
    """What was held after a while of the load, what after an hour more, and that hour's songs."""
    wire = DiscordWire(clock=Clock(wall=loop.wall, monotonic=loop.time), keep_uploads=False)
    async with world_outside(folder, wire=wire) as world:
        world.api._clock = loop.time
        world.api.credits = ALLOWANCE
        world.settings |= {"DEFAULT_ALLOWANCE": str(ALLOWANCE), "SEGMIND_RPM": "50"}
        world.slow(running=12.0)
        members = crowd(world, [5, 3, 1])
        async with running(world, monkeypatch):
            await load(world, members, minutes=10 if long else 1)
            first = await held(world)
            songs = await load(world, members, minutes=60 if long else 2)
            last = await held(world)
    return first, last, songs


async def load(world: World, members: Sequence[Member], *, minutes: int) -> int:
    """So many minutes of it, then the songs in progress end; return how many there were."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    requested = []
    turns = int(minutes * MINUTE / BETWEEN_SONGS)
    for turn, member in zip(range(turns), itertools.cycle(members), strict=False):
        await asyncio.sleep(began + turn * BETWEEN_SONGS - loop.time())
        requested.append(await world.song(member, genres="fail" if turn % 3 == 1 else "funk"))
        channel = first_channel(member.guild)
        await world.wire.slash(member, channel, COMMANDS[turn % len(COMMANDS)])
        if turn % 3 == 2:  # a form that is never sent
            await world.wire.slash(member, channel, "song", genres="funk")
        if turn % 30 == 15:
            world.wire.gateway.drop()
    await patiently(lambda: all(map(world.row, requested)))
    await all_over(world)
    assert await broken_guarantees(world) == []
    return len(requested)


async def held(world: World) -> Held:
    """With no song in progress."""
    await asyncio.sleep(SETTLED)
    forget(world)
    empty_bounded_caches()
    songs = songs_in_memory()
    now = used(os.getpid())
    return Held(
        tasks=len(asyncio.all_tasks()),
        files=now.files,
        sockets=now.sockets,
        songs=songs,
        memory=tracemalloc.get_traced_memory()[0],
    )


def songs_in_memory() -> int:
    """How many records of songs there are, in use."""
    gc.collect()
    return sum(type(thing) is Song for thing in gc.get_objects())


def empty_bounded_caches() -> None:
    """How full they are is no growth: plans of the pacing, parsed addresses. Others count."""
    for thing in gc.get_objects():
        if type(thing) is BOUNDED and thing.cache_parameters()["maxsize"] is not None:
            thing.cache_clear()


def forget(world: World) -> None:
    """What Discord and the song API remember is no memory of the bot's."""
    world.requested.clear()
    world.api.calls.clear()
    world.api._songs.clear()
    wire = world.wire
    wire.requests.clear()
    for session in wire.gateway.sessions.values():
        session._sent.clear()
    wire.state.interactions.clear()
    wire.state.by_token.clear()
    wire.state._nonces.clear()
    wire._limiter._edited.clear()
    wire._limiter._buckets.clear()
    for channel in wire.state.channels.values():
        channel.messages.clear()
