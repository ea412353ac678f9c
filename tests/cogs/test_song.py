"""/song, its form and /queue."""

from tests.cogs.conftest import World, buttons_of, text_of


async def test_the_answer_is_ephemeral_and_says_what_happens(world: World) -> None:
    result = await world.song(lyrics="[chorus]\nMidnight train", seconds=60, instrumental=None)
    assert result.ephemeral
    text = text_of(result.response)
    assert "Midnight train" in text
    assert "QUEUED" in text
    assert "Price: 2 credits" in text
    assert "Left: 8 credits" in text
    assert "1st of 1" in text
    assert "<t:" in text
    assert buttons_of(result.response) == ["Cancel", "Refresh"]


async def test_working(world: World) -> None:
    result = await world.song()
    async with world.working():
        (song,) = await world.ended()
    assert "COMPLETED" in text_of(result.response)
    print(text_of(result.response), world.posts()[-1].attachments)
