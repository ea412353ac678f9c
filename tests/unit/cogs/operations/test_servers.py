"""Joining and leaving servers."""

import asyncio
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import discord
import pytest
import simcord
from simcord.backend import serializers

from cogs.operations.servers import ServersCog, first_writable
from db.records import Status
from tests.unit.cogs.songs.test_announcer import Stage, stage, until
from tests.wire import Guild, payloads
from tests.wire.permissions import BOT
from tests.wire.state import PRIVATE_THREAD
from tests.world import World, text_of

__all__ = ["stage"]  # a fixture

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


async def test_greeting_has_the_first_steps(world: World) -> None:
    guild = invited(world)
    await world.env.settle()
    (hello,) = guild.channels["general"].history()
    text = text_of(hello)
    for words in ("Type `/song`", "10 credits a day", "`/quota server`", "Attach Files"):
        assert words in text


async def test_greeting_goes_where_the_bot_may_write(world: World) -> None:
    guild = invited(world, channels=("rules", "general"), silent="rules")
    await world.env.settle()
    assert guild.channels["rules"].history() == []
    assert len(guild.channels["general"].history()) == 1


async def test_no_greeting_without_a_writable_channel(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "cogs.operations.servers"):
        guild = invited(world, channels=("rules",), silent="rules")
        await world.env.settle()
    assert guild.channels["rules"].history() == []
    assert f"no channel for the greeting in server {guild.id}" in caplog.text


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


async def test_greeting_prefers_channels_where_people_talk(world: World) -> None:
    """ad_discordbot 68, reputation-bot 82: without a system channel it went to the rules."""
    guild = invited(world, channels=("rules", "news", "moderators", "read-only", "general"))
    await world.env.settle()
    assert [len(c.history()) for c in guild.channels.values()] == [1, 0, 0, 0, 0]
    cached: Any = world.client.get_guild(guild.id)
    rules, news, moderators, read_only, general = cached.text_channels
    cached._rules_channel_id = rules.id
    news._type = discord.ChannelType.news.value
    hidden = discord.PermissionOverwrite(view_channel=False)
    for channel, denied in ((moderators, hidden), (read_only, SILENT)):
        payload = {"id": str(guild.id), "type": 0, "allow": "0"}
        channel._overwrites.append(
            discord.abc._Overwrites({**payload, "deny": str(denied.pair()[1].value)})  # type: ignore[typeddict-item]
        )
    # The bot has been given what everybody lacks.
    cached.me._roles.add(cached.id)
    assert first_writable(cached) == general
    cached._remove_channel(general)
    assert first_writable(cached) in (rules, news)


async def test_greeting_is_sent_once(world: World) -> None:
    guild = invited(world)
    await world.env.settle()
    world.env.backend.emit("GUILD_DELETE", {"id": str(guild.id)})
    await world.env.settle()
    announce(world, guild)
    await world.env.settle()
    assert len(guild.channels["general"].history()) == 1


async def test_refused_greeting_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.env.inject_error("POST", "/channels/*/messages", status=403, code=50_013)
    guild = invited(world)
    await world.env.settle()
    assert guild.channels["general"].history() == []
    assert f"the greeting in server {guild.id}" in caplog.text


async def test_the_owner_hears_of_a_new_server(stage: Stage) -> None:
    guild = stage.wire.guild("Two")
    owner = stage.wire.state.owner
    await until(lambda: stage.wire.direct_messages(owner))
    (notice,) = stage.wire.direct_messages(owner)
    assert "The bot was added to a server." in notice.content
    assert f"Two (id {guild.id})" in notice.content


async def test_greeting_says_that_songs_are_not_allowed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.application.servers, "_allowed", frozenset({world.guild.id}))
    guild = invited(world)
    await world.env.settle()
    (hello,) = guild.channels["general"].history()
    assert text_of(hello) == (
        "Hello! I can't make songs here yet.\nI can't make songs in this server because "
        f"my operator hasn't allowed it. Ask them to add the server id {guild.id} to "
        "ALLOWED_SERVERS."
    )


async def test_leaving_cancels_and_refunds_waiting_songs(world: World) -> None:
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


async def test_removal_while_offline_is_seen_at_the_next_start(world: World) -> None:
    await world.song(seconds=60)
    listening, world.env.backend.subscribers[:] = list(world.env.backend.subscribers), []
    world.env.backend.remove_guild(world.guild.id)
    world.env.backend.subscribers[:] = listening
    await world.restart()
    (song,) = await world.rows()
    assert song.status is Status.CANCELLED
    assert await world.free() == 10


# --- what lets songs be posted that could not be --------------------------------------------------


@pytest.fixture
async def woken(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The servers that delivery was woken for, after READY has done so."""
    servers: list[int] = []
    await until(lambda: not any("_ready" in task.get_name() for task in asyncio.all_tasks()))
    monkeypatch.setattr(
        stage.application.delivery, "wake", lambda server_id, **_: servers.append(server_id)
    )
    return servers


async def assert_wakes(stage: Stage, woken: list[int], event: Callable[[], object]) -> None:
    """Assert that the event wakes delivery for its server."""
    woken.clear()
    event()
    await until(lambda: woken)
    assert set(woken) == {guild_of(stage).id}


def guild_of(stage: Stage) -> Guild:
    assert stage.channel.guild is not None
    return stage.channel.guild


async def test_a_change_of_a_channel_a_role_or_the_server_wakes_delivery(
    stage: Stage, woken: list[int]
) -> None:
    wire, guild = stage.wire, guild_of(stage)
    role = wire.role(guild, "bots")
    cached = stage.client.get_guild(guild.id)
    assert cached is not None
    await until(lambda: cached.get_role(role.id))

    def send(event: str, **values: Any) -> Callable[[], object]:
        return lambda: wire.gateway.dispatch(event, {"guild_id": str(guild.id), **values}, guild)

    await assert_wakes(stage, woken, lambda: wire.permit(stage.channel, BOT))
    await assert_wakes(stage, woken, send("GUILD_ROLE_UPDATE", role=payloads.role(role)))
    await assert_wakes(stage, woken, send("GUILD_ROLE_DELETE", role_id=str(role.id)))
    boosted = payloads.guild(guild, wire.state.bot) | {"premium_tier": 3, "name": "Boosted"}
    await assert_wakes(stage, woken, lambda: wire.gateway.dispatch("GUILD_UPDATE", boosted, guild))
    mine = payloads.bot_member(guild, wire.state.bot) | {"nick": "Singer"}
    await assert_wakes(stage, woken, send("GUILD_MEMBER_UPDATE", **mine))
    await assert_wakes(stage, woken, lambda: wire.delete_channel(wire.channel(guild, "music")))


async def test_a_change_of_somebody_else_wakes_nothing(stage: Stage, woken: list[int]) -> None:
    """discord.py knows of other members only where they are in a voice channel, say."""
    guild = stage.client.get_guild(guild_of(stage).id)
    assert guild is not None
    other: Any = SimpleNamespace(id=stage.alice.id, guild=guild)
    cog = stage.client.get_cog("ServersCog")
    assert isinstance(cog, ServersCog)
    await cog.on_member_update(other, other)
    assert woken == []


@pytest.mark.parametrize("known", [True, False])
async def test_a_thread_that_is_opened_again_wakes_delivery(
    stage: Stage, woken: list[int], known: bool
) -> None:
    """Also one that was closed before the bot came: discord.py does not know it."""
    thread = stage.wire.thread(stage.channel, "night")
    guild = stage.client.get_guild(guild_of(stage).id)
    assert guild is not None
    await until(lambda: guild.get_thread(thread.id))
    opened = payloads.channel(thread, stage.wire.state.bot)
    if not known:
        guild._remove_thread(guild.get_thread(thread.id))  # type: ignore[arg-type]
    await assert_wakes(
        stage,
        woken,
        lambda: stage.wire.gateway.dispatch("THREAD_UPDATE", opened, guild_of(stage)),
    )


async def test_a_thread_that_the_bot_is_added_to_wakes_delivery(
    stage: Stage, woken: list[int]
) -> None:
    wire = stage.wire
    thread = wire.thread(stage.channel, "secret", kind=PRIVATE_THREAD, has_bot=False)
    await assert_wakes(stage, woken, lambda: wire.add_bot(thread))


async def test_a_public_thread_that_the_bot_is_removed_from_is_seen_all_the_same(
    stage: Stage,
) -> None:
    thread = stage.wire.thread(stage.channel, "night")
    guild = stage.client.get_guild(guild_of(stage).id)
    assert guild is not None
    await until(lambda: guild.get_thread(thread.id))
    known = guild.get_thread(thread.id)
    cog = stage.client.get_cog("ServersCog")
    assert isinstance(cog, ServersCog)
    assert known is not None
    await cog.on_thread_remove(known)
    assert guild.get_thread(thread.id) is known


async def test_a_server_that_is_back_wakes_delivery(stage: Stage, woken: list[int]) -> None:
    guild = guild_of(stage)
    cached = stage.client.get_guild(guild.id)
    assert cached is not None
    stage.wire.outage(guild)
    await until(lambda: cached.unavailable)
    await assert_wakes(stage, woken, lambda: stage.wire.outage(guild, over=True))
    stage.wire.remove_bot(guild)
    await until(lambda: stage.client.get_guild(guild.id) is None)
    await assert_wakes(stage, woken, lambda: stage.wire.invite_bot(guild))


async def test_a_connection_that_is_back_wakes_delivery(stage: Stage, woken: list[int]) -> None:
    await assert_wakes(stage, woken, stage.wire.gateway.drop)
