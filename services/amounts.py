"""Credits: what a song costs, how many may be given at once, for how long, and why."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.errors import InvalidRequest, OutOfRange
from services.text import clean

MAX_AMOUNT = 1_000_000
"""The most that one allowance, grant or gift may be, in credits."""
MAX_BUDGET = 1_000_000_000
"""The highest budget, in credits."""
MAX_REASON = 200
LONGEST = timedelta(days=3650)
"""How far away the end of anything may be named."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What a song costs: one credit for each begun part of its length times that of its steps."""

    seconds: int = 30
    steps: int = 50

    def of(self, seconds: int, steps: int) -> int:
        """The price in credits."""
        return math.ceil(seconds / self.seconds) * math.ceil(steps / self.steps)


@dataclass(eq=False)
class InvalidReason(InvalidRequest):
    """A reason is blank or has more characters than `limit`."""

    limit: int = MAX_REASON


class TimePassed(InvalidRequest):
    """A time that must be in the future is not."""


class TimeTooFar(InvalidRequest):
    """A time is more than `LONGEST` away."""


def check_amount(amount: int) -> int:
    """An amount to give or to take.

    Raises:
        OutOfRange: not between 1 and `MAX_AMOUNT`.
    """
    if not 1 <= amount <= MAX_AMOUNT:
        raise OutOfRange("amount", 1, MAX_AMOUNT)
    return amount


def check_reason(reason: str) -> str:
    """A reason, tidied: in one line, without control characters.

    Raises:
        InvalidReason: it is blank or longer than `MAX_REASON` characters.
    """
    tidy = " ".join(clean(reason).split())
    if not tidy or len(tidy) > MAX_REASON:
        raise InvalidReason
    return tidy


def check_end(moment: datetime, *, at: datetime) -> datetime:
    """When something is to end, as it was named `at` that moment.

    Raises:
        TimePassed, TimeTooFar: it is not between `at` and `LONGEST` later.
    """
    if moment <= at:
        raise TimePassed
    if moment > at + LONGEST:
        raise TimeTooFar
    return moment
