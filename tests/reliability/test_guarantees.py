"""What the check of the guarantees finds."""

import os
from dataclasses import replace

import pytest

from tests.reliability.guarantees import broken_guarantees
from tests.reliability.killable_bot import nursery
from tests.reliability.scenarios import QUICK, WAYS, refuse_post
from tests.wire import Interaction
from tests.wire.rest import TOKEN_SECONDS
from tests.world.sockets import World

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="bots are forked")


async def test_completed_song_is_right(world: World) -> None:
    song = await one_song(world, "plain")
    assert await broken_guarantees(world) == []
    assert world.submits(song) == 1


async def test_second_post_and_left_files_are_found(world: World) -> None:
    song = await one_song(world)
    post_again(world, id=7, nonce=None)
    (world.folder / "data/songs/9").mkdir()
    found = await broken_guarantees(world, most_submits=0)
    assert found[0].endswith("was submitted 1 times")
    assert found[1].endswith("is COMPLETED with 2 posts")
    assert found[2] == "9 was left in the folder of songs"
    assert len(found) == 4, found  # the check of the files says so too

    world.requested.clear()
    assert f"2 posts of {song.id}, nobody's song" in await broken_guarantees(world)


async def test_wrong_status_message_is_found(world: World) -> None:
    song = await one_song(world)
    assert song.original is not None
    says = song.original.now
    song.original.versions.append(replace(says, embeds=[{"description": "**PROCESSING**"}]))
    (found,) = await broken_guarantees(world)
    assert found.endswith("is COMPLETED, and its message shows PROCESSING")
    song.original.versions.append(replace(says, embeds=[]))
    (found,) = await broken_guarantees(world)
    assert found.endswith("is COMPLETED, and its message does not show it")
    world.wire.clock.advance(TOKEN_SECONDS)
    assert await broken_guarantees(world) == []


async def test_wrong_refund_is_found(world: World) -> None:
    refuse_post(world)
    song = await one_song(world)
    assert await broken_guarantees(world) == []
    world.execute("UPDATE songs SET state = 'refunded', file = NULL, next_attempt_at = NULL")
    found = await broken_guarantees(world)
    assert found[0] == f"song {song.id} is COMPLETED with ['hold', 'settle']"
    assert any(text.startswith(f"Song {song.id} is refunded, and") for text in found[1:])


async def one_song(world: World, way: str = "sync") -> Interaction:
    """It has come to its end, and so has the bot that made it."""
    WAYS[way].prepare(world)
    async with nursery() as bots, bots.bot(world, constants=QUICK) as bot:
        song = await world.song()
        await world.ended(song)
        assert await bot.stop() == 0
    return song


def post_again(world: World, **changes: object) -> None:
    """As if Discord had taken it twice."""
    post = world.posts[0]
    values = {slot: getattr(post, slot) for slot in post.__slots__} | changes
    world.wire.state.add_message(type(post)(**values))
