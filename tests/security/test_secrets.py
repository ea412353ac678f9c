"""The token, the key, signed addresses and interactions' tokens, searched where they may leak.

The bot is a separate process that logs all it can. Songs succeed, fail with the secrets in the
API's own errors, and meet unexpected errors, whose tracebacks show local values.
"""

import json
import re
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from playground.song_api import Fault
from tests.wire import Interaction
from tests.world.sockets import World, own_process, status_of, until, world_outside

STYLES = ["text", pytest.param("json", marks=pytest.mark.long)]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_outside(tmp_path) as world:
        yield world


def files(world: World) -> dict[str, bytes]:
    """Read all that the bot has written: log, database and its journals, data folder."""
    return {
        str(path.relative_to(world.folder)): path.read_bytes()
        for path in world.folder.rglob("*")
        if path.is_file()
    }


def leaks(world: World, *interactions: Interaction, killed: bool = False) -> list[str]:
    """Return each file with a secret, and which secret."""
    secrets = {"token": world.wire.token, "key": world.api.key}
    made = world.api._songs.values()
    secrets |= {f"signature {n}": song.signature for n, song in enumerate(made)}
    secrets |= {f"interaction {n}": one.token for n, one in enumerate(interactions)}
    places = files(world)
    if killed:  # what a journal still holds of tokens is dead in 15 minutes
        places = {place: places[place] for place in places if "wal" not in place}
    assert all(len(secret) > 7 for secret in secrets.values())
    return [
        f"{name} in {place}"
        for place, content in places.items()
        for name, secret in secrets.items()
        if secret.encode() in content
    ]


@pytest.mark.parametrize("style", STYLES)
async def test_no_secret_is_written_while_songs_go_well_and_fail(world: World, style: str) -> None:
    text = f"{world.api.key} at https://s.example/a?signature=SIGNED"
    given = {
        101: Fault(status=422, body=json.dumps({"status": "FAILED", "error": text})),
        102: Fault(status=400, body=text),
    }
    world.api.fault = lambda call: given.get((call.body or {}).get("seed", 0))
    async with own_process(world, LOG_LEVEL="DEBUG", LOG_FORMAT=style) as process:
        well, failed = await world.song(), await world.song(seed=101)
        refused = await world.song(seed=102)
        for song in (failed, refused, well):
            row = await world.ended(song, within=30)
            assert (status_of(row) == "COMPLETED") is (song is well)
        row = await world.ended(failed)
        assert await process.stop() == 0
    assert "DEBUG" in process.output
    assert "[key] at https://s.example/a" in row["reason_detail"]
    assert leaks(world, well, failed, refused) == []
    assert not [place for place, content in files(world).items() if b"SIGNED" in content]
    # Nor was the key shown to its member.
    assert world.api.key not in str(failed.messages[0].versions)


@pytest.mark.parametrize("style", STYLES)
async def test_no_secret_is_written_by_an_unexpected_error(
    world: World, style: str, figure: Callable[[str], None]
) -> None:
    """In a command and in a song in progress; then a kill."""
    async with own_process(world, LOG_LEVEL="DEBUG", LOG_FORMAT=style) as process:
        well = await world.song()
        await world.ended(well)
        world.slow(running=0.5)
        running = await world.song()
        await until(lambda: world.state(running) == "submitted")
        world.execute("ALTER TABLE songs RENAME TO gone")
        requested = await world.song()
        # Its member is notified; and the song in progress has met it too.
        await world.wire.until(
            lambda: any("Sorry" in message.content for message in requested.messages)
        )
        await process.stop(signal.SIGKILL)
    traces = process.output.count("Traceback")
    assert traces > 0
    assert re.search(r"no such table", process.output)
    assert leaks(world) == []
    assert leaks(world, well, requested, killed=True) == []
    figure(f"{traces} traces ({style})")
