"""The two times of the wire: one for deadlines, one for what is stamped."""

import time
from collections.abc import Callable


class Clock:
    """Deadlines run on `now()`, ids and timestamps on `wall()`.

    `advance` moves the deadlines alone: the bot under test reads its own clock, and an id from
    the future would mislead it. A test that moves the bot's clock as well passes its own `wall`.
    """

    def __init__(
        self,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.wall = wall
        self._monotonic = monotonic
        self._ahead = 0.0

    def now(self) -> float:
        """Seconds that never go back: for 3 s, 15 min, nonces and rate limits."""
        return self._monotonic() + self._ahead

    def advance(self, seconds: float) -> None:
        """Let `seconds` (0 or more) of deadlines pass at once."""
        if seconds < 0:
            raise ValueError("deadlines do not come back")
        self._ahead += seconds
