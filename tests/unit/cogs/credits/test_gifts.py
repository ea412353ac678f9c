"""/gift: credits from member to member."""

import logging
from typing import Any

import discord
import pytest
import simcord

from services.credits.transfers import GiftsNotAllowed, GiftToOneself, NotEnoughToGive
from services.errors import InvalidRequest, Refusal
from services.settings.catalogue import GIFTS
from services.settings.server_settings import Manager
from tests.world import World, text_of


@pytest.fixture
async def generous(world: World) -> World:
    """A server that allows gifts."""
    manager = Manager(world.guild.id, world.mona.id)
    await world.application.server_settings.set(manager, GIFTS, value=True)
    return world


async def give(world: World, receiver: Any = None, amount: int = 3) -> simcord.InteractionResult:
    """Give from alice to bob."""
    receiver = receiver or world.bob
    return await world.alice.slash(world.channel, "gift", member=receiver, amount=amount)


async def check_refused(world: World, error: type[Refusal], **options: Any) -> None:
    assert (await give(world, **options)).ephemeral
    assert [type(raised) for raised in world.errors()] == [error]
    assert await world.free() == await world.free(world.bob) == 10
    assert not world.posts()


async def test_gift_moves_credits_and_mentions_its_receiver_alone(generous: World) -> None:
    world = generous
    result = await give(world)
    assert result.ephemeral
    assert text_of(result.response) == f"You gave <@{world.bob.id}> 3 credits and have 7 left."
    (post,) = world.posts()
    assert post.content.startswith(f"<@{world.bob.id}>, <@{world.alice.id}> gave you 3 credits.")
    (sent,) = [r.json for r in world.env.http_requests if r.path.endswith("/messages") and r.json]
    assert sent["allowed_mentions"] == {"parse": [], "users": [world.bob.id]}
    assert sent["nonce"] == str(result._interaction.id)


async def test_gifts_have_to_be_allowed(world: World) -> None:
    await check_refused(world, GiftsNotAllowed)


async def test_gift_to_a_bot_is_refused(generous: World) -> None:
    world = generous
    robot = world.guild.add_member(world.env.create_user("robot", bot=True))
    await check_refused(world, InvalidRequest, receiver=robot)


async def test_gift_to_someone_outside_the_server_is_refused(generous: World) -> None:
    await check_refused(generous, InvalidRequest, receiver=generous.env.create_user("gone"))


async def test_gift_to_oneself_is_refused(generous: World) -> None:
    await check_refused(generous, GiftToOneself, receiver=generous.alice)


async def test_gift_of_more_than_is_free_is_refused(generous: World) -> None:
    await check_refused(generous, NotEnoughToGive, amount=11)


@pytest.mark.parametrize("amount", [-3, 0, 1_000_001])
async def test_discord_refuses_an_amount_out_of_bounds(generous: World, amount: int) -> None:
    with pytest.raises(simcord.OptionError):
        await give(generous, amount=amount)


async def test_gift_delivered_twice_is_one(
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


@pytest.mark.parametrize(
    ("permission", "thread"),
    [("send_messages", False), ("view_channel", False), ("send_messages_in_threads", True)],
)
async def test_giver_reads_that_the_receiver_was_not_notified(
    generous: World, permission: str, thread: bool
) -> None:
    world = generous
    assert world.client.user is not None
    denied = discord.PermissionOverwrite(**{permission: False})
    world.channel = world.guild.create_text_channel("quiet", overwrites={world.client.user: denied})
    if thread:
        created = world.env.backend.create_thread(world.channel.id, "songs", world.alice.id)
        world.channel = simcord.ChannelHandle(world.env, world.guild, created)
    assert "please let them know" in text_of((await give(world)).response)
    assert world.posts() == []
    assert await world.free(world.bob) == 13


async def test_refused_message_undoes_no_gift(
    generous: World, caplog: pytest.LogCaptureFixture
) -> None:
    world = generous
    world.env.inject_error("POST", "/channels/*/messages", status=403, code=50_013)
    assert "please let them know" in text_of((await give(world)).response)
    assert "its receiver could not be notified" in caplog.text
    assert await world.free(world.bob) == 13
