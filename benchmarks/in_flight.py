"""What a song costs the bot while it is at the song API, and from `/song` to its post. Linux."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from playground.song_api import Composer, SongApiServer, Timing, serve
from tests.bot_process import BotProcess, bot_process, settings_for
from tests.music import music_to_encode, wav
from tests.wire import DiscordWire, Interaction, Limits, Member

SONGS = 500
PER_SECOND = 50
WATCHED = 20.0  # seconds
WHOLE = 8  # songs that are made to their end
WHOLE_SECONDS = 60
LYRICS = (
    "[verse]\n" + "One more night on the midnight train, one more mile in the pouring rain\n" * 20
)
FOR_EVER = 86_400.0
LONGEST_WAIT = 60.0
TICKS = os.sysconf("SC_CLK_TCK")


class Used(NamedTuple):
    """What a process has used: CPU seconds, its own and its children's, bytes of memory."""

    own: float
    children: float
    resident: int


@dataclass
class Stage:
    """A bot between its two stand-ins, with a member for each song."""

    wire: DiscordWire
    api: SongApiServer
    bot: BotProcess
    members: list[Member]

    async def ask(self, count: int, *, per_second: float = PER_SECOND) -> list[Interaction]:
        """So many songs, each by a different member; returns when all are acknowledged."""
        asked = []
        for _ in range(count):
            member = self.members.pop()
            channel = next(iter(member.guild.channels.values()))
            options = {"genres": "funk, pop, female vocals", "seconds": WHOLE_SECONDS}
            asked.append(await self.wire.slash(member, channel, "song", lyrics=LYRICS, **options))
            await asyncio.sleep(1 / per_second)
        return [await one.acknowledged(LONGEST_WAIT) for one in asked]

    def submitted(self) -> int:
        return sum(call.path.startswith("/v2/ace-step") for call in self.api.calls)

    async def at_the_api(self, count: int) -> None:
        """Wait until so many songs are there, and what that took is over."""
        async with asyncio.timeout(LONGEST_WAIT):
            while True:
                if self.submitted() >= count:
                    break
                await asyncio.sleep(0.05)
        await asyncio.sleep(5.0)  # the last edits, which are 3 s apart

    def used(self) -> Used:
        folder = Path("/proc") / str(self.bot.pid)
        times = folder.joinpath("stat").read_text().rpartition(")")[2].split()
        status = folder.joinpath("status").read_text()
        resident = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        user, system, of_children, of_children_system = (int(t) / TICKS for t in times[11:15])
        return Used(
            user + system, of_children + of_children_system, int(resident.split()[1]) * 1024
        )


def main() -> None:
    """Print the section; takes about 65 s."""
    print("## A song in flight\n")
    print(
        "With an account without a limit, so that polls are as many as they can be; 50 calls a "
        "minute are 50 polls for all songs together.\n"
    )
    print("| | songs | memory a song | polls a song-minute | CPU a song-minute | CPU a poll |")
    print("|---|---|---|---|---|---|")
    asyncio.run(_in_flight())
    print()
    print("| from `/song` to the post | songs | CPU of the bot | CPU of the encoder |")
    print("|---|---|---|---|")
    asyncio.run(_whole())


async def _in_flight() -> None:
    async with _stage(_nothing, FOR_EVER, SONGS + WHOLE) as stage:
        await stage.ask(WHOLE)  # what is made once is made now
        await stage.at_the_api(WHOLE)
        before = stage.used()
        await stage.ask(SONGS)
        await stage.at_the_api(SONGS + WHOLE)
        there, calls = stage.used(), len(stage.api.calls)
        await asyncio.sleep(WATCHED)
        after = stage.used()
        minutes = SONGS * WATCHED / 60
        polls, cpu = len(stage.api.calls) - calls, after.own - there.own
        print(
            f"| at the song API | {SONGS} | {(there.resident - before.resident) / SONGS / 1024:.1f}"
            f" KiB | {polls / minutes:.1f} | {cpu / minutes * 1000:.1f} ms"
            f" | {cpu / polls * 1000:.2f} ms |"
        )
        print(f"| the bot before them | {WHOLE} | {before.resident / 2**20:.0f} MiB in all | | | |")


async def _whole() -> None:
    async with _stage(music_to_encode, 0.5, 2 * WHOLE) as stage:
        for counted in (False, True):
            before = stage.used()
            songs = await stage.ask(WHOLE)
            for song in songs:
                await song.wait_message(lambda m: "**COMPLETED**" in str(m.embeds), LONGEST_WAIT)
            after = stage.used()
            if counted:
                print(
                    f"| {WHOLE_SECONDS} s, a WAV of {len(wav(WHOLE_SECONDS)):,} bytes"
                    f" | {WHOLE} | {(after.own - before.own) / WHOLE * 1000:.0f} ms"
                    f" | {(after.children - before.children) / WHOLE:.2f} s |"
                )


def _nothing(**_: object) -> bytes:
    """Of songs that are never fetched."""
    return b""


@contextlib.asynccontextmanager
async def _stage(compose: Composer, running: float, members: int) -> AsyncIterator[Stage]:
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        wire = DiscordWire(limits=Limits(per_second=None), keep_uploads=False)
        await stack.enter_async_context(wire)
        api = SongApiServer(compose, timing=lambda _: Timing(0.0, running), rpm=0)
        await stack.enter_async_context(serve(api))
        guild = wire.guild("One")
        wire.channel(guild, "songs")
        people = [wire.member(guild, f"member-{n}") for n in range(members)]
        settings = settings_for(
            wire, api, SEGMIND_RPM="100000", SEGMIND_CONCURRENCY=str(SONGS + WHOLE)
        )
        bot = await stack.enter_async_context(bot_process(folder, settings))
        await wire.ready()
        yield Stage(wire, api, bot, people)
        await bot.stop()


if __name__ == "__main__":
    main()
