"""What an older version has shown is answered, not left to fail."""

import pytest

from bot import FORMS
from cogs.client.components import EXPIRED
from tests.world import World, said


async def test_a_button_of_an_older_version_is_answered(world: World) -> None:
    status = said(await world.song())
    result = await world.press(world.alice, status, "song:louder:1")
    assert said(result).content == EXPIRED


async def test_a_form_of_an_older_version_is_answered(world: World) -> None:
    result = await world.send_form(world.alice, "poem:1", "Midnight train")
    assert said(result).content == EXPIRED


async def test_a_component_in_use_is_answered_once(world: World) -> None:
    status = said(await world.song())
    (song,) = await world.rows()
    await world.press(world.alice, status, f"song:cancel:{song.song_id}")
    assert [m for m in world.channel.history() if m.content == EXPIRED] == []


@pytest.mark.parametrize("custom_id", ["lyrics:1", "settings:form:blocked_words:0:limits:1"])
def test_forms_in_use_are_known(custom_id: str) -> None:
    assert any(form.fullmatch(custom_id) for form in FORMS)
