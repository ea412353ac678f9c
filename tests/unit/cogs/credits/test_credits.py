"""/credits, /leaderboard and /help."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from db.records import Status
from services.calendar import Every
from services.settings.catalogue import (
    ALLOWANCE,
    BLOCK,
    CALENDAR,
    GIFTS,
    LEADERBOARD,
    MEMBER_ALLOWANCE,
    PAUSE,
    ROLE_ALLOWANCE,
)
from services.settings.server_settings import Manager, ServerSettings
from services.settings.settings import Block, Member, Override
from tests.world import World, said, text_of

MIDNIGHT = 1767312000
"""The end of the world's first day."""


@pytest.fixture
def server_settings(world: World) -> ServerSettings:
    return world.application.server_settings


@pytest.fixture
def mona(world: World) -> Manager:
    return Manager(world.guild.id, world.mona.id)


async def credits_of(world: World, **who: Any) -> str:
    """What `/credits` tells somebody: alice."""
    result = await (who.get("member") or world.alice).slash(world.channel, "credits")
    assert result.ephemeral
    return text_of(result.response)


async def grant(world: World, amount: int, reason: str = "Because", **options: Any) -> None:
    """From mona to alice."""
    await world.application.transfers.grant(
        Member(world.guild.id, world.alice.id),
        **{
            "grant_id": f"{reason}:{amount}",
            "actor_id": world.mona.id,
            "amount": amount,
            "reason": reason,
            **options,
        },
    )


# --- /credits: what there is ----------------------------------------------------------------------


async def test_a_newcomer_has_everyones_allowance(world: World) -> None:
    text = await credits_of(world)
    assert "You have 10 credits" in text
    assert "▰▰▰▰▰▰▰▰▰▰▰▰ 10 of 10 left" in text
    rule = f"`10` of 10 a day: everyone's allowance · refilled <t:{MIDNIGHT}:R>"
    assert f"Where it comes from: {rule}" in text
    assert "Spent today: 0 credits" in text
    assert "Held" not in text
    assert "/gift" not in text


async def test_what_is_held_counts_as_spent_and_is_shown(world: World) -> None:
    await world.song(seconds=60)
    text = await credits_of(world)
    assert "You have 8 credits" in text
    assert "8 of 10 left" in text
    assert "`8` of 10 a day" in text
    assert "Held for songs in progress: 2 credits" in text
    assert "`-2` song #1 · <t:" in text


async def test_a_song_that_was_made_is_spent_and_leads_to_its_post(world: World) -> None:
    await world.song(seconds=60)
    async with world.working():
        (song,) = await world.ended()
    text = await credits_of(world)
    assert "Spent today: 2 credits" in text
    address = f"https://discord.com/channels/{world.guild.id}/{world.channel.id}/{song.post_id}"
    assert f"`-2` song [#1]({address}) · <t:" in text


async def test_what_was_given_back_is_shown(world: World) -> None:
    asked = await world.song(seconds=60)
    await world.alice.click(said(asked), label="Cancel")
    await world.spawner.rest()
    text = await credits_of(world)
    assert "You have 10 credits" in text
    assert "`+2` refunded for #1" in text
    assert "Held" not in text


async def test_grants_are_shown_with_who_gave_them_why_and_until_when(world: World) -> None:
    await grant(world, 5, "for *winning* @everyone")
    tomorrow = world.clock() + timedelta(days=1)
    await grant(world, 4, "the jam", actor_id=None, expires_at=tomorrow)
    text = await credits_of(world)
    assert "You have 19 credits" in text
    expires = f"expires <t:{int(tomorrow.timestamp())}:R>"
    assert f"`4` granted by the bot's operator: the jam · {expires}" in text
    why = "for \\*winning\\* @\u200beveryone"
    assert f"`5` granted by <@{world.mona.id}>: {why} · doesn't expire" in text
    assert f"`+5` granted by <@{world.mona.id}>: {why} · <t:" in text


async def test_what_a_manager_took_is_shown_with_why(world: World) -> None:
    await grant(world, 5)
    await world.application.transfers.take(
        Member(world.guild.id, world.alice.id),
        take_id=1,
        actor_id=world.mona.id,
        amount=3,
        reason="a mistake",
    )
    text = await credits_of(world)
    assert f"`-3` taken by <@{world.mona.id}>: a mistake" in text
    assert f"`2` of 5 granted by <@{world.mona.id}>: Because" in text


async def test_what_expired_is_shown(world: World) -> None:
    await credits_of(world)
    world.clock.moved += timedelta(days=1)
    text = await credits_of(world)
    assert "You have 10 credits" in text
    assert "`-10` expired" in text


async def test_a_song_given_back_after_its_day_lasts_another(world: World) -> None:
    asked = await world.song(seconds=60)
    world.clock.moved += timedelta(days=1)
    await world.alice.click(said(asked), label="Cancel")
    await world.spawner.rest()
    text = await credits_of(world)
    assert "You have 12 credits" in text
    assert f"`2` refunded after it had expired · expires <t:{MIDNIGHT + 86_400}:R>" in text


async def test_a_hundred_grants_are_summed_up(world: World) -> None:
    for number in range(100):
        await grant(world, 2, f"Reason {number}")
    text = await credits_of(world)
    assert "You have 210 credits" in text
    assert "and 92 more · 184 credits" in text


async def test_each_has_credits_of_their_own(world: World) -> None:
    await world.song(world.alice, seconds=60)
    assert "You have 10 credits" in await credits_of(world, member=world.bob)


# --- /credits: why --------------------------------------------------------------------------------


async def test_an_allowance_names_its_role(
    world: World, server_settings: ServerSettings, mona: Manager
) -> None:
    singers = world.guild.create_role("singers")
    await server_settings.set(mona, ROLE_ALLOWANCE, 25, singers.id)
    lead = world.guild.add_member(world.env.create_user("lead"), roles=[singers])
    text = await credits_of(world, member=lead)
    assert f"`25` of 25 a day: as <@&{singers.id}>" in text


async def test_everyones_role_is_everyone(
    world: World, server_settings: ServerSettings, mona: Manager
) -> None:
    await server_settings.set(mona, ROLE_ALLOWANCE, 25, world.guild.id)
    text = await credits_of(world)
    assert "`25` of 25 a day: everyone's allowance" in text
    assert "<@&" not in text


async def test_an_override_says_until_when(
    world: World, server_settings: ServerSettings, mona: Manager
) -> None:
    until = world.clock() + timedelta(days=3)
    await server_settings.set(mona, MEMBER_ALLOWANCE, Override(40, until), world.alice.id)
    text = await credits_of(world)
    assert f"`40` of 40 a day: your own allowance until <t:{int(until.timestamp())}:f> ·" in text
    await server_settings.set(mona, MEMBER_ALLOWANCE, Override(40), world.alice.id)
    assert "your own allowance ·" in await credits_of(world)


async def test_who_is_unlimited_is_told_so_with_their_use(
    world: World, server_settings: ServerSettings, mona: Manager
) -> None:
    await credits_of(world)
    await server_settings.set(mona, ALLOWANCE, None)
    await world.song(seconds=60)
    async with world.working():
        await world.ended()
    await world.song(seconds=240)
    text = await credits_of(world)
    assert "Songs cost you nothing here" in text
    assert "No limit: everyone's allowance" in text
    assert "`10` from before the limit was lifted · expires" in text
    assert "Made today: worth 2 credits" in text
    assert "In progress: worth 8 credits" in text
    assert "`0` song #2, worth 8 credits" in text
    assert "▰" not in text


async def test_the_bar_shows_all_that_there_is(
    world: World, server_settings: ServerSettings, mona: Manager
) -> None:
    await grant(world, 6)
    await world.song(seconds=240)
    assert "▰▰▰▰▰▰▱▱▱▱▱▱ 8 of 16 left" in await credits_of(world)
    await server_settings.set(mona, ALLOWANCE, 0)
    text = await credits_of(world)
    assert "▰▰▰▰▰▰▰▰▰▰▰▰ 6 of 6 left" in text
    assert "`0` of 0 a day: everyone's allowance\n" in text
    assert "left" not in await credits_of(world, member=world.bob)


async def test_a_block_and_a_pause_are_shown(
    world: World, server_settings: ServerSettings, mona: Manager
) -> None:
    until = world.clock() + timedelta(days=3)
    await server_settings.set(mona, BLOCK, Block("*spam*", until), world.alice.id)
    await server_settings.set(mona, PAUSE, "")
    text = await credits_of(world)
    date = f"<t:{int(until.timestamp())}:f>"
    assert f"**You can't make songs here until {date}**: \\*spam\\*" in text
    assert "**The server's managers have paused new songs**\n" in text
    await server_settings.reset(mona, PAUSE)
    await server_settings.set(mona, PAUSE, "till noon")
    await server_settings.set(mona, BLOCK, Block("spam"), world.alice.id)
    text = await credits_of(world)
    assert "have paused new songs**: till noon" in text
    assert "**You can't make songs here**: spam" in text
    await server_settings.set(mona, BLOCK, Block("spam", until), world.alice.id)
    world.clock.moved += timedelta(days=4)
    assert "spam" not in await credits_of(world)


async def test_a_calendar_to_come_is_shown(
    world: World, server_settings: ServerSettings, mona: Manager
) -> None:
    await server_settings.update(
        mona, CALENDAR, lambda c: replace(c, every=Every.WEEK, hour=6, zone="Europe/Berlin")
    )
    text = await credits_of(world)
    assert f"From <t:{MIDNIGHT}:f>: Every week, on Monday at 06:00, Europe/Berlin." in text
    world.clock.moved += timedelta(days=1)
    text = await credits_of(world)
    refilled = "refilled <t:1767589200:R>"  # 2026-01-05, 05:00 UTC
    assert f"`10` of 10 a week: everyone's allowance · {refilled}" in text
    assert "Spent this week" in text
    assert "From <t:" not in text


# --- /leaderboard ---------------------------------------------------------------------------------


async def board(world: World) -> str:
    result = await world.alice.slash(world.channel, "leaderboard")
    assert result.ephemeral
    return text_of(result.response)


async def test_there_is_no_leaderboard_unless_the_server_allows_it(
    world: World, server_settings: ServerSettings, mona: Manager
) -> None:
    assert "The leaderboard is off here" in await board(world)
    await server_settings.set(mona, LEADERBOARD, value=True)
    assert "Nobody yet. Use `/song` to make the first one." in await board(world)


async def test_the_leaderboard_counts_songs_and_pings_nobody(
    world: World, server_settings: ServerSettings, mona: Manager
) -> None:
    await server_settings.set(mona, LEADERBOARD, value=True)
    for member in (world.bob, world.bob, world.mona):
        await world.song(member)
    async with world.working():
        assert {song.status for song in await world.ended(3)} == {Status.COMPLETED}
    text = await board(world)
    assert f"**1st** <@{world.bob.id}> · 2 songs\n**2nd** <@{world.mona.id}> · 1 song\n" in text
    assert "You made none. Use" in text
    await world.song()
    async with world.working():
        await world.ended(4)
    result = await world.alice.slash(world.channel, "leaderboard")
    text = text_of(result.response)
    assert f"**2nd** <@{world.alice.id}> · 1 song · you" in text
    assert "none" not in text
    *_, sent = (r.json for r in world.env.http_requests if r.json and "embeds" in r.json)
    assert sent["allowed_mentions"] == {"parse": []}


# --- /help ----------------------------------------------------------------------------------------


async def test_help_tells_the_shortest_way(
    world: World, server_settings: ServerSettings, mona: Manager
) -> None:
    await server_settings.set(mona, GIFTS, value=True)
    result = await world.alice.slash(world.channel, "help")
    assert result.ephemeral
    text = text_of(result.response)
    for words in ("Type `/song`", "`/queue`", "`/history`", "`/credits`", "`/gift`", "`/quota`"):
        assert words in text
    assert "1. `/quota server`" not in text
    assert "1. `/quota server`" in text_of((await world.mona.slash(world.channel, "help")).response)
