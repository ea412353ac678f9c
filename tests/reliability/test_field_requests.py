"""What people type, and what Discord says to a post, with a running bot.

Sources: docs/field-reports.md.
"""

from typing import Any

import pytest

from tests.music import short
from tests.reliability.fault_run import shorten_pauses
from tests.wire import Fault
from tests.wire.permissions import ALL
from tests.world.sockets import SUBMIT, World, running

TYPED = {
    "timestamps": ("[00:12.00][01:02.00]Midnight <00:13.10>train", "Midnight train"),
    "an offset": ("[offset:+200]\n[0:12]Midnight train", "Midnight train"),
    "a page": (
        "3 ContributorsTrain Lyrics\nMidnight train\nYou might also like\nLeaving now7Embed",
        "Midnight train\nLeaving now",
    ),
    "line breaks": ("Midnight\u2028train\x0bleaving\x85now", "Midnight\ntrain\nleaving\nnow"),
    "headings": ("【主歌】\nMidnight train", "[verse]\nMidnight train"),
    "Russian headings": ("[Куплет 1]\nMidnight train", "[verse]\nMidnight train"),
    "on one line": ("[Chorus] Midnight train", "[chorus]\nMidnight train"),
}
"""Lyrics as they are pasted, and as the API gets them."""
GENRES = {
    "funk\uff0cpop": "funk, pop",
    "funk\u3001pop": "funk, pop",
    "funk\u061bpop\u060csoul": "funk, pop, soul",
}
REFUSED = {
    200000: (400, "AutoMod"),
    240000: (400, "harmful links"),
    400001: (403, "limited uploads"),
    20026: (403, "restricted this bot's account"),
}
"""Discord's codes for a post: the status that comes with each, and what the member reads."""


async def test_what_people_paste_is_sent_as_it_was_meant(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_pauses(world, monkeypatch)
    world.api._compose = short
    options = [{"lyrics": lyrics} for lyrics, _ in TYPED.values()]
    options += [{"genres": genres} for genres in GENRES]
    async with running(world, monkeypatch):
        songs = [
            await world.song(world.wire.member(world.guild, f"member {seed}"), seed=seed, **given)
            for seed, given in enumerate(options)
        ]
        for song in songs:
            assert (await world.ended(song))["post_id"]
    submits = {call.body["seed"]: call.body for call in world.api.calls if call.path == SUBMIT}
    sent = [submits[seed] for seed in range(len(options))]
    assert [body["lyrics"] for body in sent[: len(TYPED)]] == [tags for _, tags in TYPED.values()]
    assert [body["genres"] for body in sent[len(TYPED) :]] == list(GENRES.values())


async def test_a_refused_post_says_why(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server for each code, since some reach to all of theirs."""
    shorten_pauses(world, monkeypatch)
    world.api._compose = short
    guilds = {code: world.wire.guild(f"Server {code}") for code in REFUSED}
    codes = {world.wire.channel(guild, "songs").id: code for code, guild in guilds.items()}

    async def refuse(call: Any) -> Fault | None:
        code = next((code for channel, code in codes.items() if f"/{channel}/" in call.path), 0)
        if call.method != "POST" or not code:
            return None
        return Fault(status=REFUSED[code][0], body={"message": "no", "code": code})

    world.wire.faults.hook = refuse
    async with running(world, monkeypatch):
        songs = {
            code: await world.song(world.wire.member(guild, f"member {code}"))
            for code, guild in guilds.items()
        }
        rows = {code: await world.over(song) for code, song in songs.items()}
    for code, row in rows.items():
        assert REFUSED[code][1] in row["reason"]
    (told,) = world.rows("SELECT detail FROM incidents")
    assert REFUSED[20026][1] in told["detail"]


async def test_a_channel_of_a_kind_that_is_not_known_yet_costs_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = world.wire.state.add_channel(world.guild, "new", int(ALL), kind=99)
    async with running(world, monkeypatch):
        options = {"genres": "funk", "lyrics": "Midnight train"}
        asked = await world.wire.slash(world.alice, new, "song", **options)
        said = await world.wire.until(lambda: asked.original and asked.original.content)
        assert "Please use a text channel" in str(said)
    assert world.rows("SELECT * FROM songs") == []
