"""Joining and leaving servers."""

import logging
from typing import Any

import discord
import pytest
import simcord
from simcord.backend import serializers

from cogs.servers import first_writable
from db.records import Status
from tests.world import World, text_of

SILENT = discord.PermissionOverwrite(send_messages=False)


def invited(
    world: World, name: str = "Two", *, channels: tuple[str, ...] = ("general",), silent: str = ""
) -> simcord.GuildHandle:
    """The bot comes to a server that has its channels already; `silent` is where it may not write.

    The simulator announces a server before it has any.
    """
    backend = world.env.backend
    assert world.client.user is not None
    listening, backend.subscribers[:] = list(backend.subscribers), []
    guild = world.env.create_guild(name)
    for channel in channels:
        denied = SILENT if channel == silent else discord.PermissionOverwrite()
        guild.create_text_channel(channel, overwrites={world.client.user: denied})
    backend.subscribers[:] = listening
    announce(world, guild)
    return guild


def announce(world: World, guild: simcord.GuildHandle, *, joined: bool = True) -> None:
    """Discord says of a server that comes back from an outage that it is not unavailable."""
    backend = world.env.backend
    payload: dict[str, Any] = dict(
        serializers.guild_create_payload(backend, backend.get_guild(guild.id))
    )
    if joined:
        payload.pop("unavailable", None)
    else:
        payload["unavailable"] = False
    backend.emit("GUILD_CREATE", payload)


async def test_the_bot_says_hello_with_the_first_steps(world: World) -> None:
    guild = invited(world)
    await world.env.settle()
    (hello,) = guild.channels["general"].history()
    text = text_of(hello)
    for words in ("Type `/song`", "10 credits a day", "`/quota server`", "Attach Files"):
        assert words in text


async def test_hello_is_said_where_the_bot_may_write(world: World) -> None:
    guild = invited(world, channels=("rules", "general"), silent="rules")
    await world.env.settle()
    assert guild.channels["rules"].history() == []
    assert len(guild.channels["general"].history()) == 1


async def test_where_it_may_write_nowhere_it_says_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "cogs.servers"):
        guild = invited(world, channels=("rules",), silent="rules")
        await world.env.settle()
    assert guild.channels["rules"].history() == []
    assert f"no channel to say hello in, in server {guild.id}" in caplog.text


async def test_the_system_channel_comes_first(world: World) -> None:
    guild = invited(world, channels=("general", "welcome"))
    await world.env.settle()
    model = world.env.backend.get_guild(guild.id)
    model.system_channel_id = guild.channels["welcome"].id
    world.env.backend.emit(
        "GUILD_UPDATE", dict(serializers.guild_create_payload(world.env.backend, model))
    )
    await world.env.settle()
    cached = world.client.get_guild(guild.id)
    assert cached is not None
    chosen = first_writable(cached)
    assert chosen is not None
    assert chosen.name == "welcome"


async def test_hello_is_said_once_also_after_being_invited_again(world: World) -> None:
    guild = invited(world)
    await world.env.settle()
    world.env.backend.emit("GUILD_DELETE", {"id": str(guild.id)})
    await world.env.settle()
    announce(world, guild)
    await world.env.settle()
    assert len(guild.channels["general"].history()) == 1


async def test_hello_is_not_said_again_after_a_restart(world: World) -> None:
    guild = invited(world)
    await world.env.settle()
    await world.restart()
    assert len(guild.channels["general"].history()) == 1


async def test_a_hello_that_discord_refuses_breaks_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.env.inject_error("POST", "/channels/*/messages", status=403, code=50_013)
    guild = invited(world)
    await world.env.settle()
    assert guild.channels["general"].history() == []
    assert f"the hello in server {guild.id}" in caplog.text


async def test_leaving_cancels_and_refunds_what_waits(world: World) -> None:
    await world.song(seconds=60)
    world.env.backend.emit("GUILD_DELETE", {"id": str(world.guild.id)})
    await world.env.settle()
    (song,) = await world.rows()
    assert song.status is Status.CANCELLED
    assert await world.free() == 10


async def test_an_outage_is_not_leaving(world: World) -> None:
    await world.song()
    world.env.backend.emit("GUILD_DELETE", {"id": str(world.guild.id), "unavailable": True})
    await world.env.settle()
    announce(world, world.guild, joined=False)
    await world.env.settle()
    (song,) = await world.rows()
    assert song.status is Status.QUEUED
    assert world.posts() == []


async def test_thrown_out_while_away_is_seen_at_the_next_start(world: World) -> None:
    await world.song(seconds=60)
    listening, world.env.backend.subscribers[:] = list(world.env.backend.subscribers), []
    world.env.backend.remove_guild(world.guild.id)
    world.env.backend.subscribers[:] = listening
    await world.restart()
    (song,) = await world.rows()
    assert song.status is Status.CANCELLED
    assert await world.free() == 10
