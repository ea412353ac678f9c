"""Each test has a separate world."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.reliability.fault_run import FaultRun
from tests.world.clock import BotClock
from tests.world.sockets import World, world_outside


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A server, a song API, and a folder for a bot."""
    async with world_outside(tmp_path) as world:
        yield world


@pytest.fixture
def fault_run(
    world: World, long: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> FaultRun:
    """Songs in the world, and what breaks under them."""
    return FaultRun(world, long, monkeypatch, caplog)


@pytest.fixture
def bots_clock(monkeypatch: pytest.MonkeyPatch) -> BotClock:
    """The clock of a bot that runs in the test's loop."""
    clock = BotClock()
    clock.install(monkeypatch)
    return clock
