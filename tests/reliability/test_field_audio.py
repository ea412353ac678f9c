"""Audio as others met it, made by the song API of a running bot. Sources: docs/field-reports.md."""

from typing import Any

import pytest

from tests.reliability.odd_audio import PLAYABLE, REFUSED, SECONDS
from tests.world.sockets import World, running, status_of

FILES = PLAYABLE | REFUSED


@pytest.mark.long
async def test_odd_audio_is_posted_or_refunded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a player plays is posted, the rest is FAILED and refunded."""
    names = list(FILES)

    def compose(*, seed: int, **_: Any) -> bytes:
        return FILES[names[seed]]()

    world.api._compose = compose
    world.settings |= {"SEGMIND_CONCURRENCY": str(len(FILES))}
    async with running(world, monkeypatch):
        songs = [
            await world.song(world.wire.member(world.guild, name), seed=seed, seconds=SECONDS)
            for seed, name in enumerate(names)
        ]
        rows = {name: await world.ended(song) for name, song in zip(names, songs, strict=True)}
    assert {name for name, row in rows.items() if row["post_id"]} == set(PLAYABLE)
    assert {name for name, row in rows.items() if status_of(row) == "FAILED"} == set(REFUSED)
