"""Whole credits: what a song costs, and how many may be given or allowed at once."""

import math
from dataclasses import dataclass

from services.errors import InvalidRequest

MAX_AMOUNT = 1_000_000
"""The most that one rule, grant or gift may hold, in credits."""
MAX_CEILING = 1_000_000_000
"""The highest ceiling, in credits."""
MAX_REASON = 200


@dataclass(frozen=True, slots=True)
class Prices:
    """What a song costs: one credit for each begun part of its length times that of its steps."""

    seconds: int = 30
    steps: int = 50

    def of(self, seconds: int, steps: int) -> int:
        """The price in credits."""
        return math.ceil(seconds / self.seconds) * math.ceil(steps / self.steps)


def check_amount(amount: int) -> int:
    """An amount to give or to take.

    Raises:
        InvalidRequest: not between 1 and `MAX_AMOUNT`.
    """
    if not 1 <= amount <= MAX_AMOUNT:
        raise InvalidRequest(f"The amount must be between 1 and {MAX_AMOUNT:,} credits.")
    return amount


def check_reason(reason: str) -> str:
    """A reason, tidied.

    Raises:
        InvalidRequest: it is blank or longer than `MAX_REASON` characters.
    """
    tidy = " ".join(reason.split())
    if not tidy or len(tidy) > MAX_REASON:
        raise InvalidRequest(f"Please give a reason of at most {MAX_REASON} characters.")
    return tidy


def credits_text(amount: int) -> str:
    """`1 credit`, `2 credits`."""
    return f"{amount:,} credit" if amount == 1 else f"{amount:,} credits"
