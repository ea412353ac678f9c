"""The clock of a bot in the test's loop."""

import time
from datetime import UTC, datetime, timedelta

import pytest

import bot


class BotClock:
    """Runs with the machine's clock from `start` (now), and can be moved and set.

    `moved` is time that passes at once, `set_by` what somebody sets it by without any passing.
    The machine's time is that of `perf_counter`: simcord replaces `monotonic`.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._start = start or datetime.now(UTC)
        self._began = time.perf_counter()
        self.moved = self.set_by = timedelta()

    def __call__(self) -> datetime:
        passed = timedelta(seconds=time.perf_counter() - self._began)
        return self._start + passed + self.moved + self.set_by

    def monotonic(self) -> float:
        """Return seconds that have passed."""
        return time.perf_counter() - self._began + self.moved.total_seconds()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let bots use it."""
        monkeypatch.setattr(bot, "utc_now", self)
        monkeypatch.setattr(bot, "monotonic", self.monotonic)
