"""`bot.run` as a task of the test's own loop, between the sockets of `tests.outside`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import discord
import pytest

import bot
from cogs.client.client import Client
from commands.run import run
from services.config import Config, load
from tests.outside import SOON, World


@contextlib.asynccontextmanager
async def running(
    world: World, monkeypatch: pytest.MonkeyPatch, *, status: int = 0
) -> AsyncIterator[Client]:
    """`bot.run` from the world's settings, as a task of the test's own loop.

    When the block ends it is stopped, unless `status` is one that it has to end with by itself.
    """
    stops: list[Callable[[], None]] = []
    clients: list[Client] = []
    began = Client.__init__

    def begin(client: Client, prepare: Callable[[Client], Awaitable[None]]) -> None:
        began(client, prepare)
        # discord.py's pauses spare Discord; the wire needs no sparing.
        client._connection.guild_ready_timeout = 0.05
        clients.append(client)

    async def at_once(*_: Any, **__: Any) -> None:
        return None

    monkeypatch.setattr(Client, "__init__", begin)
    monkeypatch.setattr(Client, "before_identify_hook", at_once)
    monkeypatch.setattr("commands.run._on_signals", stops.append)
    configure(world, monkeypatch)
    task = asyncio.create_task(run(load(), bot.composed))
    try:
        await world.wire.ready()
        await asyncio.wait_for(clients[0].wait_until_ready(), SOON)
        yield clients[0]
        if status == 0:
            stops[0]()
        assert await asyncio.wait_for(task, SOON) == status
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def configure(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The world's settings; and what a bot sets for its whole process is as before afterwards."""
    set_environment(monkeypatch, world.folder, world.settings)
    monkeypatch.setattr(discord.http.Route, "BASE", discord.http.Route.BASE)
    gateway = discord.gateway.DiscordWebSocket
    monkeypatch.setattr(gateway, "DEFAULT_GATEWAY", gateway.DEFAULT_GATEWAY)


def set_environment(monkeypatch: pytest.MonkeyPatch, folder: Path, given: dict[str, str]) -> None:
    for name in Config.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)
