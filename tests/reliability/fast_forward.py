"""An hour in a minute: a loop whose time goes fast while nothing happens, sockets and all."""

import asyncio
import selectors
import time
from collections.abc import Callable

GRACE = 0.002
"""Seconds for which nothing happens before time goes faster: threads are at work meanwhile."""


class _FastSelector(selectors.DefaultSelector):
    """Waits a part of what it is told to; what it has left out is time that has passed too."""

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
    """Time goes `speed` times as fast while nothing happens; what is done takes what it takes.

    So what is on its way over a socket arrives in time, and so does what a thread does. For
    children it waits while `at_work` says that there are some.
    """

    def __init__(self, speed: float = 60.0) -> None:
        self._fast = _FastSelector(speed)
        super().__init__(self._fast)

    def time(self) -> float:
        """Seconds that never go back: the loop's, and that of all that is to go with it."""
        return time.monotonic() + self._fast.ahead

    def wall(self) -> float:
        """Seconds since 1970, as far ahead."""
        return time.time() + self._fast.ahead

    def wait_for(self, at_work: Callable[[], bool]) -> None:
        """Time goes as it does while this is true."""
        self._fast.at_work = at_work
