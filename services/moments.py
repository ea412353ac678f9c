"""Future times as managers type them: until when a block holds, when a grant expires."""

import re
from calendar import monthrange
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.amounts import TimeTooFar, check_end
from services.errors import InvalidRequest

LONGEST_TYPED = 60

_UNITS: dict[str, timedelta] = {
    "min": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}
_MONTHS = {"month": 1, "year": 12}
_SHORT = {"minute": "min", "h": "hour", "hr": "hour", "d": "day", "w": "week", "mo": "month"}
_SHORT |= {"y": "year"}

# A bare `m` is refused: to some it is minutes, to others months.
_SPAN = re.compile(r"(?:in )?([0-9]{1,7}) ?([a-z]+)")
_DATE = re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?:[ t]+([0-9]{1,2}):([0-9]{2}))?")
_DAYS = {"today": 0, "tomorrow": 1}


class UnreadableTime(InvalidRequest):
    """A typed time has none of the forms that `parse_moment` reads."""


def parse_moment(typed: str, *, now: datetime, zone: str) -> datetime:
    """Return the time that was typed, aware and in UTC: after `now` (aware), within `LONGEST`.

    A date, `today` and `tomorrow` mean the end of that day. Dates and hours are read on the clocks
    of `zone`, a valid IANA name; a month has as many days as that month has.

    Raises:
        UnreadableTime, TimePassed, TimeTooFar
    """
    if len(typed) > LONGEST_TYPED:
        raise UnreadableTime
    try:
        shown = _parse(" ".join(typed.lower().split()), now.astimezone(ZoneInfo(zone)))
        moment = shown.astimezone(UTC)
    except OverflowError:
        raise TimeTooFar from None
    except ValueError:
        raise UnreadableTime from None
    return check_end(moment, at=now)


def _parse(text: str, now: datetime) -> datetime:
    """Parse a time on the clocks of the zone of `now`.

    Raises:
        ValueError: it can't be read.
        OverflowError: it is beyond the year 9999.
    """
    if text in _DAYS:
        return _end_of(now.date() + timedelta(days=_DAYS[text]), now)
    if found := _DATE.fullmatch(text):
        year, month, day, hour, minute = (int(part or 0) for part in found.groups())
        if found[4] is None:
            return _end_of(date(year, month, day), now)
        return datetime(year, month, day, hour, minute, tzinfo=now.tzinfo)
    if not (found := _SPAN.fullmatch(text)):
        raise ValueError(text)
    number, unit = int(found[1]), found[2]
    unit = _SHORT.get(unit) or _SHORT.get(unit.removesuffix("s")) or unit.removesuffix("s")
    if unit in _MONTHS:
        return _months_later(now, number * _MONTHS[unit])
    if unit not in _UNITS:
        raise ValueError(unit)
    # Sums of aware times in one zone would skip the hours that its clocks skip.
    return now.astimezone(UTC) + number * _UNITS[unit]


def _months_later(now: datetime, months: int) -> datetime:
    """Return the same day of a later month, or its last one."""
    years, month = divmod(now.month - 1 + months, 12)
    year = now.year + years
    if year >= MAXYEAR:
        raise OverflowError
    day = min(now.day, monthrange(year, month + 1)[1])
    return now.replace(year=year, month=month + 1, day=day)


def _end_of(day: date, now: datetime) -> datetime:
    """Return the end of a day. Where clocks skip midnight, they jump at that very moment."""
    return datetime.combine(day + timedelta(days=1), time(), tzinfo=now.tzinfo)
