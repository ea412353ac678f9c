"""Kinds of settings: which values each takes, and how they are stored as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, ClassVar

from db.records import maybe_from_ms, maybe_to_ms
from services.amounts import MAX_AMOUNT, check_end, check_reason
from services.calendar import Calendar, Every
from services.errors import OutOfRange
from services.settings.blocked_words import parse_words
from services.settings.refusals import TooManyChannels
from services.settings.settings import Block, Override


@dataclass(frozen=True)
class Kind:
    """What all kinds have. `omits_default`: a value that equals the default is not stored.

    Such a setting follows the operator's default from then on.
    """

    omits_default: ClassVar[bool] = True

    def check(self, value: Any, label: str, *, at: datetime) -> Any:  # noqa: ANN401, ARG002
        """Return the value, tidied. `label` names the setting in a refusal.

        Raises:
            InvalidRequest: it can't be set.
        """
        return value

    def encode(self, value: Any) -> Any:  # noqa: ANN401
        """Return the value as JSON has it."""
        return value

    def decode(self, stored: Any) -> Any:  # noqa: ANN401
        """Return what `encode` was given."""
        return stored


@dataclass(frozen=True)
class Number(Kind):
    """A whole number, both bounds included. `optional`: it may be None, for none."""

    low: int
    high: int
    unit: str
    optional: bool = False

    def check(self, value: int | None, label: str, *, at: datetime) -> int | None:  # noqa: ARG002
        if value is None and self.optional:
            return None
        if value is None or not self.low <= value <= self.high:
            raise OutOfRange(label, self.low, self.high)
        return value


@dataclass(frozen=True)
class Credits(Kind):
    """Credits a period; None is unlimited, so it is stored in an object."""

    omits_default = False
    number: ClassVar = Number(0, MAX_AMOUNT, "credits", optional=True)

    def check(self, value: int | None, label: str, *, at: datetime) -> int | None:
        return self.number.check(value, label, at=at)

    def encode(self, value: int | None) -> dict[str, int | None]:
        return {"credits": value}

    def decode(self, stored: dict[str, int | None]) -> int | None:
        return stored["credits"]


@dataclass(frozen=True)
class _Until(Kind):
    """A record that may end, its end stored in milliseconds."""

    omits_default = False
    record: ClassVar[type[Override | Block]]

    def encode(self, value: Override | Block) -> dict[str, Any]:
        return {**asdict(value), "until": maybe_to_ms(value.until)}

    def decode(self, stored: dict[str, Any]) -> Override | Block:
        return self.record(**{**stored, "until": maybe_from_ms(stored["until"])})


@dataclass(frozen=True)
class CreditsUntil(_Until):
    """An `Override`."""

    record = Override

    def check(self, value: Override, label: str, *, at: datetime) -> Override:
        return Override(Credits().check(value.credits, label, at=at), _end(value.until, at=at))


@dataclass(frozen=True)
class BlockUntil(_Until):
    """A `Block`."""

    record = Block

    def check(self, value: Block, label: str, *, at: datetime) -> Block:  # noqa: ARG002
        return Block(check_reason(value.reason), _end(value.until, at=at))


@dataclass(frozen=True)
class Toggle(Kind):
    """On or off."""


@dataclass(frozen=True)
class Reason(Kind):
    """On, with a reason that may be empty; None is off."""

    def check(self, value: str | None, label: str, *, at: datetime) -> str | None:  # noqa: ARG002
        return check_reason(value) if value and value.strip() else value and ""


@dataclass(frozen=True)
class Channel(Kind):
    """A text or announcement channel, or None. The cogs know which one the bot may write in.

    Attributes:
        none: what there is without one.
        without: what happens when it is deleted.
        takes_songs: whether songs are posted there, which takes more permissions.
    """

    none: str
    without: str
    takes_songs: bool = False


@dataclass(frozen=True)
class _List(Kind):
    def encode(self, value: Sequence[Any]) -> list[Any]:
        return list(value)

    def decode(self, stored: list[Any]) -> tuple[Any, ...]:
        return tuple(stored)


@dataclass(frozen=True)
class Channels(_List):
    """At most `most` channels that songs may be requested in; none is all."""

    most: int
    none: str

    def check(self, value: Sequence[int], label: str, *, at: datetime) -> Sequence[int]:  # noqa: ARG002
        chosen = tuple(sorted(set(value)))
        if len(chosen) > self.most:
            raise TooManyChannels(len(chosen), self.most)
        return chosen


@dataclass(frozen=True)
class Words(_List):
    """Words and phrases, as `blocked_words.parse_words` returns them."""

    def check(self, value: Sequence[str], label: str, *, at: datetime) -> Sequence[str]:  # noqa: ARG002
        return parse_words("\n".join(value))


@dataclass(frozen=True)
class Refill(Kind):
    """A `Calendar`: it takes effect when the current period ends, so it has a separate table."""

    omits_default = False

    def check(self, value: Calendar, label: str, *, at: datetime) -> Calendar:  # noqa: ARG002
        return Calendar.parse(value.every, value.hour, value.zone)

    def encode(self, value: Calendar) -> dict[str, Any]:
        return asdict(value)

    def decode(self, stored: dict[str, Any]) -> Calendar:
        return Calendar(Every(stored["every"]), stored["hour"], stored["zone"])


def _end(until: datetime | None, *, at: datetime) -> datetime | None:
    return None if until is None else check_end(until, at=at)
