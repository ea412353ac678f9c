"""The log has a song's complete story under its id."""

import signal
from collections.abc import Callable

from tests.world.sockets import World, own_process, until


def story(output: str, song_id: int) -> list[str]:
    """What the log says of a song, in order."""
    mark = f" [{song_id}] "
    return [line.partition(mark)[2] for line in output.splitlines() if mark in line]


async def test_one_id_finds_the_complete_story(world: World, figure: Callable[[str], None]) -> None:
    """Killed in the middle and continued; another song fails at the API."""
    world.slow(running=1.0)
    async with own_process(world) as process:
        song, failing = await world.song(genres="sea shanty"), await world.song(genres="fail")
        await until(lambda: world.state(song) == world.state(failing) == "submitted")
        await process.stop(signal.SIGKILL)
    async with own_process(world) as process:
        row = await world.ended(song)
        await world.ended(failing)
        assert await process.stop() == 0
    lines = story(process.output, song.id)
    assert lines[0].startswith(f"requested: song 1 of server {world.guild.id}, by member ")
    assert lines[1] == "started: it is its turn to be submitted"
    assert lines[2] == f"submitted, request_id {row['request_id']}"
    assert "resumed: it is submitted" in lines
    end = f"completed, post_id {row['post_id']}"
    assert lines[-3:] == ["ready, file song.mp3", "posting", end]
    assert story(process.output, failing.id)[-1].startswith("failed, reason model_failed")
    for text in ("sea", "shanty", "train"):  # what members write is theirs
        assert text not in process.output
    figure(f"{len(lines)} lines of one song, over 2 runs of the bot")
