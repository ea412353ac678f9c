"""When credits refill: every zone, hour and period, and calendars that change at any moment."""

from datetime import UTC, datetime, timedelta
from importlib.resources import files
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.calendar import (
    WELL_KNOWN,
    Calendar,
    Every,
    Period,
    Timeline,
    UnknownPeriod,
    UnknownTimeZone,
    zones_like,
)
from services.errors import InvalidRequest, OutOfRange
from tests.refusals import refusal

NAMES = sorted(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())
ODD = [
    "Pacific/Apia",  # had no 30 December 2011
    "Pacific/Kiritimati",
    "Antarctica/Troll",  # two hours at once
    "Australia/Lord_Howe",  # half an hour
    "Africa/Cairo",  # at midnight
    "America/Sao_Paulo",
    "America/St_Johns",  # at one minute past midnight
    "Asia/Kathmandu",
    "Pacific/Chatham",
    "Africa/Casablanca",
    "Europe/Dublin",
    "Asia/Manila",
]
ZONES = st.sampled_from(ODD) | st.sampled_from(NAMES)
CALENDARS = st.builds(Calendar, st.sampled_from(Every), st.integers(0, 23), ZONES)
MOMENTS = st.datetimes(
    datetime(1960, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
RECENT = datetime(2026, 1, 1, tzinfo=UTC)
LATER = st.timedeltas(timedelta(), timedelta(days=500)).map(lambda by: RECENT + by)
BACK = st.timedeltas(timedelta(hours=-1), timedelta(days=60))
SECOND, MS = timedelta(seconds=1), timedelta(milliseconds=1)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]


def lengths(zone: str, first: datetime, count: int, *, hour: int = 0) -> list[float]:
    """Return the hours of consecutive days."""
    found = []
    calendar = Calendar(Every.DAY, hour, zone)
    for _ in range(count):
        period = calendar.period(first)
        found.append((period.end - period.start) / timedelta(hours=1))
        first = period.end
    return found


# --- one calendar ---------------------------------------------------------------------------------


@given(CALENDARS, MOMENTS)
@example(Calendar(Every.DAY, 0, "Pacific/Apia"), utc(2011, 12, 30, 9, 59))
@example(Calendar(Every.DAY, 5, "Pacific/Apia"), utc(2011, 12, 30, 10))
@example(Calendar(Every.DAY, 2, "Antarctica/Troll"), utc(2026, 3, 29, 1))
@example(Calendar(Every.DAY, 0, "America/Sao_Paulo"), utc(2018, 2, 18, 2, 30))
@example(Calendar(Every.DAY, 0, "America/St_Johns"), utc(2010, 11, 7, 2, 45))  # 23:15 again
def test_periods_follow_each_other_and_contain_their_moment(
    calendar: Calendar, moment: datetime
) -> None:
    period = calendar.period(moment)
    assert period.start <= moment < period.end
    assert period.start.tzinfo is period.end.tzinfo is UTC
    for within in (period.start, period.end - MS, period.end - timedelta(microseconds=1)):
        assert calendar.period(within) == period
    assert calendar.period(period.end).start == period.end
    assert calendar.period(period.start - MS).end == period.start


@given(CALENDARS, MOMENTS)
def test_period_begins_when_the_clocks_first_reach_its_hour(
    calendar: Calendar, moment: datetime
) -> None:
    start = calendar.period(moment).start
    before, after = (
        each.astimezone(ZoneInfo(calendar.zone)).replace(tzinfo=None)
        for each in (start - SECOND, start)
    )
    dates = [after.date() - timedelta(days=back) for back in (0, 1)]
    if calendar.every is Every.WEEK:
        dates = [day for day in dates if day.weekday() == 0]
    if calendar.every is Every.MONTH:
        dates = [day for day in dates if day.day == 1]
    hours = [datetime(d.year, d.month, d.day, calendar.hour) for d in dates]  # noqa: DTZ001
    assert any(before < hour <= after for hour in hours)


def year(zone: str) -> tuple[timedelta | None, ...]:
    """Return a zone's offsets on each day of a year."""
    there = RECENT.astimezone(ZoneInfo(zone))
    return tuple((there + timedelta(days=day)).utcoffset() for day in range(365))


def test_every_zone_has_a_year_of_days() -> None:
    """Zones with the same offsets all year are tested once."""
    for zone in {year(zone): zone for zone in NAMES}.values():
        hours = lengths(zone, RECENT, 365)
        assert sum(hours) == pytest.approx(365 * 24, abs=2), zone
        assert set(hours) <= {22, 23, 23.5, 24, 24.5, 25, 26}, zone


@pytest.mark.parametrize(
    ("every", "moment", "start", "end"),
    [
        (Every.DAY, utc(2026, 3, 14, 12), utc(2026, 3, 14, 3), utc(2026, 3, 15, 3)),
        (Every.WEEK, utc(2026, 3, 14, 12), utc(2026, 3, 9, 3), utc(2026, 3, 16, 3)),
        (Every.WEEK, utc(2026, 3, 16, 2, 59), utc(2026, 3, 9, 3), utc(2026, 3, 16, 3)),
        (Every.MONTH, utc(2028, 2, 29, 12), utc(2028, 2, 1, 3), utc(2028, 3, 1, 3)),
        (Every.MONTH, utc(2027, 1, 1, 2), utc(2026, 12, 1, 3), utc(2027, 1, 1, 3)),
    ],
)
def test_days_weeks_from_monday_and_months(
    every: Every, moment: datetime, start: datetime, end: datetime
) -> None:
    assert Calendar(every, 3).period(moment) == Period(start, end)


@pytest.mark.parametrize(
    ("zone", "moment", "hour", "hours"),
    [
        ("Europe/Berlin", utc(2026, 3, 27, 23), 0, [24, 23, 24]),
        ("Europe/Berlin", utc(2026, 10, 23, 22), 0, [24, 25, 24]),
        ("Europe/Berlin", utc(2026, 3, 28, 1), 2, [24, 23, 24]),  # 02:00 is skipped on the 29th
        ("Europe/Berlin", utc(2026, 10, 24, 0), 2, [24, 25, 24]),  # 02:00 comes twice on the 25th
        ("Australia/Lord_Howe", utc(2026, 10, 2, 13, 30), 0, [24, 23.5, 24]),
        ("Antarctica/Troll", utc(2026, 3, 28, 0), 0, [24, 22, 24]),
        ("Antarctica/Troll", utc(2026, 3, 28, 2), 2, [23, 23, 24]),  # 02:00 lies inside the gap
        ("Africa/Cairo", utc(2026, 4, 22, 22), 0, [24, 23, 24]),  # midnight itself is skipped
        ("America/Sao_Paulo", utc(2018, 2, 17, 2), 0, [25, 24]),  # midnight is put off an hour
    ],
)
def test_lengths_of_days_around_clock_changes(
    zone: str, moment: datetime, hour: int, hours: list[float]
) -> None:
    assert Calendar(Every.DAY, hour, zone).period(moment).start == moment
    assert lengths(zone, moment, len(hours), hour=hour) == hours


def test_skipped_day_has_no_length() -> None:
    jump = utc(2011, 12, 30, 10)
    assert Calendar(zone="Pacific/Apia").period(jump - MS).end == jump
    assert Calendar(zone="Pacific/Apia").period(jump).end == jump + timedelta(days=1)


@pytest.mark.parametrize("moment", [utc(1, 1, 1), utc(9999, 12, 31, 23, 59)])
def test_period_outside_the_years_that_can_be_counted(moment: datetime) -> None:
    with pytest.raises(OverflowError):
        Calendar(Every.MONTH, 23, "Pacific/Kiritimati").period(moment)


# --- one calendar after another -------------------------------------------------------------------


@st.composite
def timelines(draw: st.DrawFn) -> tuple[Timeline, datetime]:
    """Changes at any moments, also on a clock set back, and the moment of the last."""
    now, timeline = draw(LATER), Timeline()
    for calendar, by in draw(st.lists(st.tuples(CALENDARS, BACK), max_size=6)):
        now += by
        timeline = timeline.changed(calendar, at=now)
    return timeline, now


@given(timelines(), st.timedeltas(timedelta(days=-400), timedelta(days=400)))
def test_periods_of_a_timeline_follow_each_other(
    changed: tuple[Timeline, datetime], by: timedelta
) -> None:
    timeline, now = changed
    moment = now + by
    period = timeline.period(moment)
    assert period.start <= moment < period.end
    assert timeline.period(period.start) == period
    assert timeline.period(period.end - MS) == period
    assert timeline.period(period.end).start == period.end
    assert timeline.at(moment) == timeline.at(period.end - MS)
    assert list(timeline.spans) == sorted(timeline.spans, key=lambda span: span[0])


@given(timelines(), BACK, CALENDARS)
def test_change_leaves_the_running_period_as_it_is(
    changed: tuple[Timeline, datetime], by: timedelta, calendar: Calendar
) -> None:
    timeline, now = changed
    now += max(by, timedelta())  # the clock runs on
    running, before = timeline.period(now), timeline.at(now)
    after = timeline.changed(calendar, at=now)
    assert after.period(now) == running
    assert after.at(now) == before
    assert after.at(running.end) == calendar
    if calendar != before:
        assert after.next(now) == (running.end, calendar)
        assert after.period(running.end).start == running.end


@given(timelines(), CALENDARS)
def test_setting_the_calendar_in_force_drops_the_next_one(
    changed: tuple[Timeline, datetime], calendar: Calendar
) -> None:
    timeline, now = changed
    back = timeline.changed(calendar, at=now).changed(timeline.at(now), at=now)
    assert back.next(now) is None
    assert back.at(now) == timeline.at(now)
    assert back.period(now).start == timeline.period(now).start
    assert timeline.changed(timeline.at(now), at=now) == back


def test_later_change_replaces_the_one_that_is_not_in_force() -> None:
    noon = utc(2026, 3, 14, 12)
    monthly = Calendar(Every.MONTH, 6, "Asia/Tokyo")
    timeline = Timeline().changed(Calendar(Every.WEEK), at=noon).changed(monthly, at=noon)
    midnight = utc(2026, 3, 15)
    assert timeline.spans == ((midnight, monthly),)
    assert timeline.at(noon) == timeline.at(midnight - MS) == Calendar()
    assert timeline.next(noon) == (midnight, monthly)
    assert timeline.next(midnight) is None
    assert timeline.period(noon) == Period(utc(2026, 3, 14), midnight)
    assert timeline.period(midnight) == Period(midnight, utc(2026, 3, 31, 21))
    assert timeline.period(utc(2026, 4, 1)) == Period(utc(2026, 3, 31, 21), utc(2026, 4, 30, 21))


# --- typed values ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "zone"),
    [
        ("UTC", "UTC"),
        ("europe/berlin", "Europe/Berlin"),
        (" AMERICA/new york ", "America/New_York"),
        ("america/port-au-prince", "America/Port-au-Prince"),
        ("etc/gmt+2", "Etc/GMT+2"),
    ],
)
def test_zone_gets_its_official_name(typed: str, zone: str) -> None:
    assert Calendar.parse("week", 23, typed) == Calendar(Every.WEEK, 23, zone)


@pytest.mark.parametrize(
    "typed",
    [
        *("localtime", "posixrules", "Factory", "tzdata.zi", "zone.tab", "posix/UTC", "right/UTC"),
        *("", " ", "../../etc/passwd", "/etc/localtime", "..\\UTC", "C:\\UTC", "UTC\0", "\ud800"),
        *("Europe", "Europe/", "Europe//Berlin", "UTC+2", "Berlin", "`@everyone`", "x" * 10_000),
    ],
)
def test_unknown_zone_is_refused(typed: str) -> None:
    with pytest.raises(UnknownTimeZone) as refused:
        Calendar.parse("day", 0, typed)
    assert len(refused.value.similar) <= 3
    assert set(refused.value.similar) <= set(NAMES)


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("Berlin", ["Europe/Berlin"]),
        ("europe/berln", ["Europe/Berlin"]),
        ("Londno", ["Europe/London"]),
        ("", []),
        ("qqqq", []),
    ],
)
def test_nearest_names_are_suggested(typed: str, near: list[str]) -> None:
    with pytest.raises(UnknownTimeZone) as refused:
        Calendar.parse("day", 0, typed)
    assert list(refused.value.similar)[:1] == near


@pytest.mark.parametrize("hour", [-1, 24, 10**30, True, 3.0, float("nan"), None])
def test_hour_out_of_range_is_refused(hour: int) -> None:
    with refusal(OutOfRange("hour", 0, 23)):
        Calendar.parse("day", hour, "UTC")


@pytest.mark.parametrize("every", ["", "year", "DAY", "days", "day "])
def test_unknown_period_is_refused(every: str) -> None:
    with pytest.raises(UnknownPeriod):
        Calendar.parse(every, 0, "UTC")


@given(st.text(max_size=40) | st.sampled_from(NAMES))
def test_any_text_is_a_known_zone_or_refused(typed: str) -> None:
    try:
        zone = Calendar.parse("day", 0, typed).zone
    except InvalidRequest:
        assert typed not in NAMES or typed == "Factory"
    else:
        assert zone in NAMES
        assert zone.casefold() == "_".join(typed.split()).casefold()
        assert ZoneInfo(zone).key == zone


# --- completion -----------------------------------------------------------------------------------


def test_well_known_places_come_first() -> None:
    assert zones_like("") == list(WELL_KNOWN)
    assert len(WELL_KNOWN) == 25
    assert set(WELL_KNOWN) <= available_timezones()
    assert zones_like("  ") == zones_like("\u6771\u4eac") == zones_like("")


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("new york", "America/New_York"),
        ("new_y", "America/New_York"),
        ("europe/be", "Europe/Berlin"),
        ("s\u00e3o p", "America/Sao_Paulo"),
        ("Z\u00fcrich", "Europe/Zurich"),
        ("port au", "America/Port-au-Prince"),
        ("kol", "Asia/Kolkata"),
    ],
)
def test_zone_is_found_by_part_of_its_name(typed: str, first: str) -> None:
    assert zones_like(typed)[0] == first


def test_beginnings_of_words_match_better() -> None:
    found = zones_like("ber")
    assert found.index("Atlantic/Bermuda") < found.index("Australia/Canberra")


def test_misleading_names_are_not_suggested() -> None:
    everything = zones_like("", limit=1_000)
    assert len(everything) == len(set(everything)) > 500
    assert not {"Etc/GMT+2", "GMT+0", "EST", "EST5EDT", "Factory"} & set(everything)
    assert everything.index("Europe/Lisbon") < everything.index("US/Eastern")


@given(st.text(max_size=200), st.integers(0, 30))
def test_any_text_gets_known_zones(typed: str, limit: int) -> None:
    found = zones_like(typed, limit)
    assert len(found) <= limit
    assert set(found) <= set(NAMES)
