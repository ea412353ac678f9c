"""Moments as managers type them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cogs.credits.texts import TIMES
from services.amounts import LONGEST, TimePassed, TimeTooFar
from services.calendar import WELL_KNOWN
from services.errors import InvalidRequest
from services.moments import UnreadableTime, parse_moment

NOW = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
BERLIN = "Europe/Berlin"


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


def parsed(typed: str, zone: str = BERLIN, now: datetime = NOW) -> datetime:
    return parse_moment(typed, now=now, zone=zone)


@pytest.mark.parametrize(
    ("typed", "span"),
    [
        ("7d", timedelta(days=7)),
        ("12h", timedelta(hours=12)),
        ("12 HRS", timedelta(hours=12)),
        ("1 hour", timedelta(hours=1)),
        ("30 min", timedelta(minutes=30)),
        ("30 mins", timedelta(minutes=30)),
        ("1 minute", timedelta(minutes=1)),
        ("90 minutes", timedelta(minutes=90)),
        (" in  2 weeks ", timedelta(weeks=2)),
        ("1w", timedelta(weeks=1)),
        ("3650 days", LONGEST),
    ],
)
def test_span_counts_from_now(typed: str, span: timedelta) -> None:
    assert parsed(typed) == NOW + span


@pytest.mark.parametrize(
    ("typed", "moment"),
    [
        ("3 months", utc(2027, 2, 24, 12, 30)),
        ("1 month", utc(2026, 12, 24, 12, 30)),
        ("7mo", utc(2027, 6, 24, 11, 30)),  # 13:30 in Berlin, with summer time by then
        ("1 year", utc(2027, 11, 24, 12, 30)),
        ("2y", utc(2028, 11, 24, 12, 30)),
    ],
)
def test_months_keep_day_and_hour_on_the_zones_clocks(typed: str, moment: datetime) -> None:
    assert parsed(typed) == moment


def test_shorter_month_means_its_last_day() -> None:
    assert parsed("1 month", "UTC", utc(2027, 1, 31, 9)) == utc(2027, 2, 28, 9)
    assert parsed("1 year", "UTC", utc(2028, 2, 29, 9)) == utc(2029, 2, 28, 9)


@pytest.mark.parametrize(
    ("typed", "zone", "moment"),
    [
        ("2026-12-31", BERLIN, utc(2026, 12, 31, 23)),
        ("2026-12-31", "UTC", utc(2027, 1, 1)),
        ("2026-12-31", "America/New_York", utc(2027, 1, 1, 5)),
        ("2027-7-1", BERLIN, utc(2027, 7, 1, 22)),
        ("2026-12-31 18:00", BERLIN, utc(2026, 12, 31, 17)),
        ("2026-12-31T18:00", BERLIN, utc(2026, 12, 31, 17)),
        ("2026-12-31 00:00", BERLIN, utc(2026, 12, 30, 23)),
        ("today", BERLIN, utc(2026, 11, 24, 23)),
        ("Tomorrow", BERLIN, utc(2026, 11, 25, 23)),
        ("tomorrow", "Asia/Tokyo", utc(2026, 11, 25, 15)),
        ("2026-11-24", "UTC", utc(2026, 11, 25)),
    ],
)
def test_date_means_the_end_of_that_day_in_the_zone(
    typed: str, zone: str, moment: datetime
) -> None:
    assert parsed(typed, zone) == moment


def test_day_ends_at_the_jump_where_midnight_is_skipped() -> None:
    # Beirut's clocks went from 23:59 of the 28th to 01:00 of the 29th of March 2026.
    now = utc(2026, 3, 1)
    assert parsed("2026-03-28", "Asia/Beirut", now) == utc(2026, 3, 28, 22)


@pytest.mark.parametrize(
    "typed",
    [
        *("", " ", "soon", "7", "7m", "d7", "-7d", "7.5 days", "1d 12h", "12345678 days", "in"),
        *("2026-13-01", "2026-02-30", "2026-12-31 24:00", "2026-12-31 18:60", "31.12.2026"),
        *("12/31/2026", "2026-12", "tomorrow 18:00", "0000-01-01", "٣ days", "a" * 5_000),
    ],
)
def test_unreadable_time_is_refused(typed: str) -> None:
    with pytest.raises(UnreadableTime):
        parsed(typed)


@pytest.mark.parametrize(
    "typed", ["0 days", "2026-11-23", "2026-11-24 13:30", "2025-01-01", "1000-01-01", "0001-01-01"]
)
def test_past_time_is_refused(typed: str) -> None:
    with pytest.raises(TimePassed):
        parsed(typed)


@pytest.mark.parametrize(
    "typed",
    [
        *("3651 days", "9999999 weeks", "11 years", "999999 months", "9999999y"),
        *("2037-01-01", "9999-12-30", "9999-12-31", "9999-12-31 23:59", "95676 months"),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_remote_time_is_refused(typed: str, zone: str) -> None:
    with pytest.raises(TimeTooFar):
        parsed(typed, zone)


def test_examples_in_replies_can_be_read() -> None:
    for text in TIMES.split("`")[1::2]:
        assert parsed(text, now=utc(2026, 6, 1)) > utc(2026, 6, 1)


TYPED = (
    st.text(max_size=70)
    | st.text("0123456789-: tindhwmoyears", max_size=20)
    | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}( [0-9]{2}:[0-9]{2})?", fullmatch=True)
    | st.from_regex(r"[0-9]{1,7} ?(min|h|days|w|months|y)", fullmatch=True)
)
MOMENTS = st.datetimes(datetime(2015, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(TYPED, MOMENTS, st.sampled_from(WELL_KNOWN))
@example("0001-01-01", NOW, "Asia/Tokyo")
@example("0001-01-01 00:00", NOW, "Asia/Tokyo")
def test_any_text_is_a_future_time_or_refused(typed: str, now: datetime, zone: str) -> None:
    try:
        moment = parse_moment(typed, now=now, zone=zone)
    except InvalidRequest:
        return
    assert moment.tzinfo is UTC
    assert now < moment <= now + LONGEST
