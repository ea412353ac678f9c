"""The time, as it is passed to whoever needs it."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Gives an aware time in UTC."""


def utc_now() -> datetime:
    """The machine's own clock."""
    return datetime.now(UTC)


def relative(moment: datetime) -> str:
    """A time that counts by itself, in everyone's own language (Discord, "Message Formatting")."""
    return f"<t:{int(moment.timestamp())}:R>"
