"""How much of a figure is the wire's own: `python -m tests.wire`.

A bot in its own process only defers. What is measured is the time from an interaction's dispatch
to the arrival of its callback, and of it the wire's share: judging and answering the callback.
"""

import asyncio
import os
import resource
import sys

import discord
import yarl
from discord import app_commands

from tests.wire import Channel, DiscordWire, Interaction, Member
from tests.wire.limits import CALLBACK

MEMBERS = 500
BURST_SECONDS = 10.0


class Deferring(discord.AutoShardedClient):
    def __init__(self) -> None:
        super().__init__(intents=discord.Intents(guilds=True))
        self.tree = app_commands.CommandTree(self)

    async def setup_hook(self) -> None:
        self.tree.add_command(song)
        await self.tree.sync()


@app_commands.command()
async def song(interaction: discord.Interaction) -> None:
    """Only defers."""
    await interaction.response.defer(ephemeral=True)


async def run_bot() -> None:
    discord.http.Route.BASE = os.environ["DISCORD_API_URL"]
    discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(os.environ["GATEWAY_URL"])
    async with Deferring() as bot:
        await bot.start(os.environ["DISCORD_TOKEN"])


async def measure() -> None:
    async with DiscordWire() as wire:
        channel = wire.channel(wire.guild("One"), "songs")
        assert channel.guild is not None
        members = [wire.member(channel.guild, f"member-{n}") for n in range(MEMBERS)]
        told = {"DISCORD_API_URL": wire.api_url, "DISCORD_TOKEN": wire.token}
        told["GATEWAY_URL"] = wire.gateway_url
        bot = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.wire", "bot", env={**os.environ, **told}
        )
        try:
            await wire.ready()
            await press(wire, channel, members[:10], 0.0)  # connections opened, code warm
            await show(wire, channel, members, BURST_SECONDS)
            await show(wire, channel, members, 0.0)
        finally:
            bot.terminate()
            await bot.wait()


async def show(wire: DiscordWire, channel: Channel, members: list[Member], spread: float) -> None:
    wire.requests.clear()
    busy = process_seconds()
    asked = await press(wire, channel, members, spread)
    busy = process_seconds() - busy
    waited = sorted(i.acknowledged_in for i in asked if i.acknowledged_in is not None)
    own = sorted(r.seconds for r in wire.requests if r.route == CALLBACK)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(
        f"{len(waited)} of {len(asked)} within {spread:.0f} s: "
        f"acknowledged p50 {percentile(waited, 50)}, p99 {percentile(waited, 99)}; "
        f"the wire's share p50 {percentile(own, 50)}, p99 {percentile(own, 99)}, "
        f"{busy / len(asked) * 1000:.2f} ms of CPU each; peak {peak:.0f} MiB\n"
    )


async def press(
    wire: DiscordWire, channel: Channel, members: list[Member], spread: float
) -> list[Interaction]:
    """All members use the command, evenly over `spread` seconds; waits for every callback."""

    async def one(index: int, member: Member) -> Interaction:
        await asyncio.sleep(spread * index / len(members))
        return await (await wire.slash(member, channel, "song")).acknowledged(30.0)

    return await asyncio.gather(*(one(index, member) for index, member in enumerate(members)))


def process_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def percentile(ordered: list[float], percent: int) -> str:
    return f"{ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1000:.2f} ms"


if __name__ == "__main__":
    asyncio.run(run_bot() if sys.argv[1:] == ["bot"] else measure())
