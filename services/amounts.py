"""The price of a song, and the bounds of amounts, reasons and times that people type."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.errors import InvalidRequest, OutOfRange
from services.text import clean

MAX_AMOUNT = 1_000_000
"""Of one allowance, grant or gift, in credits."""
MAX_BUDGET = 1_000_000_000
"""In credits."""
MAX_REASON = 200
LONGEST = timedelta(days=3650)
"""How far in the future anything may end."""


@dataclass(frozen=True, slots=True)
class Prices:
    """The price is a credit for each begun part of a song's length, times those of its steps."""

    seconds: int = 30
    steps: int = 50

    def of(self, seconds: int, steps: int) -> int:
        """Return the price in credits."""
        return math.ceil(seconds / self.seconds) * math.ceil(steps / self.steps)


@dataclass(eq=False)
class InvalidReason(InvalidRequest):
    """A reason is blank or has more characters than `limit`."""

    limit: int = MAX_REASON


class TimePassed(InvalidRequest):
    """A time that must be in the future is not."""


class TimeTooFar(InvalidRequest):
    """A time is more than `LONGEST` away."""


def check_amount(amount: int) -> None:
    """Check an amount to give or to take.

    Raises:
        OutOfRange: not between 1 and `MAX_AMOUNT`.
    """
    if not 1 <= amount <= MAX_AMOUNT:
        raise OutOfRange("amount", 1, MAX_AMOUNT)


def check_reason(reason: str) -> str:
    """Return a reason in one line, without control characters.

    Raises:
        InvalidReason: it is blank or longer than `MAX_REASON` characters.
    """
    cleaned = " ".join(clean(reason).split())
    if not cleaned or len(cleaned) > MAX_REASON:
        raise InvalidReason
    return cleaned


def check_end(moment: datetime, *, at: datetime) -> datetime:
    """Check when something is to end, set `at` that moment.

    Raises:
        TimePassed, TimeTooFar: it is not between `at` and `LONGEST` later.
    """
    if moment <= at:
        raise TimePassed
    if moment > at + LONGEST:
        raise TimeTooFar
    return moment
