"""Songs of several members, in different states, while something breaks; and what came of them."""

import asyncio
import contextlib
import itertools
import logging
import re
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import discord
import pytest

from playground.song_api import Timing
from services.audio.transcoder import Transcoder
from services.errors import NotAudio
from services.retry import Backoff
from tests.music import is_mp3, short
from tests.reliability.faults import During, FaultGates, Length, fault_gates
from tests.reliability.guarantees import broken_guarantees, is_gone, status_shown
from tests.wire import Interaction, Member
from tests.wire.limits import ACK_SECONDS
from tests.world.sockets import (
    BotProcess,
    World,
    is_shown,
    own_process,
    running,
    status_of,
    until,
)

LONG = Length(fault=20.0, slow=10.0, running=8.0, patience=180.0)
A_MINUTE = replace(LONG, fault=60.0)
SHORT = Length(fault=0.3, slow=0.1, running=0.1, patience=60.0)
BEFORE, DURING = 6, 3
"""Songs requested before a fault and during it."""
READY, AT_ONCE = 2, 3
"""Of those requested before, these are made already and are at the API; the others wait."""
HELD = 1e9
"""Seconds: as long as the fault has not begun, the API makes no song but those."""
PATIENCE = 60.0
"""Seconds that a process has to begin or to end, on a busy machine too."""
PAUSE_FACTOR = 0.05
"""By what the pauses of the bot and of discord.py are multiplied in the short form."""
PAUSES = {
    "cogs.songs.announcer.BETWEEN_EDITS": 3.0,
    "cogs.songs.announcer.LONGEST_PAUSE": 20.0,
    "cogs.client.errors.LONGEST_PAUSE": 20.0,
    "services.songs.delivery.EVERY": 10.0,
    "services.songs.delivery.SETTLE": 1.0,
    "services.songs.delivery.SOONEST": 10.0,
    "services.songs.scheduler.ACCOUNT_CHECK_EVERY": 60.0,
    "services.providers.segmind_answers._RETRY_AFTER_UNKNOWN": 10.0,
    "services.providers.run_times.PAGE_SECONDS": 10.0,
}
RECORD = re.compile(
    r"^\d{4}-\d\d-\d\d [\d:,]+ (?P<level>[A-Z]+) +(?P<logger>[\w.]+):.*$", re.MULTILINE
)
TRACEBACK = "Traceback (most recent call last)"
MALFORMED = re.compile(
    r'File "[^"]+/(discord|json)/[^"]+", line \d+, in \w+\n( {4,}(?!File ).*\n)* *\S+Error:'
)
NOT_OURS = ("discord.shard", "aiohttp.server")
"""discord.py logs the traceback of each new connection; servers are the test's."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a fault run: counts of songs, and seconds from the fault's end to the last one.

    `late`: of those posted, the ones that could not be posted at first. `faults_met`: calls that
    the fault met.
    """

    requested: int
    posted: int
    late: int
    handed_over: int
    failed: int
    cancelled: int
    compensated: int
    not_accepted: int
    until_over: float
    submits: int
    invalid: int
    faults_met: int

    @classmethod
    def of(cls, world: World, *, until_over: float, faults_met: int = 0) -> Self:
        """Count, once all is over."""
        songs = list(world.requested.values())
        rows = [row for row in map(world.row, songs) if row is not None]
        ends = Counter(status_of(row) for row in rows)
        return cls(
            requested=len(songs),
            posted=len(world.posts),
            late=sum(bool(row["post_id"]) and row["state_at"] > row["ended_at"] for row in rows),
            handed_over=sum(row["state"] == "completed" and not row["post_id"] for row in rows),
            failed=ends["FAILED"],
            cancelled=ends["CANCELLED"],
            compensated=sum("compensate" in world.entries(song) for song in songs),
            not_accepted=len(songs) - len(rows),
            until_over=until_over,
            submits=world.submits(),
            invalid=world.wire.invalid_answers,
            faults_met=faults_met,
        )

    def __str__(self) -> str:
        posted = f"{self.posted} posted" + (f" ({self.late} late)" if self.late else "")
        others = (
            (self.handed_over, "given to requesters"),
            (self.failed, "failed and refunded"),
            (self.cancelled, "cancelled and refunded"),
            (self.compensated, "refunded after a day"),
            (self.not_accepted, "not accepted"),
        )
        ends = ", ".join([posted, *(f"{count} {what}" for count, what in others if count)])
        invalid = f", {self.invalid} answers of 401, 403 or 429" if self.invalid else ""
        return (
            f"{self.requested} requested: {ends}; the last {self.until_over:.1f} s after the "
            f"fault; {self.submits} submits{invalid}"
        )


class Bot:
    """The bot of a fault run: a separate process, or a task of the test's loop."""

    def __init__(self, world: World, process: BotProcess | None, log: Callable[[], str]) -> None:
        self._world = world
        self._process = process
        self.log = log

    async def check_health(self) -> None:
        """Run `bot.py health`, where there is a process."""
        if self._process is not None:
            health = BotProcess(self._world.folder, self._world.settings)
            await health.start("health")
            assert await health.ended(PATIENCE) == 0

    async def stop(self) -> None:
        if self._process is not None:
            assert await self._process.stop(within=PATIENCE) == 0, self._process.output

    async def ended(self, status: int) -> None:
        """Wait until it ends by itself. A task is waited for where it was started."""
        if self._process is not None:
            assert await self._process.ended(PATIENCE) == status


def unexpected_errors(log: str) -> list[str]:
    """Return records of an error with a traceback.

    Of discord.py reading a malformed answer to an interaction the one handler logs the traceback,
    with the number that the person is shown: these are expected.
    """
    records = list(RECORD.finditer(log))
    ends = [record.start() for record in records[1:]] + [len(log)]
    return [
        log[record.start() : end][-3_000:]
        for record, end in zip(records, ends, strict=True)
        if record["level"] in ("ERROR", "CRITICAL")
        and record["logger"] not in NOT_OURS
        and TRACEBACK in log[record.end() : end]
        and not (
            record["logger"] == "cogs.client.errors" and MALFORMED.search(log[record.end() : end])
        )
    ]


async def nothing_more(_: World, __: Length) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class FaultRun:
    """Lets songs meet what breaks, with a separate bot: in the long form a process, in the short
    form a task of the test's loop, with short pauses.
    """

    world: World
    long: bool
    monkeypatch: pytest.MonkeyPatch
    caplog: pytest.LogCaptureFixture

    async def __call__(
        self,
        during: During,
        *,
        lengths: tuple[Length, Length] = (LONG, SHORT),
        most_submits: int = 1,
        then: Callable[[World, Length], Awaitable[None]] = nothing_more,
    ) -> Outcome:
        """Request songs before, during and after a fault; wait until all is over.

        `lengths` are those of the long form and of the short one. `then`: what is still to be
        waited for, or done, once every song has ended.

        Raises AssertionError where a guarantee is broken.
        """
        world, length = self.world, lengths[not self.long]
        async with fault_gates(world) as gates:
            self.prepare()
            async with self.bot() as bot:
                await request_before(world, length)
                await request_during(gates, during, length)
                over = time.monotonic()
                await world.wire.ready(length.patience)
                await request_after(world, length)
                await then(world, length)
                until_over = time.monotonic() - over
                await bot.check_health()
                await bot.stop()
            await check_guarantees(world, bot, most_submits=most_submits)
        return Outcome.of(world, until_over=until_over, faults_met=gates.faults_met)

    def prepare(self) -> None:
        """The first songs are soon made, the others are held: otherwise it would be luck to find
        some in each state.
        """
        world, submitted = self.world, itertools.count()
        world.api._compose = short
        world.api._timing = lambda _: Timing(0.0, 0.05 if next(submitted) < READY else HELD)
        world.settings |= {"SEGMIND_CONCURRENCY": str(AT_ONCE), "DEFAULT_ALLOWANCE": "1000"}
        if self.long:
            world.wire.limits.acknowledgement = ACK_SECONDS
        else:
            shorten_pauses(world, self.monkeypatch)

    @contextlib.asynccontextmanager
    async def bot(self, *, status: int = 0) -> AsyncIterator[Bot]:
        """A bot of a world that is prepared; `status` is not 0 where it ends by itself."""
        if self.long:
            async with own_process(self.world) as process:
                yield Bot(self.world, process, (self.world.folder / "log").read_text)
            return
        self.caplog.set_level(logging.INFO)
        self.caplog.handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        )
        async with running(self.world, self.monkeypatch, status=status):
            yield Bot(self.world, None, lambda: self.caplog.text)


def release_songs(world: World, running: float) -> None:
    """Let what was held at the API take so many seconds from now, and more, one after the other."""
    numbers = itertools.count()

    def timing(_: object = None) -> Timing:
        return Timing(0.0, running * (1.0 + 0.2 * (next(numbers) % AT_ONCE)))

    world.api._timing = timing
    now = world.api._clock()
    for song_id, song in world.api._songs.items():
        if song.timing.running == HELD:
            world.api._songs[song_id] = replace(song, submitted=now, timing=timing())


def shorten_pauses(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Multiply pauses after failures, and between edits, by `PAUSE_FACTOR`.

    Transcoding, a child process for each song, does not break here: it is left out.
    """
    # Who hardly pauses keeps no limit: that they are kept is proven in the long form.
    world.wire.limits.edit_interval, world.wire.limits.buckets = None, False
    monkeypatch.setattr(Transcoder, "transcode", _copied)
    for name, seconds in PAUSES.items():
        monkeypatch.setattr(name, PAUSE_FACTOR * seconds)
    pause, delay = Backoff.pause, discord.backoff.ExponentialBackoff.delay
    monkeypatch.setattr(
        Backoff, "pause", lambda self, failures: PAUSE_FACTOR * pause(self, failures)
    )
    monkeypatch.setattr(
        discord.backoff.ExponentialBackoff, "delay", lambda self: PAUSE_FACTOR * delay(self)
    )
    for module in (discord.http, discord.webhook.async_):
        monkeypatch.setattr(module, "asyncio", _QuickAsyncio())


async def _copied(_: Transcoder, source: Path, folder: Path, *, stem: str, **__: object) -> Path:
    def copy() -> Path:
        if not is_mp3(source.read_bytes()):
            raise NotAudio
        return Path(shutil.copyfile(source, folder / f"{stem}.mp3"))

    return await asyncio.to_thread(copy)


class _QuickAsyncio:
    """asyncio, whose sleeps are short."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(PAUSE_FACTOR * seconds)


async def request_before(world: World, length: Length) -> None:
    """Request songs until some wait, some are at the API, and some are being posted.

    No call to the API is in flight then but polls: a submit that the fault happens to cut would be
    made again.
    """
    for number in range(BEFORE):
        await world.song(member(world, number // 2))
    expected = {"posting": READY, "submitted": AT_ONCE, "waiting": BEFORE - READY - AT_ONCE}
    await until(lambda: states(world) == expected, length.patience)


async def request_during(gates: FaultGates, during: During, length: Length) -> None:
    """Request a few more songs, while something breaks."""
    async with during(gates, length):
        release_songs(gates.world, length.running)
        gates.release()
        for number in range(DURING):
            await gates.world.song(member(gates.world, BEFORE + number // 2))
            await asyncio.sleep(length.fault / DURING)


async def request_after(world: World, length: Length) -> None:
    """Request one more song; wait until each that was accepted or refused has come to its end."""
    last = await world.song(member(world, 99))
    await until(lambda: world.row(last), length.patience)
    await until_all_over(world, length)


async def check_guarantees(world: World, *bots: Bot, most_submits: int = 1) -> None:
    """Raise AssertionError where a guarantee is broken; no bot runs any more."""
    found = await broken_guarantees(world, most_submits=most_submits)
    found += [error for bot in bots for error in unexpected_errors(bot.log())]
    # Members who see that their song is in progress although it was never accepted.
    found += [
        f"{song} shows {status_shown(song)}"
        for song in world.requested.values()
        if world.row(song) is None and (status_shown(song) or is_thinking(song))
    ]
    if found:
        raise AssertionError("\n".join(found))


def member(world: World, number: int) -> Member:
    """Return the member of that number, who joins when first needed."""
    name = f"member {number}"
    found = (m for m in world.guild.members.values() if m.user.name == name)
    return next(found, None) or world.wire.member(world.guild, name)


def states(world: World) -> Counter[str]:
    """Return how many songs are in each state."""
    return Counter(row["state"] for row in world.rows("SELECT state FROM songs"))


async def until_all_over(world: World, length: Length) -> None:
    """Wait until every song that was accepted has ended, and its message shows it; until every
    other request that was acknowledged shows that it was refused.
    """

    def over() -> bool:
        rows = {row["song_id"]: row for row in world.rows("SELECT * FROM songs")}
        return all(row["ended_at"] for row in rows.values()) and all(
            is_shown(song, rows[song.id]) if song.id in rows else not is_thinking(song)
            for song in world.requested.values()
        )

    # What was requested during the fault may still be on its way: to the bot, and back.
    await asyncio.sleep(2 * length.slow)
    await until(over, length.patience)


def is_thinking(song: Interaction) -> bool:
    """Return whether a request was acknowledged, and has got no reply yet."""
    return song.original is not None and song.original.loading and not is_gone(song)


def refusals(world: World) -> list[str]:
    """Return the refusals of requests that were never accepted."""
    songs = [song for song in world.requested.values() if world.row(song) is None]
    return [
        song.original.content
        for song in songs
        if song.original and not is_gone(song) and not is_thinking(song)
    ]


async def all_refused(world: World, length: Length) -> None:
    """Wait until every request during the fault was refused, on a slow machine too."""
    await until(lambda: len(refusals(world)) >= DURING, length.patience)
