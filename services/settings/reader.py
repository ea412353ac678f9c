"""A server's settings in force: read from its rows, with the operator's defaults beneath."""

import functools
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from db import settings as rows
from db.connection import Connection
from db.records import CalendarRow, SettingRow
from services.calendar import Calendar, Every, Timeline
from services.settings.catalogue import (
    ALLOWANCE,
    BLOCK,
    BY_KEY,
    CALENDAR,
    COOLDOWN,
    LONGEST,
    MEMBER_ALLOWANCE,
    MOST_STEPS,
    ROLE_ALLOWANCE,
    UNFINISHED,
    Setting,
)
from services.settings.settings import Allowance, Block, Defaults, Limits, Source

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settings:
    """A server's settings, with those about one member. `settings[COOLDOWN]` is a value in force.

    `values` are those that were set. `roles` are credits a period by role, None without limit.
    """

    values: Mapping[Setting[Any], Any] = field(default_factory=dict)
    roles: Mapping[int, int | None] = field(default_factory=dict)
    timeline: Timeline = Timeline(())
    defaults: Defaults = Defaults()

    def __getitem__(self, setting: Setting[T]) -> T:
        if setting in self.values:
            value: T = self.values[setting]
            return value
        return setting.default(self.defaults)

    def is_default(self, setting: Setting[Any]) -> bool:
        """Return whether the server has not set it."""
        return setting not in self.values

    def block(self, *, at: datetime) -> Block | None:
        """Return the member's block, if one is in force."""
        block = self[BLOCK]
        return block if block is not None and block.holds(at) else None

    @property
    def limits(self) -> Limits:
        """Return what one member may request."""
        return Limits(self[UNFINISHED], self[LONGEST], self[MOST_STEPS], self[COOLDOWN])

    @property
    def allowance(self) -> Allowance:
        """Return what every member gets, unless something else is set for them."""
        source = Source.DEFAULT if self.is_default(ALLOWANCE) else Source.SERVER
        return Allowance(self[ALLOWANCE], source)

    def allowance_of(self, roles: Collection[int], *, at: datetime) -> Allowance:
        """Return the member's own, or the highest of their roles', or the server's."""
        own = self[MEMBER_ALLOWANCE]
        if own is not None and own.holds(at):
            return Allowance(own.credits, Source.MEMBER, until=own.until)
        found = [(self.roles[role], role) for role in roles if role in self.roles]
        if not found:
            return self.allowance
        credits, role = max(found, key=lambda pair: (pair[0] is None, pair[0] or 0, pair[1]))
        return Allowance(credits, Source.ROLE, role_id=role)


class SettingsReader:
    """Reads settings."""

    def __init__(self, defaults: Defaults) -> None:
        self.defaults = defaults

    async def read(self, connection: Connection, server_id: int, member_id: int = 0) -> Settings:
        """Return a server's settings, with those about one member."""
        found = await rows.in_force(connection, server_id, member_id)
        calendars = await rows.calendars(connection, server_id)
        return parse(tuple(found), tuple(calendars), self.defaults)

    async def timeline(self, connection: Connection, server_id: int) -> Timeline:
        """Return how a server counts its periods."""
        return timeline_of(await rows.calendars(connection, server_id))


def timeline_of(calendars: Iterable[CalendarRow]) -> Timeline:
    """Return a timeline from its rows."""
    return Timeline(
        tuple((row.from_at, Calendar(Every(row.every), row.hour, row.zone)) for row in calendars)
    )


@functools.lru_cache(maxsize=1_024)
def parse(
    found: tuple[SettingRow, ...], calendars: tuple[CalendarRow, ...], defaults: Defaults
) -> Settings:
    """Parse rows. Cached, since each song reads the same ones: it takes 0.1 ms."""
    values: dict[Setting[Any], Any] = {}
    roles: dict[int, int | None] = {}
    for row in found:
        setting = BY_KEY.get(row.name)
        if setting is None:
            continue  # of a newer or older version
        value = setting.kind.decode(json.loads(row.value))
        if setting is ROLE_ALLOWANCE:
            roles[row.subject_id] = value
        else:
            values[setting] = value
    timeline = timeline_of(calendars)
    if timeline.spans:
        values[CALENDAR] = timeline.spans[-1][1]
    return Settings(values, roles, timeline, defaults)
