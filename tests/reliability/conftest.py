"""Each test has a separate world."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import bot
from tests.reliability.fault_run import FaultRun
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


class BotsClock:
    """A clock that somebody sets while it runs, and time that passes at once."""

    def __init__(self) -> None:
        self.set_by = timedelta(0)
        self.passed = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.passed + self.set_by

    def monotonic(self) -> float:
        return time.monotonic() + self.passed.total_seconds()


@pytest.fixture
def bots_clock(monkeypatch: pytest.MonkeyPatch) -> BotsClock:
    """The clock of a bot that runs in the test's loop."""
    clock = BotsClock()
    monkeypatch.setattr(bot, "utc_now", clock)
    monkeypatch.setattr(bot, "monotonic", clock.monotonic)
    return clock
