"""The judge itself: what it has to find."""

from tests.outside import World, own_process
from tests.reliability.promises import broken_promises


async def test_a_song_that_went_well_breaks_no_promise(world: World) -> None:
    async with own_process(world) as process:
        song = await world.song()
        await world.ended(song)
        assert await process.stop() == 0
    assert await broken_promises(world) == []
    assert world.submits(song) == 1


async def test_what_is_wrong_is_found(world: World) -> None:
    async with own_process(world, SEGMIND_MODE="sync") as process:
        song = await world.song()
        await world.ended(song)
        assert await process.stop() == 0
    post = world.posts[0]
    world.wire.state.add_message(
        type(post)(**{s: getattr(post, s) for s in post.__slots__} | {"id": 7})
    )
    (world.folder / "data/songs/9").mkdir()
    found = await broken_promises(world, most_submits=0)
    assert found[0].endswith("came to the API 1 times")
    assert found[1].endswith("is COMPLETED with 2 posts")
    assert found[2] == "9 was left in the folder of songs"
    assert len(found) == 4, found  # the check of the files says so too
