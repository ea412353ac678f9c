"""The judge itself: what it has to find."""

import contextlib
import os
import sqlite3
from dataclasses import replace

import pytest

from tests.reliability.guarantees import broken_guarantees
from tests.reliability.killable_bot import nursery
from tests.reliability.scenarios import QUICK, WAYS, refuse_post
from tests.wire import Interaction
from tests.wire.rest import TOKEN_SECONDS
from tests.world.sockets import World

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="bots are forked")


async def test_a_song_that_went_well_breaks_no_promise(world: World) -> None:
    song = await one_song(world, "plain")
    assert await broken_guarantees(world) == []
    assert world.submits(song) == 1


async def test_what_is_wrong_is_found(world: World) -> None:
    song = await one_song(world)
    post_again(world, id=7, nonce=None)
    (world.folder / "data/songs/9").mkdir()
    found = await broken_guarantees(world, most_submits=0)
    assert found[0].endswith("came to the API 1 times")
    assert found[1].endswith("is COMPLETED with 2 posts")
    assert found[2] == "9 was left in the folder of songs"
    assert len(found) == 4, found  # the check of the files says so too

    world.asked.clear()
    assert f"2 posts of {song.id}, nobody's song" in await broken_guarantees(world)


async def test_a_message_that_says_nothing_or_something_false_is_found(world: World) -> None:
    song = await one_song(world)
    assert song.original is not None
    says = song.original.now
    song.original.versions.append(replace(says, embeds=[{"description": "**PROCESSING**"}]))
    (found,) = await broken_guarantees(world)
    assert found.endswith("is COMPLETED, and its message says PROCESSING")
    song.original.versions.append(replace(says, embeds=[]))
    (found,) = await broken_guarantees(world)
    assert found.endswith("is COMPLETED, and its message does not say so")
    world.wire.clock.advance(TOKEN_SECONDS)
    assert await broken_guarantees(world) == []


async def test_a_song_that_says_refunded_and_is_not_is_found(world: World) -> None:
    refuse_post(world)
    song = await one_song(world)
    assert await broken_guarantees(world) == []
    with contextlib.closing(sqlite3.connect(world.folder / "data/songs.db")) as connection:
        connection.execute(
            "UPDATE songs SET state = 'refunded', file = NULL, next_attempt_at = NULL"
        )
        connection.commit()
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
