"""What eight songs of 240 s cost the bot at once, when the API hands them over as base64. Linux."""

import asyncio
import base64
import contextlib
import struct
import tempfile
import time
from array import array
from collections.abc import AsyncIterator, Iterator
from math import sin
from pathlib import Path

from aiohttp import web

from playground.song_api import SongApiServer
from tests.bot_process import bot_process, settings_for
from tests.wire import DiscordWire, Limits

SONGS = 8
SECONDS = 240
HERTZ = 48_000
SLICE = 2**18
EVERY = 0.1  # seconds between looks at the memory
LONGEST_WAIT = 600.0
GOAL = 250


def main() -> None:
    """Print the section; takes about 60 s."""
    print("## Songs as base64\n")
    asyncio.run(_all_at_once())


async def _all_at_once() -> None:
    song = float_wav(SECONDS)
    body = b'{"status": "COMPLETED", "output": "' + base64.b64encode(song) + b'"}'
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=Path.cwd())))
        wire = DiscordWire(limits=Limits(per_second=None), keep_uploads=False)
        await stack.enter_async_context(wire)
        api = SongApiServer()
        api.root = await stack.enter_async_context(_served(body))
        guild = wire.guild("One")
        channel = wire.channel(guild, "songs")
        members = [wire.member(guild, f"member-{n}") for n in range(SONGS)]
        settings = settings_for(wire, api, SEGMIND_RPM="6000", SEGMIND_CONCURRENCY=str(SONGS))
        bot = await stack.enter_async_context(bot_process(folder, settings))
        await wire.ready()
        before = memory(bot.pid)
        watch = asyncio.create_task(_most(bot.pid))
        began = time.monotonic()
        options = {"genres": "funk, pop", "seconds": SECONDS, "instrumental": True}
        pressed = [await wire.slash(member, channel, "song", **options) for member in members]
        for press in pressed:
            await press.wait_message(lambda m: "**COMPLETED**" in str(m.embeds), LONGEST_WAIT)
        took = time.monotonic() - began
        watch.cancel()
        most = await watch
        await bot.stop()
    print(
        f"{SONGS} songs of {SECONDS} s at once, each {len(song):,} bytes of 48 kHz stereo float "
        f"WAV in {len(body):,} bytes of JSON; the bot and its children together.\n"
    )
    print("| | PSS | RSS |")
    print("|---|---|---|")
    print(f"| the bot before them | {before[0]:.0f} MB | {before[1]:.0f} MB |")
    print(f"| most meanwhile (goal: under {GOAL} MB) | **{most[0]:.0f} MB** | {most[1]:.0f} MB |")
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
    """A song API whose songs are done at once; it sends each as it is taken."""
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
    scheduler = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await scheduler.setup()
    await web.TCPSite(scheduler, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{scheduler.addresses[0][1]}"
    finally:
        await scheduler.cleanup()


async def _most(pid: int) -> tuple[float, float]:
    """The most of each, until it is cancelled."""
    pss = rss = 0.0
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            now = memory(pid)
            pss, rss = max(pss, now[0]), max(rss, now[1])
            await asyncio.sleep(EVERY)
    return pss, rss


def memory(pid: int) -> tuple[float, float]:
    """PSS and RSS of a process and all below it, in MB."""
    pss = rss = 0.0
    for process in _family(pid):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
            sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 / 1e6 for line in lines}
            pss, rss = pss + sizes["Pss"], rss + sizes["Rss"]
    return pss, rss


def _family(pid: int) -> Iterator[int]:
    yield pid
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from _family(int(child))


if __name__ == "__main__":
    main()
