"""Kinds of settings: which values each takes, and how they are stored as JSON.

A kind has `check`, which returns a value as it is to be stored or raises `InvalidRequest`, and
`encode` and `decode` between the value and JSON. `None` as JSON means that nothing is stored.
`omits_default`: whether a value that equals the default is not stored, so that it follows the
operator's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, ClassVar, Protocol

from db.records import maybe_from_ms, to_ms
from services.amounts import MAX_AMOUNT, check_end, check_reason
from services.calendar import Calendar, Every
from services.errors import OutOfRange
from services.settings.blocked_words import parse_words
from services.settings.refusals import TooManyChannels
from services.settings.settings import Block, Override


class Kind(Protocol):
    """What all kinds have. `label` names the setting in a refusal."""

    omits_default: ClassVar[bool]

    def check(self, value: Any, label: str, *, at: datetime) -> Any:  # noqa: ANN401
        """The value, tidied.

        Raises:
            InvalidRequest: it can't be set.
        """

    def encode(self, value: Any) -> Any:  # noqa: ANN401
        """As JSON has it."""

    def decode(self, stored: Any) -> Any:  # noqa: ANN401
        """From JSON."""


class _Plain:
    """Stored as it is."""

    omits_default: ClassVar[bool] = True

    def encode(self, value: Any) -> Any:  # noqa: ANN401
        """As it is."""
        return value

    def decode(self, stored: Any) -> Any:  # noqa: ANN401
        """As it is."""
        return stored


@dataclass(frozen=True)
class Number(_Plain):
    """A whole number, both bounds included. `optional`: it may be None, for none."""

    low: int
    high: int
    unit: str
    optional: bool = False

    def check(self, value: int | None, label: str, *, at: datetime) -> int | None:  # noqa: ARG002
        """Within the bounds."""
        if value is None and self.optional:
            return None
        return _within(value, label, self.low, self.high)


@dataclass(frozen=True)
class Credits:
    """Credits a period; None is unlimited."""

    omits_default: ClassVar[bool] = False

    def check(self, value: int | None, label: str, *, at: datetime) -> int | None:  # noqa: ARG002
        """Unlimited, or within the bounds."""
        return None if value is None else _within(value, label, 0, MAX_AMOUNT)

    def encode(self, value: int | None) -> Mapping[str, int | None]:
        """In an object, since None is a value."""
        return {"credits": value}

    def decode(self, stored: Mapping[str, int | None]) -> int | None:
        """From the object."""
        return stored["credits"]


@dataclass(frozen=True)
class CreditsUntil:
    """An `Override`."""

    omits_default: ClassVar[bool] = False

    def check(self, value: Override, label: str, *, at: datetime) -> Override:
        """Its credits are within the bounds, its end is still to come."""
        return Override(Credits().check(value.credits, label, at=at), _end(value.until, at=at))

    def encode(self, value: Override) -> Mapping[str, int | None]:
        """Its end in milliseconds."""
        return {"credits": value.credits, "until": _ms(value.until)}

    def decode(self, stored: Mapping[str, int | None]) -> Override:
        """From milliseconds."""
        return Override(stored["credits"], maybe_from_ms(stored["until"]))


@dataclass(frozen=True)
class BlockUntil:
    """A `Block`."""

    omits_default: ClassVar[bool] = False

    def check(self, value: Block, label: str, *, at: datetime) -> Block:  # noqa: ARG002
        """It has a reason, its end is still to come."""
        return Block(check_reason(value.reason), _end(value.until, at=at))

    def encode(self, value: Block) -> Mapping[str, Any]:
        """Its end in milliseconds."""
        return {"reason": value.reason, "until": _ms(value.until)}

    def decode(self, stored: Mapping[str, Any]) -> Block:
        """From milliseconds."""
        return Block(stored["reason"], maybe_from_ms(stored["until"]))


@dataclass(frozen=True)
class Toggle(_Plain):
    """On or off."""

    on: str = "Allowed"
    off: str = "Not allowed"

    def check(self, value: bool, label: str, *, at: datetime) -> bool:  # noqa: ARG002
        """As it is."""
        return value


@dataclass(frozen=True)
class Reason(_Plain):
    """On, with a reason that may be empty; None is off."""

    def check(self, value: str | None, label: str, *, at: datetime) -> str | None:  # noqa: ARG002
        """The reason, tidied."""
        return check_reason(value) if value and value.strip() else value and ""


@dataclass(frozen=True)
class Channel(_Plain):
    """A text or announcement channel that the bot writes in; None is none."""

    none: str

    def check(self, value: int | None, label: str, *, at: datetime) -> int | None:  # noqa: ARG002
        """As it is: whether the bot may write there, Discord knows."""
        return value


@dataclass(frozen=True)
class Channels:
    """Channels that songs may be requested in; none is all."""

    most: int
    none: str
    omits_default: ClassVar[bool] = True

    def check(self, value: Sequence[int], label: str, *, at: datetime) -> Sequence[int]:  # noqa: ARG002
        """Each once, sorted, at most `most`."""
        chosen = tuple(sorted(set(value)))
        if len(chosen) > self.most:
            raise TooManyChannels(len(chosen), self.most)
        return chosen

    def encode(self, value: Sequence[int]) -> Sequence[int]:
        """A list."""
        return list(value)

    def decode(self, stored: Sequence[int]) -> Sequence[int]:
        """A tuple."""
        return tuple(stored)


@dataclass(frozen=True)
class Words:
    """Words and phrases, as `blocked_words.parse_words` returns them."""

    omits_default: ClassVar[bool] = True

    def check(self, value: Sequence[str], label: str, *, at: datetime) -> Sequence[str]:  # noqa: ARG002
        """Each once, within the bounds of `parse_words`."""
        return parse_words("\n".join(value))

    def encode(self, value: Sequence[str]) -> Sequence[str]:
        """A list."""
        return list(value)

    def decode(self, stored: Sequence[str]) -> Sequence[str]:
        """A tuple."""
        return tuple(stored)


@dataclass(frozen=True)
class Refill:
    """A `Calendar`: it takes effect when the current period ends, so it has a separate table."""

    omits_default: ClassVar[bool] = False

    def check(self, value: Calendar, label: str, *, at: datetime) -> Calendar:  # noqa: ARG002
        """Its parts are checked together."""
        return Calendar.parse(value.every, value.hour, value.zone)

    def encode(self, value: Calendar) -> Mapping[str, Any]:
        """Its parts."""
        return asdict(value)

    def decode(self, stored: Mapping[str, Any]) -> Calendar:
        """From its parts."""
        return Calendar(Every(stored["every"]), stored["hour"], stored["zone"])


def _within(value: int | None, label: str, low: int, high: int) -> int:
    if value is None or not low <= value <= high:
        raise OutOfRange(label, low, high)
    return value


def _end(until: datetime | None, *, at: datetime) -> datetime | None:
    return None if until is None else check_end(until, at=at)


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else to_ms(moment)
