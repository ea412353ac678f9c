"""Each test has a world of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.outside import World, world_outside


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A server, a song API, and a folder for a bot."""
    async with world_outside(tmp_path) as world:
        yield world
