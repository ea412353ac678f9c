"""What eight songs of 240 s cost the bot at once, when the API hands them over as base64. Linux."""

import asyncio
import base64
import contextlib
import struct
import time
from array import array
from collections.abc import AsyncIterator
from math import sin

from aiohttp import web

from benchmarks.worlds import measured_bot, posted
from tests.processes import memory, most_memory

SONGS = 8
SECONDS = 240
HERTZ = 48_000
SLICE = 2**18
GOAL = 250


def main() -> None:
    """Print the section; takes about 60 s."""
    print("## Songs as base64\n")
    asyncio.run(_all_at_once())


async def _all_at_once() -> None:
    song = float_wav(SECONDS)
    body = b'{"status": "COMPLETED", "output": "' + base64.b64encode(song) + b'"}'
    async with (
        _served(body) as root,
        measured_bot(
            lambda **_: b"",
            SEGMIND_API_URL=root,
            SEGMIND_RPM="6000",
            SEGMIND_CONCURRENCY=str(SONGS),
        ) as (world, bot),
    ):
        before = memory(bot.pid)
        began = time.monotonic()
        async with most_memory(bot.pid) as seen:
            for n in range(SONGS):
                await world.song(world.wire.member(world.guild, f"member-{n}"), seconds=SECONDS)
            await posted(world)
        took = time.monotonic() - began
    most = seen[-1]
    print(
        f"{SONGS} songs of {SECONDS} s at once, each {len(song):,} bytes of 48 kHz stereo float "
        f"WAV in {len(body):,} bytes of JSON; the bot and its children together.\n"
    )
    print("| | PSS | RSS |")
    print("|---|---|---|")
    print(f"| the bot before them | {before.pss / 1e6:.0f} MB | {before.rss / 1e6:.0f} MB |")
    print(
        f"| most meanwhile (goal: under {GOAL} MB) | **{most.pss / 1e6:.0f} MB** "
        f"| {most.rss / 1e6:.0f} MB |"
    )
    print(f"\nAll were posted after {took:.0f} s.")


def float_wav(seconds: int) -> bytes:
    """As the model's own writer makes them: 48 kHz stereo of 32-bit floats (ACE-Step 232)."""
    second = array("f")
    for i in range(HERTZ):
        tone = 0.3 * sin(i * 0.0627)
        second.extend((tone, 0.9 * tone))
    data = second.tobytes() * seconds
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 2, HERTZ, HERTZ * 8, 8, 32)
    head = struct.pack("<4sI4s", b"RIFF", 4 + len(form) + 8 + len(data), b"WAVE")
    return head + form + struct.pack("<4sI", b"data", len(data)) + data


@contextlib.asynccontextmanager
async def _served(body: bytes) -> AsyncIterator[str]:
    """A song API whose songs are all done once the last is submitted; its result is sent slowly."""
    accepted = 0

    async def submit(_: web.Request) -> web.Response:
        nonlocal accepted
        accepted += 1
        return web.json_response({"request_id": f"song-{accepted}", "status": "QUEUED"})

    async def status(_: web.Request) -> web.Response:
        return web.json_response({"status": "COMPLETED" if accepted >= SONGS else "PROCESSING"})

    async def result(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.content_length = len(body)
        await response.prepare(request)
        for start in range(0, len(body), SLICE):
            await response.write(body[start : start + SLICE])
        return response

    app = web.Application()
    app.router.add_post("/v2/ace-step-music", submit)
    app.router.add_get("/v2/requests/{id}/status", status)
    app.router.add_get("/v2/requests/{id}", result)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    main()
