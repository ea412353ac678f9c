"""/quota limits, channels, block, words, pause and allow."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import discord
import pytest
import simcord
from simcord.components import walk_components

from cogs.client.outdated import SENTENCE
from cogs.settings.limits import check_channels
from services.errors import NotPermitted
from services.settings.blocked_words import MAX_WORDS
from services.settings.server_settings import Manager
from tests.unit.cogs.settings.test_allowances import (
    NOT_ALLOWED,
    SO_ALREADY,
    changed,
    quota,
    quota_id,
    rules,
)
from tests.world import World, said, text_of


async def asked(world: World, member: simcord.MemberActor | None = None, **options: Any) -> str:
    """What the bot says to somebody who asks for a song."""
    return text_of((await world.song(member, **options)).response)


async def test_the_bot_checks_who_may(world: World) -> None:
    world.guild.set_command_permissions(quota_id(world), {world.alice: True})
    for name, options in (
        ("limits", {"at_once": 50}),
        ("channels", {"everywhere": True}),
        ("channels", {}),
        ("block", {"member": world.bob, "reason": "why"}),
        ("unblock", {"member": world.alice}),
        ("words", {"add": "foo"}),
        ("words", {}),
        ("pause", {}),
        ("resume", {}),
        ("allow", {"gifts": True}),
    ):
        result = await world.alice.slash(world.channel, f"quota {name}", **options)
        assert said(result).content == NOT_ALLOWED
        assert said(result).ephemeral
    assert await changed(world) == []


# --- /quota limits --------------------------------------------------------------------------------


async def test_limits_are_in_force_at_once(world: World) -> None:
    assert await quota(world, "limits", at_once=1, longest=60) == (
        "Members may now have 1 song at once, each up to 60 s and 150 steps, with no cooldown. "
        "Songs under way are finished as they are."
    )
    assert "is 60 `seconds`" in await asked(world, seconds=61)
    await world.song()
    assert "already have 1 song in progress here, and the limit is 1" in await asked(world)
    answer = await quota(world, "limits", at_once=3, steps=100, cooldown=60)
    assert "3 songs at once, each up to 60 s and 100 steps, with 60 s from one song" in answer
    assert await quota(world, "limits", steps=100) == SO_ALREADY
    assert "Please name what to change: `at_once`, " in await quota(world, "limits")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("at_once", 0), ("at_once", 101), ("longest", 9), ("longest", 241)),
        *(("steps", 9), ("steps", 151), ("cooldown", -1), ("cooldown", 604_801)),
    ],
)
async def test_limits_out_of_bounds(world: World, name: str, value: int) -> None:
    with pytest.raises(simcord.OptionError):
        await quota(world, "limits", **{name: value})
    sub = {"name": "limits", "type": 1, "options": [{"name": name, "type": 4, "value": value}]}
    result = await world.raw_slash(world.mona, "quota", sub)
    assert " between " in text_of(result.response)
    assert await changed(world) == []


# --- /quota channels ------------------------------------------------------------------------------


async def test_songs_are_made_where_they_are_allowed(world: World) -> None:
    other = world.guild.create_text_channel("music")
    assert await quota(world, "channels", add=other) == (
        f"Songs can be made in <#{other.id}> now, their threads included, and nowhere else."
    )
    assert f"Go to <#{other.id}>." in await asked(world)
    assert await quota(world, "channels", add=other) == SO_ALREADY
    answer = await quota(world, "channels", add=world.channel, remove=other)
    assert answer.startswith(f"Songs can be made in <#{world.channel.id}> now, ")
    assert "QUEUED" in await asked(world)
    answer = await quota(world, "channels", remove=world.channel)
    assert answer == "Songs can be made in every channel."
    await quota(world, "channels", add=other)
    assert await quota(world, "channels", everywhere=True) == "Songs can be made in every channel."
    assert await quota(world, "channels", everywhere=True) == SO_ALREADY


async def test_there_are_no_more_channels_than_a_menu_holds(world: World) -> None:
    by = Manager(world.guild.id, world.mona.id)
    await world.client.services.server_settings.set_channels(by, range(1, 26))
    answer = await quota(world, "channels", add=world.channel)
    assert answer == (
        "Those are 26 channels, 25 is the most. To allow songs everywhere, choose none."
    )
    assert len((await rules(world)).channels) == 25


async def test_channels_that_make_no_sense(world: World) -> None:
    answer = await quota(world, "channels", add=world.channel, everywhere=True)
    assert answer == "Please choose either `everywhere` or channels."
    answer = await quota(world, "channels", add=world.channel, remove=world.channel)
    assert answer == "That is one channel: please either add or remove it."
    assert await changed(world) == []


async def test_a_channel_where_songs_cannot_be_posted_is_refused_by_name(world: World) -> None:
    mute = channel_without(world, attach_files=False, embed_links=False)
    assert await quota(world, "channels", add=mute) == (
        f"I couldn't post songs there. I lack in <#{mute.id}> Embed Links, Attach Files. Please "
        "give it to me in the channel's settings, or choose other channels. Nothing was changed."
    )
    assert await changed(world) == []


def test_the_text_of_a_voice_channel_takes_connect() -> None:
    may = discord.Permissions(discord.Permissions.all_channel().value, connect=False)
    talk = SimpleNamespace(type=discord.ChannelType.voice, permissions_for=lambda _: may)
    guild: Any = SimpleNamespace(me=None, get_channel=lambda _: talk)
    with pytest.raises(NotPermitted, match=r"I lack in <#7> Connect\."):
        check_channels(guild, [7])


async def test_a_forum_is_a_channel_too(world: World) -> None:
    forum = world.guild.create_forum_channel("requests")
    answer = await quota(world, "channels", add=forum)
    assert answer.startswith(f"Songs can be made in <#{forum.id}> now, their threads included")
    post = world.env.backend.create_thread(forum.id, "songs", world.alice.id)
    world.channel = simcord.ChannelHandle(world.env, world.guild, post)
    assert "QUEUED" in await asked(world)


async def test_a_menu_shows_and_takes_all_channels(world: World) -> None:
    other = world.guild.create_text_channel("music")
    gone = world.guild.create_text_channel("gone")
    for channel in (other, gone):
        await quota(world, "channels", add=channel)
    world.env.backend.delete_channel(gone.id)
    await world.env.settle()
    result = await world.mona.slash(world.channel, "quota channels")
    shown = said(result)
    (menu,) = [part for part in walk_components(shown.components) if part["type"] == 8]
    assert (menu["min_values"], menu["max_values"]) == (0, 25)
    assert [int(value["id"]) for value in menu["default_values"]] == [other.id]
    await world.restart()
    await world.mona.select(shown, [world.channel, other], custom_id="quota:channels")
    assert set((await rules(world)).channels) == {world.channel.id, other.id}
    assert f"<#{world.channel.id}>" in content_of(world, shown)
    mute = channel_without(world, send_messages=False)
    result = await world.mona.select(shown, [mute], custom_id="quota:channels")
    assert f"I lack in <#{mute.id}> Send Messages, " in text_of(result.followups[0])
    assert len((await rules(world)).channels) == 2
    await world.mona.select(shown, [], custom_id="quota:channels")
    assert content_of(world, shown) == "Songs can be made in every channel."
    assert (await rules(world)).channels == ()


async def test_who_manages_no_more_chooses_no_channels(world: World) -> None:
    shown = said(await world.mona.slash(world.channel, "quota channels"))
    result = await world.press(world.alice, shown, "quota:channels", values=["1"])
    assert said(result).content == NOT_ALLOWED
    result = await world.press(world.mona, shown, "quota:channels", values=["x", "7"])
    assert "I lack in <#7> View Channel." in text_of(result.followups[0])
    many = [str(number) for number in range(1, 11)]
    result = await world.press(world.mona, shown, "quota:channels", values=many)
    assert "in <#8> View Channel; and something in 2 more." in text_of(result.followups[0])
    assert await changed(world) == []


# --- /quota block, unblock ------------------------------------------------------------------------


async def test_who_is_blocked_makes_no_songs_until_then(world: World) -> None:
    await world.song(world.bob)
    answer = await quota(world, "block", member=world.bob, reason="*spam*", until="today")
    end = int(datetime(2026, 1, 2, tzinfo=UTC).timestamp())
    assert answer == (
        f"<@{world.bob.id}> can make no songs here until <t:{end}:f>, and is told why: "
        "\\*spam\\*. Their waiting songs are cancelled and refunded; songs that have started will "
        "still be finished."
    )
    same = {"member": world.bob, "reason": "*spam*", "until": "today"}
    assert await quota(world, "block", **same) == SO_ALREADY
    assert "You can't make songs in this server until" in await asked(world, world.bob)
    assert "QUEUED" in await asked(world, world.alice)
    world.clock.moved = timedelta(days=1)
    assert "QUEUED" in await asked(world, world.bob)


async def test_who_is_blocked_for_good_can_be_unblocked(world: World) -> None:
    gone = world.env.create_user("gone")
    answer = await quota(world, "block", member=gone, reason="spam")
    assert f"<@{gone.id}> can make no songs here until `/quota unblock`, and is" in answer
    answer = await quota(world, "unblock", member=gone)
    assert answer == f"<@{gone.id}> can make songs here again."
    assert await quota(world, "unblock", member=gone) == SO_ALREADY


async def test_a_block_that_makes_no_sense(world: World) -> None:
    robot = world.guild.add_member(world.env.create_user("robot", bot=True))
    answer = await quota(world, "block", member=robot, reason="spam")
    assert answer == "Bots make no songs: please choose a member."
    answer = await quota(world, "block", member=world.bob, reason="spam", until="2020-01-01")
    assert "That time has passed" in answer
    answer = await quota(world, "block", member=world.bob, reason="  ")
    assert answer == "Please give a reason of at most 200 characters."
    offered = await world.mona.autocomplete(
        world.channel, "quota block", "until", "7", member=world.bob, reason="spam"
    )
    assert [choice["value"] for choice in offered][:2] == ["7 hours", "7 days"]
    assert await changed(world) == []


# --- /quota words ---------------------------------------------------------------------------------


async def test_words_come_and_go(world: World) -> None:
    assert await quota(world, "words", add="Café, heavy metal, café") == (
        "2 words are not wanted in genres and lyrics now. Who uses one is told which, before "
        "anything is spent."
    )
    assert "is blocked in genres and lyrics" in await asked(world, genres="Heavy-Metal")
    assert await quota(world, "words", add="CAFE") == SO_ALREADY
    answer = await quota(world, "words", remove="cafe", add="polka")
    assert answer.startswith("2 words are")
    assert (await rules(world)).words == ("heavy metal", "polka")
    assert (await quota(world, "words", remove="polka")).startswith("1 word or phrase is not")
    answer = await quota(world, "words", remove="heavy metal, unheard of")
    assert answer == "Every word may be used in genres and lyrics."
    assert await quota(world, "words", remove="polka") == SO_ALREADY


async def test_two_managers_at_once_lose_neither_words_nor_channels(world: World) -> None:
    server_settings, by = (
        world.client.services.server_settings,
        Manager(world.guild.id, world.mona.id),
    )
    await asyncio.gather(
        *(server_settings.change_words(by, add=f"word{n}") for n in range(5)),
        *(server_settings.change_channels(by, add=[n]) for n in range(1, 6)),
    )
    now = await rules(world)
    assert set(now.words) == {f"word{n}" for n in range(5)}
    assert set(now.channels) == {1, 2, 3, 4, 5}


async def test_words_that_are_no_list(world: World) -> None:
    await quota(world, "words", add="foo")
    for typed, sentence in (
        (",".join(f"a{n}" for n in range(MAX_WORDS)), "501 words; 500 is the most"),
        (",".join(str(n) for n in range(1_200)), "characters long; 4,000 is the most"),
        ("!!!", "Word 2 of the list has no letter or digit"),
        ("a" * 61, "Word 2 of the list is 61 characters long; 60 is the most"),
    ):
        assert sentence in await quota(world, "words", add=typed)
    assert "Word 1 of the list has no letter" in await quota(world, "words", remove="?")
    assert (await rules(world)).words == ("foo",)
    assert len(await changed(world)) == 1


async def test_the_form_has_the_list_and_takes_a_new_one(world: World) -> None:
    await quota(world, "words", add="foo, heavy metal")
    shown = await world.mona.slash(world.channel, "quota words")
    assert shown.modal is not None
    (field,) = [part for part in walk_components(shown.modal["components"]) if part["type"] == 4]
    assert field["value"] == "foo\nheavy metal"
    await world.restart()
    sent = await world.mona.submit_modal(shown, {"words": "foo\npolka\n\njodel"})
    assert said(sent).ephemeral
    assert said(sent).content.startswith("3 words are not wanted")
    assert (await rules(world)).words == ("foo", "polka", "jodel")
    sent = await send_words(world, world.mona, "foo\npolka\njodel")
    assert said(sent).content == SO_ALREADY
    sent = await send_words(world, world.mona, "")
    assert said(sent).content == "Every word may be used in genres and lyrics."


async def test_what_was_typed_in_the_form_comes_back(world: World) -> None:
    shown = await world.mona.slash(world.channel, "quota words")
    assert shown.modal is not None
    typed = "\n".join(str(n) for n in range(800))
    sent = await world.mona.submit_modal(shown, {"words": typed})
    assert "The list has 800 words; 500 is the most." in said(sent).content
    assert world.file(said(sent)).decode() == typed
    sent = await send_words(world, world.alice, "my words")
    assert said(sent).content == NOT_ALLOWED
    assert world.file(said(sent)) == b"my words"
    sent = await send_words(world, world.alice, " ")
    assert said(sent).attachments == []
    assert await changed(world) == []


async def test_another_form_is_no_list_of_words(world: World) -> None:
    sent = await world.send_form(world.mona, "feedback:1", "foo")
    assert said(sent).content == SENTENCE
    assert await changed(world) == []


# --- /quota pause, resume -------------------------------------------------------------------------


async def test_a_pause_ends_nothing_that_is_under_way(world: World) -> None:
    await world.song(world.bob)
    assert await quota(world, "pause", reason="exams @everyone") == (
        "No new songs are made in this server; those under way are finished. Who asks for one is "
        "told why: exams @\u200beveryone. `/quota resume` goes on."
    )
    assert await quota(world, "pause", reason="exams @everyone") == SO_ALREADY
    assert "have paused new songs: exams" in await asked(world)
    assert len(await world.rows()) == 1
    answer = await quota(world, "pause")
    assert answer == (
        "No new songs are made in this server; those under way are finished. `/quota resume` goes "
        "on."
    )
    assert await quota(world, "resume") == "Songs are made in this server again."
    assert await quota(world, "resume") == SO_ALREADY
    assert "QUEUED" in await asked(world)


# --- /quota allow ---------------------------------------------------------------------------------


async def test_gifts_and_the_leaderboard_are_allowed_or_not(world: World) -> None:
    assert await quota(world, "allow", gifts=True, leaderboard=True) == (
        "Members may give each other credits with `/gift` now. `/leaderboard` is open to all now."
    )
    assert await quota(world, "allow", gifts=True) == SO_ALREADY
    now = await rules(world)
    assert (now.gifts, now.leaderboard) == (True, True)
    assert await quota(world, "allow", gifts=False, leaderboard=False) == (
        "Members give no more gifts now. `/leaderboard` is closed now."
    )
    now = await rules(world)
    assert (now.gifts, now.leaderboard) == (False, False)
    assert await quota(world, "allow") == "Please choose `gifts`, `leaderboard` or both."


# --- how ------------------------------------------------------------------------------------------


def content_of(world: World, message: simcord.ResponseMessage) -> str:
    """What a message says now."""
    return world.env.backend.get_message(message.channel_id, message.id).content


def channel_without(world: World, **permissions: bool) -> simcord.ChannelHandle:
    """A channel in which the bot lacks something."""
    assert world.client.user is not None
    denied = discord.PermissionOverwrite(**permissions)
    return world.guild.create_text_channel("mute", overwrites={world.client.user: denied})


async def send_words(
    world: World, member: simcord.MemberActor, typed: str
) -> simcord.InteractionResult:
    """The form, sent by anybody."""
    field = {"type": 4, "custom_id": "words", "value": typed}
    data = {"custom_id": "quota:words", "components": [{"type": 18, "component": field}]}
    return await member._dispatch_interaction(5, world.channel, data)
