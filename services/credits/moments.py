"""Moments to come, as managers type them: until when a block holds, when a grant expires. Pure."""

import re
from calendar import monthrange
from collections.abc import Sequence
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.credits.amounts import LONGEST, TimePassed, TimeTooFar
from services.errors import InvalidRequest

LONGEST_TYPED = 60
MOST_SUGGESTED = 25
"""What Discord shows of an autocomplete's choices."""

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

_USUAL = ("1 day", "3 days", "7 days", "2 weeks", "1 month", "3 months", "1 year")
_COUNTED = ("hours", "days", "weeks", "months")


class UnreadableTime(InvalidRequest):
    """A typed time is none that `parse_moment` knows."""


def parse_moment(typed: str, *, now: datetime, zone: str) -> datetime:
    """The moment that was meant, aware and in UTC, after `now` (aware) and within `LONGEST`.

    A date, `today` and `tomorrow` mean the end of that day. Dates and hours are read on the clocks
    of `zone`, an IANA name that is known; a month has as many days as that month has.

    Raises:
        InvalidRequest: it can't be read, is over, or is more than ten years away.
    """
    words = " ".join(typed[: LONGEST_TYPED + 1].lower().split())
    if len(typed) > LONGEST_TYPED:
        raise UnreadableTime
    try:
        moment = _moment(words, now, ZoneInfo(zone))
    except OverflowError:
        raise TimeTooFar from None
    if moment is None:
        raise UnreadableTime
    if moment <= now:
        raise TimePassed
    if moment > now + LONGEST:
        raise TimeTooFar
    return moment


def suggestions(typed: str, *, now: datetime, zone: str) -> list[tuple[str, str]]:
    """What may be meant by what has been typed so far: how it is shown, and what it stands for.

    Each of the latter is something that `parse_moment` takes; both are at most 100 characters.
    """
    words = " ".join(typed[:LONGEST_TYPED].lower().split())
    if re.fullmatch(r"(in )?[0-9]{1,4}", words):
        number = words.removeprefix("in ")
        meant = [f"{number} {unit}" for unit in _COUNTED]
    else:
        meant = [words, *(usual for usual in _USUAL if usual.startswith(words))]
    found = (_suggestion(text, now, zone) for text in dict.fromkeys(meant))
    return [pair for pair in found if pair is not None][:MOST_SUGGESTED]


def _suggestion(text: str, now: datetime, zone: str) -> tuple[str, str] | None:
    try:
        moment = parse_moment(text, now=now, zone=zone)
    except InvalidRequest:
        return None
    return f"{text}: {_shown(moment.astimezone(ZoneInfo(zone)))}", text


def _shown(local: datetime) -> str:
    """`Thursday, 31 December 2026, 18:00`; midnight is the end of the day before."""
    if local.time() == time():
        day = local.date() - timedelta(days=1)
        return f"the end of {day:%A}, {day.day} {day:%B %Y}"
    return f"{local:%A}, {local.day} {local:%B %Y, %H:%M}"


def _moment(words: str, now: datetime, zone: ZoneInfo) -> datetime | None:
    """None where it can't be read.

    Raises:
        OverflowError: it is beyond the years that can be counted.
    """
    if words in _DAYS:
        return _end_of(now.astimezone(zone).date() + timedelta(days=_DAYS[words]), zone)
    if found := _DATE.fullmatch(words):
        year, month, day, hour, minute = (int(part or 0) for part in found.groups())
        if found[4] is None:
            return _on_day((year, month, day), zone)
        return _at((year, month, day, hour, minute), zone)
    if found := _SPAN.fullmatch(words):
        return _after(int(found[1]), found[2], now, zone)
    return None


def _after(number: int, unit: str, now: datetime, zone: ZoneInfo) -> datetime | None:
    unit = _SHORT.get(unit) or _SHORT.get(unit.removesuffix("s")) or unit.removesuffix("s")
    if unit in _UNITS:
        return now + number * _UNITS[unit]
    if unit not in _MONTHS:
        return None
    return _months_later(now.astimezone(zone), number * _MONTHS[unit]).astimezone(UTC)


def _months_later(local: datetime, months: int) -> datetime:
    """The same day of a later month, or its last one."""
    years, month = divmod(local.month - 1 + months, 12)
    year = local.year + years
    if year >= MAXYEAR:
        raise OverflowError
    day = min(local.day, monthrange(year, month + 1)[1])
    return local.replace(year=year, month=month + 1, day=day)


def _on_day(parts: Sequence[int], zone: ZoneInfo) -> datetime | None:
    try:
        day = date(*parts)
    except ValueError:
        return None
    return _end_of(day, zone)


def _end_of(day: date, zone: ZoneInfo) -> datetime:
    """Where a zone's clocks skip midnight, they jump at that very moment."""
    return datetime.combine(day + timedelta(days=1), time(), tzinfo=zone).astimezone(UTC)


def _at(parts: Sequence[int], zone: ZoneInfo) -> datetime | None:
    year, month, day, hour, minute = parts
    try:
        shown = datetime(year, month, day, hour, minute, tzinfo=zone)
    except ValueError:
        return None
    return shown.astimezone(UTC)
