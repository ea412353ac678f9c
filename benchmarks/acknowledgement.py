"""How soon `/song` is acknowledged while songs are transcoded, against a bot that only defers.

Both bots run at the same time, each in its own process with a separate simulated Discord, and are
pressed in turns: whatever else the machine does affects both alike. The song API is a process too.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from playground.song_api import PLAYGROUND_KEY, SongApiServer, Timing, serve
from tests.bot_process import ROOT, BotProcess, bot_process
from tests.music import music_to_encode, wav
from tests.wire import Channel, DiscordWire, Interaction, Limits, Member

PER_SECOND = 20
MEASURED = 30.0
ALONE = 5.0
WARM_UP = 20
SECONDS = 60  # of a song: 10,584,044 bytes of WAV
AT_THE_API = 1.0  # seconds a song takes there, so that there is always one to fit
CHANNELS = 8
TICK = 0.002
LYRICS = "[verse]\nOne more night on the midnight train\n\n[chorus]\nMidnight train, take me home"
GOAL = 1.5
LONGEST_WAIT = 30.0


@dataclass
class Side:
    """One bot before its own Discord, with a member for each interaction."""

    wire: DiscordWire
    channels: list[Channel]
    members: list[Member]
    asked: list[Interaction] = field(default_factory=list)

    @classmethod
    def on(cls, wire: DiscordWire, members: int) -> "Side":
        guild = wire.guild("One")
        return cls(
            wire,
            # Discord takes one post a second in a channel.
            [wire.channel(guild, f"songs-{n}") for n in range(CHANNELS)],
            [wire.member(guild, f"member-{n}") for n in range(members)],
        )

    async def press(self, **options: object) -> None:
        """The next member uses `/song`, and nobody waits for the answer here."""
        member, channel = self.members.pop(), self.channels[len(self.members) % CHANNELS]
        self.asked.append(await self.wire.slash(member, channel, "song", **options))

    def posts(self) -> int:
        """How many songs are there."""
        return sum(len(self.wire.messages(channel)) for channel in self.channels)

    async def times(self) -> list[float]:
        """Milliseconds to each acknowledgement since the last call, in order of size."""
        asked, self.asked = self.asked, []
        await asyncio.gather(*(one.acknowledged(LONGEST_WAIT) for one in asked))
        return sorted((one.acknowledged_in or 0.0) * 1000 for one in asked)


def main() -> None:
    """Print the section; takes about 45 s."""
    print("## Acknowledging `/song`\n")
    asyncio.run(_measure())


async def _measure() -> None:
    needed = 2 * WARM_UP + round(PER_SECOND * (ALONE + MEASURED))
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        api_url = await stack.enter_async_context(_song_api())
        ours, theirs = [
            Side.on(
                await stack.enter_async_context(
                    DiscordWire(limits=Limits(per_second=None), keep_uploads=False)
                ),
                needed,
            )
            for _ in range(2)
        ]
        await stack.enter_async_context(_deferring(theirs.wire))
        await theirs.wire.ready()
        await _pressed(WARM_UP / PER_SECOND, theirs)
        await theirs.times()
        await _pressed(ALONE, theirs)
        alone = await theirs.times()
        bot = await stack.enter_async_context(_ours(ours.wire, api_url, folder))
        await ours.wire.ready()
        await _pressed(WARM_UP / PER_SECOND, ours, theirs)
        await ours.wire.until(ours.posts, LONGEST_WAIT)  # the fitting is under way
        await ours.times()
        await theirs.times()
        posts, late = ours.posts(), list[float]()
        watch = asyncio.create_task(_lateness(late))
        await _pressed(MEASURED, ours, theirs)
        watch.cancel()
        ours_took, theirs_took = await ours.times(), await theirs.times()
        _print(alone, theirs_took, ours_took, sorted(late), ours.posts() - posts)
        await bot.stop()


async def _pressed(seconds: float, *sides: Side) -> None:
    """Each side `PER_SECOND` times a second, in turns. Ours wants options, theirs has none."""
    loop = asyncio.get_running_loop()
    began, presses = loop.time(), round(seconds * PER_SECOND) * len(sides)
    for number in range(presses):
        await asyncio.sleep(began + number * seconds / presses - loop.time())
        side = sides[number % len(sides)]
        options = side.wire.state.commands[0].get("options")
        await side.press(**({"genres": "funk, pop", "lyrics": LYRICS} if options else {}))


async def _lateness(late: list[float]) -> None:
    """How late the measuring loop itself is, in milliseconds: its share of every figure."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + TICK
        await asyncio.sleep(TICK)
        late.append((loop.time() - due) * 1000)


def _print(
    alone: list[float], theirs: list[float], ours: list[float], late: list[float], transcoded: int
) -> None:
    print(
        f"{PER_SECOND} interactions a second to each bot for {MEASURED:.0f} s ({len(ours)} and "
        f"{len(theirs)}); meanwhile Songwright transcoded and posted {transcoded} songs "
        f"of {SECONDS} s ({len(wav(SECONDS)):,} bytes of WAV). From the event's dispatch to the "
        "callback's arrival, in ms.\n"
    )
    print("| | p50 | p99 | longest |")
    print("|---|---|---|---|")
    for name, times in (
        ("only defers, nothing else on the machine", alone),
        ("only defers, beside Songwright", theirs),
        ("Songwright, `/song` with lyrics", ours),
        ("the measuring loop's own lateness", late),
    ):
        print(f"| {name} | {_at(times, 50):.2f} | {_at(times, 99):.2f} | {times[-1]:.2f} |")
    p50, p99 = (_at(ours, percent) / _at(theirs, percent) for percent in (50, 99))
    print(f"| times the bot that only defers (goal: {GOAL}) | **{p50:.2f}** | **{p99:.2f}** | |")


def _at(ordered: list[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


# --- the processes --------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _ours(wire: DiscordWire, api_url: str, folder: Path) -> AsyncIterator[BotProcess]:
    settings = {
        "DISCORD_TOKEN": wire.token,
        "DISCORD_API_URL": wire.api_url,
        "SEGMIND_API_KEY": PLAYGROUND_KEY,
        "SEGMIND_API_URL": api_url,
        "SEGMIND_MODE": "sync",  # songs come as fast as they are made, with nothing to be learnt
        "DEFAULT_COOLDOWN": "0",
        "DAILY_SONGS": "0",
        "SERVER_DAILY_SONGS": "0",
    }
    async with bot_process(folder, settings) as process:
        yield process


@contextlib.asynccontextmanager
async def _deferring(wire: DiscordWire) -> AsyncIterator[None]:
    told = {"DISCORD_API_URL": wire.api_url, "DISCORD_TOKEN": wire.token}
    told["GATEWAY_URL"] = wire.gateway_url
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.wire", "bot", env={**os.environ, **told}, cwd=ROOT
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def _song_api() -> AsyncIterator[str]:
    """Its address. It lives as long as its standard input is open."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.acknowledgement",
        "song-api",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.stdin.close()
        await process.wait()


async def _serve_song_api() -> None:
    wav(SECONDS)
    async with serve(
        SongApiServer(music_to_encode, timing=lambda _: Timing(0.0, AT_THE_API), rpm=0)
    ) as api:
        print(api.root, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    if sys.argv[1:] == ["song-api"]:
        asyncio.run(_serve_song_api())
    else:
        main()
