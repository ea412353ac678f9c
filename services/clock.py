"""The clock that is passed to whatever needs the time."""

import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

Clock = Callable[[], datetime]
"""Returns an aware time in UTC."""

NOTICED = timedelta(seconds=1)
"""The smallest difference that counts as an adjustment and not as drift."""
MAX_ADJUSTMENTS = 100


def utc_now() -> datetime:
    """Return the machine's time."""
    return datetime.now(UTC)


class _Adjustment(NamedTuple):
    """How the clock was set from `began` (monotonic seconds); `zero`: its time at monotonic 0."""

    began: float
    zero: datetime


class WatchedClock:
    """The machine's clock, with elapsed times that stay right when the clock is adjusted.

    A clock may be set while the bot runs, by hand or by NTP after a boot without a battery. A
    deadline that compares wall times then passes hours early or late. Each reading is compared with
    the monotonic clock, and adjustments are remembered. Elapsed times are exact for times that this
    process has read; times of an earlier process are read as the clock was when this one started.
    After the clock was set back, an ambiguous time means the later one: no deadline passes early.

    The monotonic clock stops while the machine sleeps: that time is not counted.
    """

    def __init__(
        self, now: Clock = utc_now, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._now = now
        self._monotonic = monotonic
        self._adjustments: deque[_Adjustment] = deque(maxlen=MAX_ADJUSTMENTS)
        self._read()

    def __call__(self) -> datetime:
        """Return the machine's time."""
        now, _ = self._read()
        return now

    def elapsed_since(self, moment: datetime) -> timedelta:
        """Return how long ago `moment` was, at least 0."""
        _, reading = self._read()
        until = reading
        for adjustment in reversed(self._adjustments):
            then = (moment - adjustment.zero).total_seconds()
            slack = NOTICED.total_seconds()
            first = adjustment is self._adjustments[0]
            if (first or adjustment.began - slack <= then) and then <= until + slack:
                return timedelta(seconds=max(0.0, reading - then))
            until = adjustment.began
        # A future time: an earlier process stored it, so it is at least as old as this process.
        return timedelta(seconds=reading - self._adjustments[0].began)

    def ago(self, elapsed: timedelta) -> datetime:
        """Return the time before which stored times are older than `elapsed`, for queries."""
        _, reading = self._read()
        then = reading - elapsed.total_seconds()
        zeros = []
        for adjustment in reversed(self._adjustments):
            zeros.append(adjustment.zero)
            if adjustment.began <= then:
                break
        return min(zeros) + timedelta(seconds=then)

    def _read(self) -> tuple[datetime, float]:
        now, reading = self._now(), self._monotonic()
        zero = now - timedelta(seconds=reading)
        if not self._adjustments or abs(zero - self._adjustments[-1].zero) > NOTICED:
            self._adjustments.append(_Adjustment(reading, zero))
        return now, reading
