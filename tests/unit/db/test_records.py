"""Times, as they are stored."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from db.records import from_ms, to_ms
from tests.factories import NOON

microseconds = st.integers(-(10**15), 10**17)


def test_a_stored_time_is_not_reached_before_it_is() -> None:
    """Rounded, half a millisecond before midnight would be midnight, and the day's credits gone."""
    assert to_ms(NOON - timedelta(microseconds=300)) < to_ms(NOON)
    assert to_ms(NOON + timedelta(microseconds=999)) == to_ms(NOON)


@given(st.integers(0, to_ms(datetime(9000, 1, 1, tzinfo=UTC))))
def test_a_time_that_was_read_is_stored_as_it_was(milliseconds: int) -> None:
    assert to_ms(from_ms(milliseconds)) == milliseconds


@given(microseconds, microseconds)
def test_times_are_stored_in_their_order(one: int, other: int) -> None:
    first, second = (NOON + timedelta(microseconds=n) for n in sorted((one, other)))
    assert to_ms(first) <= to_ms(second)
    assert first - from_ms(to_ms(first)) < timedelta(milliseconds=1)
