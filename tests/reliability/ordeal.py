"""Songs of several members, at different steps, while something breaks; and what came of them."""

import asyncio
import contextlib
import itertools
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import discord
import pytest

from playground.song_api import Timing
from services.making.worker import Backoff
from tests.bot_process import BotProcess
from tests.inside import running
from tests.outside import World, own_process, until
from tests.reliability.faults import Doors, During, Length
from tests.reliability.promises import broken_promises, status_shown
from tests.reliability.scenarios import short_mp3
from tests.wire import Interaction

LONG, SHORT = Length(fault=60.0, slow=10.0, patience=180.0), Length(fault=0.4, slow=0.2)
BEFORE, DURING = 6, 3
"""Songs asked for before a fault and while it lasts."""
READY, AT_ONCE = 2, 3
"""Of those asked for before, these are made already and are at the API; the others wait."""
HASTE = 0.05
"""By what the pauses of the bot and of discord.py are multiplied in the short form."""
RECORD = re.compile(
    r"^\d{4}-\d\d-\d\d [\d:,]+ (?P<level>[A-Z]+) +(?P<logger>[\w.]+):.*$", re.MULTILINE
)
TRACE = "Traceback (most recent call last)"
NONSENSE = re.compile(r'File "[^"]+/(discord|json)/[^"]+", line \d+, in \w+\n( {4}.*\n)*\S+Error:')
NOT_OURS = ("discord.shard", "aiohttp.server")
"""discord.py shows the trace of each connection that it makes anew; servers are the test's own."""


@dataclass(frozen=True, slots=True)
class Told:
    """What came of an ordeal: counts of songs, and seconds from the fault's end to the last one."""

    asked: int
    posted: int
    refunded: int
    in_vain: int
    until_over: float
    calls: int
    submits: int
    invalid: int

    def __str__(self) -> str:
        return (
            f"{self.asked} asked for: {self.posted} posted, {self.refunded} refunded, "
            f"{self.in_vain} never taken in; the last {self.until_over:.1f} s after the fault; "
            f"{self.submits} submits, {self.invalid} answers of 401, 403 or 429"
        )


class Bot:
    """The bot of an ordeal: a process of its own, or `bot.run` in the test's loop."""

    def __init__(self, world: World, process: BotProcess | None, log: Callable[[], str]) -> None:
        self._world = world
        self._process = process
        self._log = log

    async def check_healthy(self) -> None:
        """`bot.py health`, where there is a process to ask about."""
        if self._process is not None:
            asking = BotProcess(self._world.folder, self._world.settings)
            await asking.start("health")
            assert await asking.ended() == 0

    async def stop(self) -> None:
        if self._process is not None:
            assert await self._process.stop() == 0, self._process.output

    def unforeseen(self) -> list[str]:
        """Errors in the log that come with a trace: nobody has thought of them."""
        return traces(self._log())


def traces(log: str) -> list[str]:
    """Records of an error with a trace, but for the library's own of each new connection.

    What an interaction's own answer is read by is the library's, too: where that makes no sense,
    the one handler logs it, with the number that the person is told.
    """
    records = list(RECORD.finditer(log))
    ends = [record.start() for record in records[1:]] + [len(log)]
    return [
        log[record.start() : end][-3_000:]
        for record, end in zip(records, ends, strict=True)
        if record["level"] in ("ERROR", "CRITICAL")
        and record["logger"] not in NOT_OURS
        and TRACE in log[record.end() : end]
        and not (record["logger"] == "cogs.errors" and NONSENSE.search(log[record.end() : end]))
    ]


@contextlib.asynccontextmanager
async def bot_of(
    world: World, *, long: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Bot]:
    """A process of its own in the long run; else in this loop, its pauses made short."""
    prepare(world, running=8.0 if long else 0.8)
    if long:
        async with own_process(world) as process:
            yield Bot(world, process, (world.folder / "log").read_text)
        return
    hurry(monkeypatch)
    # Who hardly pauses keeps no limit: that they are kept is proven in the long form.
    world.wire.limits.edit_interval, world.wire.limits.buckets = None, False
    caplog.set_level(logging.INFO)
    caplog.handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    )
    async with running(world, monkeypatch):
        yield Bot(world, None, lambda: caplog.text)


def prepare(world: World, *, running: float) -> None:
    """Songs that are soon fitted. The first ones are soon made, the others take `running` seconds
    and more, one after the other.
    """
    submitted = itertools.count()

    def timing(_: object) -> Timing:
        number = next(submitted)
        return Timing(0.0, 0.05 if number < READY else running * (1.0 + 0.2 * (number % AT_ONCE)))

    world.api._compose = short_mp3
    world.api._timing = timing
    world.settings |= {"SEGMIND_CONCURRENCY": str(AT_ONCE), "DEFAULT_ALLOWANCE": "1000"}


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses after failures, and between edits, are a twentieth of what they are."""
    pause = Backoff.pause
    monkeypatch.setattr(Backoff, "pause", lambda self, failures: HASTE * pause(self, failures))
    monkeypatch.setattr("cogs.announcer.BETWEEN_EDITS", 3.0 * HASTE)
    monkeypatch.setattr("cogs.announcer.LONGEST_PAUSE", 60.0 * HASTE)
    monkeypatch.setattr("cogs.errors.LONGEST_PAUSE", 60.0 * HASTE)
    monkeypatch.setattr("services.making.pacing.PAGE_SECONDS", 0.5)
    monkeypatch.setattr(discord.http, "asyncio", _Hurried())
    monkeypatch.setattr(discord.webhook.async_, "asyncio", _Hurried())
    reconnect = discord.backoff.ExponentialBackoff.delay
    monkeypatch.setattr(
        discord.backoff.ExponentialBackoff, "delay", lambda self: HASTE * reconnect(self)
    )


class _Hurried:
    """asyncio, whose sleeps are short."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(HASTE * seconds)


async def put_through(
    world: World, bot: Bot, door: Doors, during: During, length: Length, *, most_submits: int = 1
) -> Told:
    """Songs before and during a fault; what came of them, once all is over and the bot is well.

    Raises AssertionError where a promise is broken.
    """
    for number in range(BEFORE):
        await world.song(member(world, number // 2))
    await until(lambda: {"waiting", "submitted", "posting"} <= steps(world))
    began = len(world.api.calls)
    async with during(door, length):
        door.release()
        for number in range(DURING):
            await world.song(member(world, BEFORE + number // 2))
            await asyncio.sleep(length.fault / DURING)
    over = time.monotonic()
    await world.wire.ready(length.patience)
    await asyncio.sleep(2 * length.slow)  # what was asked for at the end may be on its way
    await world.song(member(world, 99))
    until_over = await all_over(world, within=length.patience) - over
    await bot.check_healthy()
    await bot.stop()
    broken = await broken_promises(world, most_submits=most_submits)
    found = [*broken, *false_hopes(world), *bot.unforeseen()]
    if found:
        raise AssertionError("\n".join(found))
    assert began < len(world.api.calls)
    return told(world, until_over=until_over, calls=door.calls)


def told(world: World, *, until_over: float, calls: int) -> Told:
    rows = [world.row(song) for song in world.asked.values()]
    ends = [row["status"] for row in rows if row is not None]
    return Told(
        asked=len(rows),
        posted=len(world.posts),
        refunded=ends.count("FAILED"),
        in_vain=rows.count(None),
        until_over=until_over,
        calls=calls,
        submits=world.submits(),
        invalid=world.wire.invalid_answers,
    )


def member(world: World, number: int) -> Any:
    """The member of that number, who joins when first needed."""
    name = f"member {number}"
    found = (m for m in world.guild.members.values() if m.user.name == name)
    return next(found, None) or world.wire.member(world.guild, name)


def steps(world: World) -> set[str]:
    return {row["step"] for row in world.rows("SELECT DISTINCT step FROM songs")}


async def all_over(world: World, *, within: float) -> float:
    """When every song that was taken in has ended, and its message says so."""
    last = list(world.asked.values())[-1]
    await until(lambda: world.row(last), within)
    await until(
        lambda: not world.rows("SELECT 1 FROM songs WHERE ended_at IS NULL OR token IS NOT NULL"),
        within,
    )
    return time.monotonic()


def false_hopes(world: World) -> list[str]:
    """Members who see that their song is under way although it was never taken in."""
    return [
        f"{song} shows {status_shown(song)}"
        for song in world.asked.values()
        if world.row(song) is None and (status_shown(song) or thinks(song))
    ]


def thinks(song: Interaction) -> bool:
    """Whether its message is left at "thinking"."""
    return song.original is not None and song.original.loading and not song.original.deleted
