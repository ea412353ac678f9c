"""The servers that the bot is a member of, as each shard of the gateway lists them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from unittest import mock

import discord
import pytest

from cogs.client.client import Client
from cogs.client.discord_internals import Presence
from cogs.client.permissions import INVITED
from db import servers as server_rows
from db.errors import DiskFullError
from db.records import Status
from services.operations.servers import Servers, Shard
from tests.unit.cogs.songs.test_announcer import SOON, Stage, stage, staged, until
from tests.wire import Guild
from tests.wire.gateway import INVALID_SESSION

__all__ = ["stage"]  # a fixture


@pytest.fixture(params=[1, 2])
async def sharded(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    async def at_once(*_: object, **__: object) -> None:
        """discord.py waits 5 s between shards."""

    monkeypatch.setattr(Client, "before_identify_hook", at_once)
    async with staged(tmp_path, monkeypatch, shards=request.param) as stage:
        yield stage


def guild_of(stage: Stage) -> Guild:
    assert stage.channel.guild is not None
    return stage.channel.guild


def new_session(stage: Stage, guild: Guild) -> None:
    """End the session of the shard that serves the server, so that the bot identifies again."""
    gateway = stage.wire.gateway
    for session in gateway.connected:
        if session.serves(guild.id):
            del gateway.sessions[session.id]
            assert session.connection is not None
            session.connection.send_op(INVALID_SESSION, data=False)


async def known_as_left(stage: Stage, server_id: int) -> None:
    """Wait until its row says that the bot has left."""
    async with asyncio.timeout(SOON):
        while True:
            if server_id not in await server_rows.names_present(stage.application.database.reader):
                return
            await asyncio.sleep(0.005)


async def test_removed_while_the_gateway_was_away(sharded: Stage) -> None:
    """discord.js 11546, serenity 1552: what READY lists no more is left, at each READY."""
    gone, wire = guild_of(sharded), sharded.wire
    _, song = await sharded.song()
    identified = wire.gateway.identifies
    sibling = wire.guild("Two")
    for _ in range(100):
        if on_one_shard(sibling, gone):
            break
        await asyncio.sleep(0.001)  # ids of one millisecond are of one shard
        sibling = wire.guild("Two")
    await sharded.application.servers.join(sibling.id, sibling.name)
    sibling.available, gone.joined = False, False
    new_session(sharded, gone)
    await known_as_left(sharded, gone.id)
    assert (await sharded.row(song.song_id)).status is Status.CANCELLED
    assert wire.gateway.identifies == identified + 1
    assert sharded.client.get_guild(gone.id) is None
    assert gone.id not in sharded.client.presence
    # One of the same shard that is unavailable is listed.
    present = await server_rows.names_present(sharded.application.database.reader)
    assert sibling.id in present
    assert sibling.id in sharded.client.presence


def on_one_shard(one: Guild, other: Guild) -> bool:
    return (one.id >> 22) % 2 == (other.id >> 22) % 2


async def test_joined_while_unavailable_and_removed_before_it_came_back(stage: Stage) -> None:
    """discord.py ignores both."""
    guild, presence = stage.wire.guild("Two"), stage.client.presence
    await until(lambda: guild.id in presence)
    stage.wire.remove_bot(guild)
    await until(lambda: guild.id not in presence)
    stage.wire.gateway.dispatch("GUILD_CREATE", {"id": str(guild.id), "unavailable": True}, guild)
    await until(lambda: guild.id in presence)
    await stage.application.servers.join(guild.id, "Two")
    assert stage.client.get_guild(guild.id) is None
    stage.wire.remove_bot(guild)
    await until(lambda: guild.id not in presence)
    await known_as_left(stage, guild.id)


async def test_removed_while_joining_is_stored(stage: Stage) -> None:
    """Discord's events are handled side by side: the end may be written before the beginning."""
    join = stage.application.servers.join

    async def removed_meanwhile(server_id: int, name: str) -> bool:
        stage.wire.remove_bot(guild)
        await until(lambda: guild.id not in stage.client.presence)
        await asyncio.sleep(0.05)
        return await join(server_id, name)

    with mock.patch.object(Servers, "join", side_effect=removed_meanwhile) as joining:
        guild = stage.wire.guild("Two")
        await until(lambda: joining.called and not joins_in_progress())
    await known_as_left(stage, guild.id)


def joins_in_progress() -> bool:
    return any("on_guild_join" in task.get_name() for task in asyncio.all_tasks())


async def test_commands_alone_are_not_served(stage: Stage) -> None:
    """discord-api-docs 2671 and 3085: added with the scope `applications.commands` only."""
    guild = guild_of(stage)
    opened = await stage.wire.slash(stage.alice, stage.channel, "song", genres="funk")
    await opened.acknowledged()
    stage.wire.remove_bot(guild)
    await until(lambda: guild.id not in stage.client.presence)

    requested = await stage.wire.slash(
        stage.alice, stage.channel, "song", genres="funk", instrumental=True
    )
    sent = await stage.wire.submit(stage.alice, opened, lyrics="La la")
    for interaction in (requested, sent):
        said = (await interaction.wait_message(lambda m: "not a member" in m.now.content)).now
        for part in (
            "https://discord.com/oauth2/authorize",
            f"guild_id={guild.id}",
            f"permissions={INVITED.value}",
            "scope=bot+applications.commands",
            "Nothing was spent",
        ):
            assert part in said.content
    typing = await stage.wire.autocomplete(stage.alice, stage.channel, "song", "genres", "fu")
    await typing.acknowledged()
    assert typing.choices == []
    await known_as_left(stage, guild.id)
    assert not await stage.application.database.reader.execute_fetchall("SELECT * FROM songs")


def test_session_lists_all_that_its_shard_has() -> None:
    presence = Presence()
    presence.listed(Shard(0, 2), [2 << 22, 4 << 22])
    presence.listed(Shard(1, 2), [1 << 22])
    presence.joined(6 << 22)
    presence.listed(Shard(0, 2), [4 << 22])
    presence.left(1 << 22)
    presence.left(1 << 22)
    assert [n for n in range(8) if n << 22 in presence] == [4]


def test_the_invitation_has_the_permissions_in_the_readme() -> None:
    assert discord.Permissions(274878024704) == INVITED


async def test_leaving_a_server_waits_for_a_full_disk(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def full(*_: object) -> None:
        raise DiskFullError(Path("songs.db"))

    _, song = await stage.song()
    with monkeypatch.context() as patch:
        patch.setattr(Servers, "leave", full)
        stage.wire.remove_bot(guild_of(stage))
        await until(lambda: "leaving servers failed, housekeeping retries" in caplog.text)
    assert "Traceback" not in caplog.text
    assert (await stage.row(song.song_id)).status is Status.QUEUED
    await stage.application.housekeeping.once()
    assert (await stage.row(song.song_id)).status is Status.CANCELLED
