"""A member's first song, end to end; only Discord and the song API are simulated."""

from collections.abc import AsyncIterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from cogs.songs import texts
from db.records import Status
from services.providers.pacing import Pacer
from tests.world import World, buttons_of, running, said, text_of

LYRICS = "[verse]\nLights go by\n[chorus]\n@everyone *Midnight train http://x"


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """As an operator would set it up: the asynchronous API."""
    monkeypatch.setattr("cogs.songs.announcer.BETWEEN_EDITS", 0.0)
    monkeypatch.setattr(Pacer, "next_poll", lambda self, *, age, **_: age + 0.02)
    world = World(tmp_path, segmind_mode="async")
    world.clock.install(monkeypatch)
    async with running(world):
        yield world


def states_shown(world: World) -> list[str]:
    """What the status messages said, one after the other, without repetition."""
    edits = [r.json for r in world.env.http_requests if r.method == "PATCH" and r.json]
    said_so = [edit["embeds"][0]["description"].splitlines()[0] for edit in edits]
    bold = [line.split("**")[1] for line in said_so]
    return [state for state, _ in groupby(bold)]


def submits(world: World) -> list[Any]:
    return [call.body for call in world.api.calls if call.method == "POST"]


async def test_from_help_to_a_song_in_the_channel(world: World) -> None:
    # A newcomer reads the help.
    assert "Type `/song`" in text_of((await world.alice.slash(world.channel, "help")).response)
    before = await world.alice.slash(world.channel, "credits")
    assert "You have 10 credits" in text_of(before.response)
    (length, *_) = await world.alice.autocomplete(world.channel, "song", "seconds", "60")
    assert length == {"name": texts.length_choice(60, 2, free=10), "value": 60}

    # They name genres, a form opens, and while they write the bot is restarted.
    form = await world.song(genres="funk, <@&1>", seconds=60, seed=7, instrumental=None)
    await world.restart()
    requested = await world.alice.submit_modal(form, {"lyrics": LYRICS})
    await world.spawner.rest()
    assert said(requested).ephemeral
    assert buttons_of(requested.response) == ["Cancel", "Refresh"]
    assert world.posts() == []

    # The song is made, which only they see, and it arrives where all do.
    async with world.working():
        (song,) = await world.ended()
    assert states_shown(world) == ["QUEUED", "PROCESSING", "COMPLETED"]
    assert buttons_of(requested.response) == []
    (post,) = world.posts()
    assert post.id == song.post_id
    assert f"/{world.channel.id}/{post.id}" in text_of(requested.response)

    # The API got just what they requested.
    assert submits(world) == [
        {
            "genres": "funk, <@&1>",
            "lyrics": LYRICS,
            "output_seconds": 60,
            "steps": 50,
            "cfg": 4.0,
            "shift": 4.0,
            "lyrics_strength": 1.0,
            "seed": 7,
            "base64": False,
        }
    ]

    # The post pings its member and nobody else, and is a file that plays.
    sent = next(
        r.json
        for r in world.env.http_requests
        if r.method == "POST" and r.path.endswith("/messages") and r.json
    )
    assert sent["allowed_mentions"] == {"parse": [], "users": [world.alice.id]}
    assert post.content == f"<@{world.alice.id}>"
    assert [mentioned.id for mentioned in post.mentions] == [world.alice.id]
    assert not post.mention_everyone
    (attached,) = post.attachments
    assert attached.filename == "1-everyone-midnight-train-http-x.mp3"
    assert world.file(post)[:3] == b"ID3"
    text = text_of(post)
    assert r"@{0}everyone \*Midnight train http:{0}//x".format("\u200b") in text
    assert "funk, <{0}@{0}&1>".format("\u200b") in text
    assert "Seed: 7" in text

    # Afterwards it is in their history, and its price is spent.
    history = await world.alice.slash(world.channel, "history")
    assert "COMPLETED · 2 credits" in text_of(history.response)
    opened = await world.alice.select(said(history), [str(song.song_id)])
    assert "Lights go by" in text_of(opened.response)
    after = await world.alice.slash(world.channel, "credits")
    assert "You have 8 credits" in text_of(after.response)
    assert "`-2` song [#1](https://" in text_of(after.response)
    queue = await world.alice.slash(world.channel, "queue")
    assert texts.QUEUE_EMPTY in text_of(queue.response)

    # Nothing of it is left behind.
    assert song.token is None
    assert not list((world.folder / "songs").glob("[!.]*"))


async def test_a_failed_song_costs_nothing_and_says_why(world: World) -> None:
    requested = await world.song(genres="funk, blocked", seconds=60)
    async with world.working():
        (song,) = await world.ended()
    assert song.status is Status.FAILED
    text = text_of(requested.response)
    assert "**FAILED**" in text
    assert "The content was blocked" in text
    assert texts.REFUNDED in text
    assert world.posts() == []
    assert await world.free() == 10


async def test_a_manager_sets_allowances_and_grants(world: World) -> None:
    await world.mona.slash(world.channel, "quota server", allowance=1)
    refused = await world.song(seconds=60)
    assert "costs 2 credits, but you have 1" in text_of(refused.response)
    await world.mona.slash(
        world.channel, "quota grant", member=world.alice, amount=3, reason="a birthday"
    )
    first = await world.song(seconds=60)
    second = await world.song(world.bob, seconds=10)
    assert "1st of 1" in text_of(first.response)
    assert "2nd of 2" in text_of(second.response)
    async with world.working():
        songs = await world.ended(2)
    assert [song.status for song in songs] == [Status.COMPLETED] * 2
    assert {post.content for post in world.posts()} == {
        f"<@{world.alice.id}>",
        f"<@{world.bob.id}>",
    }
    assert await world.free(world.alice) == 2
    assert await world.free(world.bob) == 0
