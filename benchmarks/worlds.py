"""The bot as a process, between a Discord without a global limit and a song API."""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from playground.song_api import Composer
from tests.wire import DiscordWire, Limits
from tests.world.sockets import BotProcess, World, own_process, world_outside

WAIT = 600.0
"""Seconds after which a measurement gives up."""


@contextlib.asynccontextmanager
async def measured_world(compose: Composer, *, running: float = 0.1) -> AsyncIterator[World]:
    """A world on the disk of the current folder, since others may be in memory."""
    wire = DiscordWire(limits=Limits(per_second=None), keep_uploads=False)
    with tempfile.TemporaryDirectory(prefix="songwright-bench-", dir=Path.cwd()) as folder:
        async with world_outside(Path(folder), wire=wire, compose=compose, running=running) as it:
            yield it


@contextlib.asynccontextmanager
async def measured_bot(
    compose: Composer, *, running: float = 0.1, **settings: str
) -> AsyncIterator[tuple[World, BotProcess]]:
    async with (
        measured_world(compose, running=running) as world,
        own_process(world, **settings) as process,
    ):
        yield world, process
        await process.stop()


async def posted(world: World) -> None:
    """Wait until every song's status message shows that it is completed."""
    for song in world.requested.values():
        await song.wait_message(lambda m: "**COMPLETED**" in str(m.embeds), WAIT)
