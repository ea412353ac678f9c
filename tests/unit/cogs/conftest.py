"""A world for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.audio import transcoder
from services.providers.pacing import Pacer
from tests.music import COPYING_ENCODER
from tests.world import World, running


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Don't wait between edits of a message, between polls, or for the encoding."""
    monkeypatch.setattr(transcoder, "_PROGRAM", COPYING_ENCODER)
    monkeypatch.setattr("cogs.songs.announcer.BETWEEN_EDITS", 0.0)
    monkeypatch.setattr(Pacer, "next_poll", lambda self, *, age, **_: age + 0.02)


@pytest.fixture
async def world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> AsyncIterator[World]:
    world = World(tmp_path)
    world.clock.install(monkeypatch)
    async with running(world):
        yield world
