"""/history, its pages and its menu."""

from typing import Any

import pytest
import simcord
from simcord.components import walk_components

from cogs.songs import texts
from db.records import State
from tests.factories import add_song
from tests.world import World, buttons_of, custom_id, said, text_of


async def made(world: World, count: int, **fields: Any) -> None:
    """Songs of Alice's that are over, numbered from 1."""
    for number in range(1, count + 1):
        values = {
            "server_id": world.guild.id,
            "channel_id": world.channel.id,
            "member_id": world.alice.id,
            "state": State.COMPLETED,
            "lyrics": f"[chorus]\nTrain number {number}",
            **fields,
        }
        await add_song(world.application.database, number, **values)


def options(result: simcord.InteractionResult) -> list[str]:
    menus = [p for p in walk_components(said(result).components) if p["type"] == 3]
    return [option["value"] for menu in menus for option in menu["options"]]


async def test_empty_history(world: World) -> None:
    result = await world.alice.slash(world.channel, "history")
    assert result.ephemeral
    assert "no songs here yet" in text_of(result.response)
    assert buttons_of(result.response) == []


async def test_a_song_shows_its_state_number_price_and_post(world: World) -> None:
    await made(world, 1, price=2)
    text = text_of((await world.alice.slash(world.channel, "history")).response)
    post = f"https://discord.com/channels/{world.guild.id}/{world.channel.id}/9001"
    assert f"**#1** [Train number 1]({post}) · COMPLETED · 2 credits · <t:" in text
    assert "Page 1 of 1" in text


async def test_pages_turn_both_ways(world: World) -> None:
    await made(world, 21)
    result = await world.alice.slash(world.channel, "history")
    assert buttons_of(result.response) == ["Open a song", "Older"]
    assert options(result) == [str(number) for number in range(21, 11, -1)]
    turned = await world.alice.click(said(result), label="Older")
    assert options(turned) == [str(number) for number in range(11, 1, -1)]
    assert buttons_of(turned.response) == ["Open a song", "Newer", "Older"]
    turned = await world.alice.click(said(turned), label="Older")
    assert options(turned) == ["1"]
    assert buttons_of(turned.response) == ["Open a song", "Newer"]
    turned = await world.alice.click(said(turned), label="Newer")
    assert "Page 2 of 3 · 21 songs" in text_of(turned.response)


async def test_pages_turn_after_a_restart(world: World) -> None:
    await made(world, 11)
    result = await world.alice.slash(world.channel, "history")
    await world.restart()
    turned = await world.alice.click(said(result), label="Older")
    assert options(turned) == ["1"]
    opened = await world.alice.select(said(turned), ["1"])
    assert "Train number 1" in text_of(opened.response)


async def test_a_missing_page_is_the_nearest(world: World) -> None:
    await made(world, 11)
    result = await world.alice.slash(world.channel, "history")
    turned = await world.press(world.alice, result.response, f"history:{world.alice.id}:999999")
    assert "Page 2 of 2" in text_of(turned.response)


async def test_the_menu_opens_a_songs_card(world: World) -> None:
    await made(world, 1, genres="funk, *pop*", seed=99, steps=75)
    result = await world.alice.slash(world.channel, "history")
    opened = await world.alice.select(said(result), ["1"])
    assert said(opened).ephemeral
    text = text_of(opened.response)
    for words in (r"funk, \*pop\*", "Seed: 99", "steps 75", f"<@{world.alice.id}>", "Price: 2"):
        assert words in text


async def test_another_members_songs_are_shown(world: World) -> None:
    await made(world, 1)
    result = await world.bob.slash(world.channel, "history", member=world.alice)
    assert f"By <@{world.alice.id}>" in text_of(result.response)
    assert "Train number 1" in text_of(result.response)
    mine = await world.bob.slash(world.channel, "history")
    assert "no songs here yet" in text_of(mine.response)


@pytest.mark.parametrize("values", [["2"], ["x"], [""], ["9" * 19], ["9" * 40], []])
async def test_a_forged_choice_opens_nothing(world: World, values: list[str]) -> None:
    await made(world, 1)
    result = await world.alice.slash(world.channel, "history")
    opened = await world.press(world.alice, result.response, "history:open", values=values)
    assert said(opened).content == texts.NO_SUCH_SONG
    assert said(opened).ephemeral


async def test_a_song_of_another_server_does_not_open(world: World) -> None:
    await made(world, 11)
    result = await world.alice.slash(world.channel, "history")
    older = custom_id(result.response, "Older")
    world.guild = world.env.create_guild("Two")
    world.channel = world.guild.create_text_channel("songs")
    there = world.guild.add_member(world.alice.user)
    shown = await there.slash(world.channel, "help")
    opened = await world.press(there, shown.response, "history:open", values=["1"])
    assert said(opened).content == texts.NO_SUCH_SONG
    turned = await world.press(there, shown.response, older)
    assert "no songs here yet" in text_of(turned.response)
