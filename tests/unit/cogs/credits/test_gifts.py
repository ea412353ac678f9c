"""/gift: credits from member to member."""

import logging
from datetime import timedelta
from typing import Any

import discord
import pytest
import simcord

from services.settings.catalogue import BLOCK, GIFTS
from services.settings.server_settings import Manager
from services.settings.settings import Block, Member
from tests.world import World, text_of


def mona(world: World) -> Manager:
    return Manager(world.guild.id, world.mona.id)


@pytest.fixture
async def generous(world: World) -> World:
    """A server that allows gifts."""
    await world.application.server_settings.set(mona(world), GIFTS, value=True)
    return world


async def give(world: World, whom: Any = None, amount: int = 3) -> simcord.InteractionResult:
    """Alice gives to bob."""
    return await world.alice.slash(world.channel, "gift", member=whom or world.bob, amount=amount)


async def refused(world: World, sentence: str, **options: Any) -> bool:
    """Whether that is what alice was told, alone, and nothing was changed."""
    result = await give(world, **options)
    assert result.ephemeral
    assert sentence in text_of(result.response)
    return await world.free() == await world.free(world.bob) == 10 and not world.posts()


async def test_a_gift_moves_credits_and_its_receiver_hears_of_it(generous: World) -> None:
    world = generous
    result = await give(world)
    assert result.ephemeral
    assert text_of(result.response) == f"You gave <@{world.bob.id}> 3 credits and have 7 left."
    assert (await world.free(), await world.free(world.bob)) == (7, 13)
    (post,) = world.posts()
    assert post.content == (
        f"<@{world.bob.id}>, <@{world.alice.id}> gave you 3 credits. Use `/credits` to "
        "see what you have."
    )
    (sent,) = [r.json for r in world.env.http_requests if r.path.endswith("/messages") and r.json]
    assert sent["allowed_mentions"] == {"parse": [], "users": [world.bob.id]}
    assert sent["nonce"] == str(result._interaction.id)


async def test_both_see_it_in_their_credits(generous: World) -> None:
    world = generous
    await give(world)
    mine = text_of((await world.alice.slash(world.channel, "credits")).response)
    assert f"`-3` gift to <@{world.bob.id}>" in mine
    assert "Use /gift to give some to another member." in mine
    theirs = text_of((await world.bob.slash(world.channel, "credits")).response)
    assert f"`+3` gift from <@{world.alice.id}>" in theirs
    assert f"`3` gift from <@{world.alice.id}> · expires <t:1767312000:R>" in theirs


async def test_a_gift_of_several_parts_names_its_giver_with_each(generous: World) -> None:
    world = generous
    await world.application.transfers.grant(
        Member(world.guild.id, world.alice.id),
        grant_id=1,
        actor_id=world.mona.id,
        amount=2,
        reason="Because",
    )
    await give(world, amount=5)
    theirs = text_of((await world.bob.slash(world.channel, "credits")).response)
    giver = f"gift from <@{world.alice.id}>"
    assert f"`3` {giver} · expires <t:" in theirs
    assert f"`2` {giver} · doesn't expire" in theirs


async def test_gifts_have_to_be_allowed(world: World) -> None:
    assert await refused(world, "Gifts are off here")


async def test_a_gift_of_more_than_there_is_is_refused(generous: World) -> None:
    assert await refused(generous, "You have 10 credits to give", amount=11)


async def test_a_gift_to_oneself_is_refused(generous: World) -> None:
    assert await refused(generous, "You can't give credits to yourself", whom=generous.alice)


async def test_a_gift_to_a_bot_is_refused(generous: World) -> None:
    robot = generous.guild.add_member(generous.env.create_user("robot", bot=True))
    assert await refused(generous, "Bots don't make songs", whom=robot)


async def test_a_gift_to_who_is_not_here_is_refused(generous: World) -> None:
    gone = generous.env.create_user("gone")
    assert await refused(generous, f"<@{gone.id}> isn't in this server", whom=gone)


async def test_who_is_blocked_gets_nothing(generous: World) -> None:
    server_settings = generous.application.server_settings
    await server_settings.set(mona(generous), BLOCK, Block("spam"), generous.bob.id)
    assert await refused(generous, "Members who are blocked")


@pytest.mark.parametrize("amount", [0, -1, 1_000_001])
async def test_discord_itself_refuses_an_amount_out_of_bounds(generous: World, amount: int) -> None:
    with pytest.raises(simcord.OptionError):
        await give(generous, amount=amount)
    assert await generous.free() == 10


async def test_delivered_twice_it_is_one_gift(
    generous: World, caplog: pytest.LogCaptureFixture
) -> None:
    world = generous
    await give(world)
    with caplog.at_level(logging.WARNING, "cogs.client.errors"):
        await world.again()
    assert "can't be answered" in caplog.text
    assert (await world.free(), await world.free(world.bob)) == (7, 13)
    assert len(world.posts()) == 1
    world.foreseen = [e for e in world.errors() if isinstance(e, discord.HTTPException)]
    assert len(world.foreseen) == 1


@pytest.mark.parametrize("permission", ["send_messages", "view_channel"])
async def test_where_the_bot_may_not_write_the_giver_is_told(
    generous: World, permission: str
) -> None:
    world = generous
    assert world.client.user is not None
    denied = discord.PermissionOverwrite(**{permission: False})
    world.channel = world.guild.create_text_channel("quiet", overwrites={world.client.user: denied})
    result = await give(world)
    assert "I can't post in this channel, so please let them know." in text_of(result.response)
    assert world.posts() == []
    assert await world.free(world.bob) == 13


async def test_in_a_thread_the_permission_for_threads_counts(generous: World) -> None:
    world = generous
    assert world.client.user is not None
    denied = discord.PermissionOverwrite(send_messages_in_threads=False)
    parent = world.guild.create_text_channel("quiet", overwrites={world.client.user: denied})
    thread = world.env.backend.create_thread(parent.id, "songs", world.alice.id)
    world.channel = simcord.ChannelHandle(world.env, world.guild, thread)
    assert "please let them know" in text_of((await give(world)).response)


async def test_a_message_that_discord_refuses_breaks_no_gift(
    generous: World, caplog: pytest.LogCaptureFixture
) -> None:
    world = generous
    world.env.inject_error("POST", "/channels/*/messages", status=403, code=50_013)
    result = await give(world)
    assert "please let them know" in text_of(result.response)
    assert "its receiver could not be notified" in caplog.text
    assert await world.free(world.bob) == 13


async def test_a_gift_that_expired_meanwhile_is_gone(generous: World) -> None:
    world = generous
    await give(world)
    world.clock.moved += timedelta(days=1)
    assert await world.free(world.bob) == 10
