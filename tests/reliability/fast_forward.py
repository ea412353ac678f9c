"""An event loop whose time passes quickly while nothing happens, with real sockets."""

import asyncio
import selectors
import time
from collections.abc import Callable

GRACE = 0.002
"""Seconds for which nothing happens before time goes faster: threads are at work meanwhile."""


class _FastSelector(selectors.DefaultSelector):
    """Waits a part of each timeout; the rest counts as passed, too."""

    def __init__(self, speed: float) -> None:
        super().__init__()
        self.ahead = 0.0
        self.at_work: Callable[[], bool] = lambda: False
        self._speed = speed

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= GRACE:
            return super().select(timeout)
        if ready := super().select(GRACE):
            return ready
        if self.at_work():
            return super().select(GRACE)
        left = None if timeout is None else timeout - GRACE
        began = time.monotonic()
        ready = super().select(GRACE if left is None else left / self._speed)
        waited = time.monotonic() - began
        skipped = waited * (self._speed - 1.0)
        # Not past what is due next.
        self.ahead += skipped if left is None else min(skipped, max(0.0, left - waited))
        return ready


class FastForward(asyncio.SelectorEventLoop):
    """Time passes `speed` times as fast while nothing happens.

    So what is on its way over a socket arrives in time, and so does the work of threads. While
    child processes are `at_work`, time passes as usual.
    """

    def __init__(self, speed: float = 60.0) -> None:
        self._fast = _FastSelector(speed)
        super().__init__(self._fast)

    def time(self) -> float:
        """Return seconds that never go back: for the loop, and for all that follows it."""
        return time.monotonic() + self._fast.ahead

    def wall(self) -> float:
        """Return seconds since 1970, as far ahead."""
        return time.time() + self._fast.ahead

    def wait_for(self, at_work: Callable[[], bool]) -> None:
        """Let time pass as usual while this is true."""
        self._fast.at_work = at_work
