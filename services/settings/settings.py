"""What settings are made of: allowances, limits and blocks, and the operator's defaults."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.amounts import Prices
from services.providers.registry import PARAMETERS


class Source(StrEnum):
    """Which setting an allowance comes from."""

    MEMBER = "member"
    ROLE = "role"
    SERVER = "server"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Member:
    """A person in a server. `roles` is None where they are not known: they have left, say."""

    server_id: int
    member_id: int
    roles: frozenset[int] | None = frozenset()


@dataclass(frozen=True, slots=True)
class Allowance:
    """Credits a period, None without limit, and the setting that says so."""

    credits: int | None
    source: Source
    role_id: int | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Override:
    """One member's own allowance: credits a period, None without limit."""

    credits: int | None
    until: datetime | None = None

    def holds(self, at: datetime) -> bool:
        """Whether it is in force."""
        return self.until is None or at < self.until


@dataclass(frozen=True, slots=True)
class Block:
    """A member makes no songs: why, and until when; None is until somebody ends it."""

    reason: str
    until: datetime | None = None

    def holds(self, at: datetime) -> bool:
        """Whether it is in force."""
        return self.until is None or at < self.until


@dataclass(frozen=True, slots=True)
class Limits:
    """What one member may request. `cooldown` is in seconds from one song to the next."""

    unfinished: int = 3
    seconds: int = PARAMETERS.seconds.high
    steps: int = PARAMETERS.steps.high
    cooldown: int = 0


@dataclass(frozen=True, slots=True)
class Defaults:
    """The operator's values for what a server has not set. Credits are for a day.

    `hourly_refunds`: songs that a member may cancel, or have fail for what they requested, in an
    hour, over all servers; 0 is no limit. No server decides on it: the operator pays for them.
    """

    allowance: int = 10
    prices: Prices = Prices()
    limits: Limits = Limits()
    hourly_refunds: int = 0
