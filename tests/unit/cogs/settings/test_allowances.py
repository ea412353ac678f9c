"""/quota server, role, member and budget. The bot itself checks who may."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import discord
import pytest
import simcord

from db import changes
from db.records import Change
from services.settings.server_settings import Manager
from services.settings.settings import Allowance, Member, Rules, Source
from tests.world import World, said, text_of

NOT_ALLOWED = "Only those with the Manage Server permission can do this."
SO_ALREADY = "It is so already: nothing changed."
TOMORROW = int(datetime(2026, 1, 2, tzinfo=UTC).timestamp())


def quota_id(world: World) -> int:
    command = world.env.backend.find_command("quota", None)
    assert command is not None
    return int(command["id"])


async def quota(world: World, name: str, **options: Any) -> str:
    """What the bot says to the manager, and to nobody else."""
    result = await world.mona.slash(world.channel, f"quota {name}", **options)
    assert result.ephemeral
    return said(result).content


async def rules(world: World, member: simcord.MemberActor | None = None) -> Rules:
    member_id = member.id if member else 0
    return await world.client.services.credits.rules(world.guild.id, member_id)


async def changed(world: World) -> list[Change]:
    """What was decided, newest first."""
    reader = world.application.database.reader
    return await changes.of_server(reader, world.guild.id, limit=50, offset=0)


async def free(world: World, member: simcord.MemberActor, *roles: simcord.RoleHandle) -> int:
    """A member's credits with these roles."""
    whose = Member(world.guild.id, member.id, frozenset(role.id for role in roles))
    return (await world.client.services.credits.balance(whose)).free


# --- who may --------------------------------------------------------------------------------------


async def test_discord_hides_quota_from_who_does_not_manage(world: World) -> None:
    command = world.env.backend.find_command("quota", None)
    assert command is not None
    permissions = discord.Permissions(int(command["default_member_permissions"]))
    assert permissions == discord.Permissions(manage_guild=True)
    with pytest.raises(simcord.SetupError):
        await world.alice.slash(world.channel, "quota server", allowance=5)


async def test_the_bot_checks_too_where_a_servers_settings_say_otherwise(world: World) -> None:
    world.guild.set_command_permissions(quota_id(world), {world.alice: True})
    role = world.guild.create_role("singers")
    for name, options in (
        ("server", {"allowance": 500}),
        ("role", {"role": role, "unlimited": True}),
        ("member", {"member": world.alice, "unlimited": True}),
        ("budget", {"credits": 1}),
    ):
        result = await world.alice.slash(world.channel, f"quota {name}", **options)
        assert said(result).content == NOT_ALLOWED
        assert said(result).ephemeral
    assert await world.free() == 10
    assert await changed(world) == []


# --- /quota server --------------------------------------------------------------------------------


async def test_the_allowance_is_in_force_at_once(world: World) -> None:
    await world.song(seconds=60)
    assert await quota(world, "server", allowance=20) == (
        "Every member now has 20 credits a day. More is there at once; less takes only what is "
        "neither spent nor held."
    )
    assert await world.free() == 18
    assert await quota(world, "server", allowance=20) == SO_ALREADY
    await quota(world, "server", allowance=0)
    assert await world.free() == 0
    result = await world.song()
    assert "Ask the people who manage this server for more" in text_of(result.response)
    assert len(await changed(world)) == 2


async def test_unlimited_is_an_allowance(world: World) -> None:
    assert "now has unlimited credits. " in await quota(world, "server", unlimited=True)
    assert (await rules(world)).server.credits is None


async def test_another_server_keeps_its_own(world: World) -> None:
    await quota(world, "server", allowance=20)
    assert (await rules(world)).server.credits == 20
    other = await world.client.services.credits.rules(1)
    assert other.server.credits == 10


async def test_a_period_changes_when_the_running_one_ends(world: World) -> None:
    answer = await quota(world, "server", every="week", day_begins=4, zone="europe/berlin")
    assert answer == (
        f"From <t:{TOMORROW}:f> on, when the running period ends, a period is a week from Monday "
        "04:00, Europe/Berlin."
    )
    assert await quota(world, "server", every="week") == SO_ALREADY
    answer = await quota(world, "server", every="day", day_begins=0, zone="UTC", allowance=5)
    assert answer == (
        "Every member now has 5 credits a day. More is there at once; less takes only what is "
        "neither spent nor held. A period stays a day from 00:00, UTC: the change that was still "
        "to come is dropped."
    )


async def test_the_period_in_force_is_named(world: World) -> None:
    await quota(world, "server", every="month")
    assert "20 credits a day" in await quota(world, "server", allowance=20)
    world.clock.moved = timedelta(days=2)
    assert "21 credits a month" in await quota(world, "server", allowance=21)


async def test_zones_are_offered(world: World) -> None:
    offered = await world.mona.autocomplete(world.channel, "quota server", "zone", "berl")
    assert offered == [{"name": "Europe/Berlin", "value": "Europe/Berlin"}]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "Please name what to change: `allowance`, `unlimited` or `default`, "),
        (
            {"allowance": 5, "unlimited": True},
            "Please choose one of `allowance`, `unlimited` and `default`.",
        ),
        ({"zone": "Mars/Olympus"}, "I don't know that time zone"),
        ({"zone": "Mars", "allowance": 5}, "I don't know that time zone"),
    ],
)
async def test_what_cannot_be_meant_changes_nothing(
    world: World, options: dict[str, Any], sentence: str
) -> None:
    assert sentence in await quota(world, "server", **options)
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


# --- /quota role ----------------------------------------------------------------------------------


async def test_a_role_gives_more_until_it_gives_nothing(world: World) -> None:
    role = world.guild.create_role("singers")
    assert await quota(world, "role", role=role, allowance=30) == (
        f"Members with <@&{role.id}> now have 30 credits a day, unless another role gives them "
        "more, or `/quota member` something else. More is there at once; less takes only what is "
        "neither spent nor held."
    )
    assert await free(world, world.alice, role) == 30
    assert await free(world, world.bob) == 10
    assert await quota(world, "role", role=role, allowance=30) == SO_ALREADY
    assert "unlimited credits, unless" in await quota(world, "role", role=role, unlimited=True)
    answer = await quota(world, "role", role=role, remove=True)
    assert f"<@&{role.id}> gives nothing of its own any more: its members have" in answer
    assert await free(world, world.alice, role) == 10
    assert await quota(world, "role", role=role, remove=True) == SO_ALREADY


async def test_for_everyone_there_is_another_command(world: World) -> None:
    answer = await quota(world, "role", role=world.guild.default_role, allowance=5)
    assert answer == "Everyone has that role: please use `/quota server` for it."
    assert await changed(world) == []


@pytest.mark.parametrize(
    "options", [{}, {"allowance": 5, "unlimited": True}, {"unlimited": True, "remove": True}]
)
async def test_one_thing_is_chosen(world: World, options: dict[str, bool | int]) -> None:
    role = world.guild.create_role("singers")
    one = "Please choose one of `allowance`, `unlimited` and `remove`."
    assert await quota(world, "role", role=role, **options) == one
    assert await quota(world, "member", member=world.alice, **options) == one
    assert await changed(world) == []


def resolved_role(role_id: int) -> dict[str, Any]:
    """A role as Discord sends it with a command."""
    return {
        "id": str(role_id),
        "name": "gone",
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "position": 1,
        "permissions": "0",
        "managed": False,
        "mentionable": False,
        "flags": 0,
    }


async def quota_with_lost_role(world: World, name: str, *options: dict[str, Any]) -> str:
    """A command with a role that was deleted between its choice and the command's arrival."""
    chosen = {"name": "role", "type": 8, "value": "777"}
    root = world.env.backend.find_command("quota", None)
    assert root is not None
    data = {
        "id": root["id"],
        "name": "quota",
        "type": 1,
        "options": [{"name": name, "type": 1, "options": [*options, chosen]}],
        "resolved": {"roles": {"777": resolved_role(777)}},
    }
    result = await world.mona._dispatch_interaction(2, world.channel, data)
    return said(result).content


async def test_a_role_that_was_deleted_meanwhile(world: World) -> None:
    answer = await quota_with_lost_role(world, "role", {"name": "allowance", "type": 4, "value": 5})
    assert answer == "That role was deleted meanwhile: please choose another one."
    assert await changed(world) == []
    # What is left of its rule can still go.
    by = Manager(world.guild.id, world.mona.id)
    await world.client.services.server_settings.set_role(by, 777, 5)
    answer = await quota_with_lost_role(world, "role", {"name": "remove", "type": 5, "value": True})
    assert "gives nothing of its own any more" in answer
    assert (await rules(world)).roles == {}


# --- /quota member --------------------------------------------------------------------------------


async def test_a_member_has_their_own_until_a_date(world: World) -> None:
    answer = await quota(world, "member", member=world.alice, allowance=50, until="2026-01-31")
    end = int(datetime(2026, 2, 1, tzinfo=UTC).timestamp())
    assert answer == (
        f"<@{world.alice.id}> now has 50 credits a day, whatever their roles, until <t:{end}:f>; "
        "from then on those count again. More is there at once; less takes only what is neither "
        "spent nor held."
    )
    assert await world.free() == 50
    same = {"member": world.alice, "allowance": 50, "until": "2026-01-31"}
    assert await quota(world, "member", **same) == SO_ALREADY
    world.clock.moved = timedelta(days=40)
    assert await world.free() == 10


async def test_what_a_member_has_again_is_said(world: World) -> None:
    role = world.guild.create_role("singers")
    singer = world.guild.add_member(world.env.create_user("singer"), roles=[role])
    await quota(world, "role", role=role, allowance=30)
    answer = await quota(world, "member", member=singer, unlimited=True)
    assert f"<@{singer.id}> now has unlimited credits, whatever their roles. " in answer
    answer = await quota(world, "member", member=singer, remove=True)
    assert answer == (
        f"<@{singer.id}> has what their roles and the server give again: 30 credits a day."
    )
    assert await quota(world, "member", member=singer, remove=True) == SO_ALREADY


async def test_somebody_who_left_can_have_a_rule_and_lose_it(world: World) -> None:
    gone = world.env.create_user("gone")
    assert f"<@{gone.id}> now has 5" in await quota(world, "member", member=gone, allowance=5)
    answer = await quota(world, "member", member=gone, remove=True)
    assert answer == (
        f"<@{gone.id}> has no allowance of their own any more. They are not here now."
    )


async def test_moments_are_offered_on_the_servers_clocks(world: World) -> None:
    await quota(world, "server", zone="Asia/Tokyo")
    world.clock.moved = timedelta(days=1)
    offered = await world.mona.autocomplete(
        world.channel, "quota member", "until", "2026-03-01", member=world.alice
    )
    assert offered == [
        {"name": "2026-03-01: the end of Sunday, 1 March 2026", "value": "2026-03-01"}
    ]
    await quota(world, "member", member=world.alice, allowance=5, until="2026-03-01")
    (change, *_) = await changed(world)
    end = datetime(2026, 3, 1, 15, tzinfo=UTC)
    assert json.loads(change.after or "")["until"] == end.timestamp() * 1000


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"allowance": 5, "until": "2025-12-31"}, "That time has passed"),
        ({"allowance": 5, "until": "31.12.2026"}, "I can't read that time. Write it"),
        ({"allowance": 5, "until": "20 years"}, "That's more than ten years away"),
        ({"remove": True, "until": "7d"}, "Removed is removed: please leave out `until`."),
    ],
)
async def test_a_members_rule_that_makes_no_sense(
    world: World, options: dict[str, Any], sentence: str
) -> None:
    assert sentence in await quota(world, "member", member=world.alice, **options)
    assert await changed(world) == []


async def test_a_bot_has_no_allowance(world: World) -> None:
    robot = world.guild.add_member(world.env.create_user("robot", bot=True))
    answer = await quota(world, "member", member=robot, allowance=5)
    assert answer == "Bots make no songs: please choose a member."
    assert await changed(world) == []


# --- /quota budget -------------------------------------------------------------------------------


async def test_back_to_what_the_bot_gives(world: World) -> None:
    assert await quota(world, "server", default=True) == SO_ALREADY
    await quota(world, "server", unlimited=True)
    answer = await quota(world, "server", default=True)
    assert answer.startswith("Every member now has 10 credits a day. ")
    assert (await rules(world)).server == Allowance(10, Source.DEFAULT)
    for options in ({"allowance": 5}, {"unlimited": True}):
        answer = await quota(world, "server", default=True, **options)
        assert answer == "Please choose one of `allowance`, `unlimited` and `default`."
    assert (await rules(world)).server == Allowance(10, Source.DEFAULT)


async def test_a_budget_and_none(world: World) -> None:
    assert await quota(world, "budget", credits=1) == (
        "All songs of this server together may now cost 1 credit a day at most; in the running "
        "period 0 of them are spent or held. Choose a channel with `/quota log`, to be told there "
        "when 80 % of it are spent."
    )
    assert "budget doesn't have room for a song" in text_of((await world.song(seconds=60)).response)
    await quota(world, "log", channel=world.channel)
    answer = await quota(world, "budget", credits=2)
    assert f"It is told in <#{world.channel.id}> when 80 % and" in answer
    assert await quota(world, "budget", credits=2) == SO_ALREADY
    answer = await quota(world, "budget", none=True)
    assert answer == (
        "The server has no budget of its own now: it may spend what its members have."
    )
    assert await quota(world, "budget", none=True) == SO_ALREADY
    for options in ({}, {"credits": 5, "none": True}):
        answer = await quota(world, "budget", **options)
        assert answer == "Please choose one of `credits` and `none`."
    assert (await rules(world)).budget is None
