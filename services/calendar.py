"""When a server's credits refill: its calendar, and how one calendar follows another. Pure."""

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
"""Of a zone's name, in characters: as much as a slash command's choice can hold."""

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
"""Suggested first: as many as a slash option can show at once."""


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
    """Periods that begin each day, Monday or first of a month, at an hour of a zone's clocks.

    Where the clocks skip that hour, a period begins when they jump; where they show it twice, the
    first time. A day that a zone skipped (Pacific/Apia, 2011-12-30) begins at the jump as well.

    Attributes:
        hour: 0 to 23.
        zone: a name of the IANA time zone database. Unchecked here: see `parse`.
    """

    every: Every = Every.DAY
    hour: int = 0
    zone: str = "UTC"

    @classmethod
    def parse(cls, every: str, hour: int, zone: str) -> Self:
        """Return a calendar from typed values; the zone's name in any case, spaces for `_`.

        Raises:
            UnknownPeriod, UnknownTimeZone: there is none of that name.
            OutOfRange: the hour is not between 0 and 23.
        """
        if every not in list(Every):
            raise UnknownPeriod
        if type(hour) is not int or not 0 <= hour <= 23:
            raise OutOfRange("hour", 0, 23)
        name = _names().get("_".join(zone[:LONGEST_NAME].split()).casefold())
        if name is None:
            raise UnknownTimeZone(_nearest(zone))
        return cls(Every(every), hour, name)

    def period(self, moment: datetime) -> Period:
        """Return the period of an aware moment.

        Raises:
            OverflowError: it begins or ends outside the years 1 to 9999.
            zoneinfo.ZoneInfoNotFoundError: the time zone database has no such name.
        """
        zone = ZoneInfo(self.zone)
        shown = moment.astimezone(zone).replace(tzinfo=None) - timedelta(hours=self.hour)
        day = shown.date()
        if self.every is Every.MONTH:
            day = day.replace(day=1)
        elif self.every is Every.WEEK:
            day -= timedelta(days=day.weekday())
        start = _begins(day, self.hour, zone)
        while True:
            if self.every is Every.MONTH:
                day = (day + timedelta(days=31)).replace(day=1)
            else:
                day += timedelta(days=7 if self.every is Every.WEEK else 1)
            end = _begins(day, self.hour, zone)
            if moment < end:
                return Period(start, end)
            start = end  # clocks set back just after the hour show the old day again


@dataclass(frozen=True, slots=True)
class Timeline:
    """Consecutive calendars, whose periods follow each other without a gap.

    Attributes:
        spans: calendars, each with the moment from which it is in force (aware, UTC), sorted.
            Before the first one the default `Calendar()` is in force.
    """

    spans: Sequence[tuple[datetime, Calendar]] = ()

    def period(self, moment: datetime) -> Period:
        """Return the period of a moment, cut where its calendar comes into force or ends."""
        index, period = self._begun(moment), self.at(moment).period(moment)
        start = max(period.start, self.spans[index - 1][0]) if index else period.start
        following = self.next(moment)
        return Period(start, min(period.end, following[0]) if following else period.end)

    def at(self, moment: datetime) -> Calendar:
        """Return the calendar in force."""
        index = self._begun(moment)
        return self.spans[index - 1][1] if index else Calendar()

    def next(self, moment: datetime) -> tuple[datetime, Calendar] | None:
        """Return the calendar that will be in force next, with the moment from which it is."""
        index = self._begun(moment)
        return self.spans[index] if index < len(self.spans) else None

    def changed(self, calendar: Calendar, *, at: datetime) -> Self:
        """Return a timeline with another calendar from the end of the running period.

        A calendar that is not yet in force is dropped. One that is in force already changes nothing
        more.
        """
        kept = type(self)(tuple(self.spans[: self._begun(at)]))
        if calendar == kept.at(at):
            return kept
        return type(self)((*kept.spans, (kept.period(at).end, calendar)))

    def _begun(self, moment: datetime) -> int:
        """Count the calendars that have come into force."""
        return bisect_right(self.spans, moment, key=itemgetter(0))


@lru_cache(maxsize=4_096)
def _begins(day: date, hour: int, zone: ZoneInfo) -> datetime:
    """Return the first instant at which the zone's clocks show this hour of this day, or later."""
    shown = datetime(day.year, day.month, day.day, hour, tzinfo=zone)
    before, after = shown.astimezone(UTC), shown.replace(fold=1).astimezone(UTC)
    # PEP 495: in a gap, fold=0 counts with the offset before it and fold=1 with the one after it,
    # so the jump lies between the two, the other way round than for a time shown twice.
    return before if before <= after else _jump(after, before, zone)


def _jump(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    """Find the second at which the zone's offset changes, after `low` and not after `high`.

    zoneinfo does not list its transitions. Bisecting a day takes 17 steps, and gaps are rare.
    """
    new = high.astimezone(zone).utcoffset()

    def changed_by(second: int) -> bool:
        return (low + timedelta(seconds=second)).astimezone(zone).utcoffset() == new

    length = int((high - low).total_seconds())
    return low + timedelta(seconds=bisect_left(range(length), 1, key=changed_by))


# --- names of zones -------------------------------------------------------------------------------


def zones_like(typed: str, limit: int = 25) -> list[str]:
    """Return at most `limit` names of zones for what has been typed so far, best matches first.

    Case, accents and punctuation don't matter. Names with a word that begins like it come before
    those with it inside a word, and well-known places before others.
    """
    wanted = _plain(typed)
    begin = [name for name, plain in _suggested().items() if f" {wanted}" in plain]
    contain = [name for name, plain in _suggested().items() if wanted in plain]
    return list(dict.fromkeys(begin + contain))[:limit]


def _nearest(typed: str) -> list[str]:
    """Return up to three names that may have been meant."""
    wanted = _plain(typed)
    if not wanted or len(typed) > LONGEST_NAME:
        return []
    by_name = {plain.strip(): name for name, plain in _suggested().items()}
    by_place = {_plain(name.rpartition("/")[2]): name for name in _suggested()}
    close = [
        by[key] for by in (by_name, by_place) for key in get_close_matches(wanted, by, cutoff=0.7)
    ]
    return list(dict.fromkeys((*zones_like(typed, 3), *close)))[:3]


def _plain(typed: str) -> str:
    """Reduce a text to lower-case letters and digits, with single spaces for the rest."""
    letters = unicodedata.normalize("NFKD", typed[:LONGEST_NAME]).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", " ", letters.lower()).strip()


@cache
def _names() -> Mapping[str, str]:
    """Return every zone that may be chosen, by its lower-case name.

    From the pinned tzdata package: the same on every machine, and each name can be loaded.
    `zoneinfo.available_timezones` opens every file for the same names (48 ms, this takes 1 ms).
    """
    listed = files("tzdata").joinpath("zones").read_text(encoding="utf-8").split()
    return MappingProxyType({n.casefold(): n for n in listed if n != "Factory"})


@cache
def _suggested() -> Mapping[str, str]:
    """Return the names that are suggested, in order, each as plain words after a space.

    Names that mislead can be chosen and are not suggested: `Etc/GMT+2` is two hours *behind* UTC
    (POSIX counts westward), `EST` has no summer time. Old names (`US/Eastern`, `Japan`) come last.
    """
    misleading = re.compile(r"Etc/.*|GMT.*|(?!UTC)[A-Z]{3}(\d[A-Z]{3})?")
    old = re.compile(r"[^/]+|(US|Canada|Mexico|Brazil|Chile)/.*")
    known = {name: order for order, name in enumerate(WELL_KNOWN)}
    names = [name for name in _names().values() if not misleading.fullmatch(name)]
    names.sort(key=lambda n: (known.get(n, len(known)), bool(old.fullmatch(n)), n))
    return MappingProxyType({name: f" {_plain(name)}" for name in names})
