"""When a server's credits refill: the calendar it chose, and how one calendar follows another.

Pure: a moment in, a period out. What is stored, and who may change it, is decided elsewhere.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from enum import StrEnum
from functools import cache, lru_cache
from importlib.resources import files
from operator import itemgetter
from types import MappingProxyType
from typing import Self
from zoneinfo import ZoneInfo

from services.errors import InvalidRequest, OutOfRange

LONGEST_NAME = 100
"""What is typed of a zone's name is read so far: more than a slash command's choice can hold."""

WELL_KNOWN = (
    "UTC",
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Los_Angeles",
    "America/Mexico_City",
    "America/Sao_Paulo",
    "America/Argentina/Buenos_Aires",
    "Europe/London",
    "Europe/Paris",
    "Europe/Berlin",
    "Europe/Madrid",
    "Europe/Warsaw",
    "Europe/Istanbul",
    "Europe/Moscow",
    "Africa/Cairo",
    "Africa/Lagos",
    "Asia/Dubai",
    "Asia/Kolkata",
    "Asia/Jakarta",
    "Asia/Manila",
    "Asia/Shanghai",
    "Asia/Seoul",
    "Asia/Tokyo",
    "Australia/Sydney",
)
"""Offered first: as many as a slash option can show at once."""


class Every(StrEnum):
    """How long a period is."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class UnknownPeriod(InvalidRequest):
    """A period is none of `Every`."""


@dataclass(eq=False)
class UnknownTimeZone(InvalidRequest):
    """The time zone database has no such name."""

    similar: Sequence[str]
    """Up to three names that may have been meant."""


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` until just before `end`; both aware and in UTC, `start` before `end`."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Calendar:
    """Begin a period each day, Monday or first of a month, at an hour of a zone's clocks.

    Where the clocks skip that hour, it begins when they jump; where they show it twice, the first
    time. A day that a zone skipped whole (Pacific/Apia, 2011-12-30) begins at the jump as well.

    Attributes:
        hour: 0 to 23.
        zone: a name of the IANA time zone database. Unchecked here: see `parse`.
    """

    every: Every = Every.DAY
    hour: int = 0
    zone: str = "UTC"

    @classmethod
    def parse(cls, every: str, hour: int, zone: str) -> Self:
        """A calendar from what a person chose; the zone's name in any case, spaces for `_`.

        Raises:
            UnknownPeriod, UnknownTimeZone: there is none of that name.
            OutOfRange: the hour is not between 0 and 23.
        """
        if every not in list(Every):
            raise UnknownPeriod
        if type(hour) is not int or not 0 <= hour <= 23:
            raise OutOfRange("hour", 0, 23)
        return cls(Every(every), hour, _zone_named(zone))

    def period(self, moment: datetime) -> Period:
        """The period that an aware moment falls in.

        Raises:
            OverflowError: it begins or ends outside the years 1 to 9999.
            zoneinfo.ZoneInfoNotFoundError: the time zone database has no such name.
        """
        zone = ZoneInfo(self.zone)
        shown = moment.astimezone(zone).replace(tzinfo=None) - timedelta(hours=self.hour)
        day = _first_day(shown.date(), self.every)
        start = _begins(day, self.hour, zone)
        while True:
            day = _next_first_day(day, self.every)
            end = _begins(day, self.hour, zone)
            if moment < end:
                return Period(start, end)
            start = end  # clocks set back just after the hour show the old day again


@dataclass(frozen=True, slots=True)
class Timeline:
    """Calendars one after another. Their periods follow each other without a gap.

    Attributes:
        spans: each calendar with the moment from which it is in force (aware, UTC), sorted by it.
            Before the first one the default `Calendar()` is in force.
    """

    spans: Sequence[tuple[datetime, Calendar]] = ()

    def period(self, moment: datetime) -> Period:
        """The period that a moment falls in, cut where its calendar comes into force or ends."""
        index = self._begun(moment)
        if index == 0:
            natural = Calendar().period(moment)
            start, end = natural.start, natural.end
        else:
            since, calendar = self.spans[index - 1]
            natural = calendar.period(moment)
            start, end = max(natural.start, since), natural.end
        if index < len(self.spans):
            end = min(end, self.spans[index][0])
        return Period(start, end)

    def at(self, moment: datetime) -> Calendar:
        """The calendar in force."""
        index = self._begun(moment)
        return self.spans[index - 1][1] if index else Calendar()

    def next(self, moment: datetime) -> tuple[datetime, Calendar] | None:
        """The calendar that is decided and not yet in force, with the moment it will be."""
        index = self._begun(moment)
        return self.spans[index] if index < len(self.spans) else None

    def changed(self, calendar: Calendar, *, at: datetime) -> Self:
        """With another calendar from the end of the period that runs `at` that moment.

        What was decided before and is not yet in force is dropped; where the calendar in force is
        requested, nothing else happens.
        """
        kept = type(self)(tuple(self.spans[: self._begun(at)]))
        if calendar == kept.at(at):
            return kept
        return type(self)((*kept.spans, (kept.period(at).end, calendar)))

    def _begun(self, moment: datetime) -> int:
        """How many calendars have come into force."""
        return bisect_right(self.spans, moment, key=itemgetter(0))


def _first_day(day: date, every: Every) -> date:
    """The date on which the period begins that has `day` in it."""
    if every is Every.MONTH:
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if every is Every.WEEK else day


def _next_first_day(first: date, every: Every) -> date:
    if every is Every.MONTH:
        return (first + timedelta(days=31)).replace(day=1)
    return first + timedelta(days=7 if every is Every.WEEK else 1)


@lru_cache(maxsize=4_096)
def _begins(day: date, hour: int, zone: ZoneInfo) -> datetime:
    """The first instant at which the zone's clocks show this hour of this day, or a later time."""
    shown = datetime(day.year, day.month, day.day, hour, tzinfo=zone)
    before, after = shown.astimezone(UTC), shown.replace(fold=1).astimezone(UTC)
    # PEP 495: in a gap, fold=0 counts with the offset before it and fold=1 with the one after it,
    # so the jump lies between the two, the other way round than for a time shown twice.
    return before if before <= after else _jump(after, before, zone)


def _jump(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    """The second at which the zone's offset changes, after `low` and not after `high`.

    zoneinfo does not list its transitions; bisecting a day takes 17 steps, and gaps are rare.
    """
    new = high.astimezone(zone).utcoffset()

    def changed_by(second: int) -> bool:
        return (low + timedelta(seconds=second)).astimezone(zone).utcoffset() == new

    length = int((high - low).total_seconds())
    return low + timedelta(seconds=bisect_left(range(length), 1, key=changed_by))


# --- names of zones -------------------------------------------------------------------------------


def zones_like(typed: str, limit: int = 25) -> list[str]:
    """Names of zones for what has been typed so far, the likeliest first, `limit` at most.

    Case, accents and signs don't matter. Names with a word that begins like it come before those
    with it inside a word, and well-known places before others.
    """
    wanted = _plain(typed)
    begin = [name for name, plain in _offered().items() if f" {wanted}" in plain]
    hold = [name for name, plain in _offered().items() if wanted in plain]
    return list(dict.fromkeys(begin + hold))[:limit]


def _zone_named(typed: str) -> str:
    """The name as the database writes it; see `Calendar.parse`."""
    name = _names().get("_".join(typed[:LONGEST_NAME].split()).casefold())
    if name is None:
        raise UnknownTimeZone(_nearest(typed))
    return name


def _nearest(typed: str) -> list[str]:
    """Up to three names that were perhaps meant."""
    wanted = _plain(typed)
    if not wanted or len(typed) > LONGEST_NAME:
        return []
    by_name = {plain.strip(): name for name, plain in _offered().items()}
    by_place = {_plain(name.rpartition("/")[2]): name for name in _offered()}
    close = [
        by[key] for by in (by_name, by_place) for key in get_close_matches(wanted, by, cutoff=0.7)
    ]
    return list(dict.fromkeys((*zones_like(typed, 3), *close)))[:3]


def _plain(typed: str) -> str:
    """Small letters and digits, with single spaces for all else."""
    letters = unicodedata.normalize("NFKD", typed[:LONGEST_NAME]).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", " ", letters.lower()).strip()


@cache
def _names() -> Mapping[str, str]:
    """Every zone that may be chosen, by its name in small letters.

    The list of the tzdata package, which we pin: the same on every machine, and each name on it
    can be loaded. `zoneinfo.available_timezones` opens every file of the system's own copy for
    the same names (48 ms; this takes less than one).
    """
    listed = files("tzdata").joinpath("zones").read_text(encoding="utf-8").split()
    return MappingProxyType({n.casefold(): n for n in listed if n != "Factory"})


@cache
def _offered() -> Mapping[str, str]:
    """The names that are offered, in their order, each as plain words after a space.

    Left out are names that say something else than they seem to, though they can be chosen:
    `Etc/GMT+2` is two hours *behind* UTC (POSIX counts westward), `EST` keeps winter time all year.
    Old names without a continent (`US/Eastern`, `Japan`) come last.
    """
    misleading = re.compile(r"Etc/.*|GMT.*|(?!UTC)[A-Z]{3}(\d[A-Z]{3})?")
    old = re.compile(r"[^/]+|(US|Canada|Mexico|Brazil|Chile)/.*")
    known = {name: order for order, name in enumerate(WELL_KNOWN)}
    names = [name for name in _names().values() if not misleading.fullmatch(name)]
    names.sort(key=lambda n: (known.get(n, len(known)), bool(old.fullmatch(n)), n))
    return MappingProxyType({name: f" {_plain(name)}" for name in names})
