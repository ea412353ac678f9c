"""Songs of several members, at different steps, while something breaks; and what came of them."""

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
from services.audio.audio_file import AudioFormat
from services.audio.transcoder import Transcoded, Transcoder
from services.errors import NotAudio
from services.retry import Backoff
from tests.music import is_mp3, short
from tests.reliability.faults import During, FaultGates, Length, fault_gates
from tests.reliability.guarantees import broken_guarantees, is_gone, status_shown
from tests.wire import Interaction
from tests.world.sockets import BotProcess, World, is_shown, own_process, running, status_of, until

LONG = Length(fault=20.0, slow=10.0, running=8.0, patience=180.0)
A_MINUTE = replace(LONG, fault=60.0)
SHORT = Length(fault=0.4, slow=0.2, running=0.2, patience=60.0)
BEFORE, DURING = 6, 3
"""Songs asked for before a fault and while it lasts."""
READY, AT_ONCE = 2, 3
"""Of those asked for before, these are made already and are at the API; the others wait."""
HELD = 1e9
"""Seconds: as long as the fault has not begun, the API makes no song but those."""
PATIENCE = 60.0
"""Seconds that a process has to begin or to end, on a busy machine too."""
PAUSE_FACTOR = 0.05
"""By what the pauses of the bot and of discord.py are multiplied in the short form."""
RECORD = re.compile(
    r"^\d{4}-\d\d-\d\d [\d:,]+ (?P<level>[A-Z]+) +(?P<logger>[\w.]+):.*$", re.MULTILINE
)
TRACE = "Traceback (most recent call last)"
MALFORMED = re.compile(
    r'File "[^"]+/(discord|json)/[^"]+", line \d+, in \w+\n( {4,}(?!File ).*\n)* *\S+Error:'
)
NOT_OURS = ("discord.shard", "aiohttp.server")
"""discord.py shows the trace of each new connection; servers are the test's."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an fault_run: counts of songs, and seconds from the fault's end to the last one.

    `late`: of those posted, the ones that could not be posted to begin with.
    """

    asked: int
    posted: int
    late: int
    handed_over: int
    failed: int
    cancelled: int
    given_back: int
    not_accepted: int
    until_over: float
    submits: int
    invalid: int
    faults_met: int

    @classmethod
    def of(cls, world: World, *, until_over: float, faults_met: int = 0) -> Self:
        """Once all is over; `faults_met` is how many calls the fault met."""
        songs = list(world.asked.values())
        rows = [row for row in map(world.row, songs) if row is not None]
        ends = [status_of(row) for row in rows]
        completed = [row for row in rows if row["state"] == "completed"]
        return cls(
            asked=len(songs),
            posted=len(world.posts),
            late=sum(
                row["post_id"] is not None and row["state_at"] > row["ended_at"] for row in rows
            ),
            handed_over=sum(row["post_id"] is None for row in completed),
            failed=ends.count("FAILED"),
            cancelled=ends.count("CANCELLED"),
            given_back=sum("compensate" in world.entries(song) for song in songs),
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
            (self.given_back, "refunded after a day"),
            (self.not_accepted, "not accepted"),
        )
        ends = ", ".join([posted, *(f"{count} {what}" for count, what in others if count)])
        invalid = f", {self.invalid} answers of 401, 403 or 429" if self.invalid else ""
        return (
            f"{self.asked} requested: {ends}; the last {self.until_over:.1f} s after the fault; "
            f"{self.submits} submits{invalid}"
        )


class Bot:
    """The bot of a fault run: a separate process, or `bot.run` in the test's loop."""

    def __init__(self, world: World, process: BotProcess | None, log: Callable[[], str]) -> None:
        self._world = world
        self._process = process
        self.log = log

    async def check_healthy(self) -> None:
        """`bot.py health`, where there is a process to ask about."""
        if self._process is not None:
            asking = BotProcess(self._world.folder, self._world.settings)
            await asking.start("health")
            assert await asking.ended(PATIENCE) == 0

    async def stop(self) -> None:
        if self._process is not None:
            assert await self._process.stop(within=PATIENCE) == 0, self._process.output

    async def ended(self, status: int) -> None:
        """By itself. What runs in the test's loop is waited for where it was started."""
        if self._process is not None:
            assert await self._process.ended(PATIENCE) == status

    def unforeseen(self) -> list[str]:
        """Errors in the log that come with a trace: nobody has thought of them."""
        return traces(self.log())


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
        and not (
            record["logger"] == "cogs.client.errors" and MALFORMED.search(log[record.end() : end])
        )
    ]


async def nothing_more(_: World, __: Length) -> None:
    """Where all is over with the songs themselves."""


@dataclass(frozen=True, slots=True)
class FaultRun:
    """Lets songs meet what breaks, with a separate bot: a process in the long form, else in the
    test's loop, its pauses made short.
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
        """Songs before and during a fault; what came of them, once all is over and the bot is well.

        `lengths` are those of the long form and of the short one. `then`: what is still to be
        waited for, or done, once every song has ended.

        Raises AssertionError where a promise is broken.
        """
        world, length = self.world, lengths[not self.long]
        async with fault_gates(world) as door:
            self.prepare()
            async with self.bot() as bot:
                await ask_before(world, length)
                await ask_during(door, during, length)
                over = time.monotonic()
                await world.wire.ready(length.patience)
                await asyncio.sleep(2 * length.slow)  # what was asked for may be on its way
                await ask_after(world, length)
                await then(world, length)
                until_over = time.monotonic() - over
                await bot.check_healthy()
                await bot.stop()
            await check_guarantees(world, bot, most_submits=most_submits)
        return Outcome.of(world, until_over=until_over, faults_met=door.faults_met)

    def prepare(self) -> None:
        prepare(self.world)
        if not self.long:
            shorten_pauses(self.world, self.monkeypatch)

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


def prepare(world: World) -> None:
    """Songs that are soon fitted. The first ones are soon made, the others are held: else it were
    luck to find some at each step.
    """
    submitted = itertools.count()
    world.api._compose = short
    world.api._timing = lambda _: Timing(0.0, 0.05 if next(submitted) < READY else HELD)
    world.settings |= {"SEGMIND_CONCURRENCY": str(AT_ONCE), "DEFAULT_ALLOWANCE": "1000"}


def release_songs(world: World, running: float) -> None:
    """What was held at the API takes so many seconds from now, and more, one after the other."""
    numbers = itertools.count()

    def timing(_: object = None) -> Timing:
        return Timing(0.0, running * (1.0 + 0.2 * (next(numbers) % AT_ONCE)))

    world.api._timing = timing
    now = world.api._clock()
    for song_id, song in world.api._songs.items():
        if song.timing.running == HELD:
            world.api._songs[song_id] = replace(song, submitted=now, timing=timing())


def shorten_pauses(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses after failures, and between edits, are a twentieth of what they are.

    Fitting, a child process for each song, is no part of what breaks here: it is left out.
    """
    # Who hardly pauses keeps no limit: that they are kept is proven in the long form.
    world.wire.limits.edit_interval, world.wire.limits.buckets = None, False
    # How soon the bot acknowledges is measured where it has the machine to itself.
    monkeypatch.setattr("tests.wire.rest.ACK_SECONDS", PATIENCE)
    monkeypatch.setattr(Transcoder, "transcode", _copied)
    pause = Backoff.pause
    monkeypatch.setattr(
        Backoff, "pause", lambda self, failures: PAUSE_FACTOR * pause(self, failures)
    )
    monkeypatch.setattr("cogs.songs.announcer.BETWEEN_EDITS", 3.0 * PAUSE_FACTOR)
    monkeypatch.setattr("cogs.songs.announcer.LONGEST_PAUSE", 20.0 * PAUSE_FACTOR)
    monkeypatch.setattr("cogs.client.errors.LONGEST_PAUSE", 20.0 * PAUSE_FACTOR)
    monkeypatch.setattr("services.songs.delivery.EVERY", 10.0 * PAUSE_FACTOR)
    monkeypatch.setattr("services.songs.delivery.SETTLE", 1.0 * PAUSE_FACTOR)
    monkeypatch.setattr("services.songs.delivery.SOONEST", 10.0 * PAUSE_FACTOR)
    monkeypatch.setattr("services.songs.scheduler.ACCOUNT_CHECK_EVERY", 60.0 * PAUSE_FACTOR)
    monkeypatch.setattr(
        "services.providers.segmind_answers._RETRY_AFTER_UNKNOWN", 10.0 * PAUSE_FACTOR
    )
    monkeypatch.setattr("services.providers.run_times.PAGE_SECONDS", 0.5)
    monkeypatch.setattr(discord.http, "asyncio", _Hurried())
    monkeypatch.setattr(discord.webhook.async_, "asyncio", _Hurried())
    reconnect = discord.backoff.ExponentialBackoff.delay
    monkeypatch.setattr(
        discord.backoff.ExponentialBackoff, "delay", lambda self: PAUSE_FACTOR * reconnect(self)
    )


async def _copied(
    _: Transcoder, source: Path, folder: Path, *, stem: str, requested_seconds: int, **__: object
) -> Transcoded:
    def copy() -> Transcoded:
        if not is_mp3(source.read_bytes()):
            raise NotAudio("The song API sent something that can't be played.")
        path = Path(shutil.copyfile(source, folder / f"{stem}.mp3"))
        return Transcoded(path, AudioFormat.MP3, float(requested_seconds), path.stat().st_size)

    return await asyncio.to_thread(copy)


class _Hurried:
    """asyncio, whose sleeps are short."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(PAUSE_FACTOR * seconds)


async def ask_before(world: World, length: Length) -> None:
    """Songs at each step: some wait, some are at the API, some are being posted.

    No call to the API is in flight then but polls: a submit that the fault happens to cut would be
    made again.
    """
    for number in range(BEFORE):
        await world.song(member(world, number // 2))
    expected = {"posting": READY, "submitted": AT_ONCE, "waiting": BEFORE - READY - AT_ONCE}
    await until(lambda: steps(world) == expected, length.patience)


async def ask_during(door: FaultGates, during: During, length: Length) -> None:
    """A few more songs, while something breaks."""
    async with during(door, length):
        release_songs(door.world, length.running)
        door.release()
        for number in range(DURING):
            await door.world.song(member(door.world, BEFORE + number // 2))
            await asyncio.sleep(length.fault / DURING)


async def ask_after(world: World, length: Length) -> None:
    """One more song; until all have ended."""
    last = await world.song(member(world, 99))
    await until(lambda: world.row(last), length.patience)
    await all_over(world, within=length.patience)


async def check_guarantees(world: World, *bots: Bot, most_submits: int = 1) -> None:
    """Raises AssertionError where a promise is broken; no bot runs any more."""
    broken = await broken_guarantees(world, most_submits=most_submits)
    unforeseen = [trace for bot in bots for trace in bot.unforeseen()]
    if found := [*broken, *wrongly_in_progress(world), *unforeseen]:
        raise AssertionError("\n".join(found))


def member(world: World, number: int) -> Any:
    """The member of that number, who joins when first needed."""
    name = f"member {number}"
    found = (m for m in world.guild.members.values() if m.user.name == name)
    return next(found, None) or world.wire.member(world.guild, name)


def steps(world: World) -> Counter[str]:
    """How many songs are in each state."""
    return Counter(row["state"] for row in world.rows("SELECT state FROM songs"))


async def all_over(world: World, *, within: float) -> None:
    """Every song that was taken in has ended, and its message says so.

    That of one that waits to be delivered goes on following what becomes of it.
    """

    def over() -> bool:
        rows = {row["song_id"]: row for row in world.rows("SELECT * FROM songs")}
        accepted = [song for song in world.asked.values() if song.id in rows]
        return all(row["ended_at"] for row in rows.values()) and all(
            is_shown(song, rows[song.id]) for song in accepted
        )

    await until(over, within)


def wrongly_in_progress(world: World) -> list[str]:
    """Members who see that their song is under way although it was never taken in."""
    return [
        f"{song} shows {status_shown(song)}"
        for song in world.asked.values()
        if world.row(song) is None and (status_shown(song) or thinks(song))
    ]


def thinks(song: Interaction) -> bool:
    """Whether its message is left at "thinking"."""
    return song.original is not None and song.original.loading and not is_gone(song)


def refusals(world: World) -> list[str]:
    """The refusals of those whose song was never accepted."""
    songs = [song for song in world.asked.values() if world.row(song) is None]
    return [
        song.original.content
        for song in songs
        if song.original and not song.original.loading and not is_gone(song)
    ]


async def all_refused(world: World, length: Length) -> None:
    """Until every song that was requested during the fault was refused, on a slow machine too."""
    await until(lambda: len(refusals(world)) >= DURING, length.patience)
