"""What a song costs the bot while it is at the song API, and from `/song` to its post. Linux."""

import asyncio

from benchmarks.worlds import WAIT, measured_bot, posted
from tests.music import music_to_encode, wav
from tests.processes import used
from tests.world.sockets import World, until

SONGS = 500
PER_SECOND = 50
WATCHED = 20.0  # seconds
WHOLE = 8  # songs that are made to their end
WHOLE_SECONDS = 60
LYRICS = (
    "[verse]\n" + "One more night on the midnight train, one more mile in the pouring rain\n" * 20
)
FOR_EVER = 86_400.0
LAST_EDITS = 5.0  # seconds: they are 3 s apart


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


async def _request(world: World, count: int) -> None:
    """Request so many songs, each by a different member; all are acknowledged."""
    songs = []
    for _ in range(count):
        member = world.wire.member(world.guild, f"member-{len(world.requested)}")
        songs.append(await world.song(member, lyrics=LYRICS, seconds=WHOLE_SECONDS))
        await asyncio.sleep(1 / PER_SECOND)
    for song in songs:
        await song.acknowledged(WAIT)


async def _in_flight() -> None:
    settings = {"SEGMIND_RPM": "100000", "SEGMIND_CONCURRENCY": str(SONGS + WHOLE)}
    async with measured_bot(lambda **_: b"", running=FOR_EVER, **settings) as (world, bot):
        await _request(world, WHOLE)  # what is made once is made now
        await until(lambda: world.submits() >= WHOLE)
        await asyncio.sleep(LAST_EDITS)
        before = used(bot.pid)
        await _request(world, SONGS)
        await until(lambda: world.submits() >= SONGS + WHOLE)
        await asyncio.sleep(LAST_EDITS)
        there, calls = used(bot.pid), len(world.api.calls)
        await asyncio.sleep(WATCHED)
        minutes = SONGS * WATCHED / 60
        polls, cpu = len(world.api.calls) - calls, used(bot.pid).cpu - there.cpu
        print(
            f"| at the song API | {SONGS} | {(there.resident - before.resident) / SONGS / 1024:.1f}"
            f" KiB | {polls / minutes:.1f} | {cpu / minutes * 1000:.1f} ms"
            f" | {cpu / polls * 1000:.2f} ms |"
        )
        print(f"| the bot before them | {WHOLE} | {before.resident / 2**20:.0f} MiB in all | | | |")


async def _whole() -> None:
    async with measured_bot(music_to_encode, running=0.5) as (world, bot):
        for counted in (False, True):
            before = used(bot.pid)
            await _request(world, WHOLE)
            await posted(world)
            after = used(bot.pid)
            if counted:
                print(
                    f"| {WHOLE_SECONDS} s, a WAV of {len(wav(WHOLE_SECONDS)):,} bytes"
                    f" | {WHOLE} | {(after.cpu - before.cpu) / WHOLE * 1000:.0f} ms"
                    f" | {(after.children - before.children) / WHOLE:.2f} s |"
                )


if __name__ == "__main__":
    main()
