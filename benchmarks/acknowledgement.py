"""How soon `/song` is acknowledged while songs are transcoded, against a bot that only defers.

Both bots run at the same time, each in a process with a separate simulated Discord, and are pressed
in turns: whatever else the machine does affects both alike. The song API is a process too.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator

import discord
import yarl
from discord import app_commands

from benchmarks.worlds import WAIT, measured_world
from playground.song_api import SongApiServer, Timing, serve
from tests.music import music_to_encode, wav
from tests.processes import lateness, percentile
from tests.wire import Interaction
from tests.world.sockets import ROOT, World, own_process

PER_SECOND = 20
MEASURED = 30.0
ALONE = 5.0
WARM_UP = 1.0
SECONDS = 60  # of a song: 10,584,044 bytes of WAV
AT_THE_API = 1.0  # seconds a song takes there, so that there is always one to transcode
CHANNELS = 8  # Discord takes one post a second in a channel
LYRICS = "[verse]\nOne more night on the midnight train\n\n[chorus]\nMidnight train, take me home"
GOAL = 1.5


def main() -> None:
    """Print the section; takes about 45 s."""
    print("## Acknowledging `/song`\n")
    asyncio.run(_measure())


async def _measure() -> None:
    async with contextlib.AsyncExitStack() as stack:
        api_url = await stack.enter_async_context(_process("song-api"))
        theirs = await stack.enter_async_context(measured_world(music_to_encode))
        ours = await stack.enter_async_context(measured_world(music_to_encode))
        await stack.enter_async_context(
            _process(
                "deferring",
                DISCORD_API_URL=theirs.wire.api_url,
                DISCORD_TOKEN=theirs.wire.token,
                GATEWAY_URL=theirs.wire.gateway_url,
            )
        )
        await theirs.wire.ready(WAIT)
        await _pressed(WARM_UP, theirs)
        (alone,) = await _pressed(ALONE, theirs)
        # Songs come as fast as they are made, with nothing to be learnt.
        settings = {"SEGMIND_API_URL": api_url, "SEGMIND_MODE": "sync", "SEGMIND_RPM": "50"}
        bot = await stack.enter_async_context(own_process(ours, **settings))
        await _pressed(WARM_UP, ours, theirs)
        await ours.wire.until(lambda: ours.posts, WAIT)  # audio is being transcoded
        posts = len(ours.posts)
        pressing = asyncio.create_task(_pressed(MEASURED, ours, theirs))
        late = await lateness(pressing)
        ours_took, theirs_took = pressing.result()
        _print(alone, theirs_took, ours_took, late, len(ours.posts) - posts)
        await bot.stop()


async def _pressed(seconds: float, *worlds: World) -> list[list[float]]:
    """Press in each world `PER_SECOND` times a second, in turns; milliseconds to each callback."""
    loop = asyncio.get_running_loop()
    began, presses = loop.time(), round(seconds * PER_SECOND) * len(worlds)
    pressed: list[list[Interaction]] = [[] for _ in worlds]
    for number in range(presses):
        await asyncio.sleep(began + number * seconds / presses - loop.time())
        pressed[number % len(worlds)].append(await _press(worlds[number % len(worlds)]))
    for one in (interaction for each in pressed for interaction in each):
        await one.acknowledged(WAIT)
    return [[(one.acknowledged_in or 0.0) * 1000 for one in each] for each in pressed]


async def _press(world: World) -> Interaction:
    number = world.seeds()
    channels = list(world.guild.channels.values())
    if len(channels) < CHANNELS:
        channels.append(world.wire.channel(world.guild, f"songs-{number}"))
    member = world.wire.member(world.guild, f"member-{number}")
    has_options = world.wire.state.commands[0].get("options")
    options = {"genres": "funk, pop", "lyrics": LYRICS} if has_options else {}
    return await world.wire.slash(member, channels[number % len(channels)], "song", **options)


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
        ("only defers, alongside Songwright", theirs),
        ("Songwright, `/song` with lyrics", ours),
        ("the measuring loop's own lateness", late),
    ):
        p50, p99 = percentile(times, 50), percentile(times, 99)
        print(f"| {name} | {p50:.2f} | {p99:.2f} | {max(times):.2f} |")
    p50, p99 = (percentile(ours, percent) / percentile(theirs, percent) for percent in (50, 99))
    print(f"| times the bot that only defers (goal: {GOAL}) | **{p50:.2f}** | **{p99:.2f}** | |")


# --- the processes --------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _process(what: str, **environment: str) -> AsyncIterator[str]:
    """One of `PROCESSES`, and its first line; it lives as long as its standard input is open."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.acknowledgement", what),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
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


async def _defer() -> None:
    """Run a bot whose `/song` only defers."""
    discord.http.Route.BASE = os.environ["DISCORD_API_URL"]
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(os.environ["GATEWAY_URL"])
    async with Deferring() as bot:
        running = asyncio.create_task(bot.start(os.environ["DISCORD_TOKEN"]))
        print("started", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        running.cancel()


class Deferring(discord.AutoShardedClient):
    """Has one command."""

    def __init__(self) -> None:
        super().__init__(intents=discord.Intents(guilds=True))
        self.tree = app_commands.CommandTree(self)

    async def setup_hook(self) -> None:
        """Register it."""
        self.tree.add_command(song)
        await self.tree.sync()


@app_commands.command()
async def song(interaction: discord.Interaction) -> None:
    """Only defers."""
    await interaction.response.defer(ephemeral=True)


PROCESSES = {"song-api": _serve_song_api, "deferring": _defer}

if __name__ == "__main__":
    if sys.argv[1:]:
        asyncio.run(PROCESSES[sys.argv[1]]())
    else:
        main()
