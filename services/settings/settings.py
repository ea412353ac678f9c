"""What a server has decided: parsed from its rows, with the operator's defaults under it."""

import functools
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from db import settings as rows
from db.connection import Connection
from db.records import CalendarRow, Rule, maybe_from_ms
from services.credits.amounts import Prices
from services.credits.calendar import Calendar, Every, Timeline
from services.providers.registry import PARAMETERS


class Name(StrEnum):
    """The rules that a server may have. Those about somebody stand once for each."""

    ALLOWANCE = "allowance"
    ROLE = "role"
    MEMBER = "member"
    LIMITS = "limits"
    CHANNELS = "channels"
    BLOCK = "block"
    WORDS = "words"
    PAUSE = "pause"
    BUDGET = "budget"
    LOG = "log"
    GIFTS = "gifts"
    LEADERBOARD = "leaderboard"


class Source(StrEnum):
    """Which rule an allowance comes from."""

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
    """Credits a period, None without limit, and the rule that says so."""

    credits: int | None
    source: Source
    role_id: int | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one member may ask for. `cooldown` is in seconds from one song to the next."""

    unfinished: int = 3
    seconds: int = PARAMETERS.seconds.high
    steps: int = PARAMETERS.steps.high
    cooldown: int = 0


@dataclass(frozen=True, slots=True)
class Block:
    """Somebody makes no songs here, for ever where `until` is None."""

    reason: str
    until: datetime | None

    def holds(self, at: datetime) -> bool:
        """Whether it is in force."""
        return self.until is None or at < self.until


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds where a server has decided nothing: the operator's word. Credits a day.

    `hourly_refunds`: songs that a member may cancel, or have fail for what they requested, in an
    hour, over all servers; 0 is no limit. No server decides on it: the operator pays for them.
    """

    allowance: int = 10
    prices: Prices = Prices()
    limits: Limits = Limits()
    hourly_refunds: int = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """A server's rules, as far as they are about it, its roles and one member.

    `roles` are credits a period by role, None without limit. `budget` is in credits a period, None
    where there is none. `pause` is why no new songs are made, None while they are.
    """

    server: Allowance
    roles: Mapping[int, int | None] = field(default_factory=dict)
    member: Allowance | None = None
    limits: Limits = Limits()
    channels: Sequence[int] = ()
    block: Block | None = None
    words: Sequence[str] = ()
    pause: str | None = None
    budget: int | None = None
    log_channel_id: int | None = None
    gifts: bool = False
    leaderboard: bool = False
    timeline: Timeline = Timeline(())

    def allowance_of(self, roles: Collection[int], *, at: datetime) -> Allowance:
        """The member's own, else the highest of their roles', else the server's."""
        if self.member is not None and (self.member.until is None or at < self.member.until):
            return self.member
        own = [(self.roles[role], role) for role in roles if role in self.roles]
        if not own:
            return self.server
        credits, role = max(own, key=lambda pair: (pair[0] is None, pair[0] or 0, pair[1]))
        return Allowance(credits, Source.ROLE, role_id=role)


class SettingsReader:
    """Reads rules."""

    def __init__(self, defaults: Defaults) -> None:
        self.defaults = defaults

    async def read(self, connection: Connection, server_id: int, member_id: int = 0) -> Rules:
        """A server's rules, with those about one member."""
        found = await rows.in_force(connection, server_id, member_id)
        calendars = await rows.calendars(connection, server_id)
        return parse(tuple(found), tuple(calendars), self.defaults)

    async def timeline(self, connection: Connection, server_id: int) -> Timeline:
        """How a server counts its periods."""
        return timeline_of(await rows.calendars(connection, server_id))


def timeline_of(calendars: Iterable[CalendarRow]) -> Timeline:
    """As its rows say."""
    return Timeline(
        tuple((row.from_at, Calendar(Every(row.every), row.hour, row.zone)) for row in calendars)
    )


def rows_of(timeline: Timeline) -> list[CalendarRow]:
    """What `timeline_of` reads."""
    return [
        CalendarRow(from_at, calendar.every, calendar.hour, calendar.zone)
        for from_at, calendar in timeline.spans
    ]


@functools.lru_cache(maxsize=1_024)
def parse(found: tuple[Rule, ...], calendars: tuple[CalendarRow, ...], defaults: Defaults) -> Rules:
    """Rules from their rows. Kept, since the same rows come with each song: it takes 0.1 ms."""
    values: dict[str, Any] = {}
    roles: dict[int, int | None] = {}
    for rule in found:
        value = json.loads(rule.value)
        if rule.name == Name.ROLE:
            roles[rule.subject_id] = value["credits"]
        else:
            values[rule.name] = value
    server = values.get(Name.ALLOWANCE)
    member, block = values.get(Name.MEMBER), values.get(Name.BLOCK)
    return Rules(
        server=Allowance(server["credits"], Source.SERVER)
        if server
        else Allowance(defaults.allowance, Source.DEFAULT),
        roles=roles,
        member=member and override_of(member),
        limits=limits_of(values.get(Name.LIMITS), defaults.limits),
        channels=tuple(values.get(Name.CHANNELS, ())),
        block=block and block_of(block),
        words=tuple(values.get(Name.WORDS, ())),
        pause=values.get(Name.PAUSE),
        budget=values.get(Name.BUDGET),
        log_channel_id=values.get(Name.LOG),
        gifts=values.get(Name.GIFTS, False),
        leaderboard=values.get(Name.LEADERBOARD, False),
        timeline=timeline_of(calendars),
    )


def override_of(value: Mapping[str, Any]) -> Allowance:
    """A member's own allowance, from its rule."""
    return Allowance(value["credits"], Source.MEMBER, until=maybe_from_ms(value["until"]))


def block_of(value: Mapping[str, Any]) -> Block:
    """A block, from its rule."""
    return Block(value["reason"], maybe_from_ms(value["until"]))


def limits_of(value: Mapping[str, int] | None, defaults: Limits) -> Limits:
    """Limits, from their rule, which names those that differ from the defaults."""
    value = value or {}
    return Limits(
        unfinished=value.get("unfinished", defaults.unfinished),
        seconds=value.get("seconds", defaults.seconds),
        steps=value.get("steps", defaults.steps),
        cooldown=value.get("cooldown", defaults.cooldown),
    )
