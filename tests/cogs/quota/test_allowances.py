"""/quota: the bot itself checks who may."""

from typing import Any

import discord
import pytest
import simcord

from tests.world import World, said, text_of

NOT_ALLOWED = "Only those with the Manage Server permission can do this."


def quota_id(world: World) -> int:
    command = world.env.backend.find_command("quota", None)
    assert command is not None
    return int(command["id"])


def grant(world: World, member: simcord.MemberActor, **options: Any) -> dict[str, Any]:
    return {"member": member, "amount": 5, "reason": "for winning", **options}


async def test_discord_hides_quota_from_who_does_not_manage(world: World) -> None:
    command = world.env.backend.find_command("quota", None)
    assert command is not None
    permissions = discord.Permissions(int(command["default_member_permissions"]))
    assert permissions == discord.Permissions(manage_guild=True)
    with pytest.raises(simcord.SetupError):
        await world.alice.slash(world.channel, "quota server", allowance=5)


@pytest.mark.parametrize("name", ["quota server", "quota grant"])
async def test_the_bot_checks_too_where_a_servers_settings_say_otherwise(
    world: World, name: str
) -> None:
    world.guild.set_command_permissions(quota_id(world), {world.alice: True})
    options = {"allowance": 500} if name.endswith("server") else grant(world, world.alice)
    result = await world.alice.slash(world.channel, name, **options)
    assert said(result).content == NOT_ALLOWED
    assert said(result).ephemeral
    assert await world.free() == 10


async def test_the_allowance_is_in_force_at_once(world: World) -> None:
    await world.song(seconds=60)
    result = await world.mona.slash(world.channel, "quota server", allowance=20)
    assert result.ephemeral
    assert "Every member now has 20 credits a day (before: 10)" in said(result).content
    assert await world.free() == 18
    await world.mona.slash(world.channel, "quota server", allowance=0)
    assert await world.free() == 0
    result = await world.song()
    assert "0 a day are yours here" in text_of(result.response)


async def test_another_server_keeps_its_own(world: World) -> None:
    await world.mona.slash(world.channel, "quota server", allowance=20)
    assert await world.client.services.credits.allowance(world.guild.id) == 20
    assert await world.client.services.credits.allowance(1) == 10


async def test_a_grant_is_given_and_said(world: World) -> None:
    result = await world.mona.slash(world.channel, "quota grant", **grant(world, world.alice))
    assert said(result).ephemeral
    assert said(result).content == (
        f"<@{world.alice.id}> got 5 credits (for winning) and has 15 now."
    )
    assert await world.free() == 15


async def test_the_grants_reason_pings_nobody(world: World) -> None:
    reason = "@everyone <@&1> **wow**"
    await world.mona.slash(world.channel, "quota grant", **grant(world, world.bob, reason=reason))
    (sent,) = [r.json for r in world.env.http_requests if r.method == "POST" and r.json][-1:]
    assert sent is not None
    assert sent["allowed_mentions"]["parse"] == []
    assert "@\u200beveryone <\u200b@\u200b&1> \\*\\*wow\\*\\*" in sent["content"]


@pytest.mark.parametrize("reason", ["   ", "\n"])
async def test_a_blank_reason_is_refused(world: World, reason: str) -> None:
    result = await world.mona.slash(
        world.channel, "quota grant", **grant(world, world.alice, reason=reason)
    )
    assert "Please give a reason" in said(result).content
    assert await world.free() == 10


async def test_a_bot_gets_nothing(world: World) -> None:
    robot = world.guild.add_member(world.env.create_user("robot", bot=True))
    result = await world.mona.slash(world.channel, "quota grant", **grant(world, robot))
    assert said(result).content == "Bots make no songs: please choose a member."
    assert await world.free(robot) == 10


async def test_the_same_grant_delivered_twice_is_given_once(world: World) -> None:
    await world.mona.slash(world.channel, "quota grant", **grant(world, world.alice))
    await world.again()
    assert await world.free() == 15
    world.foreseen = [e for e in world.errors() if isinstance(e, discord.HTTPException)]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("quota server", {"allowance": -1}),
        ("quota server", {"allowance": 1_000_001}),
        ("quota grant", {"amount": 0, "reason": "why"}),
        ("quota grant", {"amount": 1_000_001, "reason": "why"}),
        ("quota grant", {"amount": 1, "reason": ""}),
        ("quota grant", {"amount": 1, "reason": "a" * 201}),
    ],
)
async def test_discord_itself_refuses_what_is_out_of_bounds(
    world: World, name: str, options: dict[str, Any]
) -> None:
    who = {"member": world.alice} if name.endswith("grant") else {}
    with pytest.raises(simcord.OptionError):
        await world.mona.slash(world.channel, name, **who, **options)
