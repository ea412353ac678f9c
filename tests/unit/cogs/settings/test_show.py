"""/quota show: all settings in view, or one member's credits explained."""

import re
from datetime import timedelta

import simcord

from services.settings.catalogue import BUDGET
from services.settings.settings import Member
from tests.unit.cogs.settings.layouts import shown_in
from tests.unit.cogs.settings.quota import by, server_settings, show
from tests.world import World, said

# --- the settings ---------------------------------------------------------------------------------


async def test_what_the_budget_has_counted_is_shown(world: World) -> None:
    await server_settings(world).set(by(world), BUDGET, 100)
    await world.song(seconds=60)
    assert "2 used in this period" in shown_in(await show(world))


async def test_nobody_is_pinged(world: World) -> None:
    await show(world, world.alice)
    sent = [r.json for r in world.env.http_requests if r.json and "components" in r.json][-1]
    assert sent["allowed_mentions"]["parse"] == []


# --- one member -----------------------------------------------------------------------------------


async def explained(world: World, member: simcord.MemberActor | None = None) -> str:
    return shown_in(await show(world, member or world.alice))


async def test_the_bots_default_is_named_as_such(world: World) -> None:
    text = await explained(world)
    assert f"Credits of <@{world.alice.id}>" in text
    assert "**10 credits** to spend now." in text
    assert "10 left of 10 a day" in text
    assert "10 credits a day: the bot's default, because this server has set nothing." in text
    assert re.search(r"Refills <t:\d+:R>, to 10 credits", text)
    assert "Not blocked." in text


async def test_spent_held_and_granted_credits_are_shown(world: World) -> None:
    async with world.working():
        await world.song(seconds=60)
        await world.ended()
    await world.song(seconds=30)
    services = world.application
    for number in range(9):
        await services.transfers.grant(
            Member(world.guild.id, world.alice.id),
            grant_id=number,
            actor_id=world.mona.id,
            amount=5,
            reason=f"for song {number}",
            expires_at=world.clock() + timedelta(days=1 + number),
        )
    text = await explained(world)
    assert "**52 credits** to spend now." in text
    assert "Spent: 2 credits\nHeld for songs in progress: 1 credit" in text
    assert "for song 0" in text
    assert "and 3 more \N{MIDDLE DOT} 15 credits" in text


async def test_roles_of_a_former_member_are_unknown(world: World) -> None:
    await world.song(seconds=60)
    result = await show(world)
    world.guild.remove_member(world.alice)
    await world.env.settle()
    place = f"settings:turn:member:{world.alice.id}"
    text = shown_in(await world.press(world.mona, said(result), place))
    assert "They are not in this server now, so their roles aren't known." in text
    assert "**8 credits** to spend now." in text


async def test_a_bot_has_no_credits(world: World) -> None:
    robot = world.guild.add_member(world.env.create_user("robot", bot=True))
    assert said(await show(world, robot)).content == "Bots make no songs: please choose a member."
