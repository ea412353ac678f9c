"""What an older version has shown is answered, not left to fail."""

from cogs.client.outdated import SENTENCE, answers_component, answers_form
from tests.world import World, said


async def test_a_button_of_an_older_version_is_answered(world: World) -> None:
    status = said(await world.song())
    result = await world.press(world.alice, status, "song:louder:1")
    assert said(result).content == SENTENCE


async def test_a_form_of_an_older_version_is_answered(world: World) -> None:
    result = await world.send_form(world.alice, "poem:1", "Midnight train")
    assert said(result).content == SENTENCE


async def test_what_is_in_use_is_answered_once(world: World) -> None:
    status = said(await world.song())
    assert answers_component("queue:cancel")
    assert answers_form("lyrics:1")
    assert answers_form("quota:words")
    assert answers_form("settings:form:words:0:limits:1")
    (song,) = await world.rows()
    await world.press(world.alice, status, f"song:cancel:{song.song_id}")
    assert [m for m in world.channel.history() if m.content == SENTENCE] == []
