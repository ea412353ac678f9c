"""Many at once: a crowd, thousands of songs in flight, thousands that a start finds unfinished.

Memory, order and Discord's limits are checked; times are figures, which depend on the machine.
"""

import asyncio
import contextlib
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from db.records import State
from tests.processes import most_memory, percentile, used
from tests.reliability.fault_run import states
from tests.reliability.guarantees import broken_guarantees, wrong_balances
from tests.reliability.load import (
    ALLOWANCE,
    PATIENCE,
    all_over,
    crowd,
    fill,
    most_within,
    patiently,
    press,
    raise_limit,
    starts,
    unfair,
)
from tests.wire import DiscordWire, Member
from tests.wire.limits import ACK_SECONDS, CALLBACK
from tests.world.sockets import BotProcess, World, first_channel, own_process, world_outside

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

MB = 1_000_000
A_SECOND = 50.0
"""Presses: 500 in ten seconds."""
SIZES = {False: (8, 6, 3, 2, 1), True: (200, 120, 80, 50, 30, 14, 4, 1, 1)}
"""Members of each server of a crowd, in the short run and in the long one."""
GREEDY, SONGS_OF_GREEDY = 25, 5
"""One member in so many presses so often, among the others."""
MOST_MEMORY = 250 * MB
MOST_FOR_A_SONG = 20_000
ENOUGH_CALLS = 20
FOR_EVER = 3_000.0
"""Seconds at the API: no song ends before the test says so, however slow the machine."""
DISCORDS_LIMIT = 50
"""Requests a second of one bot, but for those to interactions (Discord, "Rate Limits")."""


@pytest.fixture
async def world(tmp_path: Path, *, long: bool) -> AsyncIterator[World]:
    """Discord's limits apply in it; uploads are not kept."""
    async with world_outside(tmp_path, wire=DiscordWire(keep_uploads=False)) as world:
        world.api.credits = 1_000_000
        if long:  # then it has the machine to itself
            world.wire.limits.acknowledgement = ACK_SECONDS
        world.settings |= {"DEFAULT_ALLOWANCE": str(ALLOWANCE)}
        yield world


async def test_a_crowd_presses_at_once(
    world: World, long: bool, figure: Callable[[str], None]
) -> None:
    members = crowd(world, SIZES[long])
    world.slow(running=0.2)
    at_once = "4" if long else "8"
    async with own_process(world, SEGMIND_CONCURRENCY=at_once) as process:
        await raise_limit(world, members)
        async with most_memory(process.pid) as together:
            requested = await press(world, presses(members), within=len(members) / A_SECOND, made=8)
            for song in requested:
                await song.acknowledged(PATIENCE)
            await all_over(world)
        peak = used(process.pid).peak
        assert await process.stop() == 0
    assert len(world.rows("SELECT 1 FROM songs")) == len(requested)
    assert await broken_guarantees(world) == []
    assert unfair(starts(world)) == []
    assert broken_limits(world) == []
    slowest = percentile((song.acknowledged_in or PATIENCE for song in requested), 99)
    assert max(peak, together[-1].rss) < MOST_MEMORY
    figure(
        f"{len(members)} members and {len(requested)} songs in {len(members) / A_SECOND:.0f} s: "
        f"acknowledged within {slowest * 1000:.0f} ms (p99), {peak / MB:.0f} MB at most, "
        f"{together[-1].rss / MB:.0f} MB with its encoders"
    )


def presses(members: Sequence[Member]) -> list[Member]:
    """Each once and the greedy ones more often, in an order that is the same each time."""
    order = [*members, *list(members[::GREEDY]) * (SONGS_OF_GREEDY - 1)]
    random.Random(5).shuffle(order)
    return order


async def test_thousands_of_songs_in_flight(
    world: World, long: bool, figure: Callable[[str], None]
) -> None:
    """In a process that finds them at the API, compared with one that finds only a few."""
    members = crowd(world, [100] * 5)
    few, many = (300, 5_000) if long else (30, 100)
    world.slow(running=FOR_EVER)
    await fill(world, members, few, mix=(State.SUBMITTED,), genres="fail")
    async with in_flight(world) as process:
        before = used(process.pid)
        assert await process.stop() == 0
    await fill(world, members, many, mix=(State.SUBMITTED,), genres="fail")
    async with in_flight(world) as process:
        there, calls, began = used(process.pid), len(world.api.calls), time.monotonic()
        await asyncio.sleep(30.0 if long else 1.0)
        watched = time.monotonic() - began
        cores = (used(process.pid).cpu - there.cpu) / watched
        polls = (len(world.api.calls) - calls) / watched
        world.api._clock = lambda: time.monotonic() + FOR_EVER
        await all_over(world)
        assert await process.stop() == 0
    assert await broken_guarantees(world) == []
    assert broken_limits(world) == []
    memory = (there.resident - before.resident) / many
    if long:  # what fewer songs take is not distinguishable from what grows once
        assert memory < MOST_FOR_A_SONG
    figure(
        f"{many:,} songs: {memory / 1000:.1f} KB each (resident), {cores:.2f} of a core at "
        f"{polls:.0f} polls a second"
    )


@contextlib.asynccontextmanager
async def in_flight(world: World) -> AsyncIterator[BotProcess]:
    """A bot that has polled every song at least once."""
    world.api.calls.clear()
    settings = {"SEGMIND_CONCURRENCY": "10000", "SEGMIND_RPM": "12000"}
    async with own_process(world, **settings) as process:
        await patiently(lambda: len(polled_at(world)) == len(world.requested))
        await asyncio.sleep(1.0)
        yield process


def polled_at(world: World) -> set[str]:
    """Return the requests whose status was polled."""
    return {call.path for call in world.api.calls if call.path.endswith("/status")}


async def test_a_start_with_thousands_of_unfinished_songs(
    world: World, long: bool, figure: Callable[[str], None]
) -> None:
    count, per_minute = (10_000, 50) if long else (200, 1_200)
    members = crowd(world, [count // 40] * 20)
    world.slow(running=20.0)
    await fill(world, members, count)
    found = states(world)
    world.api.calls.clear()
    began = time.monotonic()
    async with own_process(world, SEGMIND_RPM=str(per_minute)) as process:
        pressed = await world.wire.slash(members[0], first_channel(members[0].guild), "queue")
        await pressed.acknowledged(PATIENCE)
        ready = time.monotonic() - began
        await pressed.wait_message(lambda m: not m.loading, PATIENCE)
        await asyncio.sleep(60.0 if long else 0.0)
        await patiently(lambda: len(calls_of(world)) >= ENOUGH_CALLS)
        peak = used(process.pid).peak
        assert await process.stop() == 0
    # The minute before the start counts as full, since nobody knows what was called in it.
    late = [at - began for at in calls_of(world)]
    assert [n for n, at in enumerate(late) if n > at * per_minute / 60] == []
    assert sum(states(world).values()) == sum(found.values()) == count
    assert await wrong_balances(world.folder / "data") == []
    assert broken_limits(world) == []
    assert peak < MOST_MEMORY
    figure(
        f"{count:,} unfinished: ready in {ready:.1f} s, {len(late)} calls in {late[-1]:.0f} s of "
        f"{per_minute} a minute, {peak / MB:.0f} MB at most"
    )


def calls_of(world: World) -> list[float]:
    """Return when the account's calls were made; a file is none."""
    return [call.at for call in world.api.calls if not call.path.startswith("/files/")]


def broken_limits(world: World) -> list[str]:
    """Return what got 429, and whether one second had more requests than Discord accepts."""
    found = [
        f"429: {answer}, {n} times" for answer, n in world.wire.answers.items() if answer[2] == 429
    ]
    counted = [
        request.at
        for request in world.wire.requests
        if request.route != CALLBACK and not request.route.startswith("/webhooks/")
    ]
    if (most := most_within(counted, 1.0)) > DISCORDS_LIMIT:
        found.append(f"{most} requests in one second")
    return found
