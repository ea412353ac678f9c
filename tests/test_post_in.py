"""The setting "Post songs in", by the real bot between real sockets."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cogs.songs.texts import LISTEN
from tests.music import mp3
from tests.wire import Channel, Fault, Permission
from tests.wire.permissions import BOT
from tests.wire.state import FORUM_CHANNEL, PRIVATE_THREAD, VOICE_CHANNEL
from tests.world.sockets import World, running, until, world_outside

MESSAGES = "/channels/{channel_id}/messages"


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """The API makes a song in one call, and nobody waits between edits of a message."""
    monkeypatch.setattr("cogs.songs.announcer.BETWEEN_EDITS", 0.01)
    monkeypatch.setattr("services.songs.delivery.SETTLE", 0.01)
    monkeypatch.setattr("services.songs.delivery.EVERY", 0.2)
    song = mp3(10)
    async with world_outside(tmp_path, compose=lambda **_: song) as world:
        world.settings |= {"SEGMIND_MODE": "sync", "DEFAULT_ALLOWANCE": "100"}
        world.wire.limits.edit_interval = None
        yield world


async def choose(world: World, channel: Channel) -> None:
    """Let a manager set it to that channel."""
    await store(world, "post_in", channel.id)


async def store(world: World, name: str, value: int) -> None:
    # In a thread: the bot may be in the middle of a transaction, and shares this loop.
    await asyncio.to_thread(
        world.execute, "INSERT OR IGNORE INTO servers (server_id) VALUES (?)", world.guild.id
    )
    await asyncio.to_thread(
        world.execute,
        "INSERT OR REPLACE INTO settings VALUES (?, 'server', 0, ?, ?)",
        *(world.guild.id, name, str(value)),
    )


async def goes_to(world: World, origin: Channel) -> int:
    """Request a song in a channel; return where it is going to be posted."""
    world.channel = origin
    song = await world.song()
    row = await until(lambda: world.row(song))
    assert (row["origin_id"] or row["channel_id"]) == origin.id
    return int(row["channel_id"])


async def test_songs_go_to_the_channel_unless_more_people_would_see_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, guild = world.wire, world.guild
    target = wire.channel(guild, "music")
    plain, thread = world.channel, wire.thread(world.channel, "talk")
    may_connect = BOT | Permission.CONNECT
    voice = wire.channel(guild, "voice", kind=VOICE_CHANNEL, permissions=may_connect)
    forum_post = wire.thread(wire.channel(guild, "forum", kind=FORUM_CHANNEL), "post")
    private_thread = wire.thread(plain, "secret", kind=PRIVATE_THREAD)
    hidden = wire.channel(guild, "staff", hidden=True)
    hidden_thread = wire.thread(hidden, "staff talk")
    adults = wire.channel(guild, "adults", nsfw=True)
    hidden_target = wire.channel(guild, "staff music", hidden=True)
    staff = wire.role(guild, "staff", permissions=Permission.ADMINISTRATOR)
    world.slow(running=600)
    async with running(world, monkeypatch):
        await store(world, "unfinished", 100)
        await choose(world, target)
        for origin in (plain, thread, forum_post, target):
            assert await goes_to(world, origin) == target.id
        # In this server not everyone may connect to a voice channel, and so read it.
        for origin in (voice, private_thread, hidden, hidden_thread, adults):
            assert await goes_to(world, origin) == origin.id
        await choose(world, hidden_target)
        assert await goes_to(world, plain) == plain.id  # alice does not see the other
        world.alice.roles.append(staff)
        assert await goes_to(world, plain) == hidden_target.id
        assert await goes_to(world, hidden) == hidden_target.id  # the same people see both
        wire.delete_channel(hidden_target)
        await asyncio.sleep(0.1)
        assert await goes_to(world, plain) == plain.id


async def test_a_permission_that_the_bot_lacks_there_is_named_before_anything_is_spent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = world.wire.channel(world.guild, "music", permissions=BOT & ~Permission.ATTACH_FILES)
    async with running(world, monkeypatch):
        await choose(world, target)
        with_form = await world.wire.slash(world.alice, world.channel, "song", genres="funk")
        for request in (await world.song(), with_form):
            refused = await request.wait_message(lambda message: bool(message.content))
            assert f"posted in <#{target.id}>" in refused.content
            assert "I lack Attach Files" in refused.content
    assert world.rows("SELECT * FROM songs") == []


@pytest.mark.parametrize("when", ["while it is made", "while it waits to be delivered", "posted"])
async def test_the_original_channel_takes_a_song_whose_channel_is_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    world.slow(running=0.3)
    wire, origin, target = world.wire, world.channel, world.wire.channel(world.guild, "music")

    async def lose(call: Any) -> Fault | None:
        """The post arrives, its answer is lost, and the channel is deleted with it."""
        if (call.method, call.route) == ("POST", MESSAGES) and when == "posted":
            wire.faults.hook = None
            asyncio.get_running_loop().call_later(0.1, wire.delete_channel, target)
            return Fault(cut="after")
        return None

    wire.faults.hook = lose
    async with running(world, monkeypatch):
        await choose(world, target)
        song = await world.song()
        await song.wait_message(lambda message: bool(message.embeds))
        if when == "while it waits to be delivered":
            wire.permit(target, BOT & ~Permission.SEND_MESSAGES)
            await until(lambda: world.state(song) == "undelivered" or None)
        if when != "posted":
            wire.delete_channel(target)
        await until(lambda: world.state(song) == "completed" or None)
        row = await world.ended(song)
    assert (row["channel_id"], row["origin_id"]) == (origin.id, None)
    assert [post.id for post in wire.messages(origin)] == [row["post_id"]]
    assert world.entries(song) == ["hold", "settle"]


async def test_a_post_is_found_and_retried_where_songs_are_posted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.slow(running=0.3)
    wire, target = world.wire, world.wire.channel(world.guild, "music")
    wire.faults.plan(Fault(cut="after"), method="POST", route=MESSAGES)
    async with running(world, monkeypatch):
        await choose(world, target)
        found = await world.ended(await world.song())
        retried = await world.song()
        await retried.wait_message(lambda message: bool(message.embeds))
        wire.permit(target, BOT & ~Permission.SEND_MESSAGES)
        await until(lambda: world.state(retried) == "undelivered" or None)
        wire.permit(target, BOT)
        await until(lambda: world.state(retried) == "completed" or None)
        row = await world.ended(retried)
    assert [post.id for post in wire.messages(target)] == [found["post_id"], row["post_id"]]
    link = f"[{LISTEN}](https://discord.com/channels/{world.guild.id}/{target.id}/{row['post_id']})"
    assert link in str(retried.messages[0].embeds)
    assert wire.messages(world.channel) == []
