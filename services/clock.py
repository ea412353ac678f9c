"""The time, as it is passed to whoever needs it."""

import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

Clock = Callable[[], datetime]
"""Gives an aware time in UTC."""

NOTICED = timedelta(seconds=1)
"""By how much the clock has to be off for that to count as a change: it also drifts."""
MOST_CHANGES = 100


def utc_now() -> datetime:
    """The machine's own clock."""
    return datetime.now(UTC)


def relative(moment: datetime) -> str:
    """A time that counts by itself, in everyone's own language (Discord, "Message Formatting")."""
    return f"<t:{int(moment.timestamp())}:R>"


class _Setting(NamedTuple):
    """How the clock was set: from when on (seconds, monotonic), and what it shows at their zero."""

    began: float
    zero: datetime


class WatchedClock:
    """The machine's clock, and how long ago a time of it was, whatever it was set to since.

    A clock is set while the bot runs: after a boot without a battery for it, or by hand. A deadline
    that compares its times then passes hours early or late. This one is compared with the monotonic
    clock at each reading, and remembers how it was set before. What both clocks tell together is
    exact for times that this process has read; those of an earlier process are taken as the clock
    of this one's beginning tells them. Where a time may be meant in two ways, since the clock was
    set back, the later one counts: no deadline passes early.

    Where the machine sleeps the monotonic clock does too: that time counts for nothing.
    """

    def __init__(
        self, now: Clock = utc_now, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._now = now
        self._monotonic = monotonic
        self._settings: deque[_Setting] = deque(maxlen=MOST_CHANGES)
        self._read()

    def __call__(self) -> datetime:
        """The time that the machine's clock shows."""
        now, _ = self._read()
        return now

    def elapsed_since(self, moment: datetime) -> timedelta:
        """How long ago a time was; never negative."""
        _, reading = self._read()
        until = reading
        for setting in reversed(self._settings):
            then = (moment - setting.zero).total_seconds()
            slack = NOTICED.total_seconds()
            first = setting is self._settings[0]
            if (first or setting.began - slack <= then) and then <= until + slack:
                return timedelta(seconds=max(0.0, reading - then))
            until = setting.began
        # It is still to come: an earlier process has noted it, and this one is as old at least.
        return timedelta(seconds=reading - self._settings[0].began)

    def ago(self, elapsed: timedelta) -> datetime:
        """The time before which everything is older than `elapsed`, for a query by stored times."""
        _, reading = self._read()
        then = reading - elapsed.total_seconds()
        zeros = []
        for setting in reversed(self._settings):
            zeros.append(setting.zero)
            if setting.began <= then:
                break
        return min(zeros) + timedelta(seconds=then)

    def _read(self) -> tuple[datetime, float]:
        now, reading = self._now(), self._monotonic()
        zero = now - timedelta(seconds=reading)
        if not self._settings or abs(zero - self._settings[-1].zero) > NOTICED:
            self._settings.append(_Setting(reading, zero))
        return now, reading
