"""Buttons, menus and forms: those of an older version, and what discord.py tracks of them."""

import asyncio

import pytest

from bot import FORMS
from cogs.client.components import EXPIRED
from tests.world import World, said


async def test_a_component_of_an_older_version_is_answered(world: World) -> None:
    status = said(await world.song())
    assert said(await world.press(world.alice, status, "song:louder:1")).content == EXPIRED
    assert said(await world.send_form(world.alice, "poem:1", "Midnight train")).content == EXPIRED


async def test_a_component_in_use_is_answered_once(world: World) -> None:
    status = said(await world.song())
    (song,) = await world.rows()
    await world.press(world.alice, status, f"song:cancel:{song.song_id}")
    assert [m for m in world.channel.history() if m.content == EXPIRED] == []


@pytest.mark.parametrize("custom_id", ["lyrics:1", "settings:form:blocked_words:0:limits:1"])
def test_forms_in_use_are_known(custom_id: str) -> None:
    assert any(form.fullmatch(custom_id) for form in FORMS)


async def test_discord_py_tracks_no_component(world: World) -> None:
    """Otherwise a task would wait for each, for 15 minutes."""
    await world.song()
    before = asyncio.all_tasks()
    await world.alice.slash(world.channel, "queue")
    await world.alice.slash(world.channel, "history")
    await world.mona.slash(world.channel, "quota channels")
    await world.spawner.rest()
    tasks = asyncio.all_tasks() - before
    assert [task for task in tasks if "timeout" in repr(task.get_coro())] == []
