"""/credits, /leaderboard and /help. What the cards say is in `test_texts.py`."""

from datetime import timedelta

import pytest

from db.records import Status
from services.settings.catalogue import GIFTS, LEADERBOARD
from services.settings.server_settings import Manager, ServerSettings
from services.settings.settings import Member
from tests.world import World, said, text_of

MIDNIGHT = 1767312000
"""The end of the world's first day."""


@pytest.fixture
def server_settings(world: World) -> ServerSettings:
    return world.application.server_settings


@pytest.fixture
def mona(world: World) -> Manager:
    return Manager(world.guild.id, world.mona.id)


async def read(world: World, command: str = "credits") -> str:
    """Return what a command shows alice, and nobody else."""
    result = await world.alice.slash(world.channel, command)
    assert result.ephemeral
    return text_of(result.response)


async def test_credits_show_allowance_and_grants(world: World) -> None:
    await world.application.transfers.grant(
        Member(world.guild.id, world.alice.id),
        grant_id=1,
        actor_id=world.mona.id,
        amount=5,
        reason="for *winning* @everyone",
    )
    text = await read(world)
    assert "You have 15 credits" in text
    assert f"`10` of 10 a day: everyone's allowance · refilled <t:{MIDNIGHT}:R>" in text
    granted = f"granted by <@{world.mona.id}>: for \\*winning\\* @\u200beveryone"
    assert f"`5` {granted} · doesn't expire" in text
    assert f"`+5` {granted} · <t:" in text


async def test_credits_show_held_then_spent_with_the_post(world: World) -> None:
    await world.song(seconds=60)
    text = await read(world)
    assert "You have 8 credits" in text
    assert "Held for songs in progress: 2 credits" in text
    assert "`-2` song #1 · <t:" in text
    async with world.working():
        (song,) = await world.ended()
    text = await read(world)
    assert "Spent today: 2 credits" in text
    address = f"https://discord.com/channels/{world.guild.id}/{world.channel.id}/{song.post_id}"
    assert f"`-2` song [#1]({address}) · <t:" in text


async def test_credits_show_what_expired_and_a_late_refund(world: World) -> None:
    requested = await world.song(seconds=60)
    world.clock.moved += timedelta(days=1)
    await world.alice.click(said(requested), label="Cancel")
    await world.spawner.rest()
    text = await read(world)
    assert "You have 12 credits" in text
    assert "`-8` expired" in text
    assert "`+2` refunded for #1" in text
    assert f"`2` refunded after it had expired · expires <t:{MIDNIGHT + 86_400}:R>" in text


async def test_leaderboard_is_off_unless_the_server_allows_it(
    world: World, server_settings: ServerSettings, mona: Manager
) -> None:
    assert "The leaderboard is off here" in await read(world, "leaderboard")
    await server_settings.set(mona, LEADERBOARD, value=True)
    assert "Nobody yet." in await read(world, "leaderboard")


async def test_leaderboard_counts_songs_and_pings_nobody(
    world: World, server_settings: ServerSettings, mona: Manager
) -> None:
    await server_settings.set(mona, LEADERBOARD, value=True)
    for member in (world.bob, world.bob, world.alice):
        await world.song(member)
    async with world.working():
        assert {song.status for song in await world.ended(3)} == {Status.COMPLETED}
    text = await read(world, "leaderboard")
    first = f"**1st** <@{world.bob.id}> · 2 songs"
    assert f"{first}\n**2nd** <@{world.alice.id}> · 1 song · you" in text
    *_, sent = (r.json for r in world.env.http_requests if r.json and "embeds" in r.json)
    assert sent["allowed_mentions"] == {"parse": []}


async def test_help_lists_the_commands_of_members_and_managers(
    world: World, server_settings: ServerSettings, mona: Manager
) -> None:
    await server_settings.set(mona, GIFTS, value=True)
    text = await read(world, "help")
    for part in ("Type `/song`", "`/queue`", "`/history`", "`/credits`", "`/gift`", "`/quota`"):
        assert part in text
    assert "1. `/quota server`" not in text
    assert "1. `/quota server`" in text_of((await world.mona.slash(world.channel, "help")).response)
