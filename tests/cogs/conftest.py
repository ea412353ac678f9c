"""A world for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import bot
from services.making.pacing import Pacer
from tests.world import World, running


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between edits of a message, or between looks at a song."""
    monkeypatch.setattr("cogs.announcer.BETWEEN_EDITS", 0.0)
    monkeypatch.setattr(Pacer, "next_look", lambda self, *, age, **_: age + 0.02)


@pytest.fixture
async def world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> AsyncIterator[World]:
    world = World(tmp_path)
    monkeypatch.setattr(bot, "utc_now", world.clock)
    async with running(world):
        yield world
