"""/quota server, role, member, budget, channels, block, unblock, pause and resume."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import discord
import pytest
import simcord

from cogs.settings.channels import check_channels
from cogs.settings.texts import NO_CHANGE
from services.calendar import Calendar, Every
from services.errors import NotPermitted
from services.settings.catalogue import (
    BLOCK,
    BUDGET,
    CALENDAR,
    CHANNELS,
    MEMBER_ALLOWANCE,
    PAUSE,
    ROLE_ALLOWANCE,
)
from services.settings.settings import Allowance, Block, Member, Override, Source
from tests.unit.cogs.settings.layouts import shown_in
from tests.unit.cogs.settings.quota import (
    NOT_ALLOWED,
    by,
    changed,
    quota,
    quota_id,
    quota_with_lost_role,
    server_settings,
    settings,
)
from tests.world import World, said, text_of


async def requested(world: World, member: simcord.MemberActor | None = None) -> str:
    """What the bot says to somebody who requests a song."""
    return text_of((await world.song(member)).response)


def channel_without(world: World, **permissions: bool) -> simcord.ChannelHandle:
    """A channel in which the bot lacks something."""
    assert world.client.user is not None
    denied = discord.PermissionOverwrite(**permissions)
    return world.guild.create_text_channel("mute", overwrites={world.client.user: denied})


# --- permission -----------------------------------------------------------------------------------


async def test_only_managers_use_quota_commands(world: World) -> None:
    world.guild.set_command_permissions(quota_id(world), {world.alice: True})
    for name, options in (
        ("server", {"allowance": 500}),
        ("role", {"role": world.guild.create_role("singers"), "unlimited": True}),
        ("member", {"member": world.alice, "unlimited": True}),
        ("budget", {"credits": 1}),
        ("channels", {"everywhere": True}),
        ("channels", {}),
        ("block", {"member": world.bob, "reason": "why"}),
        ("unblock", {"member": world.alice}),
        ("pause", {}),
        ("resume", {}),
        ("show", {}),
        ("history", {}),
        ("log", {}),
    ):
        result = await world.alice.slash(world.channel, f"quota {name}", **options)
        assert said(result).content == NOT_ALLOWED
        assert said(result).ephemeral
    assert await changed(world) == []


# --- /quota server --------------------------------------------------------------------------------


async def test_the_allowance_is_in_force_at_once_until_it_is_the_default_again(
    world: World,
) -> None:
    await world.song(seconds=60)
    assert "20 credits" in await quota(world, "server", allowance=20)
    assert await world.free() == 18
    assert await quota(world, "server", allowance=20) == NO_CHANGE
    await quota(world, "server", unlimited=True)
    assert (await settings(world)).allowance.credits is None
    await quota(world, "server", default=True)
    assert (await settings(world)).allowance == Allowance(10, Source.DEFAULT)
    assert await quota(world, "server", default=True) == NO_CHANGE


async def test_a_period_changes_when_the_current_one_ends(world: World) -> None:
    reply = await quota(world, "server", every="week", day_begins=4, zone="europe/berlin")
    assert "when the current period ends" in reply
    assert (await settings(world))[CALENDAR] == Calendar(Every.WEEK, 4, "Europe/Berlin")
    assert await quota(world, "server", every="week") == NO_CHANGE
    reply = await quota(world, "server", zone="UTC", allowance=5)
    assert len(reply.splitlines()) == 2
    assert (await settings(world))[CALENDAR] == Calendar(Every.WEEK, 4, "UTC")


async def test_time_zones_are_suggested(world: World) -> None:
    offered = await world.mona.autocomplete(world.channel, "quota server", "zone", "berl")
    assert offered == [{"name": "Europe/Berlin", "value": "Europe/Berlin"}]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("server", {}),
        ("server", {"allowance": 5, "unlimited": True}),
        ("server", {"zone": "Mars", "allowance": 5}),
        ("budget", {}),
        ("budget", {"credits": 5, "none": True}),
        ("member", {"remove": True, "until": "7d"}),
        ("member", {"allowance": 5, "until": "2025-12-31"}),
        ("member", {"allowance": 5, "until": "31.12.2026"}),
        ("member", {"allowance": 5, "unlimited": True}),
        ("block", {"reason": "spam", "until": "2020-01-01"}),
        ("block", {"reason": "  "}),
    ],
)
async def test_contradictory_and_invalid_options_change_nothing(
    world: World, name: str, options: dict[str, Any]
) -> None:
    about = {"member": world.bob} if name in ("member", "block") else {}
    assert await quota(world, name, **about, **options)
    assert await changed(world) == []


@pytest.mark.parametrize("amount", [-1, 1_000_001, 2**53])
async def test_the_service_refuses_what_discord_would_not_send(world: World, amount: int) -> None:
    with pytest.raises(simcord.OptionError):
        await quota(world, "server", allowance=amount)
    options = [{"name": "allowance", "type": 4, "value": amount}]
    sub = {"name": "server", "type": 1, "options": options}
    result = await world.raw_slash(world.mona, "quota", sub)
    assert "between 0 and 1,000,000" in text_of(result.response)
    assert await changed(world) == []


# --- /quota role, member and budget ---------------------------------------------------------------


async def test_a_role_gets_its_own_allowance_and_loses_it(world: World) -> None:
    role = world.guild.create_role("singers")
    await quota(world, "role", role=role, allowance=30)
    whose = Member(world.guild.id, world.alice.id, frozenset({role.id}))
    assert (await world.application.credits.balance(whose)).free == 30
    assert await quota(world, "role", role=role, allowance=30) == NO_CHANGE
    await quota(world, "role", role=role, unlimited=True)
    assert (await settings(world)).roles == {role.id: None}
    await quota(world, "role", role=role, remove=True)
    assert (await settings(world)).roles == {}
    everyone = world.guild.default_role
    assert "Everyone has that role" in await quota(world, "role", role=everyone, allowance=5)


async def test_a_role_that_was_deleted_meanwhile_can_only_be_removed(world: World) -> None:
    amount = {"name": "allowance", "type": 4, "value": 5}
    assert "deleted meanwhile" in await quota_with_lost_role(world, "role", amount)
    await server_settings(world).set(by(world), ROLE_ALLOWANCE, 5, 777)
    await quota_with_lost_role(world, "role", {"name": "remove", "type": 5, "value": True})
    assert (await settings(world)).roles == {}


async def test_a_member_gets_their_own_allowance_until_a_date(world: World) -> None:
    await quota(world, "server", zone="Asia/Tokyo")
    world.clock.moved = timedelta(days=1)
    offered = await world.mona.autocomplete(
        world.channel, "quota member", "until", "2026-03-01", member=world.alice
    )
    assert offered[0]["name"] == "2026-03-01: the end of Sunday, 1 March 2026"
    await quota(world, "member", member=world.alice, allowance=5, until="2026-03-01")
    until = datetime(2026, 3, 1, 15, tzinfo=UTC)
    assert (await settings(world, world.alice))[MEMBER_ALLOWANCE] == Override(5, until)
    assert await world.free() == 5
    await quota(world, "member", member=world.alice, remove=True)
    assert await quota(world, "member", member=world.alice, remove=True) == NO_CHANGE
    gone = world.env.create_user("gone")
    assert f"<@{gone.id}>" in await quota(world, "member", member=gone, unlimited=True)


async def test_bots_have_no_settings(world: World) -> None:
    robot = world.guild.add_member(world.env.create_user("robot", bot=True))
    for name, options in (("member", {"allowance": 5}), ("block", {"reason": "spam"})):
        assert "Bots make no songs" in await quota(world, name, member=robot, **options)
    assert await changed(world) == []


async def test_a_budget_is_set_and_removed(world: World) -> None:
    await quota(world, "budget", credits=1)
    assert (await settings(world))[BUDGET] == 1
    assert "QUEUED" in await requested(world)
    assert "budget" in await requested(world)
    await quota(world, "budget", none=True)
    assert "QUEUED" in await requested(world)


# --- /quota channels ------------------------------------------------------------------------------


async def test_songs_are_requested_in_allowed_channels(world: World) -> None:
    other = world.guild.create_text_channel("music")
    forum = world.guild.create_forum_channel("requests")
    await quota(world, "channels", add=other)
    assert f"Go to <#{other.id}>." in await requested(world)
    await quota(world, "channels", add=forum, remove=other)
    assert (await settings(world))[CHANNELS] == (forum.id,)
    post = world.env.backend.create_thread(forum.id, "songs", world.alice.id)
    thread = simcord.ChannelHandle(world.env, world.guild, post)
    here, world.channel = world.channel, thread
    assert "QUEUED" in await requested(world)
    world.channel = here
    await quota(world, "channels", everywhere=True)
    assert await quota(world, "channels", everywhere=True) == NO_CHANGE
    assert (await settings(world))[CHANNELS] == ()


async def test_contradictory_and_unusable_channels_are_refused(world: World) -> None:
    both = {"add": world.channel, "remove": world.channel}
    assert "different channels" in await quota(world, "channels", **both)
    assert "either" in await quota(world, "channels", add=world.channel, everywhere=True)
    mute = channel_without(world, attach_files=False, embed_links=False)
    reply = await quota(world, "channels", add=mute)
    assert f"I lack in <#{mute.id}> Embed Links, Attach Files. " in reply
    assert await changed(world) == []


async def test_without_options_the_panel_opens(world: World) -> None:
    result = await world.mona.slash(world.channel, "quota channels")
    assert "**Channels**" in shown_in(result)


def test_the_chat_of_a_voice_channel_requires_connect() -> None:
    may = discord.Permissions(discord.Permissions.all_channel().value, connect=False)
    talk = SimpleNamespace(type=discord.ChannelType.voice, permissions_for=lambda _: may)
    guild: Any = SimpleNamespace(me=None, get_channel=lambda _: talk)
    with pytest.raises(NotPermitted, match=r"I lack in <#7> Connect\."):
        check_channels(guild, [7], songs=True)


# --- /quota block, pause --------------------------------------------------------------------------


async def test_a_blocked_member_makes_no_songs_until_the_block_ends(world: World) -> None:
    await world.song(world.bob)
    same: dict[str, Any] = {"member": world.bob, "reason": "*spam*", "until": "today"}
    assert "\\*spam\\*" in await quota(world, "block", **same)
    assert await quota(world, "block", **same) == NO_CHANGE
    assert "You can't make songs in this server until" in await requested(world, world.bob)
    assert "QUEUED" in await requested(world, world.alice)
    world.clock.moved = timedelta(days=1)
    assert "QUEUED" in await requested(world, world.bob)


async def test_a_block_without_an_end_is_ended(world: World) -> None:
    gone = world.env.create_user("gone")
    await quota(world, "block", member=gone, reason="spam")
    found = await server_settings(world).of_setting(world.guild.id, BLOCK)
    assert found == [(gone.id, Block("spam"))]
    await quota(world, "unblock", member=gone)
    assert await quota(world, "unblock", member=gone) == NO_CHANGE


async def test_songs_are_paused_and_resumed(world: World) -> None:
    await quota(world, "pause", reason="*exams*")
    assert "have paused new songs: *exams*" in await requested(world)
    await quota(world, "pause")
    assert (await settings(world))[PAUSE] == ""
    assert await quota(world, "pause") == NO_CHANGE
    await quota(world, "resume")
    assert "QUEUED" in await requested(world)
